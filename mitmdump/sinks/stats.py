"""Numbers instead of flows (--stats): in all, and per host, status and media type.

Memory is bounded whatever comes. Of each kind of name the first NAMES have a row of their own, and what comes under
any further one is summed up in a last row. Durations are counted in buckets whose borders grow by 4 %, so a percentile
is at most 2 % off (the idea of DDSketch, https://arxiv.org/abs/1908.10693), however many there are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO

from ..errors import OutputError
from ..model.flow import Flow
from ..model.message import Message
from .base import Sink
from .words import duration, harmless, size

# Of each kind. A row has at most some 500 buckets, and mostly a few dozen: three tables stay well under 200 MB even if
# somebody is out to fill them, and take a few MB in practice.
NAMES = 1000

# The longest name of a host (RFC 1035 section 2.3.4); what some peer or file has instead need not be shown whole.
_NAME_LENGTH = 255

_GROWTH = math.log(1.04)
_SHORTEST, _LONGEST = 1e-4, 1e5  # seconds, beyond which no durations are told apart

_YEAR_9000 = 221_845_392_000.0


class Durations:
    """A histogram of durations, in seconds."""

    __slots__ = ("_buckets", "_count", "_highest", "_lowest")

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0
        self._lowest, self._highest = math.inf, 0.0

    def add(self, seconds: float) -> None:
        """Count one; what a stepped clock made negative is 0."""
        seconds = min(max(seconds, _SHORTEST), _LONGEST)
        self._buckets[math.floor(math.log(seconds) / _GROWTH)] += 1
        self._count += 1
        self._lowest, self._highest = min(self._lowest, seconds), max(self._highest, seconds)

    def percentile(self, share: float) -> float | None:
        """The duration that this share of them does not exceed, within 2 %; None if there are none."""
        rank, passed = math.ceil(share * self._count), 0
        for bucket in sorted(self._buckets):
            passed += self._buckets[bucket]
            if passed >= rank:
                return min(max(math.exp((bucket + 0.5) * _GROWTH), self._lowest), self._highest)
        return None


@dataclass(slots=True)
class Row:
    """The sums of some flows; bytes are those of bodies and messages, `up` to the server, `down` from it."""

    flows: int = 0
    failed: int = 0
    up: int = 0
    down: int = 0
    durations: Durations = field(default_factory=Durations)

    def add(self, flow: Flow, up: int, down: int) -> None:
        """Count a flow that has ended."""
        self.flows += 1
        self.failed += flow.error is not None
        self.up += up
        self.down += down
        seconds = _duration(flow)
        if seconds is not None:
            self.durations.add(seconds)


class Table:
    """Rows by name; `rest` sums up the flows whose name found no room."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: dict[str, Row] = {}
        self.rest = Row()

    def row(self, name: str) -> Row:
        """The row that a flow of this name counts in."""
        name = name[:_NAME_LENGTH]
        row = self.rows.get(name)
        if row is None:
            if len(self.rows) >= NAMES:
                return self.rest
            row = self.rows[name] = Row()
        return row

    def lines(self) -> Iterator[str]:
        """The table as text, most flows first."""
        yield f"{'flows':>9} {'failed':>7} {'up':>6} {'down':>6} {'p50':>7} {'p95':>7}  {self.title}"
        for name, row in sorted(self.rows.items(), key=lambda item: (-item[1].flows, item[0])):
            yield _line(row, harmless(name))
        if self.rest.flows:
            yield _line(self.rest, "(others)")


class StatsSink(Sink):
    """Prints the numbers to `stream` when it is closed; BrokenPipeError passes through, as the reader has gone."""

    wants_bodies = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._hosts, self._statuses, self._types = Table("host"), Table("status"), Table("content type")
        self._all = Row()
        self._first = math.inf
        self._last = -math.inf
        self._messages: dict[int, list[int]] = {}  # bytes up and down of the flows that run

    def message(self, flow: Flow, message: Message) -> None:
        bytes_ = self._messages.setdefault(flow.id, [0, 0])
        bytes_[not message.from_client] += len(message.content)

    def finish(self, flow: Flow) -> None:
        up, down = self._messages.pop(flow.id, (0, 0))
        up += flow.request.body.length if flow.request else 0
        down += flow.response.body.length if flow.response else 0
        rows = (self._hosts.row(_host(flow)), self._statuses.row(_status(flow)), self._types.row(_type(flow)))
        for row in (self._all, *rows):
            row.add(flow, up, down)
        self._first = min(self._first, flow.timestamp_start)
        self._last = max(self._last, flow.timestamp_start if flow.timestamp_end is None else flow.timestamp_end)

    def close(self) -> None:
        try:
            # Of names, too, only ASCII: no encoding of a terminal lacks it, and columns stay columns.
            self._stream.write("\n".join(self._lines()).encode("ascii", "backslashreplace").decode() + "\n")
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write the statistics: {error.strerror or error}") from error

    def _lines(self) -> Iterator[str]:
        total = self._all
        yield f"{total.flows} flows, {total.failed} failed, {size(total.up)} up, {size(total.down)} down"
        if not total.flows:
            return
        seconds = self._last - self._first
        rate = f", {total.flows / seconds:.3g} flows/s" if seconds > 0 else ""
        yield f"{_time(self._first)} to {_time(self._last)}, {duration(seconds)}{rate}"
        for table in (self._hosts, self._statuses, self._types):
            yield ""
            yield from table.lines()


def _line(row: Row, name: str) -> str:
    p50, p95 = ("-" if it is None else duration(it) for it in map(row.durations.percentile, (0.5, 0.95)))
    return f"{row.flows:9} {row.failed:7} {size(row.up):>6} {size(row.down):>6} {p50:>7} {p95:>7}  {name}"


def _time(timestamp: float) -> str:
    timestamp = min(max(timestamp, 0.0), _YEAR_9000)  # a file may say anything
    return datetime.fromtimestamp(timestamp).astimezone().isoformat(" ", "seconds")


def _duration(flow: Flow) -> float | None:
    """As ~dur has it: to the response's end; where there is none, to the flow's."""
    end = flow.response.timestamp_end if flow.response else None
    end = flow.timestamp_end if end is None else end
    return None if end is None else end - flow.timestamp_start


def _host(flow: Flow) -> str:
    if flow.request and flow.request.host:
        return flow.request.host.lower()
    address = flow.server_conn and (flow.server_conn.address or flow.server_conn.peername)
    return address[0] if address else "(none)"


def _status(flow: Flow) -> str:
    if flow.kind != "http":
        return flow.kind
    return str(flow.response.status_code) if flow.response else "(no response)"


def _type(flow: Flow) -> str:
    if flow.kind != "http":
        return flow.kind
    if flow.response is None:
        return "(no response)"
    return flow.response.headers.get("content-type", "").partition(";")[0].strip().lower() or "(none)"
