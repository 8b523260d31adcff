"""Waiting for bytes without a turn of the event loop, and who goes on first.

A task that awaits a future goes on in the loop's next turn: that is a handle to be queued, a turn, and a look at all
sockets in between, and costs more than all else that a stream does for a read. A `Wakeup` is what asyncio calls a
future-like object: the task that awaits it hands over the function that continues it, and `now` calls that on the spot.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, Final

# Fewer would make more turns of the loop than they save, more is more than a processor keeps close at hand.
AT_ONCE: Final = 32


class Wakeup:
    """Is awaited by one task at a time, as often as one likes; of the running loop, where no other is given."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_continue", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._continue: Callable[[Wakeup], object] | None = None
        self._context: Context | None = None

    @property
    def awaited(self) -> bool:
        """Is there a task that waits, and has not been told to go on?"""
        return self._continue is not None

    def now(self) -> None:
        """Let the task go on, before this returns; unless we are in a task ourselves, for one cannot run in another."""
        go_on, context = self._continue, self._context
        if go_on is None or context is None:
            return
        if asyncio.current_task(self._loop) is not None:
            self.soon()
            return
        self._continue = None
        context.run(go_on, self)

    def soon(self) -> None:
        """Let the task go on in the loop's next turn."""
        go_on, self._continue = self._continue, None
        if go_on is not None:
            self.get_loop().call_soon(go_on, self, context=self._context)

    # -- what a task wants of a future --------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the task must be of."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # kept, because asking is a call of the system in Python 3.11
        return self._loop

    def add_done_callback(self, go_on: Callable[[Wakeup], object], *, context: Context) -> None:
        """Take what continues the task."""
        self._continue, self._context = go_on, context

    def result(self) -> None:
        """There is none."""

    def cancel(self, msg: object = None) -> bool:  # noqa: ARG002  # the task keeps the message itself
        """The task is cancelled. False: it is for the task to raise that, once it goes on."""
        self.soon()
        return False


class Gate:
    """Lets so many tasks go on in a turn of the loop, and the others in the next ones: first come, first served.

    It is for those who begin something, a request for instance. What is begun is then brought to its end before more of
    it is, and one exchange finds in the processor's cache what another has just used. If 256 were begun together, each
    would push out what the others need once more.
    """

    def __init__(self) -> None:
        self._passed = 0
        self._is_turn = False
        self._waiting: deque[Wakeup] = deque()

    def let(self, wakeup: Wakeup) -> None:
        """Let the task of `wakeup` go on, before this returns or as soon as it is its turn."""
        if not self._is_turn:
            self._is_turn = True
            wakeup.get_loop().call_soon(self._next_turn)
        if self._passed < AT_ONCE:
            self._passed += 1
            wakeup.now()
        else:
            self._waiting.append(wakeup)

    def _next_turn(self) -> None:
        self._passed, self._is_turn = 0, False
        for _ in range(min(AT_ONCE, len(self._waiting))):
            self.let(self._waiting.popleft())
