"""Waiting for bytes without a turn of the event loop.

A task that awaits a future goes on in the loop's next turn: that is a handle to be queued, a turn, and a look at all
sockets in between, and costs more than all else that a stream does for a read. A `Wakeup` is what asyncio calls a
future-like object: the task that awaits it hands over the function that continues it, and `now` calls that on the spot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any


class Wakeup:
    """Is awaited by one task, once."""

    __slots__ = ("_asyncio_future_blocking", "_context", "_continue", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False
        self._loop = loop
        self._continue: Callable[[Wakeup], object] | None = None
        self._context: Context | None = None

    def now(self) -> None:
        """Let the task go on, before this returns; unless we are in a task ourselves, for one cannot run in another."""
        if self._continue is None or self._context is None or asyncio.current_task(self._loop) is not None:
            self.soon()
            return
        go_on, self._continue = self._continue, None
        self._context.run(go_on, self)

    def soon(self) -> None:
        """Let the task go on in the loop's next turn."""
        go_on, self._continue = self._continue, None
        if go_on is not None:
            self._loop.call_soon(go_on, self, context=self._context)

    # -- what a task wants of a future --------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop that the task must be of."""
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
