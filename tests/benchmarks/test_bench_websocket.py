"""What WebSockets cost: messages of 1 KiB, as bytes, and as echoes through the proxy without the network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture
from support.inmemory import Passage, passage
from support.websockets import TEXT, Deflater, frame

from mitmdump.sinks.recorder import Recorder
from mitmdump.wire.events import Role
from mitmdump.wire.handshake import Deflate
from mitmdump.wire.websocket import Payload, WebSocket

CONTENT = b"".join(b'{"number":%d}' % number for number in range(80))[:1024]
TIMES = 100

roles = pytest.mark.parametrize("role", list(Role))


@roles
def test_a_message(benchmark: BenchmarkFixture, role: Role) -> None:
    codec = WebSocket(role)
    data = frame(TEXT, CONTENT, masked=role is Role.SERVER)
    assert len(benchmark(lambda: codec.receive(data))) == 2


@roles
def test_a_compressed_message(benchmark: BenchmarkFixture, role: Role) -> None:
    codec = WebSocket(role, Deflate(client_no_context_takeover=True, server_no_context_takeover=True))
    data = frame(TEXT, Deflater()(CONTENT), masked=role is Role.SERVER, bits=4)
    assert len(benchmark(lambda: codec.receive(data))) == 2


def test_a_large_message(benchmark: BenchmarkFixture) -> None:
    codec, data = WebSocket(Role.SERVER), frame(TEXT, CONTENT * 1024, masked=True)
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    benchmark(lambda: [codec.receive(piece) for piece in pieces])


def test_a_message_for_handlers(benchmark: BenchmarkFixture) -> None:
    source, sink = WebSocket(Role.SERVER, whole=True), WebSocket(Role.CLIENT, whole=True)
    data = frame(TEXT, CONTENT, masked=True)

    def pass_on() -> bytes:
        (message,) = source.receive(data)
        assert isinstance(message, Payload)
        sink.send(message)
        return sink.take()

    assert len(benchmark(pass_on)) == len(data)


@pytest.fixture(params=["http", "https"])
def opened(request: pytest.FixtureRequest, recorder: Recorder) -> Iterator[tuple[asyncio.Runner, Passage]]:
    """A WebSocket that is recorded, in a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        opening: AbstractAsyncContextManager[Passage] = passage(request.param, [recorder])
        between = runner.run(opening.__aenter__())
        runner.run(between.begin_websocket())
        yield runner, between
        runner.run(between.end_websocket())
        runner.run(opening.__aexit__(None, None, None))


def test_100_echoes(benchmark: BenchmarkFixture, opened: tuple[asyncio.Runner, Passage]) -> None:
    runner, between = opened

    async def run(echoes: Callable[[], Awaitable[None]]) -> None:
        await echoes()

    benchmark.pedantic(
        lambda echoes: runner.run(run(echoes)),
        setup=lambda: ((between.echoes(TIMES),), {}),
        rounds=30,
        warmup_rounds=1,
    )
