"""What writing and reading flow files costs; 1,000 small flows of ten connections, or one large body."""

from __future__ import annotations

from collections import deque
from io import BytesIO

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from support.flowfiles import START, a_file, a_flow, live
from support.inmemory import CHUNK

from mitmdump.files import open_flows
from mitmdump.flowfile import SectionWriter
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow, Part

SERVER = Connection("server", 1, address=("example.com", 443))
CLIENTS = [Connection("client", number + 2, peername=("127.0.0.1", 50000 + number)) for number in range(10)]
FLOWS = [a_flow(number, bytes(1024), client_conn=CLIENTS[number % 10], server_conn=SERVER) for number in range(1000)]


def make_writer() -> SectionWriter:
    return SectionWriter(lambda _: None, created=START)


def read(data: bytes, wanted: str | None) -> deque[Flow]:
    with open_flows(BytesIO(data), filter=wanted) as flows:
        return deque(flows, 1)


def test_writing_a_small_flow(benchmark: BenchmarkFixture) -> None:
    writer, flow, content = make_writer(), live(a_flow()), bytes(1024)
    benchmark(lambda: writer.write(flow, b"", content))


def test_writing_1_mib_as_it_comes(benchmark: BenchmarkFixture) -> None:
    writer, flow = make_writer(), live(a_flow())

    def run() -> None:
        running = writer.start(flow)
        for _ in range(16):
            running.data(Part.RESPONSE, CHUNK)
        running.finish(b"")

    benchmark(run)


@pytest.mark.parametrize("wanted", [None, "~d other.test", "~d example.com & ~c 404", "~u /999"])
def test_reading_1000_flows(benchmark: BenchmarkFixture, wanted: str | None) -> None:
    data = a_file(*FLOWS)
    benchmark(lambda: read(data, wanted))


def test_copying_1000_flows(benchmark: BenchmarkFixture) -> None:
    data = a_file(*FLOWS)

    def copy() -> None:
        writer = make_writer()
        with open_flows(BytesIO(data)) as flows:
            for _ in flows:
                assert flows.raw
                writer.copy(flows.raw)

    benchmark(copy)
