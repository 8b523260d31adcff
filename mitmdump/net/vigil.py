"""Staying awake for a moment after bytes have come, because more are likely to come at once.

To put a process to sleep and to wake it again takes the system tens of microseconds, and an exchange would have it done
twice: until the server has answered, and until the client asks again. Where either is as quick as that, it is shorter
to look once more, as mutexes spin before they sleep and `busy-polling` of HAProxy does. It costs at most `SECONDS` of a
processor for what has come, and nothing while nothing comes; and who else wants that processor goes first.
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
    """Keeps the running loop from sleeping, unless we are `granted` less than two processors.

    What we took of so few for waiting, the system would hold back from our work, or from others that share the grant.
    """

    def __init__(self, granted: float, clock: Callable[[], float] = perf_counter) -> None:
        self._is_allowed = granted >= 2
        self._clock = clock
        self._end = 0.0
        self._has_come = False
        self._is_kept = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def keep(self) -> None:
        """Bytes have come: stay awake for `SECONDS` from the end of this turn of the loop."""
        self._has_come = True
        if self._is_kept or not self._is_allowed:
            return
        self._is_kept = True
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._loop.call_soon(self._look)

    def _look(self) -> None:
        """The loop has looked at all sockets. Have it take another turn at once: it never sleeps before one is due."""
        now = self._clock()
        if self._has_come:
            self._has_come = False
            self._end = now + SECONDS
        elif now < self._end:
            os.sched_yield()
        else:
            self._is_kept = False
            return
        assert self._loop is not None
        self._loop.call_soon(self._look)


def granted(group: Path = Path("/sys/fs/cgroup")) -> float:
    """How many processors the control group that we are in may use at a time: infinitely many if nothing limits it.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
    """
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return float("inf") if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return float("inf")
