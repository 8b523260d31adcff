"""Between the flows and the sinks: the filter, asked as early as it can answer, and the counts.

A `Tap` is put on each flow. While the filter does not know yet, what passes is kept in a spool; once it says yes, the
sinks are fed from there, and once it says no, nothing more of the flow is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import OutputError
from ..filter import Filter, Needs, Stage
from ..model.body import Body
from ..model.flow import Flow, Part
from ..model.message import Message
from .base import Sink
from .spool import Spool

BODIES = Needs.REQUEST_BODY | Needs.RESPONSE_BODY


@dataclass(slots=True)
class Tally:
    """What is said at the end: flows that ended, those of them that the filter wanted, and those that failed."""

    seen: int = 0
    matched: int = 0
    failed: int = 0

    def count(self, flow: Flow, *, matched: bool) -> None:
        """A flow has ended."""
        self.seen += 1
        self.matched += matched
        self.failed += flow.error is not None


class Outlet:
    """A filter (None: every flow) and the sinks behind it.

    When a sink can take no more, `on_failure` is told, once, and from then on nothing goes to any sink.
    """

    def __init__(
        self, filter_: Filter | None, sinks: Sequence[Sink], on_failure: Callable[[OSError | OutputError], object]
    ) -> None:
        self.filter = filter_
        self.sinks = tuple(sinks)
        self.body_sinks = tuple(sink for sink in sinks if sink.wants_bodies)
        self.spools_bodies = bool(self.body_sinks or (filter_ and filter_.needs & BODIES))
        self.tally = Tally()
        self._on_failure = on_failure

    def fail(self, error: OSError | OutputError) -> None:
        """A sink can take no more."""
        if self.sinks:
            self.sinks = self.body_sinks = ()
            self._on_failure(error)

    def tick(self, now: float) -> None:
        """Pass the time on to the sinks; Unix seconds."""
        try:
            for sink in self.sinks:
                sink.tick(now)
        except (OSError, OutputError) as error:
            self.fail(error)

    def tap(self, flow: Flow) -> Tap:
        """The outlet's hold on a flow that begins."""
        return Tap(flow, self)

    def put(self, flow: Flow) -> None:
        """A whole flow, as it comes from a file."""
        if self.filter and not self.filter.verdict(flow, Stage.END):
            self.tally.count(flow, matched=False)
            return
        tap = Tap(flow, self)
        tap.accept()
        if flow.request and self.body_sinks:
            tap.feed(Part.REQUEST, flow.request.body.pieces())
        if flow.response and self.body_sinks:
            tap.feed(Part.RESPONSE, flow.response.body.pieces())
        if self.sinks:
            for message in flow.messages:
                tap.message(message)
        tap.finish()

    def pass_over(self, flows: int) -> None:
        """So many flows without an error were not put here, because the filter rules them out."""
        self.tally.seen += flows


