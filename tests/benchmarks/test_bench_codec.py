"""What HTTP/1 costs, as bytes: heads of some eight fields, small bodies, and pieces of large ones."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from support.codec import make_codec, write

from mitmdump.wire.events import Data, End, RequestHead, ResponseHead, Role
from mitmdump.wire.http1 import Http1, Limits

FIELDS = [
    (b"Host", b"example.com"),
    (b"User-Agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"Accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"Accept-Language", b"en-US,en;q=0.5"),
    (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
    (b"Cookie", b"session=0123456789abcdef0123456789abcdef; theme=dark"),
    (b"Cache-Control", b"no-cache"),
]
REQUEST = RequestHead(b"GET", b"/some/path?with=a&query=1", FIELDS)
ANSWER = [(b"Server", b"nginx"), (b"Date", b"Mon, 23 Nov 2026 07:00:00 GMT"), (b"Content-Type", b"text/plain")]
RESPONSE = ResponseHead(200, [*ANSWER, (b"Content-Length", b"1024")], b"OK")
CHUNKED = ResponseHead(200, [*ANSWER, (b"Transfer-Encoding", b"chunked")], b"OK")
PIECE = Data(bytes(64 * 1024))
ROOM = Limits()


def wire(role: Role, *events: RequestHead | ResponseHead | Data | End) -> bytes:
    """What these events look like on the wire, written by who plays the role."""
    codec = Http1(role)
    if role is Role.SERVER:
        codec.receive(wire(Role.CLIENT, REQUEST, End()))
    return write(codec, *events)


ASKED = wire(Role.CLIENT, REQUEST, End())
ANSWERED = wire(Role.SERVER, RESPONSE, Data(bytes(1024)), End())


def test_a_small_exchange_as_a_server(benchmark: BenchmarkFixture) -> None:
    codec = make_codec(Role.SERVER)

    def exchange() -> None:
        codec.receive(ASKED)
        write(codec, RESPONSE, Data(bytes(1024)), End())
        codec.start_next_cycle()

    benchmark(exchange)


def test_a_small_exchange_as_a_client(benchmark: BenchmarkFixture) -> None:
    codec = Http1(Role.CLIENT, ROOM)

    def exchange() -> None:
        write(codec, REQUEST, End())
        codec.receive(ANSWERED)
        codec.start_next_cycle()

    benchmark(exchange)


def test_reading_a_request_head(benchmark: BenchmarkFixture) -> None:
    benchmark(lambda: Http1(Role.SERVER, ROOM).receive(ASKED))


def test_reading_a_request_head_byte_by_byte(benchmark: BenchmarkFixture) -> None:
    def read() -> None:
        codec = Http1(Role.SERVER, ROOM)
        for at in range(len(ASKED)):
            codec.receive(ASKED[at : at + 1])

    benchmark(read)


def test_reading_a_thousand_small_chunks_at_once(benchmark: BenchmarkFixture) -> None:
    data = wire(Role.SERVER, CHUNKED, *[Data(bytes(64))] * 1000, End())
    benchmark(lambda: make_codec(Role.CLIENT).receive(data))


@pytest.mark.parametrize("head", [RESPONSE, CHUNKED], ids=["of known length", "chunked"])
def test_reading_1_mib_in_64_kib(benchmark: BenchmarkFixture, head: ResponseHead) -> None:
    pieces = body_on_the_wire(head)

    def read() -> None:
        codec = make_codec(Role.CLIENT)
        for piece in pieces:
            codec.receive(piece)

    benchmark(read)


@pytest.mark.parametrize("head", [RESPONSE, CHUNKED], ids=["of known length", "chunked"])
def test_writing_1_mib_in_64_kib(benchmark: BenchmarkFixture, head: ResponseHead) -> None:
    benchmark(lambda: body_on_the_wire(head))


def body_on_the_wire(head: ResponseHead) -> list[bytes]:
    """A response with 16 pieces, write by write."""
    fields = [(name, b"1048576" if name == b"Content-Length" else value) for name, value in head.fields]
    codec = Http1(Role.SERVER, ROOM)
    codec.receive(ASKED)
    codec.send(ResponseHead(head.status, fields, head.reason))
    return [write(codec, PIECE) for _ in range(16)]
