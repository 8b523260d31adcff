"""How messages that were changed, or were never sent by anybody, are framed, and what is refused."""

import pytest

from mitmdump.errors import FlowFileError, PeerError, StreamError
from mitmdump.model.body import Body
from mitmdump.model.headers import Headers
from mitmdump.model.message import Request, Response
from mitmdump.proxy.changed import (
    framing_of,
    is_bodiless,
    keep_framing,
    pieces,
    request_head,
    response_head,
    target_of,
)
from mitmdump.proxy.target import Origin, Target
from mitmdump.wire.events import Data, End, RequestHead
from mitmdump.wire.head import CHUNKED, UNTIL_CLOSE

LENGTH, CODING = b"Content-Length", b"Transfer-Encoding"


def request(content=b"", *fields, version="HTTP/1.1", **parts) -> Request:
    given = {"method": "GET", "scheme": "http", "host": "a.test", "port": 80, "path": "/"}
    return Request(version, Headers(fields), Body(source=content), **given | parts)


def response(content=b"", *fields, version="HTTP/1.1", status=200) -> Response:
    return Response(version, Headers(fields), Body(source=content), status_code=status, reason="OK")


# -- framing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "framing", "fields"),
    [
        (request(), 0, []),
        (request(b"hi"), 2, [(LENGTH, b"2")]),
        (request(b"", (LENGTH, b"5")), 0, [(LENGTH, b"0")]),
        (request(b"hi", (LENGTH, b"2")), 2, [(LENGTH, b"2")]),
        (request(b"hi", (CODING, b"Chunked"), (LENGTH, b"9")), CHUNKED, [(CODING, b"Chunked")]),
        (response(), 0, [(LENGTH, b"0")]),
        (response(b"hi", (LENGTH, b"9"), (LENGTH, b"9")), 2, [(LENGTH, b"2")]),
        (response(b"hi", (CODING, b"gzip, chunked")), CHUNKED, [(CODING, b"chunked")]),
        (response(b"hi", (CODING, b"chunked"), version="HTTP/1.0"), 2, [(LENGTH, b"2")]),
        (response(b"hi", version=""), 2, [(LENGTH, b"2")]),
        (response(b"hi", (CODING, b"chunked"), version="HTTP/2"), CHUNKED, []),
        (response(b"hi", (b"content-length", b"9"), version="HTTP/2"), 2, [(LENGTH, b"2")]),
        (response(version="HTTP/2"), 0, []),
    ],
)
def test_a_body_that_is_there_is_framed_as_the_fields_say_and_these_are_put_right(message, framing, fields):
    assert framing_of(message) == framing
    assert message.headers.fields == fields


def test_what_announces_nothing_is_ended_by_the_close_only_where_that_is_meant():
    assert framing_of(response(b"hi"), until_close=True) == UNTIL_CLOSE
    assert framing_of(response(b"hi", (LENGTH, b"2")), until_close=True) == 2


@pytest.mark.parametrize(
    ("fields", "version", "kept"),
    [([(CODING, b"chunked")], "HTTP/1.1", True), ([(LENGTH, b"2")], "HTTP/1.1", False), ([], "HTTP/2", True)],
)
def test_trailers_are_left_only_where_they_can_be_sent(fields, version, kept):
    message = response(b"hi", *fields, version=version)
    message.trailers = Headers([(b"x-sum", b"1")])
    framing_of(message)
    assert (message.trailers is not None) is kept


def test_the_framing_of_a_body_that_is_still_to_come_stays():
    before = Headers([(b"A", b"1"), (LENGTH, b"5"), (b"B", b"2")])
    message = request(b"", (b"A", b"changed"), (CODING, b"chunked"), (b"B", b"2"))
    keep_framing(message, before)
    assert message.headers.get_all("content-length") == ["5"]
    assert "transfer-encoding" not in message.headers
    assert message.headers["a"] == "changed"


@pytest.mark.parametrize(
    ("method", "status", "bodiless"),
    [(b"HEAD", 200, True), (b"GET", 204, True), (b"GET", 304, True), (b"GET", 200, False)],
)
def test_some_responses_have_no_body_whatever_they_say(method, status, bodiless):
    assert is_bodiless(method, status) is bodiless


# -- bodies -----------------------------------------------------------------------------------------------------------


class Kept:
    """A body on disk, which can be read for so many pieces."""

    def __init__(self, good: int) -> None:
        self._good = good

    def __len__(self) -> int:
        return 3 << 16

    def pieces(self):
        for number in range(3):
            if number == self._good:
                raise FlowFileError("it is damaged")
            yield bytes(1 << 16)


def test_a_small_body_is_there_at_once():
    message = request(b"hi")
    message.trailers = Headers([(b"X", b"1")])
    assert list(pieces(message)) == [[Data(b"hi"), End([(b"X", b"1")])]]
    assert list(pieces(request())) == [[End()]]


