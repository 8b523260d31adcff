"""What the HTTP/1 codec makes of bytes: each case whole, byte by byte, and with data behind it."""

import pytest
from support.codec import bytewise, make_codec, read

from mitmdump.errors import RemoteError
from mitmdump.wire.events import Data, End, RequestHead, ResponseHead, Role
from mitmdump.wire.http1 import Http1

SERVER, CLIENT = Role.SERVER, Role.CLIENT
HOST = (b"Host", b"a.test")
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST /up HTTP/1.1\r\nHost: a.test\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
NEXT = {SERVER: GET, CLIENT: b"HTTP/1.1 204 No Content\r\n\r\n"}


def ok(*fields: tuple[bytes, bytes], status: int = 200, reason: bytes = b"OK") -> ResponseHead:
    return ResponseHead(status, list(fields), reason)


REQUESTS = {
    "no body": (GET, [RequestHead(b"GET", b"/", [HOST]), End()]),
    "HTTP/1.0 without Host": (b"GET / HTTP/1.0\r\n\r\n", [RequestHead(b"GET", b"/", [], b"HTTP/1.0"), End()]),
    "a method of the client's own": (
        b"m!#$%&'*+-.^_`|~9 * HTTP/1.1\r\nHost: a.test\r\n\r\n",
        [RequestHead(b"m!#$%&'*+-.^_`|~9", b"*", [HOST]), End()],
    ),
    "obs-text in target and value": (
        b"GET /\xe4\xff HTTP/1.1\r\nHost: a.test\r\nX: \x80\xff\ttab\r\n\r\n",
        [RequestHead(b"GET", b"/\xe4\xff", [HOST, (b"X", b"\x80\xff\ttab")]), End()],
    ),
    "order, case and duplicates": (
        b"GET / HTTP/1.1\r\nhOsT: a.test\r\nB: 2\r\nA: 1\r\nb: 3\r\nA: 1\r\n\r\n",
        [
            RequestHead(b"GET", b"/", [(b"hOsT", b"a.test"), (b"B", b"2"), (b"A", b"1"), (b"b", b"3"), (b"A", b"1")]),
            End(),
        ],
    ),
    "white space around values is not theirs": (
        b"GET / HTTP/1.1\r\nHost:a.test\r\nX: \t a  b \t \r\nEmpty:\r\nBlank:  \t\r\n\r\n",
        [RequestHead(b"GET", b"/", [(b"Host", b"a.test"), (b"X", b"a  b"), (b"Empty", b""), (b"Blank", b"")]), End()],
    ),
    "a value of colons, commas and quotes": (
        b'GET / HTTP/1.1\r\nHost: a.test\r\nX: :a, "b:\\"c",,;\r\n\r\n',
        [RequestHead(b"GET", b"/", [HOST, (b"X", b':a, "b:\\"c",,;')]), End()],
    ),
    "empty lines before the request line": (b"\r\n\r\n\r\n" + GET, [RequestHead(b"GET", b"/", [HOST]), End()]),
    "a body of known length": (
        POST + b"Content-Length: 5\r\n\r\nhello",
        [RequestHead(b"POST", b"/up", [HOST, (b"Content-Length", b"5")]), Data(b"hello"), End()],
    ),
    "a body of length 0": (
        POST + b"Content-Length: 0\r\n\r\n",
        [RequestHead(b"POST", b"/up", [HOST, (b"Content-Length", b"0")]), End()],
    ),
    "a body that looks like a request": (
        POST + b"Content-Length: %d\r\n\r\n" % len(GET) + GET,
        [RequestHead(b"POST", b"/up", [HOST, (b"Content-Length", b"%d" % len(GET))]), Data(GET), End()],
    ),
    "H2 identical Content-Lengths": (
        POST + b"Content-Length: 2\r\ncontent-length: 2\r\n\r\nhi",
        [
            RequestHead(b"POST", b"/up", [HOST, (b"Content-Length", b"2"), (b"content-length", b"2")]),
            Data(b"hi"),
            End(),
        ],
    ),
    "leading zeros of a Content-Length": (
        POST + b"Content-Length: 0002\r\n\r\nhi",
        [RequestHead(b"POST", b"/up", [HOST, (b"Content-Length", b"0002")]), Data(b"hi"), End()],
    ),
    "CONNECT": (
        b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n",
        [RequestHead(b"CONNECT", b"a.test:443", [(b"Host", b"a.test:443")]), End()],
    ),
}

