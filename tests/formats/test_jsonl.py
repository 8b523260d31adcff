"""JSON Lines: what jq and strict parsers get to see."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from hashlib import sha256
from io import BytesIO

import pytest
from hypothesis import given, settings
from support.filter_flows import START, a_connection, a_request, a_websocket, an_exchange, answered
from support.flowfiles import flows

from mitmdump.errors import FlowFileError
from mitmdump.formats import facts
from mitmdump.formats.jsonl import JSONL, JsonLines
from mitmdump.model.body import Body
from mitmdump.model.content import DECODED_LIMIT
from mitmdump.model.flow import WebSocket
from mitmdump.model.message import Message
from mitmdump.model.url import join_host_port


def line(flow, **options):
    data = b"".join(JsonLines(**options).flow(flow))
    assert data.endswith(b"}\n")
    assert data.count(b"\n") == 1
    return json.loads(data)


def keys(table):
    return {key.name for key in table} | {f"{key.name}_base64" for key in table if key.kind.exact}


@given(flows)
@settings(max_examples=60)
def test_a_line_holds_what_the_tables_say_and_nothing_that_a_terminal_obeys(flow):
    """L1"""
    data = b"".join(JsonLines().flow(flow))

    assert re.fullmatch(rb"[ -~]+\n", data)
    assert not re.search(rb"\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])", data)  # no half of a pair, which strict parsers refuse
    found = json.loads(data)
    assert found.keys() <= keys(facts.FLOW)
    tables = dict(facts.OBJECTS)
    for name, table in (("client", "client, server"), ("server", "client, server"), ("error", "error")):
        assert found.get(name, {}).keys() <= keys(tables[table])
    for name in ("request", "response"):
        assert found.get(name, {}).keys() <= keys(tables[name])
    for message in found.get("messages", []):
        assert message.keys() <= keys(tables["messages"])


def test_a_flow_is_told_in_the_words_of_the_tables():
    found = line(answered(fields=[(b"X-A", b"1")], body=b"hello"))

    assert (found["v"], found["id"], found["kind"]) == (1, "0000000000000003", "http")
    assert (found["method"], found["url"], found["status"]) == ("GET", "https://example.com/", 200)
    assert (found["timestamp_start"], found["duration"]) == (START, 2.0)
    assert found["client"]["peername"] == ["192.0.2.1", 50000]
    assert found["response"]["headers"] == [["X-A", "1"]]
    assert (found["response"]["size"], found["response"]["text"]) == (5, "hello")


def test_text_is_text_without_its_coding():
    fields = [(b"Content-Encoding", b"gzip"), (b"Content-Type", b"text/plain; charset=latin-1")]

    response = line(answered(fields=fields, body=gzip.compress(b"caf\xe9")))["response"]

    assert response["text"] == "caf\u00e9"
    assert "base64" not in response


def test_what_is_no_text_is_base64():
    assert b64decode(line(answered(body=b"\x00\xff"))["response"]["base64"]) == b"\x00\xff"


def test_a_bomb_stays_as_it_came():
    """R2"""
    bomb = gzip.compress(bytes(DECODED_LIMIT + 1), 9)

    response = line(answered(fields=[(b"Content-Encoding", b"gzip")], body=bomb))["response"]

    assert b64decode(response["base64"]) == bomb
    assert "more than" in response["problem"]


def test_a_coding_that_nobody_knows_stays():
    response = line(answered(fields=[(b"Content-Encoding", b"lzma")], body=b"abc"))["response"]

    assert b64decode(response["base64"]) == b"abc"
    assert response["problem"] == "unknown content coding 'lzma'"


def test_a_body_that_was_cut_says_so():
    flow = answered()
    flow.response.body = Body(1000, complete=True, source=b"abc")

    response = line(flow)["response"]

    assert (response["size"], response["text"], response["truncated"]) == (1000, "abc", True)


@pytest.mark.parametrize(
    ("body", "digest"),
    [
        (Body(5, complete=True, source=b"hello"), sha256(b"hello").hexdigest()),
        (Body(1000, digest=b"\1\2", source=b"hello"), "0102"),
        (Body(1000, source=b"hello"), None),
        (Body(0, complete=True, source=b""), None),
    ],
)
def test_the_digest_is_that_of_the_body_as_sent_wherever_there_is_one(body, digest):
    flow = answered()
    flow.response.body = body

    assert line(flow)["response"].get("sha256") == digest


def test_a_body_that_was_not_recorded_has_a_size_only():
    flow = answered()
    flow.response.body = Body(1000, complete=True)

    response = line(flow)["response"]

    assert response["size"] == 1000
    assert not response.keys() & {"text", "base64", "truncated"}


def test_bytes_outside_utf8_stand_exactly_beside():
    request = a_request(path="/\udce9", fields=[(b"X-A", b"\xff")])

    found = line(an_exchange(request))["request"]

    assert (found["path"], b64decode(found["path_base64"])) == ("/\ufffd", b"/\xe9")
    assert found["headers"][1] == ["X-A", "\ufffd"]
    assert b64decode(found["headers_base64"][1][1]) == b"\xff"


def test_no_control_character_is_left():
    """L1"""
    data = b"".join(JsonLines().flow(an_exchange(a_request(path="/\x1b\x7f\x9b\u202e"))))

    assert re.fullmatch(rb"[ -~]+\n", data)


def test_messages_are_text_or_base64():
    flow = a_websocket()
    flow.messages = [Message(True, "text", START, b"hi"), Message(False, "text", START, b"\xff")]

    first, second = line(flow)["messages"]

    assert first == {"from_client": True, "kind": "text", "timestamp": START, "text": "hi"}
    assert second == {"kind": "text", "timestamp": START, "base64": "/w=="}


@pytest.mark.parametrize(
    ("websocket", "expected"),
    [
        (WebSocket(), {}),
        (WebSocket(False, 1006), {"closed_by": "server", "close_code": 1006}),
        (WebSocket(True, 1000, "bye"), {"closed_by": "client", "close_code": 1000, "close_reason": "bye"}),
    ],
)
def test_a_websocket_says_who_closed_it_and_how(websocket, expected):
    flow = a_websocket()
    flow.websocket = websocket

    assert line(flow)["websocket"] == expected
    assert facts.read(facts.FLOW, line(flow))["websocket"] == websocket


def test_all_kinds_of_flows_have_a_line():
    found = line(a_connection((True, b"\0")))

    assert found["kind"] == "tcp"
    assert join_host_port(*found["server"]["address"]) == "db.example:5432"
    assert b64decode(found["messages"][0]["base64"]) == b"\0"


def test_without_contents_there_are_no_bodies_and_no_messages():
    flow = a_websocket((True, b"x"))
    flow.response.body = Body(5, complete=True, source=b"hello")

    found = line(flow, contents=False)

    assert "messages" not in found
    assert found["response"]["size"] == 5
    assert "text" not in found["response"]


def test_metadata_of_any_kind_are_written():
    deep = []
    for _ in range(100):
        deep = [deep]

    found = line(answered_with({"a": b"\xff", "b": float("nan"), "c": 10**5000, "d": {1, 2}, "e": object, "f": deep}))

    assert found["metadata"]["a"] == {"base64": "/w=="}
    assert found["metadata"]["b"] == "nan"
    assert sorted(found["metadata"]["d"]) == [1, 2]


def answered_with(metadata):
    flow = answered()
    flow.metadata = metadata
    return flow


@pytest.mark.parametrize("torn", [b"", b'{"v":1,"id', b"x" * 3_000_000], ids=["nothing", "some bytes", "much"])
def test_appending_goes_on_behind_the_last_whole_line(torn):
    """S8"""
    whole = b"".join(JsonLines().flow(answered())) * 2

    assert JsonLines().resume(BytesIO(whole + torn)) == len(whole)


def test_appending_to_a_torn_first_line_starts_anew():
    assert JsonLines().resume(BytesIO(b'{"v":1,"id":"00')) == 0


@pytest.mark.parametrize("file", [b"{}\n", b'{"v":2,"id":1}\n', b"text\n"])
def test_appending_refuses_other_files(file):
    with pytest.raises(FlowFileError, match="JSON Lines"):
        JsonLines().resume(BytesIO(file))


def test_a_file_is_known_by_its_beginning():
    assert JSONL.recognise(b"".join(JsonLines().flow(answered())))
    assert not JSONL.recognise(b'{"log":{}}')
