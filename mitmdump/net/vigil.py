"""Staying awake for a moment after bytes have come, because more are likely to come at once.

To put a process to sleep and to wake it again takes the system tens of microseconds, and an exchange would have it done
twice: until the server has answered, and until the client asks again. Where either is as quick as that, it is shorter
to look once more, as mutexes spin before they sleep and `busy-polling` of HAProxy does. It costs at most `SECONDS` of a
processor for what arrives, and nothing while nothing does.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Final

SECONDS: Final = 200e-6  # a server and a client on this machine take about half


class Vigil:
    """Keeps the running loop from sleeping; unless others could need the processor, for we have no second."""

    def __init__(self, processors: float, clock: Callable[[], float] = perf_counter) -> None:
        self._is_allowed = processors >= 2
        self._clock = clock
        self._end = 0.0
        self._is_kept = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def keep(self) -> None:
        """Stay awake for `SECONDS` from now."""
        if not self._is_allowed:
            return
        self._end = self._clock() + SECONDS
        if self._is_kept:
            return
        self._is_kept = True
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        """A turn of the loop has looked at all sockets. Have it take another one, for it never sleeps before those."""
        assert self._loop is not None
        if self._clock() < self._end:
            self._loop.call_soon(self._look)
        else:
            self._is_kept = False


def processors(group: Path = Path("/sys/fs/cgroup")) -> float:
    """How many processors we may use at a time: all, or what the control group that we are in is granted of them.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    every = float(os.cpu_count() or 1)
    try:
        granted, period = (group / "cpu.max").read_text().split()
        return every if granted == "max" else min(every, int(granted) / int(period))
    except (OSError, ValueError):
        return every