CHUNKED = (b"Transfer-Encoding", b"chunked")
CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n\r\n"
BODIES = {  # after a head that says chunked, in both roles
    "no chunk": (b"0\r\n\r\n", [End()]),
    "one chunk": (b"5\r\nhello\r\n0\r\n\r\n", [Data(b"hello"), End()]),
    "many chunks": (b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n4\r\nghij\r\n0\r\n\r\n", [Data(b"abcdefghij"), End()]),
    "a size in either case, with zeros": (
        b"00A\r\n0123456789\r\n00000000000000a\r\n0123456789\r\n000\r\n\r\n",
        [Data(b"01234567890123456789"), End()],
    ),
    "CRLF in a chunk": (b"4\r\n\r\n\r\n\r\n0\r\n\r\n", [Data(b"\r\n\r\n"), End()]),
    "extensions": (b'1;a\r\nx\r\n1 ;b="c;d\xff" ; e\r\ny\r\n1\t;\r\nz\r\n0;last=1\r\n\r\n', [Data(b"xyz"), End()]),
    "H15 trailers": (
        b"1\r\nx\r\n0\r\nX-Sum: 7\r\nx-sum: 8\r\n\r\n",
        [Data(b"x"), End([(b"X-Sum", b"7"), (b"x-sum", b"8")])],
    ),
    "an empty trailer": (b"0\r\nA:\r\n\r\n", [End([(b"A", b"")])]),
}

RESPONSES = {
    "a length": (OK + b"Content-Length: 2\r\n\r\nhi", [ok((b"Content-Length", b"2")), Data(b"hi"), End()]),
    "no reason": (b"HTTP/1.1 204 \r\n\r\n", [ok(status=204, reason=b""), End()]),
    "no reason and no space": (b"HTTP/1.1 204\r\n\r\n", [ok(status=204, reason=b""), End()]),
    "a reason of several words, and obs-text": (
        b"HTTP/1.1 204 So \t long \xe9 \r\n\r\n",
        [ok(status=204, reason=b"So \t long \xe9 "), End()],
    ),
    "H13 204 with a length": (
        b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n",
        [ok((b"Content-Length", b"5"), status=204, reason=b"No"), End()],
    ),
    "H13 304 with a length": (
        b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n",
        [ok((b"Content-Length", b"5"), status=304, reason=b"No"), End()],
    ),
    "H13 204 with chunked": (
        b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n",
        [ok(CHUNKED, status=204, reason=b"No"), End()],
    ),
    "an unknown status": (
        b"HTTP/1.1 999 Oh\r\nContent-Length: 0\r\n\r\n",
        [ok((b"Content-Length", b"0"), status=999, reason=b"Oh"), End()],
    ),
    "H14 interim responses": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        [
            ok(status=100, reason=b"Continue"),
            ok((b"Link", b"</a>"), status=103, reason=b"Early"),
            ok(status=204, reason=b"No"),
            End(),
        ],
    ),
    "H13 1xx with a length": (
        b"HTTP/1.1 100 Go\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
        [ok((b"Content-Length", b"5"), status=100, reason=b"Go"), ok(status=204, reason=b"No"), End()],
    ),
}

