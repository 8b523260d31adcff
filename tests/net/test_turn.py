"""What is put off to the end of the event loop's turn."""

import asyncio
from collections.abc import Callable

from support.peers import in_loop

from mitmdump.net.turn import Turn


def logging() -> tuple[list[str], Callable[[str], Callable[[], None]], Turn]:
    log: list[str] = []

    def note(what: str) -> Callable[[], None]:
        return lambda: log.append(what)

    return log, note, Turn(note("settled"))


@in_loop
async def test_all_is_settled_once_before_anything_else_is_done() -> None:
    log, note, turn = logging()
    turn.soon()
    turn.put_off(note("one"))
    turn.put_off(note("two"))
    assert log == []
    await asyncio.sleep(0)
    assert log == ["settled", "one", "two"]


@in_loop
async def test_each_turn_has_an_end_of_its_own() -> None:
    log, note, turn = logging()
    turn.put_off(lambda: turn.put_off(note("later")))
    await asyncio.sleep(0)
    assert log == ["settled"]
    await asyncio.sleep(0)
    assert log == ["settled", "settled", "later"]


@in_loop
async def test_a_turn_without_anything_to_be_done_has_no_end() -> None:
    log, _, turn = logging()
    turn.soon()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == ["settled"]
