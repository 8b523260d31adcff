"""Waiting for one's turn."""

import asyncio

import pytest
from support.peers import in_loop

from mitmdump.replay.hearing import Hearing


@in_loop
async def test_it_is_ones_turn_when_enough_was_heard():
    hearing = Hearing()
    turn = asyncio.create_task(hearing.until(3))
    hearing.add(2)
    await asyncio.sleep(0)
    assert not turn.done()
    hearing.add(1)

    await asyncio.wait_for(turn, 3)


@in_loop
async def test_what_was_heard_before_counts():
    hearing = Hearing()
    hearing.add(5)

    await hearing.until(4)
    await hearing.until(5)


@in_loop
async def test_it_is_ones_turn_when_nothing_more_will_come():
    hearing = Hearing()
    turn = asyncio.create_task(hearing.until(3))
    await asyncio.sleep(0)
    hearing.end()

    await asyncio.wait_for(turn, 3)


@in_loop
async def test_who_has_said_something_and_is_quiet_then_has_said_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mitmdump.replay.hearing.QUIET", 0.01)
    hearing = Hearing()
    turn = asyncio.create_task(hearing.until(10))
    await asyncio.sleep(0)
    hearing.add(4)
    await asyncio.wait_for(turn, 3)
    assert not await is_waiting(hearing, 10)
    assert await is_waiting(hearing, 12)


async def is_waiting(hearing: Hearing, amount: int) -> bool:
    """Is so much still waited for? With nothing heard anew, there is no end to that."""
    turn = asyncio.create_task(hearing.until(amount))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    done = turn.done()
    turn.cancel()
    return not done