WELL_FORMED = (
    [pytest.param(SERVER, *case, id=f"request, {name}") for name, case in REQUESTS.items()]
    + [pytest.param(CLIENT, *case, id=f"response, {name}") for name, case in RESPONSES.items()]
    + [
        pytest.param(role, head + CHUNKED_LINE + data, [event, *events], id=f"{role.value}, {name}")
        for name, (data, events) in BODIES.items()
        for role, head, event in (
            (SERVER, POST, RequestHead(b"POST", b"/up", [HOST, CHUNKED])),
            (CLIENT, OK, ok(CHUNKED)),
        )
    ]
)


@pytest.mark.parametrize(("role", "data", "events"), WELL_FORMED)
def test_a_message_is_read_whole_byte_by_byte_and_with_another_behind_it(role, data, events):
    following = read(make_codec(role), [NEXT[role]])
    assert read(make_codec(role), [data], eof=role is SERVER) == events
    assert read(make_codec(role), bytewise(data), eof=role is SERVER) == events
    assert read(make_codec(role), [data + NEXT[role]]) == events + following
    assert read(make_codec(role), bytewise(data + NEXT[role])) == events + following


@pytest.mark.parametrize(("role", "data", "events"), WELL_FORMED)
def test_a_message_that_is_cut_short_is_an_error(role, data, events):
    """H20"""
    start = len(data) - len(data.lstrip(b"\r\n")) + 1
    for end in range(start, len(data)):
        outcome = read(make_codec(role), [data[:end]], eof=True)
        assert outcome[-1] == (400 if role is SERVER else 502)


FIELD_FAULTS = {  # a line among the fields, and what is said of it
    "H7 NUL in a value": (b"X: a\0b\r\n", "control character"),
    "H7 NUL in a name": (b"X\0: a\r\n", "cannot stand in a field name"),
    "H7 bare CR in a value": (b"X: a\rb\r\n", "control character"),
    "H7 bare CR before CRLF": (b"X: a\r\r\n", "control character"),
    "H7 bare CR in a name": (b"X\rY: a\r\n", "cannot stand in a field name"),
    "H7 bare LF ends a value": (b"X: a\nY: b\r\n", "bare LF"),
    "H7 bare LF after the name": (b"X:\n a\r\n", "bare LF"),
    "H7 DEL": (b"X: \x7f\r\n", "control character"),
    "H7 vertical tab": (b"X: \x0b\r\n", "control character"),
    "H8 space before the colon": (b"Content-Length : 5\r\n", "white space before the colon"),
    "H8 tab before the colon": (b"X\t: 5\r\n", "white space before the colon"),
    "H8 folding with a space": (b"X: a\r\n b\r\n", "obsolete folding"),
    "H8 folding with a tab": (b"X: a\r\n\tb: c\r\n", "obsolete folding"),
    "H8 no name": (b": a\r\n", "without a name"),
    "no colon": (b"X\r\n", "without a colon"),
    "space in a name": (b"X Y: a\r\n", "cannot stand in a field name"),
    "obs-text in a name": (b"X\xe9: a\r\n", "cannot stand in a field name"),
    "a quote in a name": (b'"X": a\r\n', "cannot stand in a field name"),
}
FRAMING_FAULTS = {
    "H1 both": (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "both"),
    "H1 both, other order": (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "both"),
    "H1 both, odd spelling": (b"cOnTeNt-LeNgTh: 0\r\nTRANSFER-ENCODING: chunked\r\n", "both"),
    "H2 differing": (b"Content-Length: 5\r\nContent-Length: 6\r\n", "differing"),
    "H2 differing in spelling": (b"Content-Length: 5\r\nContent-Length: 05\r\n", "differing"),
    **{
        f"H3 {length!r}": (b"Content-Length: " + length + b"\r\n", "plain number")
        for length in (
            b"NaN",
            b"",
            b"+1",
            b"-1",
            b"0x42",
            b"1, 2",
            b"1, 1",
            b"1,",
            b"1_0",
            b"1 0",
            b"1.0",
            b"1e3",
            b"9" * 19,
            b"9" * 5000,
            "\u0661".encode(),
            b"\xb2",
            b"5;",
            b'"5"',
            b"5\x85",
            b"\xa05",
        )
    },
    **{
        f"H4 {coding!r}": (b"Transfer-Encoding: " + coding + b"\r\n", "other than 'chunked'")
        for coding in (
            b"chunked,chunked",
            b"x,chunked",
            b"gzip, chunked",
            b"chunked,gzip",
            b"xchunked",
            b"chunkedx",
            b"identity",
            b"",
            b"chunked;q=1",
            b'"chunked"',
            b"chunked,",
            b", chunked",
            b"chun ked",
            "chun\u212aed".encode(),
            "\u0441hunked".encode(),
            b"chunked\xa0",
            b"chunk",
        )
    },
    "H4 twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "other than 'chunked'"),
    "H4 after another": (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "other than 'chunked'"),
}
FIELDS_FAULTS = [pytest.param(*case, id=name) for name, case in {**FIELD_FAULTS, **FRAMING_FAULTS}.items()]


