"""What the proxy as a whole costs, without the network: 100 small exchanges, or 100 chunks of 64 KiB, recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import pytest
import uvloop
from pytest_benchmark.fixture import BenchmarkFixture
from support.inmemory import Passage, passage

from mitmdump.sinks.base import Sink
from mitmdump.sinks.recorder import Recorder

TIMES = 100
ROUNDS = 30

schemes = pytest.mark.parametrize("scheme", ["http", "https"])


class Stage:
    """A passage in a loop of its own."""

    def __init__(self, scheme: str, sinks: Sequence[Sink]) -> None:
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._opened: AbstractAsyncContextManager[Passage] = passage(scheme, sinks)
        self.passage = self.runner.run(self._opened.__aenter__())

    def measure(self, benchmark: BenchmarkFixture, prepare: Callable[[], Callable[[], Awaitable[None]]]) -> None:
        """Run again and again what is prepared, without the time that the preparation takes."""

        async def run(prepared: Callable[[], Awaitable[None]]) -> None:
            await prepared()

        benchmark.pedantic(
            lambda prepared: self.runner.run(run(prepared)),
            setup=lambda: ((prepare(),), {}),
            rounds=ROUNDS,
            warmup_rounds=1,
        )

    def close(self) -> None:
        self.runner.run(self._opened.__aexit__(None, None, None))
        self.runner.close()


@schemes
def test_100_small_exchanges(benchmark: BenchmarkFixture, scheme: str, recorder: Recorder) -> None:
    stage = Stage(scheme, [recorder])
    stage.measure(benchmark, lambda: stage.passage.exchanges(TIMES))
    stage.close()


@schemes
def test_100_small_exchanges_that_nobody_records(benchmark: BenchmarkFixture, scheme: str) -> None:
    stage = Stage(scheme, [])
    stage.measure(benchmark, lambda: stage.passage.exchanges(TIMES))
    stage.close()


@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
@schemes
def test_100_chunks(benchmark: BenchmarkFixture, scheme: str, up: bool, recorder: Recorder) -> None:
    stage = Stage(scheme, [recorder])
    between, total = stage.passage, TIMES * (ROUNDS + 1)
    stage.runner.run((between.begin_upload if up else between.begin_download)(total))
    stage.measure(benchmark, lambda: between.chunks(TIMES, up=up))
    if up:
        stage.runner.run(between.end_upload())
    stage.close()
