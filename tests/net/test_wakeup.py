"""Waiting without a turn of the loop, in both event loops."""

import asyncio

import pytest
from support.peers import in_each_loop
from support.streams import pass_round

from mitmdump.net.wakeup import Wakeup


class Waiter:
    """A task that waits for a Wakeup; `steps` says how far it has come."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.steps: list[str] = []
        self.wakeup = Wakeup(loop)
        self.task = loop.create_task(self._wait())

    async def _wait(self) -> None:
        self.steps.append("waits")
        await self.wakeup
        self.steps.append("goes on")


@in_each_loop
async def test_a_task_goes_on_before_the_call_that_wakes_it_is_over():
    waiter, seen = Waiter(), []
    await pass_round()
    asyncio.get_running_loop().call_soon(lambda: (waiter.wakeup.now(), seen.extend(waiter.steps)))
    await pass_round()
    assert seen == ["waits", "goes on"]
    assert waiter.task.done()


@in_each_loop
async def test_a_task_that_is_woken_by_another_waits_for_its_turn():
    waiter = Waiter()
    await pass_round()
    waiter.wakeup.now()
    assert waiter.steps == ["waits"]
    await waiter.task


@in_each_loop
async def test_soon_is_in_the_next_turn():
    waiter, seen = Waiter(), []
    await pass_round()
    asyncio.get_running_loop().call_soon(lambda: (waiter.wakeup.soon(), seen.extend(waiter.steps)))
    await waiter.task
    assert seen == ["waits"]


@in_each_loop
async def test_a_task_is_woken_once():
    waiter = Waiter()
    await pass_round()
    for _ in range(2):
        waiter.wakeup.now()
    await waiter.task
    waiter.wakeup.now()
    await pass_round()
    assert waiter.steps == ["waits", "goes on"]


@pytest.mark.parametrize("woken", [False, True])
@in_each_loop
async def test_a_task_can_be_cancelled_while_it_waits(woken: bool):
    waiter = Waiter()
    await pass_round()
    if woken:
        waiter.wakeup.soon()
    waiter.task.cancel()
    waiter.wakeup.now()
    with pytest.raises(asyncio.CancelledError):
        await waiter.task
    assert waiter.steps == ["waits"]


@in_each_loop
async def test_a_time_limit_ends_the_waiting():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await Wakeup(asyncio.get_running_loop())


@in_each_loop
async def test_what_a_task_raises_stays_in_the_task():
    wakeup = Wakeup(asyncio.get_running_loop())

    async def fail() -> None:
        await wakeup
        raise ValueError("mine")

    task = asyncio.create_task(fail())
    await pass_round()
    asyncio.get_running_loop().call_soon(wakeup.now)
    with pytest.raises(ValueError, match="mine"):
        await task


@in_each_loop
async def test_the_same_one_can_be_awaited_again():
    wakeup, steps = Wakeup(), []

    async def wait_twice() -> None:
        for step in ("first", "second"):
            await wakeup
            steps.append(step)

    task = asyncio.create_task(wait_twice())
    await pass_round()
    for step in ("first", "second"):
        assert wakeup.awaited
        asyncio.get_running_loop().call_soon(wakeup.now)
        await pass_round()
        assert steps[-1:] == [step]
    assert task.done()
    assert not wakeup.awaited
