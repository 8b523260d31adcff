"""What the HTTP/2 codec refuses in a head, and that it costs the stream and not the connection (RFC 9113 section 8).

2a, 2b: of each case nothing is delivered, and an intact request, or response, behind it is.
"""

import pytest
from support.http2 import (
    GET,
    OK,
    POST,
    RST_STREAM,
    block,
    data,
    frame,
    headers,
    make_codec,
    opened,
    opening,
    read,
    told,
)

from mitmdump.errors import RemoteError
from mitmdump.wire.events import Data, End, RequestHead, Reset, ResponseHead, Role
from mitmdump.wire.http2 import Code, Http2, Limits

SERVER, CLIENT = Role.SERVER, Role.CLIENT
METHOD, SCHEME, AUTHORITY, PATH = GET
CONNECT = (b":method", b"CONNECT")

BAD_FIELDS = {
    "an upper-case name": (b"X-Upper", b"1"),
    "CR LF in a value": (b"x", b"1\r\ny: 2"),
    "LF in a value": (b"x", b"1\n"),
    "CR in a value": (b"x", b"\r1"),
    "NUL in a value": (b"x", b"\0"),
    "a value that looks like two fields to us": (b"x", b"1\ny\x002"),
    "an escape in a value": (b"x", b"\x1b[1m"),
    "CR LF in a name": (b"x\r\ny", b"1"),
    "NUL in a name": (b"x\0", b"1"),
    "a space in a name": (b"x y", b"1"),
    "a space after a name": (b"x ", b"1"),
    "a colon in a name": (b"x:y", b"1"),
    "a name beyond ASCII": (b"\xe4", b"1"),
    "no name": (b"", b"1"),
    "Connection": (b"connection", b"close"),
    "Keep-Alive": (b"keep-alive", b"timeout=5"),
    "Proxy-Connection": (b"proxy-connection", b"keep-alive"),
    "Transfer-Encoding": (b"transfer-encoding", b"chunked"),
    "Upgrade": (b"upgrade", b"h2c"),
    "TE other than trailers": (b"te", b"trailers, gzip"),
    "a length that is no number": (b"content-length", b"+1"),
    "an empty length": (b"content-length", b""),
    "an unknown pseudo-header field behind others": (b":x", b"1"),
    "a pseudo-header field behind others": (b":path", b"/"),
}
BAD_REQUESTS = {
    "no fields at all": [],
    "no :method": [SCHEME, AUTHORITY, PATH],
    "no :scheme": [METHOD, AUTHORITY, PATH],
    "no :path": [METHOD, SCHEME, AUTHORITY],
    "an empty :path": [METHOD, SCHEME, AUTHORITY, (b":path", b"")],
    "a :path without slash": [METHOD, SCHEME, AUTHORITY, (b":path", b"x")],
    "a URL as :path": [METHOD, SCHEME, AUTHORITY, (b":path", b"https://b.test/")],
    "* as the :path of a GET": [METHOD, SCHEME, AUTHORITY, (b":path", b"*")],
    "a space in :path": [METHOD, SCHEME, AUTHORITY, (b":path", b"/ HTTP/1.1")],
    "CR LF in :path": [METHOD, SCHEME, AUTHORITY, (b":path", b"/\r\nx: y")],
    "a space in :method": [(b":method", b"GET / HTTP/1.1"), SCHEME, AUTHORITY, PATH],
    "CR LF in :method": [(b":method", b"GET\r\n"), SCHEME, AUTHORITY, PATH],
    "an empty :method": [(b":method", b""), SCHEME, AUTHORITY, PATH],
    "a bad :scheme": [METHOD, (b":scheme", b"ht tp"), AUTHORITY, PATH],
    "CR LF in :authority": [METHOD, SCHEME, (b":authority", b"a.test\r\nx: y"), PATH],
    "userinfo in :authority": [METHOD, SCHEME, (b":authority", b"u@a.test"), PATH],
    "an empty :authority": [METHOD, SCHEME, (b":authority", b""), PATH],
    "a path in :authority": [METHOD, SCHEME, (b":authority", b"a.test/x"), PATH],
    "a bad port in :authority": [METHOD, SCHEME, (b":authority", b"a.test:0"), PATH],
    "neither :authority nor Host": [METHOD, SCHEME, PATH],
    "2b: a Host that differs": [*GET, (b"host", b"b.test")],
    "2b: a Host of another port": [*GET, (b"host", b"a.test:444")],
    "2b: two Hosts": [*GET, (b"host", b"a.test"), (b"host", b"a.test")],
    "2b: an empty Host": [*GET, (b"host", b"")],
    ":method twice": [METHOD, METHOD, SCHEME, AUTHORITY, PATH],
    ":path twice": [*GET, (b":path", b"/")],
    ":status in a request": [*GET, *OK],
    ":unknown": [*GET, (b":unknown", b"1")],
    ":protocol without CONNECT": [*GET, (b":protocol", b"websocket")],
    "CONNECT with :scheme": [CONNECT, SCHEME, (b":authority", b"a.test:443")],
    "CONNECT with :path": [CONNECT, PATH, (b":authority", b"a.test:443")],
    "CONNECT without :authority": [CONNECT],
    "CONNECT without port": [CONNECT, AUTHORITY],
    "an extended CONNECT that was not offered": [CONNECT, SCHEME, AUTHORITY, PATH, (b":protocol", b"websocket")],
    "lengths that differ": [*GET, (b"content-length", b"1"), (b"content-length", b"2")],
    **{name: [*GET, (b"a", b"b"), field] for name, field in BAD_FIELDS.items()},
}
BAD_RESPONSES = {
    "no fields at all": [],
    "no :status": [(b"x", b"y")],
    ":status twice": [*OK, *OK],
    "a :status that is no number": [(b":status", b"2x0")],
    "a :status of four digits": [(b":status", b"2000")],
    "a :status with a line break": [(b":status", b"200\r\n")],
    ":status 101": [(b":status", b"101")],
    "a request's :path": [*OK, PATH],
    "lengths that differ": [*OK, (b"content-length", b"1"), (b"content-length", b"2")],
    **{name: [*OK, (b"a", b"b"), field] for name, field in BAD_FIELDS.items()},
}
GOOD = {SERVER: headers(3, GET, ends=True), CLIENT: headers(3, OK, ends=True)}
CASES = [
    *(pytest.param(SERVER, fields, id=f"request: {name}") for name, fields in BAD_REQUESTS.items()),
    *(pytest.param(CLIENT, fields, id=f"response: {name}") for name, fields in BAD_RESPONSES.items()),
]