def refusal(codec: Http1, pieces: list[bytes]) -> tuple[int, str]:
    with pytest.raises(RemoteError) as caught:
        [codec.receive(piece) for piece in pieces]
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize(
    ("role", "head", "status"), [(SERVER, POST, 400), (CLIENT, OK, 502)], ids=["request", "response"]
)
@pytest.mark.parametrize(("lines", "said"), FIELDS_FAULTS)
def test_fields_that_could_be_read_in_two_ways_are_refused(role, head, status, lines, said):
    for data in (head + lines, head + b"A: b\r\n" + lines + b"C: d\r\n"):
        for pieces in ([data + b"\r\n"], bytewise(data + b"\r\n"), [data + b"\r\n" + NEXT[role]]):
            got, text = refusal(make_codec(role), pieces)
            assert (got, said in text) == (status, True), text


@pytest.mark.parametrize("line", [b" X: a\r\n", b"\tX: a\r\n"])
@pytest.mark.parametrize(("role", "start", "status"), [(SERVER, b"GET / HTTP/1.1\r\n", 400), (CLIENT, OK, 502)])
def test_a_first_field_that_starts_with_white_space_is_refused(role, start, status, line):
    """H8"""
    for pieces in ([start + line + b"\r\n"], bytewise(start + line + b"\r\n")):
        assert refusal(make_codec(role), pieces)[0] == status


@pytest.mark.parametrize(
    ("role", "data", "status"),
    [
        (SERVER, b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CLIENT, b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502),
    ],
)
def test_transfer_encoding_in_http_1_0_is_refused(role, data, status):
    """H5"""
    assert refusal(make_codec(role), [data])[0] == refusal(make_codec(role), bytewise(data))[0] == status


@pytest.mark.parametrize(
    "status_line", [b"HTTP/1.1 204 No", b"HTTP/1.1 304 No", b"HTTP/1.1 100 Go", b"HTTP/1.1 200 OK"]
)
def test_contradictory_fields_are_refused_even_where_there_is_no_body(status_line):
    data = status_line + b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refusal(make_codec(CLIENT, b"HEAD"), [data])[0] == 502


CHUNK_FAULTS = {
    f"H6 {line!r}": line + b"\r\nabcd\r\n"
    for line in (
        b"0x1",
        b"1_0",
        b"+1",
        b"-1",
        b"1" * 17,
        b"0" * 17,
        b"",
        b" 1",
        b"1 ",
        b"g",
        b"1g",
        b"1 1",
        b"\xb21",
        b"1\t",
        b"1;a\0",
        b"1;a\rb",
        b"1;a\x7f",
        b"1,a",
        b"1 a",
        "\u0661".encode(),
    )
}
CHUNK_FAULTS |= {
    "H6 bare LF after the size": b"1\nx\r\n0\r\n\r\n",
    "H6 bare LF after an extension": b"1;a\nx\r\n0\r\n\r\n",
    "H6 bare CR after the size": b"1\rx\r\n0\r\n\r\n",
    "H6 a chunk longer than its size": b"1\r\nxy\r\n0\r\n\r\n",
    "H6 bare LF after a chunk": b"1\r\nx\n0\r\n\r\n",
    "H6 bare CR after a chunk": b"1\r\nx\r0\r\n\r\n",
    "bare LF after the last chunk": b"0\n\n",
    "bare LF after trailers": b"0\r\nA: b\n\r\n",
    "trailers that are none": b"0\r\nGET / HTTP/1.1\r\n\r\n",
    "folding in trailers": b"0\r\nA: b\r\n c\r\n\r\n",
    "NUL in a trailer": b"0\r\nA: \0\r\n\r\n",
}


