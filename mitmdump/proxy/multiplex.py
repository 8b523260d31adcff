"""HTTP/2: one connection with many exchanges on it, each of which sees a side of its own (`sides`).

A `Multiplex` is a connection and its codec, a `Lane` is one stream of it. Nobody waits for the connection: its bytes
are handed in by the event loop, become events, and wake the tasks that wait at their lanes. Whatever these tasks then
say to one peer leaves in one write, when the turn of the loop is over (`write_soon`).

A congested connection is not written to, but still reads: the peer may be waiting for us to, before it reads. What its
lanes have to say waits in the codec, and they wait with more (`Lane.flush`).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from ..errors import PeerError, RemoteError, StreamError
from ..net.stream import Stream
from ..net.turn import Turn
from ..wire.events import Event, GoAway, RequestHead, Reset, StreamEvent
from ..wire.http2 import Http2
from .lane import Lane, again


class Multiplex(ABC):
    """One HTTP/2 connection. `patience`: seconds that somebody will wait for the peer at a lane.

    `leaving`: no new lanes are to be made, because one of the two has announced the end. `lost`: there is no connection
    any more, because of `error` or because both sides have done with it.
    """

    def __init__(self, stream: Stream, codec: Http2, turn: Turn, patience: float) -> None:
        self.stream = stream
        self.codec = codec
        self.turn = turn
        self.patience = patience
        self.lanes: dict[int, Lane] = {}
        self.leaving = False
        self.lost = False
        self.error: Exception | None = None
        self.loop = asyncio.get_running_loop()
        self._writing = False
        self._waiting: set[Lane] = set()  # for room to write

    def start(self) -> None:
        """Take all that the stream has from now on."""
        self.stream.consumer = self
        self.write_soon()
        self.has_data()
        if self.stream.ended and not self.lost:
            self.has_ended()

    # -- what those that know more make of it -------------------------------------------------------------------------

    @abstractmethod
    def begin(self, head: RequestHead) -> Lane | None:
        """The peer has opened a stream: its lane, if it gets one."""

    @abstractmethod
    def refuse(self, error: RemoteError) -> None:
        """The peer has opened a stream with a fault in its head, and the codec has answered that."""

    @abstractmethod
    def rest(self) -> None:
        """Nothing is open, nothing is to be sent."""

    @abstractmethod
    def over(self) -> None:
        """The connection is lost, or both sides have done with it."""

    # -- what happens on the connection -------------------------------------------------------------------------------

    def has_data(self) -> None:
        try:
            self._receive(self.stream.take())
        except RemoteError as error:
            self._write()
            self.lose(error)
        except Exception as bug:  # noqa: BLE001  # for the tasks to raise: the event loop could but print it
            self.lose(bug)

    def has_ended(self) -> None:
        if self.lost:
            return
        if not self.stream.broken:
            self.has_data()
        error: PeerError | None = self.stream.error
        try:
            self.codec.eof()
        except RemoteError as cut_short:
            error = error or cut_short
        self.lose(error or StreamError(f"the {self.stream.peer} closed the connection"))

    def has_room(self) -> None:
        self._write()

    def grow_older(self, seconds: float) -> None:
        for lane in list(self.lanes.values()):
            lane.grow_older(seconds)

    def _receive(self, data: bytes) -> None:
        codec, now = self.codec, self.loop.time()
        woken: dict[Lane, None] = {}
        if data:
            self._deliver(codec.receive(data, now), woken)
        self.write_soon()  # acknowledgements of the codec's own
        for lane in woken:
            lane.wake()
        if codec.has_rest:
            codec.receive(b"", now)  # which raises

    def _deliver(self, events: list[StreamEvent], woken: dict[Lane, None]) -> None:
        """Put events where they belong; who is there to be woken afterwards is added to `woken`."""
        lanes = self.lanes
        for event in events:
            kind = type(event)
            if kind is GoAway:
                self.leaving = True
                continue
            assert not isinstance(event, GoAway)
            lane = lanes.get(event.stream_id)
            if lane is None:
                self._deliver_new(event)
            elif kind is Reset:
                assert isinstance(event, Reset)
                lane.reset_by_peer(event)
            else:
                assert not isinstance(event, Reset)
                lane.events.append(event)
                woken[lane] = None

    def _deliver_new(self, event: Event | Reset) -> None:
        if isinstance(event, RequestHead):
            if lane := self.begin(event):
                self.lanes[event.stream_id] = lane
                lane.events.append(event)
        elif isinstance(event, Reset) and event.error and event.error.head:
            self.refuse(event.error)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write_soon(self) -> None:
        """Write what is queued, with all that will be queued in this turn of the loop."""
        if not self._writing:
            self._writing = True
            self.turn.put_off(self._write)

    def write_now(self) -> None:
        """Write what is queued, unless the peer is too slow for it."""
        stream = self.stream
        if stream.congested or stream.broken:
            return
        self.turn.settle()  # for the end of an answer can be in there
        try:
            if data := self.codec.take():
                stream.write(data)
        except PeerError as error:
            self.lose(error)

    def _write(self) -> None:
        self._writing = False
        self.write_now()
        if self._waiting:
            for lane in [lane for lane in self._waiting if not lane.is_full]:
                self._waiting.discard(lane)
                lane.has_room()
        if not self.lanes and self.codec.idle and not self.lost:
            self._rest()

    def wait_for_room(self, lane: Lane) -> None:
        """Call the lane's `has_room` when it is not full any more."""
        self._waiting.add(lane)

    # -- the end ------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Announce that the connection is about to end; what is open goes on."""
        if not self.leaving:
            self.leaving = True
            self.codec.close()
            self.write_soon()

    def lose(self, error: Exception) -> None:
        """There is no connection any more, and who waits for the peer learns it."""
        if self.lost:
            return
        self.lost = self.leaving = True
        self.error = again(error)
        lanes = list(self.lanes.values())
        self.lanes.clear()
        self._waiting.clear()
        for lane in lanes:
            lane.fail(error)
        self._end()

    def _rest(self) -> None:
        if self.leaving:
            self.lost = True
            self._end()
        else:
            self.rest()

    def _end(self) -> None:
        self.stream.consumer = None  # or the two would hold each other until the garbage collector comes
        self.over()