class Tap:
    """The outlet's hold on one flow.

    `wanted` is the filter's verdict so far. Call `reached` as the flow passes its stages, `data` and `message` with
    what passes, and `finish` at the end, whatever the end was.
    """

    __slots__ = ("_flow", "_outlet", "_spool", "wanted")

    def __init__(self, flow: Flow, outlet: Outlet) -> None:
        self._flow = flow
        self._outlet = outlet
        self._spool: Spool | None = None
        self.wanted: bool | None = None

    def reached(self, stage: Stage) -> None:
        """The flow has come to a stage: ask the filter, if it has not answered yet."""
        if self.wanted is not None:
            return
        filter_ = self._outlet.filter
        if filter_ is None:
            self.wanted = True
        else:
            self._show_spool()
            self.wanted = filter_.verdict(self._flow, stage)
        if self.wanted:
            self.accept()
        elif self.wanted is False:
            self._drop_spool()

    def data(self, part: Part, data: bytes) -> None:
        """A piece of a body has passed."""
        if self.wanted:
            try:
                for sink in self._outlet.body_sinks:
                    sink.data(self._flow, part, data)
            except (OSError, OutputError) as error:
                self._outlet.fail(error)
        elif self.wanted is None and self._outlet.spools_bodies:
            self._keep(lambda spool: spool.add(part, data))

    def feed(self, part: Part, pieces: Iterable[bytes]) -> None:
        """All pieces of a body."""
        for piece in pieces:
            self.data(part, piece)

    def message(self, message: Message) -> None:
        """A message has passed."""
        if self.wanted:
            try:
                for sink in self._outlet.sinks:
                    sink.message(self._flow, message)
            except (OSError, OutputError) as error:
                self._outlet.fail(error)
        elif self.wanted is None:
            self._keep(lambda spool: spool.add_message(message))

    def finish(self) -> None:
        """The flow has ended."""
        self.reached(Stage.END)
        matched = bool(self.wanted)
        self._outlet.tally.count(self._flow, matched=matched)
        if not matched:
            return
        try:
            for sink in self._outlet.sinks:
                sink.finish(self._flow)
        except (OSError, OutputError) as error:
            self._outlet.fail(error)

    def accept(self) -> None:
        """The flow is wanted: give the sinks what has passed of it, and from now on what will."""
        self.wanted = True
        try:
            for sink in self._outlet.sinks:
                sink.begin(self._flow)
        except (OSError, OutputError) as error:
            self._outlet.fail(error)
        if self._spool is None:
            return
        self.feed(Part.REQUEST, self._spool.pieces(Part.REQUEST))
        self.feed(Part.RESPONSE, self._spool.pieces(Part.RESPONSE))
        for message in self._spool.messages():
            self.message(message)
        self._drop_spool()

    def _keep(self, add: Callable[[Spool], None]) -> None:
        try:
            self._spool = self._spool or Spool()
            add(self._spool)
        except OSError as error:
            self._outlet.fail(
                OutputError(
                    f"cannot keep a flow until the filter is decided: {error.strerror}; "
                    "set TMPDIR to a directory with more room"
                )
            )

    def _show_spool(self) -> None:
        """Let the filter see the bytes that are kept, as if they belonged to the flow."""
        if self._spool is None:
            return
        for body, part in self._spooled_bodies(self._spool):
            body.source = self._spool.body(part)
        self._flow.messages = self._spool.messages()

    def _drop_spool(self) -> None:
        if self._spool is None:
            return
        for body, _ in self._spooled_bodies(self._spool):
            body.source = None
        self._flow.messages = ()
        self._spool.close()
        self._spool = None

    def _spooled_bodies(self, spool: Spool) -> Iterator[tuple[Body, Part]]:
        """The bodies of which something is kept; one that is empty is known to be, and stays as it is."""
        for message, part in ((self._flow.request, Part.REQUEST), (self._flow.response, Part.RESPONSE)):
            if message and spool.size(part):
                yield message.body, part


class Outlets:
    """Several outlets, each with a filter of its own, side by side.

    Each keeps by itself what it has not decided on yet: where several filters wait for the same flow, its bytes are
    spooled as many times.
    """

    def __init__(self, outlets: Sequence[Outlet]) -> None:
        self._outlets = tuple(outlets)

    def tap(self, flow: Flow) -> Taps:
        """The hold of all outlets on a flow that begins."""
        return Taps([outlet.tap(flow) for outlet in self._outlets])

    def tick(self, now: float) -> None:
        """Pass the time on to the sinks; Unix seconds."""
        for outlet in self._outlets:
            outlet.tick(now)

    def put(self, flow: Flow) -> None:
        """A whole flow, as it comes from a file."""
        for outlet in self._outlets:
            outlet.put(flow)

    def pass_over(self, flows: int) -> None:
        """So many flows without an error were not put here, because all filters rule them out."""
        for outlet in self._outlets:
            outlet.pass_over(flows)


class Taps:
    """The taps of several outlets on one flow; used like a Tap."""

    __slots__ = ("_taps",)

    def __init__(self, taps: Sequence[Tap]) -> None:
        self._taps = taps

    def reached(self, stage: Stage) -> None:
        """The flow has come to a stage."""
        for tap in self._taps:
            tap.reached(stage)

    def data(self, part: Part, data: bytes) -> None:
        """A piece of a body has passed."""
        for tap in self._taps:
            tap.data(part, data)

    def message(self, message: Message) -> None:
        """A message has passed."""
        for tap in self._taps:
            tap.message(message)

    def finish(self) -> None:
        """The flow has ended."""
        for tap in self._taps:
            tap.finish()


AnyTap = Tap | Taps
