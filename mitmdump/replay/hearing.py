"""Speaking in turn: a recorded client says its next words when it has heard as much as it had heard before them.

How much that is, in bytes or in messages, is counted. A server that says less than it did has said all, once it has
said something and then been quiet for a while; then the client goes on.
"""

from __future__ import annotations

import asyncio

# A server that has begun to answer seldom pauses longer, and a person can wait for it. Seconds.
QUIET = 1.0


class Hearing:
    """What was heard so far: `add` more of it, `end` when there will be no more, and wait `until` it is enough."""

    def __init__(self) -> None:
        self._heard = 0
        self._missing = 0  # of what the server had said in the recording, as it now says less
        self._over = False
        self._changed = asyncio.Event()

    def add(self, amount: int) -> None:
        """So much more was heard."""
        self._heard += amount
        self._changed.set()

    def end(self) -> None:
        """There will be no more."""
        self._over = True
        self._changed.set()

    async def until(self, amount: int) -> None:
        """Wait for so much in all, or for as much as there will be."""
        before = self._heard
        while self._heard + self._missing < amount and not self._over:
            self._changed.clear()
            try:
                async with asyncio.timeout(QUIET if self._heard > before else None):
                    await self._changed.wait()
            except TimeoutError:
                self._missing = amount - self._heard
