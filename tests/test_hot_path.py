"""How many calls it takes to pass something on while recording it: what makes a proxy in Python slow is their number.

The counts are the same on every machine, and nearly so on every CPython: a regression shows here that no clock would
show. Those of pyOpenSSL are among them. What a call costs is the matter of `benchmarks/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest
from support.counting import Calls
from support.inmemory import Passage, passage
from support.peers import in_loop

from mitmdump.sinks.recorder import Recorder


class Counts(NamedTuple):
    """Calls per exchange or chunk, of functions in Python and of others."""

    python: int
    builtin: int


# The most there may be. Each is what was measured when it was set, and a tenth more: room for one more rule of HTTP, a
# field of the flow, or another release of pyOpenSSL, and not for a layer, a log line or a lock. Who gets far below
# lowers it.
EXCHANGE = {"http": Counts(221, 98), "https": Counts(235, 130)}
CHUNK = {"http": Counts(46, 32), "https": Counts(54, 62)}

# A message of 1 KiB and its answer.
ECHO = {"http": Counts(102, 72), "https": Counts(116, 105)}

TIMES = 100
# From the second on, a body is too large for memory and is written as it comes.
BEFORE = 3

schemes = pytest.mark.parametrize("scheme", ["http", "https"])


async def count(run: Callable[[], Awaitable[None]]) -> Counts:
    """The calls for one of what is run TIMES times; what a timer or the last of them adds is rounded off."""
    with Calls() as calls:
        await run()
    return Counts(calls.python // TIMES, calls.builtin // TIMES)


def check(found: Counts, ceiling: Counts) -> None:
    print(f"found {found}")  # which `pytest -s` shows
    assert found.python <= ceiling.python
    assert found.builtin <= ceiling.builtin


async def begin(between: Passage, *, up: bool) -> None:
    await (between.begin_upload if up else between.begin_download)(BEFORE + TIMES + 1)
    await between.chunks(BEFORE, up=up)()


@schemes
@in_loop
async def test_a_small_exchange_takes_few_calls(scheme: str, recorder: Recorder) -> None:
    async with passage(scheme, [recorder]) as between:
        await between.exchanges(BEFORE)()

        found = await count(between.exchanges(TIMES))

    assert recorder.flows == BEFORE + TIMES
    check(found, EXCHANGE[scheme])


@schemes
@in_loop
async def test_a_websocket_message_takes_few_calls(scheme: str, recorder: Recorder) -> None:
    async with passage(scheme, [recorder]) as between:
        await between.begin_websocket()
        await between.echoes(BEFORE)()

        found = await count(between.echoes(TIMES))

        await between.end_websocket()
    assert recorder.flows == 1
    check(found, ECHO[scheme])


@pytest.mark.parametrize("up", [False, True], ids=["down", "up"])
@schemes
@in_loop
async def test_a_chunk_of_a_body_takes_few_calls(scheme: str, up: bool, recorder: Recorder) -> None:
    async with passage(scheme, [recorder]) as between:
        await begin(between, up=up)

        found = await count(between.chunks(TIMES, up=up))

        await between.chunks(1, up=up)()
        await (between.end_upload() if up else asyncio.sleep(0))
    assert recorder.flows == 1
    check(found, CHUNK[scheme])