@pytest.mark.parametrize(
    ("role", "head", "status"), [(SERVER, POST, 400), (CLIENT, OK, 502)], ids=["request", "response"]
)
@pytest.mark.parametrize("body", CHUNK_FAULTS.values(), ids=CHUNK_FAULTS)
def test_chunks_that_could_be_read_in_two_ways_are_refused(role, head, status, body):
    data = head + CHUNKED_LINE + body
    for pieces in ([data], bytewise(data), [data + NEXT[role]]):
        outcome = read(make_codec(role), pieces)
        assert (type(outcome[0]), outcome[-1]) == (RequestHead if role is SERVER else ResponseHead, status)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET  / HTTP/1.1", 400),
        (b"GET /  HTTP/1.1", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET\t/ HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /", 400),
        (b"GET", 400),
        (b"GET / http/1.1", 400),
        (b"GET / HTTP/1.1\r", 400),
        (b"GET / HTTP/1.1\0", 400),
        (b"GET /\0 HTTP/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"GET /\r/ HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"G\xe9T / HTTP/1.1", 400),
        (b"GET / HTTP/11.1", 400),
        (b"GET / HTTP/01.1", 400),
        (b"GET / HTTP/1.10", 400),
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET / HTTP/3", 505),
        (b"PRI * HTTP/2.0", 505),
        (b"HTTP/1.1 200 OK", 400),
        (b"\x16\x03\x01\x02", 400),
    ],
)
def test_a_request_line_has_one_form(line, status):
    data = line + b"\r\nHost: a.test\r\n\r\n"
    assert refusal(make_codec(SERVER), [data])[0] == refusal(make_codec(SERVER), bytewise(data))[0] == status


@pytest.mark.parametrize(
    "line",
    [
        b"HTTP/1.1 20 OK",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 +20 OK",
        b"HTTP/1.1 20x OK",
        b"HTTP/1.1  200 OK",
        b"HTTP/1.1\t200 OK",
        b" HTTP/1.1 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/2 200",
        b"HTTP/1.2 200 OK",
        b"HTTP/1.1 200 O\0K",
        b"HTTP/1.1 200 O\rK",
        b"HTTP/1.1 200OK",
        b"ICY 200 OK",
        b"<html>",
        b"HTTP/1.1",
        b"GET / HTTP/1.1",
    ],
)
def test_a_status_line_has_one_form(line):
    data = line + b"\r\nContent-Length: 0\r\n\r\n"
    assert refusal(make_codec(CLIENT), [data])[0] == refusal(make_codec(CLIENT), bytewise(data))[0] == 502


def test_an_empty_line_before_a_status_line_is_refused():
    assert refusal(make_codec(CLIENT), [b"\r\n" + OK + b"\r\n"])[0] == 502


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: a.test\n\n", b"\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n"])
def test_a_head_whose_lines_end_in_bare_lf_is_refused_without_waiting_for_more(data):
    """H7"""
    assert refusal(make_codec(SERVER), [data])[0] == refusal(make_codec(SERVER), bytewise(data))[0] == 400


def test_a_refusal_never_quotes_a_value():
    """L2"""
    data = GET[:-2] + b"Authorization: secret\x01\r\n\r\n"
    assert "secret" not in refusal(make_codec(SERVER), [data])[1]