@pytest.mark.parametrize(("role", "fields"), CASES)
def test_a_malformed_head_is_the_end_of_its_stream_and_of_nothing_else(role, fields):
    """2a, 2b"""
    codec = opened(role)

    fault, head, end = read(codec, headers(1, fields) + GOOD[role])

    assert isinstance(fault, Reset)
    assert (fault.stream_id, fault.code, fault.error.status) == (
        1,
        Code.PROTOCOL_ERROR,
        {SERVER: 400, CLIENT: 502}[role],
    )
    assert (head.stream_id, end) == (3, End(None, 3))
    assert [frame.payload for frame in told(codec, RST_STREAM)] == [bytes([0, 0, 0, Code.PROTOCOL_ERROR])]


BAD_TRAILERS = {name: [(b"a", b"b"), field] for name, field in BAD_FIELDS.items() if "length" not in name}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("fields", [*BAD_TRAILERS.values(), OK, [PATH]], ids=[*BAD_TRAILERS, ":status", ":path"])
def test_malformed_trailers_are_the_end_of_their_stream(role, fields):
    """2a"""
    codec = opened(role)

    events = read(codec, headers(1, {SERVER: POST, CLIENT: OK}[role]) + headers(1, fields, ends=True) + GOOD[role])

    assert [type(event) for event in events[:2]] == [{SERVER: RequestHead, CLIENT: ResponseHead}[role], Reset]
    assert events[-1] == End(None, 3)


BODIES = {
    "longer than its length": (data(1, b"123"), [], "longer"),
    "longer in a second frame": (data(1, b"12") + data(1, b"3"), [Data(b"12", 1)], "longer"),
    "shorter than its length": (data(1, b"1", ends=True), [Data(b"1", 1)], "shorter"),
    "missing": (data(1, b"", ends=True), [], "shorter"),
    "cut by trailers": (data(1, b"1") + headers(1, [(b"a", b"b")], ends=True), [Data(b"1", 1)], "shorter"),
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("body", "delivered", "word"), BODIES.values(), ids=BODIES.keys())
def test_a_body_that_disagrees_with_its_length_is_the_end_of_its_stream(role, body, delivered, word):
    """2a"""
    codec = opened(role)
    head = [*{SERVER: POST, CLIENT: OK}[role], (b"content-length", b"2")]

    _, *events = read(codec, headers(1, head) + body + GOOD[role])

    assert events[:-3] == delivered
    assert word in str(events[-3].error)
    assert events[-1] == End(None, 3)


