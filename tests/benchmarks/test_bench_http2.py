"""What HTTP/2 costs, as bytes: a head as browsers send it, small bodies, and pieces of large ones."""

from __future__ import annotations

from itertools import count

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from support.http2 import opening

from mitmdump.wire.events import Data, End, RequestHead, ResponseHead, Role
from mitmdump.wire.http2 import Http2

FIELDS = [
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"cookie", b"session=0123456789abcdef0123456789abcdef; theme=dark"),
    (b"cache-control", b"no-cache"),
]
ANSWER = [
    (b"server", b"nginx"),
    (b"date", b"Mon, 23 Nov 2026 07:00:00 GMT"),
    (b"content-type", b"text/plain"),
    (b"content-length", b"1024"),
]
PIECE = bytes(64 * 1024)


class Pair:
    """A client and a server of ours, one bench between them."""

    def __init__(self) -> None:
        self.client, self.server = Http2(Role.CLIENT), Http2(Role.SERVER)
        self.server.receive(self.client.take())
        self.client.receive(self.server.take())
        self.server.receive(self.client.take())

    def ask(self, path: bytes) -> int:
        """Send a request and receive it."""
        client, stream_id = self.client, self.client.next_stream_id()
        client.send(RequestHead(b"GET", path, FIELDS, b"HTTP/2", stream_id, scheme=b"https", authority=b"example.com"))
        client.send(End(None, stream_id))
        self.server.receive(client.take())
        return stream_id

    def exchange(self, path: bytes) -> None:
        """A request and its response, at both ends."""
        stream_id = self.ask(path)
        self.server.send(ResponseHead(200, ANSWER, stream_id=stream_id))
        self.server.send(Data(bytes(1024), stream_id))
        self.server.send(End(None, stream_id))
        self.client.receive(self.server.take())
        self.client.acknowledge(stream_id, 1024)


def test_the_same_exchange_again(benchmark: BenchmarkFixture) -> None:
    pair = Pair()
    benchmark(lambda: pair.exchange(b"/some/path?with=a&query=1"))


def test_an_exchange_of_another_path_each_time(benchmark: BenchmarkFixture) -> None:
    pair, numbers = Pair(), count()
    benchmark(lambda: pair.exchange(b"/some/path?with=a&query=%d" % next(numbers)))


@pytest.mark.parametrize("others", [0, 90], ids=["alone", "beside 90 streams"])
def test_1_mib_in_64_kib(benchmark: BenchmarkFixture, others: int) -> None:
    pair = Pair()
    for _ in range(others):
        pair.ask(b"/")
    stream_id = pair.ask(b"/")
    pair.server.send(ResponseHead(200, [], stream_id=stream_id))

    def move() -> None:
        for _ in range(16):
            pair.server.send(Data(PIECE, stream_id))
            pair.client.receive(pair.server.take())
            pair.client.acknowledge(stream_id, len(PIECE))
            pair.server.receive(pair.client.take())

    benchmark(move)


def test_opening_a_connection(benchmark: BenchmarkFixture) -> None:
    benchmark(lambda: Http2(Role.SERVER).receive(opening(Role.SERVER)))
