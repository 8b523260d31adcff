"""Between the flows and the sinks: the filter, asked as early as it can answer, and the counts.

A `Tap` is put on each flow. While the filter does not know yet, what passes is kept in a spool; once it says yes, the
sinks are fed from there, and once it says no, nothing more of the flow is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import OutputError
from ..filter import Needs, Stage
from ..flowfile.raw import RawFlow
from ..model.body import Body
from ..model.flow import Flow, Part
from ..model.message import Message
from .base import Sink

if TYPE_CHECKING:
    from ..filter import Filter
    from .spool import Spool

# What a sink raises when it can take no more. Some loops below meet that by themselves, rather than with `Outlet.tell`,
# because each small flow, or each piece of a large one, passes there.
_FAILURES: Final = (OSError, OutputError)
BODIES = Needs.REQUEST_BODY | Needs.RESPONSE_BODY


@dataclass
class Tally:
    """What is said at the end: flows that ended, those of them that were wanted, and those that failed; how many
    bytes of bodies and messages passed; and what was passed through unrecorded, connections and requests.
    """

    seen: int = 0
    matched: int = 0
    failed: int = 0
    bytes: int = 0
    passed_through: int = 0

    def count(self, flow: Flow, matched: bool) -> None:
        """A flow has ended."""
        self.seen += 1
        if matched:
            self.matched += 1
        if flow.error is not None:
            self.failed += 1


class Outlet:
    """A filter (None: every flow) and the sinks behind it.

    A sink that can take no more gets no more, and `on_failure` is told, once. At most `limit` flows are wanted,
    whatever the filter says of others; `on_full` is told when the last of them has begun.
    """

    def __init__(
        self,
        filter_: Filter | None,
        sinks: Sequence[Sink],
        on_failure: Callable[[OSError | OutputError], object],
        *,
        limit: int | None = None,
        on_full: Callable[[], object] = lambda: None,
    ) -> None:
        self.filter = filter_
        self.sinks = self._all_sinks = tuple(sinks)
        self.body_sinks = tuple(sink for sink in sinks if sink.wants_bodies)
        self.spools_bodies = bool(self.body_sinks or (filter_ and filter_.needs & BODIES))
        self.tally = Tally()
        self._on_failure = on_failure
        self._room = limit
        self._on_full = on_full
        self.settle_soon: Callable[[], object] = self.settle  # once a flow has ended; a proxy puts it off a little

    def settle(self) -> None:
        """Have the sinks write what they gather."""
        for sink in self.sinks:
            try:
                sink.settle()
            except _FAILURES as error:
                self.fail(error, sink)

    def put_off_settling(self, soon: Callable[[], object]) -> None:
        """Call `soon` where `settle` would be called, at the end of each flow."""
        self.settle_soon = soon

    def admit(self) -> bool:
        """May one more flow that the filter wants go to the sinks?"""
        if self._room is None:
            return True
        if not self._room:
            return False
        self._room -= 1
        if not self._room:
            self._on_full()
        return True

    def tell(self, sinks: Iterable[Sink], call: Callable[[Sink], object]) -> None:
        """Call these sinks. One that fails does not keep the others from it."""
        for sink in sinks:
            try:
                call(sink)
            except _FAILURES as error:
                self.fail(error, sink)

    def fail(self, error: OSError | OutputError, failed: Sink | None = None) -> None:
        """A sink, or None: any of them, can take no more."""
        if failed in self.sinks or (self.sinks and failed is None):
            self.sinks = tuple(sink for sink in self.sinks if failed not in (None, sink))
            self.body_sinks = tuple(sink for sink in self.sinks if sink.wants_bodies)
            self._on_failure(error)

    def tick(self, now: float) -> None:
        """Pass the time on to the sinks; Unix seconds."""
        self.tell(self.sinks, lambda sink: sink.tick(now))

    def tap(self, flow: Flow) -> Tap:
        """The outlet's hold on a flow that begins."""
        return Tap(flow, self)

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:
        """A whole flow, as it comes from a file; see `Sink.put`."""
        matched = (not self.filter or bool(self.filter.verdict(flow, Stage.END))) and self.admit()
        self.tally.count(flow, matched)
        for message in (flow.request, flow.response):
            self.tally.bytes += message.body.length if message else 0
        if matched:
            self.tell(self.sinks, lambda sink: sink.put(flow, raw))

    def pass_over(self, flows: int) -> None:
        """So many flows without an error were not put here, because the filter rules them out."""
        self.tally.seen += flows

    def pass_through(self) -> None:
        """A connection, or a request in the clear, was none of our business."""
        self.tally.passed_through += 1

    def close(self) -> None:
        """Close all sinks, also those that failed."""
        self.tell(self._all_sinks, lambda sink: sink.close())


