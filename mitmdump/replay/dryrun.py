"""--replay-dry-run: what a client replay would send, when and where to, and how long it would take.

The schedule is the one of a replay; time is made up: each answer takes as long as it did when it was recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

from ..model.flow import Flow
from ..model.url import join_host_port
from ..settings import Settings
from ..sinks.words import duration, harmless, size
from .recordings import Recorded, Recordings
from .request import destination_of, unfit
from .schedule import Schedule, Times


class Planned(NamedTuple):
    """A flow that would be sent `begin` seconds after the start, and be answered at `end`."""

    flow: Flow
    begin: float
    end: float


def plan(recordings: Iterable[Recorded], schedule: Schedule, skip: Callable[[str], object]) -> Iterator[Planned]:
    """When each flow would be sent; `skip` is told why one would not be."""
    now = 0.0
    running: list[tuple[float, int]] = []
    for flow, is_first in recordings:
        if is_first:
            schedule.restart()
        if reason := unfit(flow):
            skip(reason)
            continue
        times = times_of(flow)
        while (due := schedule.due(times)) is None:
            now = max(now, _end_one(running, schedule))
        now = max(now, due)
        while running and running[0][0] <= now:
            _end_one(running, schedule)
        end = now + max(0.0, (times.end or times.start) - times.start)
        heappush(running, (end, schedule.began(times, now)))
        yield Planned(flow, now, end)


def _end_one(running: list[tuple[float, int]], schedule: Schedule) -> float:
    end, number = heappop(running)
    schedule.ended(number, end)
    return end


def times_of(flow: Flow) -> Times:
    """When a flow began and ended."""
    return Times(flow.timestamp_start, flow.timestamp_end)


def schedule_of(settings: Settings) -> Schedule:
    """The schedule that the settings ask for."""
    return Schedule(concurrency=settings.replay_concurrency, speed=settings.replay_timing, rate=settings.replay_rate)


def skipped(reasons: Counter[str]) -> str:
    """How many flows are left out, and why: "3 skipped (2 cut off, 1 opens a tunnel)"."""
    each = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f"{reasons.total()} skipped ({each})" if reasons else "none skipped"


def dry_run(settings: Settings, recordings: Recordings, say: Callable[[str], object]) -> str:
    """Say of each request when it would be sent, a line each; returns the sum of it."""
    reasons: Counter[str] = Counter()
    count, last = 0, 0.0
    for flow, begin, end in plan(recordings, schedule_of(settings), lambda reason: reasons.update([reason])):
        say(_line(flow, begin, settings))
        count, last = count + 1, max(last, end)
    return (
        f"{count} requests would be sent, {skipped(reasons)}; with servers as fast as when they were recorded "
        f"that would take {duration(last)}"
    )


def _line(flow: Flow, begin: float, settings: Settings) -> str:
    origin, _, host = destination_of(flow, settings.replay_to, keep_host=settings.replay_keep_host)
    place = join_host_port(origin.host, origin.port, origin.scheme)
    if flow.request is None:
        return harmless(f"{duration(begin):>7}  {flow.kind} to {place}")
    words = [flow.request.method, flow.request.url]
    if flow.request.body.length:
        words.append(f"({size(flow.request.body.length)})")
    if settings.replay_to:
        words.append(f"to {origin.scheme}://{place}" + (f" as {host}" if host != place else ""))
    return harmless(f"{duration(begin):>7}  {' '.join(words)}")
