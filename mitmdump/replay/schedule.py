"""When the next recorded request may be sent. Pure: time is an argument, in seconds of any clock that never goes back.

Requests leave in their order. Three things can hold the next one back:

- concurrency: no more than so many are in flight;
- rate: they leave at least so far apart;
- timing: a person, or a program, has waited since the last thing that happened. In the recording that was the latest
  of all that came before this request began: the begin of another request, or the end of one that had ended by then.
  Here it is the same event, whenever it happens, and the wait is the recorded one, divided by the speed. So what came
  after an answer comes after it again, however slow the server is now, and what ran side by side does so again.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

AT_ONCE = float("-inf")


class Times(NamedTuple):
    """When an exchange began and ended in its recording, in Unix seconds; `end` is None if it never did."""

    start: float
    end: float | None


class Schedule:
    """What has left and what has come back. `speed` None: without think times; `rate` None: without a limit.

    Ask `due` for the next request, tell `began` when it leaves, and `ended` with what that gave when it has come back.
    """

    def __init__(self, *, concurrency: int = 1, speed: float | None = None, rate: float | None = None) -> None:
        self._concurrency = concurrency
        self._speed = speed
        self._interval = 1 / rate if rate else 0.0
        self._free_at = AT_ONCE
        self._in_flight: dict[int, Times] = {}
        self._numbers = 0
        self.restart()

    @property
    def in_flight(self) -> int:
        """How many have left and not come back."""
        return len(self._in_flight)

    def restart(self) -> None:
        """What comes next is another recording, whose times have nothing to do with those before."""
        # The last event that the next request waits after: when it was recorded, and when it happened here.
        self._last: tuple[float, float] | None = None
        self._ends: list[tuple[float, int]] = []
        self._ended: dict[int, float] = {}

    def due(self, times: Times) -> float | None:
        """When the next request may leave, AT_ONCE or a time that may have passed; None: not before one has ended."""
        if len(self._in_flight) >= self._concurrency:
            return None
        if self._speed is None:
            return self._free_at
        while self._ends and self._ends[0][0] <= times.start:
            recorded, number = self._ends[0]
            if number not in self._ended:
                return None
            heappop(self._ends)
            self._note(recorded, self._ended.pop(number))
        if self._last is None:
            return self._free_at
        recorded, happened = self._last
        return max(self._free_at, happened + max(0.0, times.start - recorded) / self._speed)

    def began(self, times: Times, now: float) -> int:
        """The next request leaves; the number is for `ended`."""
        self._numbers += 1
        self._in_flight[self._numbers] = times
        if self._interval:
            # From when it was to leave, if that was a moment ago: otherwise each delay of a timer would add up.
            planned = self._free_at if now - self._free_at < self._interval else now
            self._free_at = planned + self._interval
        if self._speed is not None:
            self._note(times.start, now)
            if times.end is not None:
                heappush(self._ends, (times.end, self._numbers))
        return self._numbers

    def ended(self, number: int, now: float) -> None:
        """A request that began has come back, or failed."""
        times = self._in_flight.pop(number)
        if self._speed is not None and times.end is not None:
            self._ended[number] = now

    def _note(self, recorded: float, happened: float) -> None:
        if self._last is None or recorded >= self._last[0]:
            self._last = recorded, happened
