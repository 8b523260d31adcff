"""What the HTTP/1 codec writes, and that what it wrote reads as what it was."""

import pytest
from support.codec import make_codec, read, write

from mitmdump.errors import LocalError
from mitmdump.wire.events import Data, End, RequestHead, ResponseHead, Role
from mitmdump.wire.http1 import Http1

HOST = (b"Host", b"a.test")
CHUNKED = (b"Transfer-Encoding", b"chunked")
GET = RequestHead(b"GET", b"/", [HOST])


def answering(method: bytes = b"GET") -> Http1:
    """A server that has read a request."""
    codec = Http1(Role.SERVER)
    codec.receive(b"%b / HTTP/1.1\r\nHost: a.test\r\n\r\n" % method)
    return codec


FAITHFUL = [
    b"GET / HTTP/1.1\r\nhOsT: a.test\r\nB: 2\r\nA: 1\r\nb: 3\r\nA: 1\r\n\r\n",
    b"m!#$%&'*+-.^_`|~9 /\xff?x=y#z HTTP/1.0\r\nEmpty: \r\nX: \xe9\t\x80\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0005\r\n\r\nhello",
]


@pytest.mark.parametrize("data", FAITHFUL)
def test_what_was_read_is_written_as_it_was(data):
    """H22"""
    events = Http1(Role.SERVER).receive(data)
    assert write(Http1(Role.CLIENT), *events) == data


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 299 Just  so \xe9\r\nX: 1\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 204 \r\n\r\n",
        b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
    ],
)
def test_a_response_that_was_read_is_written_as_it_was(data):
    """H22"""
    events = make_codec(Role.CLIENT).receive(data)
    assert write(answering(), *events) == data


def test_a_chunked_body_is_written_in_chunks_of_our_own():
    """H15"""
    head, trailers = RequestHead(b"POST", b"/", [HOST, CHUNKED]), End([(b"X-Sum", b"7"), (b"B", b"")])
    data = write(Http1(Role.CLIENT), head, Data(b"hello"), Data(b""), Data(b"x" * 26), trailers)
    body = b"5\r\nhello\r\n1a\r\n" + b"x" * 26 + b"\r\n0\r\nX-Sum: 7\r\nB: \r\n\r\n"
    assert data.partition(b"\r\n\r\n")[2] == body


@pytest.mark.parametrize("trailers", [None, [], [(b"A", b"1")], [(b"A", b"1"), (b"A", b"2")]])
@pytest.mark.parametrize("body", [[], [Data(b"x")], [Data(b"x"), Data(b"")]])
def test_a_chunked_body_reads_as_it_was_written(body, trailers):
    """H15"""
    events = [RequestHead(b"POST", b"/", [HOST, CHUNKED]), *body, End(trailers)]
    data = write(Http1(Role.CLIENT), *events)
    following = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    outcome = read(Http1(Role.SERVER), [data + following])
    assert [event for event in outcome if isinstance(event, End)] == [End(trailers or None), End()]


@pytest.mark.parametrize(
    ("method", "head", "rest"),
    [
        (b"HEAD", ResponseHead(200, [(b"Content-Length", b"5")]), []),
        (b"HEAD", ResponseHead(200, [CHUNKED]), []),
        (b"GET", ResponseHead(304, [(b"Content-Length", b"5")]), []),
        (b"GET", ResponseHead(204, []), []),
    ],
)
def test_a_response_without_a_body_ends_with_its_head(method, head, rest):
    """H13"""
    codec = answering(method)
    data = write(codec, head, End())
    assert data.endswith(b"\r\n\r\n")
    assert data.count(b"\r\n\r\n") == 1
    assert codec.cycle_done


@pytest.mark.parametrize(("status", "upgrade"), [(101, [(b"Upgrade", b"x")]), (200, [])])
def test_after_a_switch_there_is_no_more_http(status, upgrade):
    codec = answering(b"CONNECT" if status == 200 else b"GET")
    write(codec, ResponseHead(status, upgrade))
    assert not codec.cycle_done
    with pytest.raises(LocalError):
        codec.send(Data(b"x"))


def test_a_response_until_close_is_written_as_it_comes():
    codec = answering()
    assert write(codec, ResponseHead(200, []), Data(b"a"), Data(b"b"), End()).endswith(b"\r\n\r\nab")
    assert codec.sends_until_close


@pytest.mark.parametrize(
    "events",
    [
        [GET, GET],
        [Data(b"x")],
        [GET, Data(b"x")],
        [RequestHead(b"PUT", b"/", [HOST, (b"Content-Length", b"1")]), Data(b"xy")],
        [RequestHead(b"PUT", b"/", [HOST, (b"Content-Length", b"2")]), Data(b"x"), End()],
    ],
    ids=["two heads", "no head", "a body that was not announced", "too much", "too little"],
)
def test_our_own_mistakes_are_told_apart(events):
    with pytest.raises(LocalError):
        write(Http1(Role.CLIENT), *events)


def test_a_cycle_is_not_begun_before_the_last_is_over():
    codec = answering()
    with pytest.raises(LocalError):
        codec.start_next_cycle()


def test_interim_responses_do_not_start_the_response():
    """H14"""
    codec = answering()
    write(codec, ResponseHead(100, []), ResponseHead(103, [(b"Link", b"</a>")]))
    assert not codec.response_started
    write(codec, ResponseHead(204, []))
    assert codec.response_started