def test_a_large_body_comes_piece_by_piece_after_the_head():
    events = list(pieces(request(Kept(3))))
    assert events == [[], *[[Data(bytes(1 << 16))]] * 3, [End()]]


def test_a_body_that_cannot_be_read_is_no_bug():
    events = pieces(request(Kept(1)))
    assert [next(events), next(events)] == [[], [Data(bytes(1 << 16))]]
    with pytest.raises(StreamError, match="it is damaged"):
        next(events)


# -- heads ------------------------------------------------------------------------------------------------------------

BAD_FIELDS = [(b"X", b"1\r\nY: 2"), (b"X", b"\0"), (b"X\r\nY", b"1"), (b"", b"1"), (b"X ", b"1"), (b"X:Y", b"1")]


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_fields_that_would_be_read_as_something_else_are_refused(field):
    like = RequestHead(b"GET", b"/", [])
    with pytest.raises(PeerError) as raised:
        request_head(request(b"", field), like, 0)
    assert raised.value.status == 500
    with pytest.raises(PeerError):
        response_head(response(b"", field), 0)
    message = response(b"hi")
    message.trailers = Headers([field])
    with pytest.raises(PeerError):
        pieces(message)


@pytest.mark.parametrize(
    "parts",
    [
        {"method": "GET /"},
        {"method": ""},
        {"path": "/a b"},
        {"path": "/\r\nX: 1"},
        {"path": ""},
        {"scheme": "ftp"},
        {"method": "CONNECT"},
    ],
)
def test_a_request_line_that_is_none_is_refused(parts):
    with pytest.raises(PeerError) as raised:
        request_head(request(**parts), RequestHead(b"GET", b"/", []), 0)
    assert raised.value.status == 500


def test_head_stays_head_because_the_client_waits_for_no_body():
    with pytest.raises(PeerError, match="changed the method"):
        request_head(request(method="GET"), RequestHead(b"HEAD", b"/", []), 0)


@pytest.mark.parametrize(("status", "reason"), [(100, ""), (0, ""), (1000, ""), (200, "OK\r\nX: 1")])
def test_a_status_line_that_is_none_is_refused(status, reason):
    message = response(status=status)
    message.reason = reason
    with pytest.raises(PeerError):
        response_head(message, 0)


def test_in_http2_names_are_in_lower_case_on_the_wire_and_in_the_record():
    message = request(b"", (b"X-Name", b"Value"), version="HTTP/2", authority="a.test")
    like = RequestHead(b"GET", b"/", [], b"HTTP/2", 7, 0, scheme=b"http", authority=b"old")
    head = request_head(message, like, 0)
    assert head.fields == message.headers.fields == [(b"x-name", b"Value")]
    assert (head.stream_id, head.scheme, head.authority) == (7, b"http", b"a.test")


# -- where to ---------------------------------------------------------------------------------------------------------

HOST = (b"Host", b"a.test")
THERE = Target(Origin("http", "a.test", 80), b"/", "a.test")
UNNAMED = Target(THERE.origin, b"/")


@pytest.mark.parametrize(
    ("changes", "origin", "name"),
    [
        ({}, ("http", "a.test", 80), "a.test"),
        ({"host": "b.test"}, ("http", "b.test", 80), "b.test"),
        ({"scheme": "https", "port": 443}, ("https", "a.test", 443), "a.test"),
        ({"port": 8080}, ("http", "a.test", 8080), "a.test:8080"),
        ({"authority": "c.test"}, ("http", "a.test", 80), "c.test"),
        ({"host": "192.0.2.1", "authority": "c.test"}, ("http", "192.0.2.1", 80), "c.test"),
    ],
)
@pytest.mark.parametrize("absolute", [True, False])
def test_the_names_of_a_server_that_were_left_alone_follow_the_one_that_was_changed(changes, origin, name, absolute):
    named = {"authority": "a.test" if absolute else ""}
    message = request(b"", HOST, **named | (changes if absolute or "authority" not in changes else {}))
    target = THERE if absolute else UNNAMED
    before = message.headers.copy()
    if not absolute and "authority" in changes:
        message.headers["host"] = changes["authority"]
        message.host = changes.get("host", message.host)
    found = target_of(message, target, before)
    assert found == Target(Origin(*origin), b"/", name if absolute else "")
    assert (message.headers["host"], message.authority) == (name, found.authority)


def test_a_host_field_that_was_changed_is_the_name_everywhere():
    message = request(b"", HOST, authority="a.test", path="/new")
    before = message.headers.copy()
    message.headers["host"] = "d.test"
    assert target_of(message, THERE, before) == Target(THERE.origin, b"/new", "d.test")
    assert message.url == "http://d.test/new"


def test_what_names_no_server_is_given_no_name():
    message = request(version="HTTP/1.0", host="b.test")
    target_of(message, UNNAMED, Headers())
    assert not message.headers.fields
