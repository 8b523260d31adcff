"""Staying awake for a moment after bytes have come."""

from __future__ import annotations

import asyncio
import os
from math import inf
from pathlib import Path

import pytest
from support.peers import in_each_loop
from support.streams import open_pair

from mitmdump.net.stream import Streams
from mitmdump.net.vigil import SECONDS, Vigil, granted


class Clock:
    """Stands still. `reads` tells how often it was looked at, as a vigil does once in each turn of the loop."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads = 0

    def __call__(self) -> float:
        self.reads += 1
        return self.now


async def reads_in(clock: Clock, turns: int) -> int:
    before = clock.reads
    for _ in range(turns):
        await asyncio.sleep(0)
    return clock.reads - before


@in_each_loop
async def test_every_turn_of_the_loop_is_followed_by_another_until_the_time_is_over() -> None:
    clock = Clock()
    Vigil(2, clock).keep()
    assert await reads_in(clock, turns=5) == 5
    clock.now = SECONDS * 0.99
    assert await reads_in(clock, turns=5) == 5
    clock.now = SECONDS
    assert await reads_in(clock, turns=5) == 1


@in_each_loop
async def test_what_comes_in_between_makes_it_longer_and_no_second_one() -> None:
    clock = Clock()
    vigil = Vigil(2, clock)
    vigil.keep()
    clock.now = SECONDS / 2
    vigil.keep()
    assert await reads_in(clock, turns=5) == 5
    clock.now = SECONDS
    assert await reads_in(clock, turns=5) == 5
    clock.now = SECONDS * 1.5
    assert await reads_in(clock, turns=5) == 1


@in_each_loop
async def test_there_is_another_one_after_it() -> None:
    clock = Clock()
    vigil = Vigil(2, clock)
    vigil.keep()
    assert await reads_in(clock, turns=5) == 5
    clock.now = 1.0
    assert await reads_in(clock, turns=5) == 1
    vigil.keep()
    assert await reads_in(clock, turns=5) == 5


@in_each_loop
async def test_who_else_wants_the_processor_gets_it_in_every_turn_in_which_nothing_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    yields: list[None] = []
    monkeypatch.setattr(os, "sched_yield", lambda: yields.append(None))
    clock = Clock()
    vigil = Vigil(2, clock)
    for _ in range(5):
        vigil.keep()
        await reads_in(clock, turns=1)
    assert not yields
    await reads_in(clock, turns=5)
    assert len(yields) == 5


@pytest.mark.parametrize("number", [0.5, 1, 1.9])
@in_each_loop
async def test_with_less_than_two_processors_there_is_none(number: float) -> None:
    clock = Clock()
    Vigil(number, clock).keep()
    assert await reads_in(clock, turns=5) == 0


@in_each_loop
async def test_a_stream_keeps_it_when_bytes_come() -> None:
    clock, streams = Clock(), Streams()
    streams.vigil = Vigil(2, clock)
    stream, peer = await open_pair(streams)
    assert await reads_in(clock, turns=5) == 0
    await peer.sends(b"x")
    assert await stream.read() == b"x"
    assert await reads_in(clock, turns=5) == 5


@pytest.mark.parametrize(
    ("told", "number"),
    [
        ("50000 100000\n", 0.5),
        ("100000 100000\n", 1),
        ("max 100000\n", inf),
        ("100000 0\n", inf),
        ("what is this\n", inf),
        ("", inf),
        (None, inf),
    ],
)
def test_a_control_group_may_limit_the_processors(tmp_path: Path, told: str | None, number: float) -> None:
    if told is not None:
        (tmp_path / "cpu.max").write_text(told)
    assert granted(tmp_path) == number
