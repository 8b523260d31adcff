"""What holds for the HTTP/1 codec whatever the bytes are."""

from contextlib import suppress
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from support.codec import bytewise, make_codec, read, write

from mitmdump.errors import RemoteError
from mitmdump.wire.events import Data, End, RequestHead, ResponseHead, Role
from mitmdump.wire.http1 import Http1, Limits

roles = st.sampled_from(Role)
LIMITS = Limits(head=300, fields=6, chunk_line=12)

# Pieces that are nearly HTTP: what is made of them gets far enough to meet every state, and every fault.
FRAGMENTS = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\n",
    b"PUT / HTTP/1.0\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 100 Go\r\n\r\n",
    b"HTTP/1.0 200\r\n",
    b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n",
    b"Host: a\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"X: y \r\n",
    b" folded\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b"abc",
    b"3\r\nabc\r\n",
    b"1;x=y\r\na\r\n",
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"A: " + b"a" * 150 + b"\r\n",
    b": x\r\n",
    b"f" * 13,
    b"ff\r\n",
]
nearly_http = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=12).map(b"".join)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(borders)]


@settings(max_examples=100, deadline=None)
@given(roles, nearly_http, st.lists(st.integers(0, 10_000), max_size=8))
def test_any_split_of_the_bytes_gives_the_same_events_and_the_same_verdict(role, data, places):
    whole = read(make_codec(role, limits=LIMITS), [data])
    for pieces in (cut(data, places), bytewise(data)):
        outcome = read(make_codec(role, limits=LIMITS), pieces)
        assert _without_status(outcome) == _without_status(whole)


def _without_status(outcome):
    """Which of several faults is met first may depend on the split, but not that there is one, nor where."""
    return ["fault" if isinstance(event, int) else event for event in outcome]


@settings(max_examples=100, deadline=None)
@given(roles, st.lists(nearly_http | st.binary(max_size=40), max_size=4))
def test_no_bytes_raise_anything_but_remote_error(role, pieces):
    codec = make_codec(role)
    with suppress(RemoteError):
        for piece in pieces:
            codec.receive(piece)
        codec.eof()


@settings(max_examples=200, deadline=None)
@given(roles, nearly_http)
def test_what_is_held_is_bounded(role, data):
    """H17: a head, or a line, and no more, however much is sent."""
    codec = make_codec(role, limits=LIMITS)
    with suppress(RemoteError):
        for piece in bytewise(data):
            codec.receive(piece)
            assert len(codec._buffer) <= LIMITS.head + 4 or codec.cycle_done or not codec._missing


token = st.text(st.sampled_from("!#$%&'*+-.^_`|~09azAZ"), min_size=1, max_size=8).map(str.encode)
characters = st.sampled_from([c for c in range(256) if c >= 32 and c != 127] + [9])
value = st.lists(characters, max_size=20).map(bytes).map(lambda text: text.strip(b" \t"))
target = st.lists(st.sampled_from([c for c in range(33, 256) if c != 127]), min_size=1, max_size=20).map(bytes)
DECIDES = {b"connection", b"content-length", b"transfer-encoding", b"upgrade"}
fields = st.lists(st.tuples(token, value).filter(lambda field: field[0].lower() not in DECIDES), max_size=6)
bodies = st.lists(st.binary(min_size=1, max_size=40), max_size=4)
framings = st.sampled_from(["length", "chunked"])


def framed(framing: str, body: list[bytes]) -> tuple[bytes, bytes]:
    if framing == "length":
        return (b"Content-Length", b"%d" % sum(map(len, body)))
    return (b"Transfer-Encoding", b"chunked")


@settings(max_examples=100, deadline=None)
@given(token, target, fields, framings, bodies, fields)
def test_a_request_reads_as_it_was_written(method, path, header, framing, body, trailers):
    """H22"""
    end = End(trailers or None if framing == "chunked" else None)
    head = RequestHead(method, path, [*header, framed(framing, body)])
    data = write(Http1(Role.CLIENT), head, *map(Data, body), end)
    expected = [head, *([Data(b"".join(body))] if body else []), end]
    assert read(Http1(Role.SERVER), [data]) == expected


@settings(max_examples=100, deadline=None)
@given(st.integers(200, 999), value, fields, framings, bodies)
def test_a_response_reads_as_it_was_written(status, reason, header, framing, body):
    """H22"""
    body = [] if status in (204, 304) else body
    head = ResponseHead(status, [*header, framed(framing, body)], reason)
    server = Http1(Role.SERVER)
    server.receive(b"GET / HTTP/1.1\r\n\r\n")
    data = write(server, head, *map(Data, body), End())
    assert read(make_codec(Role.CLIENT), [data]) == [head, *([Data(b"".join(body))] if body else []), End()]
