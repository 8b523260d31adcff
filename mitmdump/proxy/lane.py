"""One stream of an HTTP/2 connection, as a side of an exchange (`sides`); `multiplex` is the connection.

A lane holds its peer back by acknowledging late: what `receive` gave is acknowledged when the next is asked for, and
until then the other side has taken it. So what waits in a lane is bounded by its window, and a client that reads slowly
holds back its own lane and no other. The other way round, `flush` waits while more than `HIGH_WATER` bytes of its lane
have not left, for want of window or because the whole connection is congested.

A lane leaves the connection when its exchange has done with it, and everything about it goes with it; what the codec
still has to send of it is the codec's. Each lane has a time-out of its own, on the same timer as `net.stream.Stream`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import PeerError, ResetError, StreamError
from ..net.wakeup import Wakeup
from ..wire.events import Data, End, Event, RequestHead, Reset, ResponseHead
from ..wire.http2 import Code
from ..wire.translate import end_to_http2

if TYPE_CHECKING:
    from .multiplex import Multiplex

# Of one lane, on our side. A peer with a large window gets all at once; this is what is at hand when a small one opens.
HIGH_WATER = 64 * 1024


class Lane(ABC):
    """One stream of a connection; a client's and a server's are `ClientLane` and `ServerLane`.

    `broken`: nothing more can be said to the peer. `on_end`: called when that becomes so.
    """

    __slots__ = (
        "__weakref__",
        "_codec",
        "_draining",
        "_error",
        "_quiet",
        "_reader",
        "_taken",
        "_writer",
        "broken",
        "events",
        "mux",
        "on_end",
        "patience",
        "stream_id",
    )

    def __init__(self, mux: Multiplex, stream_id: int) -> None:
        self.mux = mux
        self.stream_id = stream_id
        self.patience = mux.patience
        self.events: list[Event] = []
        self.broken = False
        self.on_end: Callable[[], object] | None = None
        self._codec = mux.codec
        self._error: Exception | None = None
        self._reader: Wakeup | None = None
        self._writer: Wakeup | None = None
        self._taken = 0  # bytes that were received and not acknowledged
        self._draining = False
        self._quiet = 0.0

    # -- for the exchange ---------------------------------------------------------------------------------------------

    async def receive(self) -> list[Event]:
        """The next events, at least one. Raises PeerError."""
        if self._taken:
            self._acknowledge()
        while not self.events:
            if self._error:
                raise again(self._error)
            self._quiet = 0.0
            self._reader = Wakeup(self.mux.loop)
            try:
                await self._reader
            finally:
                self._reader = None
        events, self.events = self.events, []
        self._taken = _size(events)
        return events

    def unread(self, events: list[Event]) -> None:
        """Give the last of what `receive` gave back, to be received again."""
        self._taken -= _size(events)
        self.events[:0] = events

    def send(self, event: Event) -> None:
        """Queue an event."""
        kind = type(event)
        if kind is Data:
            event.stream_id = self.stream_id
        elif kind is End:
            assert isinstance(event, End)
            event = end_to_http2(event, self.stream_id)
        else:
            assert isinstance(event, RequestHead | ResponseHead)
            event = self.worded(event)
        self._codec.send(event)

    @abstractmethod
    def worded(self, head: RequestHead | ResponseHead) -> RequestHead | ResponseHead:
        """A head as this lane says it."""

    def write(self) -> None:
        """Write what is queued. Raises PeerError."""
        if self.broken:
            raise again(self._error or StreamError(f"the stream to the {self.mux.stream.peer} is over"))
        self.mux.write_soon()

    def write_last(self) -> None:
        """Write what is queued; that the peer is gone is for the next who listens to it."""
        self.mux.write_soon()

    async def flush(self) -> None:
        """Write what is queued, and wait while the peer is slower than we are. Raises PeerError."""
        self.write()
        if self.is_full:
            await self._wait_for_room()

    async def drain(self) -> None:
        """Write what is queued, and wait until all of it has left. Raises PeerError."""
        self._draining = True
        self.write()
        await self._wait_for_room()

    def watch(self, on_end: Callable[[], object] | None) -> None:
        """Tell when the peer has reset the stream or is gone, also if it has already; None: tell no more."""
        self.on_end = on_end
        if on_end and self.broken:
            on_end()

    def abort(self, error: PeerError) -> None:
        """Break off; who waits for the peer here gets `error`."""
        if not self.broken:
            self.reset(Code.CANCEL)
            self.fail(error)

    def close(self) -> None:
        """Have done with the peer; what is not complete is broken off."""
        self.reset(Code.CANCEL)
        self.leave()

    # -- for the connection -------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Does so much wait to be sent that no more should be queued? While it is drained: does anything?"""
        if self._draining and self.mux.stream.congested:
            return True
        return self._codec.unsent(self.stream_id) > (0 if self._draining else HIGH_WATER)

    def wake(self) -> None:
        """Something was added to `events`."""
        self._quiet = 0.0
        if self._reader is not None:
            self._reader.now()

    def has_room(self) -> None:
        """It is not full any more."""
        if self._writer is not None:
            self._writer.soon()

    def fail(self, error: Exception) -> None:
        """Nothing more will come, or can be sent."""
        if self.broken:
            return
        self.broken = True
        self._error = again(error)
        for waiting in (self._reader, self._writer):
            if waiting is not None:
                waiting.soon()
        if self.on_end:
            self.on_end()

    def reset_by_peer(self, event: Reset) -> None:
        """The peer has ended the stream, or we have for its fault."""
        peer = self.mux.stream.peer
        self.fail(event.error or ResetError(f"the {peer} reset the stream: {Code.name_of(event.code)}", event.code))

    def reset(self, code: int) -> None:
        """End the stream, unless it is over."""
        self._codec.reset(self.stream_id, code)
        self.mux.write_soon()

    def leave(self) -> None:
        """Be no more of the connection. What was received and not taken is thrown away."""
        self.mux.lanes.pop(self.stream_id, None)
        self.mux.write_soon()
        self.broken = True
        self._taken += _size(self.events)
        self.events.clear()
        if self._taken:
            self._acknowledge()

    def grow_older(self, seconds: float) -> None:
        """Time has passed; it counts against the peer while somebody waits for it."""
        if self._reader is None and self._writer is None:
            return
        self._quiet += seconds
        if self._quiet > self.patience:
            what = "sent nothing" if self._writer is None else "took no data"
            self.abort(StreamError(f"the {self.mux.stream.peer} {what} for {self.patience:g} seconds", 504))

    def _acknowledge(self) -> None:
        self._codec.acknowledge(self.stream_id, self._taken)
        self._taken = 0
        self.mux.write_soon()

    async def _wait_for_room(self) -> None:
        self.mux.write_now()
        while self.is_full:
            self._quiet = 0.0
            self._writer = Wakeup(self.mux.loop)
            self.mux.wait_for_room(self)
            try:
                await self._writer
            finally:
                self._writer = None
            if self._error:
                raise again(self._error)


def _size(events: list[Event]) -> int:
    """The bytes of bodies in there."""
    return sum([len(event.data) for event in events if type(event) is Data])


def again(error: Exception) -> Exception:
    """An error that has no traceback yet."""
    return error.again() if isinstance(error, PeerError) else error
