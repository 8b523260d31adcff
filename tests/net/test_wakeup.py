"""Waiting without a turn of the loop, in both event loops."""

import asyncio

import pytest
from support.peers import in_each_loop
from support.streams import pass_round

from mitmdump.net.wakeup import AT_ONCE, Gate, Wakeup


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


def waiters(count: int, order: list[int]) -> list[Wakeup]:
    """Tasks that wait, and then say in `order` who they are."""
    loop = asyncio.get_running_loop()
    wakeups = [Wakeup(loop) for _ in range(count)]

    async def wait(number: int) -> None:
        await wakeups[number]
        order.append(number)

    tasks = [loop.create_task(wait(number)) for number in range(count)]
    assert len(tasks) == count
    return wakeups


@in_each_loop
async def test_a_gate_lets_so_many_go_on_in_a_turn_and_who_comes_first_is_first():
    order, begun = [], []
    wakeups, gate = waiters(3 * AT_ONCE, order), Gate()
    await pass_round()

    def each_turn() -> None:
        if not begun:
            for wakeup in wakeups[:-1]:
                gate.let(wakeup)
        elif len(begun) == 1:
            gate.let(wakeups[-1])  # behind those who wait already
        begun.append(len(order))
        if len(begun) < 5:
            asyncio.get_running_loop().call_soon(each_turn)

    asyncio.get_running_loop().call_soon(each_turn)
    while len(begun) < 5:
        await pass_round()
    assert begun == [AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE, 3 * AT_ONCE, 3 * AT_ONCE]
    assert order == list(range(3 * AT_ONCE))


@in_each_loop
async def test_who_gives_up_while_it_waits_at_a_gate_is_passed_over():
    order: list[int] = []
    wakeups, gate = waiters(AT_ONCE + 2, order), Gate()
    await pass_round()

    def let_all() -> None:
        for wakeup in wakeups:
            gate.let(wakeup)
        wakeups[AT_ONCE].cancel()  # as its task's own cancelling does, which then goes on by itself

    asyncio.get_running_loop().call_soon(let_all)
    while len(order) < len(wakeups):
        await pass_round()
    assert sorted(order) == list(range(AT_ONCE + 2))


@in_each_loop
async def test_a_gate_that_was_quiet_lets_as_many_go_on_again():
    order: list[int] = []
    wakeups, gate = waiters(2 * AT_ONCE, order), Gate()
    await pass_round()
    for half in (wakeups[:AT_ONCE], wakeups[AT_ONCE:]):
        before = len(order)
        asyncio.get_running_loop().call_soon(lambda half=half: ([gate.let(one) for one in half], order.append(-1)))
        while len(order) < before + AT_ONCE + 1:
            await pass_round()
        assert order[-1] == -1  # all of them went on before the call was over
