"""The end of a turn of the event loop: what is done once for all that has come at a time.

A busy proxy finds many sockets ready in one turn. What it has recorded in that turn is written in one call of the
system, and only then the answers leave: a client that has seen the end of a response can rely on its being recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Turn:
    """What is to be done at the end of the loop's turn: `settle`, and then what was put off until then."""

    def __init__(self, settle: Callable[[], object]) -> None:
        self.settle = settle
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_due = False
        self._put_off: list[Callable[[], object]] = []

    def soon(self) -> None:
        """There is something to be settled."""
        if self._is_due:
            return
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._is_due = True
        self._loop.call_soon(self._end)

    def put_off(self, call: Callable[[], object]) -> None:
        """Call this when all is settled."""
        self._put_off.append(call)
        if not self._is_due:
            self.soon()

    def _end(self) -> None:
        self._is_due = False
        calls, self._put_off = self._put_off, []
        self.settle()
        for call in calls:
            call()