class Tap:
    """The outlet's hold on one flow.

    `wanted` is the verdict so far. Call `reached` as the flow passes its stages, `data` and `message` with what passes,
    and `finish` at the end, whatever the end was.
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
        wanted: bool | None = True
        if filter_ is not None:
            self._show_spool()
            wanted = filter_.verdict(self._flow, stage)
        self.wanted = self._outlet.admit() if wanted else wanted
        if self.wanted:
            self._accept()
        elif self.wanted is False:
            self._drop_spool()

    def data(self, part: Part, data: bytes) -> None:
        """A piece of a body has passed."""
        outlet = self._outlet
        outlet.tally.bytes += len(data)
        if self.wanted:
            self._give(part, data)
        elif self.wanted is None and outlet.spools_bodies:
            self._keep(lambda spool: spool.add(part, data))

    def message(self, message: Message) -> None:
        """A message has passed."""
        outlet = self._outlet
        outlet.tally.bytes += len(message.content)
        if self.wanted:
            self._give_message(message)
        elif self.wanted is None:
            self._keep(lambda spool: spool.add_message(message))

    def finish(self) -> None:
        """The flow has ended."""
        if self.wanted is None:
            self.reached(Stage.END)
        outlet, flow, wanted = self._outlet, self._flow, bool(self.wanted)
        outlet.tally.count(flow, wanted)
        if not wanted:
            return
        for sink in outlet.sinks:
            try:
                sink.finish(flow)
            except _FAILURES as error:
                outlet.fail(error, sink)
        outlet.settle_soon()

    def _accept(self) -> None:
        """The flow is wanted: give the sinks what has passed of it."""
        outlet, flow = self._outlet, self._flow
        for sink in outlet.sinks:
            try:
                sink.begin(flow)
            except _FAILURES as error:
                outlet.fail(error, sink)
        if self._spool is None:
            return
        for part in Part:
            for piece in self._spool.pieces(part):
                self._give(part, piece)
        for message in self._spool.messages():
            self._give_message(message)
        self._drop_spool()

    def _give(self, part: Part, data: bytes) -> None:
        outlet, flow = self._outlet, self._flow
        for sink in outlet.body_sinks:
            try:
                sink.data(flow, part, data)
            except _FAILURES as error:
                outlet.fail(error, sink)

    def _give_message(self, message: Message) -> None:
        outlet, flow = self._outlet, self._flow
        for sink in outlet.sinks:
            try:
                sink.message(flow, message)
            except _FAILURES as error:
                outlet.fail(error, sink)

    def _keep(self, add: Callable[[Spool], None]) -> None:
        try:
            if self._spool is None:
                from .spool import Spool  # here, as few runs need it

                self._spool = Spool()
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

    def settle(self) -> None:
        """Have the sinks write what they gather."""
        for outlet in self._outlets:
            outlet.settle()

    def put_off_settling(self, soon: Callable[[], object]) -> None:
        """Call `soon` where `settle` would be called, at the end of each flow."""
        for outlet in self._outlets:
            outlet.put_off_settling(soon)

    def tap(self, flow: Flow) -> Taps:
        """The hold of all outlets on a flow that begins."""
        return Taps([outlet.tap(flow) for outlet in self._outlets])

    def tick(self, now: float) -> None:
        """Pass the time on to the sinks; Unix seconds."""
        for outlet in self._outlets:
            outlet.tick(now)

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:
        """A whole flow, as it comes from a file; see `Sink.put`."""
        for outlet in self._outlets:
            outlet.put(flow, raw)

    def pass_over(self, flows: int) -> None:
        """So many flows without an error were not put here, because all filters rule them out."""
        for outlet in self._outlets:
            outlet.pass_over(flows)

    def pass_through(self) -> None:
        """A connection, or a request in the clear, was none of our business."""
        for outlet in self._outlets:
            outlet.pass_through()


class Taps:
    """The taps of several outlets on one flow; used like a Tap, but that it does not say who wants the flow."""

    __slots__ = ("_taps",)
    wanted = None

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