@pytest.mark.parametrize(
    ("wire", "word"),
    [
        (headers(1, [(b":status", b"103")], ends=True), "interim"),
        (data(1, b"x"), "without a head"),
        (headers(1, OK) + headers(1, [(b"a", b"b")]), "do not end"),
        (headers(1, [(b":status", b"204")]) + data(1, b"x"), "longer"),
        (headers(1, [*OK, (b"content-length", b"1")], ends=True), "shorter"),
    ],
    ids=["an interim head is the end", "no head", "trailers go on", "204 with a body", "a length without a body"],
)
def test_a_response_out_of_order_is_the_end_of_its_stream(wire, word):
    """2a"""
    *_, fault, head, end = read(opened(CLIENT), wire + GOOD[CLIENT])

    assert word in str(fault.error)
    assert (head.status, end) == (200, End(None, 3))


@pytest.mark.parametrize(
    "host", [b"a.test", b"A.test", b"a.test:443", b"a.test:"], ids=["the same", "case", "default port", "empty port"]
)
def test_a_host_that_says_what_authority_says_is_kept(host):
    """2b"""
    head, _ = read(opened(SERVER), headers(1, [*GET, (b"host", host)], ends=True))

    assert (head.authority, head.fields) == (b"a.test", [(b"host", host)])


def test_te_may_say_trailers():
    """2a, 2d: gRPC asks for it."""
    head, _ = read(opened(SERVER), headers(1, [*GET, (b"te", b"trailers")], ends=True))

    assert head.fields == [(b"te", b"trailers")]


def test_an_extended_connect_is_taken_where_it_was_offered():
    """RFC 8441"""
    codec = Http2(SERVER, extended_connect=True)
    fields = [CONNECT, (b":protocol", b"websocket"), SCHEME, (b":path", b"/chat"), AUTHORITY]

    [head] = read(codec, opening(SERVER) + headers(1, fields))

    assert b"\0\x08\0\0\0\x01" in codec.take()
    assert (head.method, head.protocol, head.target, head.scheme) == (b"CONNECT", b"websocket", b"/chat", b"https")


def test_what_could_be_read_of_a_bad_request_is_there_for_the_record():
    [fault] = read(opened(SERVER), headers(5, [*GET, (b"x", b"\0")]))

    assert (fault.error.head.method, fault.error.head.target, fault.error.head.stream_id) == (b"GET", b"/", 5)


@pytest.mark.parametrize("more", [[(b"x", b"y" * 300)], [(b"x", b"y")] * 7], ids=["too many bytes", "too many fields"])
def test_a_request_with_too_much_in_its_head_is_told_so(more):
    """H17: 431 as an answer, on its stream; the table is as the client thinks it is."""
    codec = make_codec(SERVER, limits=Limits(head=400, fields=10))

    fault, head, _ = read(codec, opening(SERVER) + headers(1, GET + more) + GOOD[SERVER])

    assert fault.error.status == 431
    assert block([(b":status", b"431")])[1:] in codec.take()
    assert head.stream_id == 3


def test_a_response_with_too_much_in_its_head_is_an_error():
    """H17"""
    codec = make_codec(CLIENT, limits=Limits(head=400))

    fault, head, _ = read(codec, opening(CLIENT) + headers(1, [*OK, (b"x", b"y" * 400)]) + GOOD[CLIENT])

    assert (fault.error.status, head.stream_id) == (502, 3)


def test_a_value_is_never_quoted():
    """L2: it may be a secret."""
    [fault] = read(opened(SERVER), headers(1, [*GET, (b"authorization", b"Basic c2VjcmV0\0")]))

    assert "c2VjcmV0" not in str(fault.error)


def test_a_fault_does_not_spoil_what_the_same_block_means_later():
    """The block is remembered, and refused again."""
    codec = opened(SERVER)
    bad = [*GET, (b"x", b"\0")]

    events = read(codec, headers(1, bad) + headers(3, bad) + headers(5, GET, ends=True))

    assert [type(event) for event in events] == [Reset, Reset, RequestHead, End]
    assert isinstance(events[0].error, RemoteError)
    assert frame(RST_STREAM, 0, 3, bytes([0, 0, 0, 1])) in codec.take()
