"""The HTTP/1 codec over the life of a connection: ends, pairing, and limits."""

from time import process_time

import pytest
from support.codec import bytewise, make_codec, read

from mitmdump.errors import RemoteError
from mitmdump.wire.events import Data, End, ResponseHead, Role
from mitmdump.wire.http1 import Http1, Limits

SERVER, CLIENT = Role.SERVER, Role.CLIENT
HOST = (b"Host", b"a.test")
GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST /up HTTP/1.1\r\nHost: a.test\r\n"
OK = b"HTTP/1.1 200 OK\r\n"
NEXT = {SERVER: GET, CLIENT: b"HTTP/1.1 204 No Content\r\n\r\n"}


def ok(*fields: tuple[bytes, bytes], status: int = 200, reason: bytes = b"OK") -> ResponseHead:
    return ResponseHead(status, list(fields), reason)


CHUNKED_LINE = b"Transfer-Encoding: chunked\r\n\r\n"


def refusal(codec: Http1, pieces: list[bytes]) -> tuple[int, str]:
    with pytest.raises(RemoteError) as caught:
        [codec.receive(piece) for piece in pieces]
    return caught.value.status, str(caught.value)


# -- bodies that no field announces ---------------------------------------------------------------------------------


def test_a_response_without_length_ends_with_the_connection():
    outcome = read(make_codec(CLIENT), [OK + b"\r\nuntil", b" close"], eof=True)
    assert outcome == [ok(), Data(b"until close"), End()]


@pytest.mark.parametrize("end", [b"Content-Length: 5\r\n\r\n", CHUNKED_LINE, b"\r\n"])
def test_a_response_to_head_has_no_body_whatever_it_says(end):
    """H13"""
    codec = make_codec(CLIENT, b"HEAD")
    outcome = read(codec, [OK + end + OK + end], method=b"HEAD")
    assert [type(event) for event in outcome] == [ResponseHead, End] * 2


@pytest.mark.parametrize(
    ("method", "head"), [(b"GET", b"HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n"), (b"CONNECT", b"HTTP/1.1 200 OK\r\n\r\n")]
)
def test_what_comes_after_a_switch_is_left_alone(method, head):
    """H16"""
    codec = make_codec(CLIENT, method)
    events = codec.receive(head + b"\0opaque\n")
    assert [type(event) for event in events] == [ResponseHead]
    assert (codec.rest(), codec.has_rest, codec.eof()) == (b"\0opaque\n", False, [])


def test_a_refused_connect_has_a_body_as_usual():
    codec = make_codec(CLIENT, b"CONNECT")
    assert codec.receive(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nhi")[1:] == [Data(b"hi"), End()]


def test_a_response_that_nobody_asked_for_is_refused():
    assert refusal(Http1(CLIENT), [OK + b"\r\n"]) == (502, "the server sent a response that nobody asked for")


def test_a_server_that_closes_without_a_response_is_at_fault():
    assert read(make_codec(CLIENT), [], eof=True) == [502]


def test_an_end_between_messages_is_no_fault():
    assert read(make_codec(SERVER), [GET, b"\r\n"], eof=True) == read(make_codec(SERVER), [GET])
    assert Http1(CLIENT).eof() == []


# -- pairing and the life of the connection -------------------------------------------------------------------------


def test_a_pipelined_request_waits_until_the_one_before_it_is_answered():
    """H18"""
    codec = Http1(SERVER)
    assert len(codec.receive(GET + GET.replace(b"GET", b"PUT"))) == 2
    assert codec.receive(b"") == codec.receive(b"") == []
    codec.send(ResponseHead(204, []))
    codec.send(End())
    codec.start_next_cycle()
    assert codec.receive(b"")[0].method == b"PUT"


def test_what_is_idle_is_between_messages_with_nothing_here():
    codec = Http1(SERVER)
    assert codec.idle
    codec.receive(b"G")
    assert not codec.idle
    codec.receive(GET[1:])
    assert not codec.idle


def test_a_codec_that_has_met_a_fault_is_not_idle():
    codec = make_codec(CLIENT)
    refusal(codec, [b"rubbish\r\n\r\n"])
    assert not codec.idle


def test_a_fault_stays():
    codec = make_codec(SERVER)
    assert refusal(codec, [b"GET\r\n\r\n"]) == refusal(codec, [b""]) == refusal(codec, [GET])


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", None, True),
        (b"1.1", b"close", False),
        (b"1.1", b"CLOSE", False),
        (b"1.1", b"keep-alive, close", False),
        (b"1.1", b"x, ,Close ", False),
        (b"1.1", b"closed", True),
        (b"1.0", None, False),
        (b"1.0", b"keep-alive", False),  # of an HTTP/1.0 client, RFC 9112 section 9.3
    ],
)
def test_a_client_may_keep_its_connection(version, connection, kept):
    line = b"Connection: %b\r\n" % connection if connection else b""
    codec = Http1(SERVER)
    codec.receive(b"GET / HTTP/%b\r\nHost: a.test\r\n%b\r\n" % (version, line))
    assert codec.keep_alive is kept


