"""Flows to HAR: valid by the letter of HAR 1.2, and readable for those who know no more than that."""

from __future__ import annotations

import gzip
import json
from base64 import b64decode
from io import BytesIO
from itertools import islice

import pytest
from hypothesis import given, settings
from support.filter_flows import START, a_connection, a_request, a_response, a_websocket, an_exchange, answered
from support.flowfiles import flows
from support.har import a_har, an_entry, check, reader, there_and_back, written

from mitmdump.errors import FlowFileError
from mitmdump.formats.har import HAR
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.content import DECODED_LIMIT
from mitmdump.model.flow import Error
from mitmdump.model.message import Message


class Zeros:
    """A body of any size, of which no more than a piece is in memory."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size

    def pieces(self):
        return (bytes(65536) for _ in range(self._size // 65536))


def the_entry(flow):
    (entry,) = check(written(flow))
    return entry


@given(flows)
@settings(max_examples=60)
def test_whatever_is_written_follows_the_specification(flow):
    check(written(flow))


def test_a_file_is_valid_before_the_first_flow_and_after_each():
    encoder = HAR.encoder()
    file = encoder.head()
    for number in range(3):
        assert len(check(file + encoder.tail)) == number
        file += b"".join(encoder.flow(answered(body=b"x")))


def test_a_flow_whose_writing_failed_leaves_no_trace():
    encoder = HAR.encoder()
    failed = encoder.flow(answered())
    assert len(list(islice(failed, 5))) == 5

    file = encoder.head() + b"".join(encoder.flow(answered())) + encoder.tail

    assert len(check(file)) == 1


def test_text_is_shown_as_text():
    flow = answered(fields=[(b"Content-Type", b"text/html; charset=iso-8859-1")], body="caf\u00e9".encode("latin-1"))

    content = the_entry(flow)["response"]["content"]

    assert content == {"size": 4, "mimeType": "text/html; charset=iso-8859-1", "text": "caf\u00e9"}


@pytest.mark.parametrize("body", [b"\xff\xfe\x00", b"a\x00b", b"\xc3"])
def test_what_is_no_text_is_base64(body):
    content = the_entry(answered(body=body))["response"]["content"]

    assert content["encoding"] == "base64"
    assert b64decode(content["text"]) == body


def test_a_coded_body_is_shown_decoded_and_kept_as_sent():
    sent = gzip.compress(b"hello" * 100)
    flow = answered(fields=[(b"Content-Encoding", b"gzip")], body=sent)

    response = the_entry(flow)["response"]

    assert (response["content"]["text"], response["content"]["size"]) == ("hello" * 100, 500)
    assert response["bodySize"] == len(sent) == 500 - response["content"]["compression"]
    assert b64decode(response["content"]["_raw"]) == sent


def test_a_bomb_is_kept_as_it_came():
    """R2"""
    bomb = gzip.compress(bytes(DECODED_LIMIT + 1), 9)
    flow = answered(fields=[(b"Content-Encoding", b"gzip")], body=bomb)

    file = written(flow)

    (entry,) = check(file)
    assert len(file) < 2 * len(bomb) + 3000
    assert "text" not in entry["response"]["content"]
    assert "more than" in entry["response"]["content"]["comment"]
    assert there_and_back(flow).response.raw_content == bomb


def test_a_body_of_any_size_passes_in_pieces():
    """R1"""
    body = Zeros(40 * 65536)
    flow = answered()
    flow.response.body = Body(len(body), complete=True, source=body)

    sizes = [len(piece) for piece in HAR.encoder().flow(flow)]

    assert max(sizes) < 2 * 65536
    assert sum(sizes) > len(body) * 4 // 3


def test_a_body_that_was_not_recorded_has_its_size_and_no_text():
    flow = answered()
    flow.response.body = Body(1000, complete=True)

    content = the_entry(flow)["response"]["content"]

    assert content == {"size": 1000, "mimeType": "", "comment": "the body was not recorded"}


def test_a_body_that_was_recorded_in_part_says_so():
    flow = answered()
    flow.response.body = Body(1000, complete=True, source=b"abc")

    content = the_entry(flow)["response"]["content"]

    assert (content["size"], content["text"]) == (1000, "abc")
    assert content["comment"] == "only the first 3 of 1000 bytes were recorded"


def test_a_form_is_taken_apart():
    fields = [(b"Content-Type", b"application/x-www-form-urlencoded")]
    flow = an_exchange(a_request("POST", fields=fields, body=b"a=1+2&b=%C3%A9"))

    post = the_entry(flow)["request"]["postData"]

    assert post["text"] == "a=1+2&b=%C3%A9"
    assert post["params"] == [{"name": "a", "value": "1 2"}, {"name": "b", "value": "\u00e9"}]


def test_query_and_cookies_are_taken_apart():
    set_cookie = b"id=7; Path=/; HttpOnly; SameSite=Lax; Expires=Wed, 21 Oct 2015 07:28:00 GMT"
    flow = an_exchange(
        a_request(path="/?q=a%20b&empty", fields=[(b"Cookie", b"a=1; b=2")]),
        a_response(fields=[(b"Set-Cookie", set_cookie)]),
    )

    entry = the_entry(flow)

    assert entry["request"]["queryString"] == [{"name": "q", "value": "a b"}, {"name": "empty", "value": ""}]
    assert entry["request"]["cookies"] == [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    (cookie,) = entry["response"]["cookies"]
    assert cookie == {
        "name": "id",
        "value": "7",
        "path": "/",
        "httpOnly": True,
        "sameSite": "Lax",
        "expires": "2015-10-21T07:28:00Z",
    }


def test_phases_follow_the_times_of_the_flow():
    server = Connection("server", 2, timestamp_start=START + 0.25, timestamp_tcp_setup=START + 0.5)
    server.timestamp_tls_setup = START + 0.75
    entry = the_entry(an_exchange(response=a_response(), server_conn=server))

    timings = entry["timings"]

    assert (timings["connect"], timings["ssl"]) == (500, 250)
    assert (timings["send"], timings["wait"], timings["receive"]) == (0, 500, 1000)
    assert entry["time"] == 2000


def test_a_connection_that_was_there_before_took_no_time():
    server = Connection("server", 2, timestamp_start=START - 9, timestamp_tcp_setup=START - 8)

    timings = the_entry(an_exchange(response=a_response(), server_conn=server))["timings"]

    assert (timings["connect"], timings["ssl"], timings["wait"]) == (-1, -1, 1000)


def test_a_clock_that_was_set_back_makes_no_negative_phase():
    check(written(answered(first=START - 5, last=START - 9)))


def test_the_size_of_a_head_is_that_of_the_bytes():
    entry = the_entry(an_exchange(a_request(path="/x"), a_response()))

    assert entry["request"]["headersSize"] == len(b"GET /x HTTP/1.1\r\nHost: example.com\r\n\r\n")


def test_a_flow_without_a_response_says_why():
    flow = an_exchange(error=Error("the server closed the connection", START))

    response = the_entry(flow)["response"]

    assert (response["status"], response["_error"]) == (0, "the server closed the connection")


def test_websocket_messages_stand_as_in_chromium():
    flow = a_websocket()
    flow.messages = [Message(True, "text", START, b"hi"), Message(False, "binary", START, b"\xff")]

    entry = the_entry(flow)

    assert entry["_resourceType"] == "websocket"
    assert entry["_webSocketMessages"] == [
        {"type": "send", "time": START, "opcode": 1, "data": "hi"},
        {"type": "receive", "time": START, "opcode": 2, "data": "/w=="},
    ]


def test_what_is_no_exchange_is_left_out_and_counted():
    encoder = HAR.encoder()
    no_request = an_exchange()
    no_request.request = None

    pieces = [*encoder.flow(a_connection((True, b"x"))), *encoder.flow(no_request)]

    assert pieces == []
    assert encoder.left_out == {"raw TCP connections": 1, "flows without a request": 1}


def test_a_url_is_ascii_whatever_was_asked_for():
    flow = an_exchange(a_request(path="/\udce9 \u00e9\x1b[31m"))

    assert the_entry(flow)["request"]["url"] == "https://example.com/%E9%20%C3%A9%1B[31m"


# Appending


def resumed(file: bytes) -> bytes:
    """The file with one flow more."""
    encoder = HAR.encoder()
    end = encoder.resume(BytesIO(file))
    return file[:end] + b"".join(encoder.flow(answered(body=b"new"))) + encoder.tail


@pytest.mark.parametrize(
    "file",
    [written(), written(answered()), a_har(), a_har(an_entry()), a_har(an_entry(), indent=2)],
    ids=["ours, empty", "ours", "empty", "compact", "indented"],
)
def test_appending_goes_on_behind_the_last_entry(file):
    before = list(reader(file))

    data = resumed(file)

    json.loads(data)
    assert len(list(reader(data))) == len(before) + 1


def test_appending_cuts_a_torn_entry_wherever_it_was_torn():
    """S8"""
    whole = written(answered(body=b"one"), answered(body=b't\\w"o'))
    second = whole.index(b"\n{", whole.index(b"\n{") + 1)
    for end in range(len(whole) - len(HAR.encoder().tail), second, -7):
        entries = check(resumed(whole[:end]))
        assert [entry["response"]["content"]["text"] for entry in entries][:: len(entries) - 1] == ["one", "new"]


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b'{"a": 1}', "no HAR file"),
        (b'{"log":{"entries":[],"pages":[]}}', "more than entries"),
        (b"not json", "no HAR file"),
    ],
)
def test_appending_refuses_what_it_would_destroy(file, reason):
    with pytest.raises(FlowFileError, match=reason):
        HAR.encoder().resume(BytesIO(file))