@pytest.mark.parametrize(
    ("head", "kept"),
    [
        (b"HTTP/1.1 204 No\r\n\r\n", True),
        (b"HTTP/1.1 204 No\r\nConnection: close\r\n\r\n", False),
        (b"HTTP/1.0 204 No\r\n\r\n", False),
        (b"HTTP/1.0 204 No\r\nConnection: Keep-Alive\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
        (b"HTTP/1.1 100 Go\r\nConnection: close\r\n\r\nHTTP/1.1 204 No\r\n\r\n", True),
    ],
)
def test_a_server_may_keep_its_connection(head, kept):
    codec = make_codec(CLIENT)
    codec.receive(head)
    assert codec.keep_alive is kept


# -- limits ---------------------------------------------------------------------------------------------------------

SMALL = Limits(head=100, fields=3, chunk_line=16)


def head_of(size: int, role: Role) -> bytes:
    """A head of so many bytes without its empty line."""
    start = b"GET / HTTP/1.1\r\nHost: " if role is SERVER else b"HTTP/1.1 204 No\r\nX: "
    return start + b"a" * (size - len(start)) + b"\r\n\r\n"


@pytest.mark.parametrize(("role", "status"), [(SERVER, 431), (CLIENT, 502)])
def test_a_head_ends_within_its_limit(role, status):
    """H17"""
    for split in (lambda data: [data], bytewise):
        assert isinstance(read(make_codec(role, limits=SMALL), split(head_of(100, role)))[-1], End)
        assert read(make_codec(role, limits=SMALL), split(head_of(101, role))) == [status]
        assert read(make_codec(role, limits=SMALL), split(head_of(5000, role)[:-4])) == [status]


@pytest.mark.parametrize("split", [lambda data: [data], bytewise], ids=["whole", "bytewise"])
def test_a_request_line_that_alone_is_too_long_is_414(split):
    """H17"""
    line = b"GET /%b HTTP/1.1\r\n" % (b"a" * 100)
    assert read(make_codec(SERVER, limits=SMALL), split(line)) == [414]
    assert read(make_codec(SERVER, limits=SMALL), split(line + b"Host: a\r\n\r\n")) == [414]


@pytest.mark.parametrize(("role", "start", "status"), [(SERVER, b"GET / HTTP/1.1\r\n", 431), (CLIENT, OK, 502)])
def test_the_number_of_fields_has_a_limit(role, start, status):
    """H17"""
    end = b"Content-Length: 0\r\n\r\n"
    assert isinstance(read(make_codec(role, limits=SMALL), [start + b"A: b\r\n" * 2 + end])[-1], End)
    assert read(make_codec(role, limits=SMALL), [start + b"A: b\r\n" * 3 + end]) == [status]


@pytest.mark.parametrize(("role", "head", "status"), [(SERVER, POST, 400), (CLIENT, OK, 502)])
def test_a_chunk_extension_has_a_limit(role, head, status):
    """H6"""
    for split in (lambda data: [data], bytewise):
        good, bad = (head + CHUNKED_LINE + b"1;" + b"a" * size + b"\r\nx\r\n0\r\n\r\n" for size in (12, 13))
        assert isinstance(read(make_codec(role, limits=SMALL), split(good))[-1], End)
        assert read(make_codec(role, limits=SMALL), split(bad))[-1] == status


@pytest.mark.parametrize(("role", "head", "status"), [(SERVER, POST, 431), (CLIENT, OK, 502)])
@pytest.mark.parametrize("trailers", [b"A: " + b"a" * 98, b"A: b\r\n" * 4, b"A: " + b"a" * 4000])
def test_trailers_have_limits(role, head, status, trailers):
    """H17"""
    data = head + CHUNKED_LINE + b"0\r\n" + trailers.removesuffix(b"\r\n") + b"\r\n\r\n"
    for pieces in ([data], bytewise(data)):
        assert read(make_codec(role, limits=SMALL), pieces)[-1] == status


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nA:" + b" " * 60_000 + b"\0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A" * 60_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A:\r" * 20_000 + b"\r\n\r\n",
        b"GET " + b"/" * 60_000 + b"\r\n\r\n",
        b"A " * 30_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b" " * 60_000 + b"\0\r\n\r\n",
        POST + CHUNKED_LINE + b"1" + b" " * 4000 + b"x\r\n",
    ],
)
def test_no_head_takes_long_to_refuse(data):
    """H17: a regular expression that gives back character by character would take seconds, or minutes."""
    role = CLIENT if data.startswith(b"HTTP") else SERVER
    start = process_time()
    assert isinstance(read(make_codec(role), [data])[-1], int)
    assert process_time() - start < 0.3
