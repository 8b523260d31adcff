"""The streams of one connection, and what of them waits to leave.

What is sent waits in its stream until the bytes are taken: a head, pieces of a body, an end. Then a frame of each
stream in turn goes to h2, as far as the peer's windows have room, and the end goes with the last frame before it. A
stream whose window is shut is set aside until the peer opens it, so that it costs nothing however often is looked.
"""

from __future__ import annotations

from collections import deque

from ...model.headers import Field
from ..events import Data, End, Event, ResponseHead
from . import heads
from .frames import Allowance
from .library import Library

# Enough at once to be worth the turn, little enough that nobody waits long for his.
_LARGEST = 16 * 1024

# A frame that a window cut to less than this is no work done: who opens it byte by byte wants us to work in vain.
_SMALL = 1024

# How much of the peer's message is here.
NOTHING, HEAD, ALL = range(3)


class Stream:
    """One exchange: what is still to come, and what still has to go.

    `method` is the request's. `missing`: bytes that Content-Length announced and that did not come yet, -1 if nobody
    knows. `waiting`: bytes of body that were sent and did not leave yet.
    """

    __slots__ = ("end", "head", "method", "missing", "pieces", "received", "sent", "stream_id", "waiting")

    def __init__(self, stream_id: int, method: bytes) -> None:
        self.stream_id = stream_id
        self.method = method
        self.received = NOTHING
        self.missing = -1
        self.head: list[Field] | None = None
        self.pieces: deque[bytes | memoryview] = deque()
        self.waiting = 0
        self.end: End | None = None
        self.sent = False

    @property
    def over(self) -> bool:
        """Have both messages passed?"""
        return self.sent and self.received == ALL

    @property
    def ends_here(self) -> bool:
        """Is what leaves next the last of all, but for the fields of the head and the pieces of the body?"""
        return self.end is not None and not self.end.trailers

    def cut(self, size: int) -> bytes:
        """Take up to `size` bytes of body from the front."""
        pieces, taken, total = self.pieces, [], 0
        while pieces and total < size:
            piece = pieces.popleft()
            if total + len(piece) > size:
                pieces.appendleft(memoryview(piece)[size - total :])
                piece = memoryview(piece)[: size - total]
            taken.append(piece)
            total += len(piece)
        self.waiting -= total
        return b"".join(taken)


class Outbox:
    """What waits to leave, of all streams. `work` is the allowance that real work earns the peer."""

    def __init__(self, library: Library, work: Allowance) -> None:
        self._library = library
        self._work = work
        self._ready: dict[int, Stream] = {}
        self._blocked: dict[int, Stream] = {}

    def put_head(self, stream: Stream, fields: list[Field]) -> None:
        """Queue a head; one that still waits, which is an interim one, leaves now."""
        if stream.head:
            self._send_head(stream, ends=False)
        stream.head = fields
        self._ready[stream.stream_id] = stream

    def put(self, stream: Stream, event: Event) -> None:
        """Queue an event that is not a request's head. What comes behind an end is dropped."""
        if stream.end:
            return
        if type(event) is ResponseHead:
            self.put_head(stream, heads.write_response(event))
            return
        if type(event) is Data:
            if event.data:
                stream.pieces.append(event.data)
                stream.waiting += len(event.data)
        elif type(event) is End:
            stream.end = event
        if stream.stream_id not in self._blocked:
            self._ready[stream.stream_id] = stream

    def drop(self, stream_id: int) -> None:
        """Forget what waits of a stream."""
        self._ready.pop(stream_id, None)
        self._blocked.pop(stream_id, None)

    def unblock(self, stream_id: int) -> None:
        """The peer has made room, for a stream, or with id 0 for all."""
        if not stream_id:
            self._ready.update(self._blocked)
            self._blocked.clear()
        elif stream := self._blocked.pop(stream_id, None):
            self._ready[stream_id] = stream

    def empty(self) -> list[Stream]:
        """Give h2 all that may leave. The streams that have sent their end come back."""
        done: list[Stream] = []
        ready = self._ready
        while ready:
            for stream in list(ready.values()):
                self._send_next(stream)
                if stream.sent:
                    done.append(stream)
                if stream.sent or not (stream.head or stream.pieces or stream.end):
                    ready.pop(stream.stream_id, None)
        return done

    def _send_next(self, stream: Stream) -> None:
        if stream.head:
            self._send_head(stream, ends=stream.ends_here and not stream.pieces)
        elif stream.pieces:
            self._send_data(stream)
        elif stream.ends_here:
            self._library.end_stream(stream.stream_id)
            stream.sent = True
        elif stream.end:
            self._library.send_headers(stream.stream_id, stream.end.trailers or [], end_stream=True)
            stream.sent = True

    def _send_head(self, stream: Stream, *, ends: bool) -> None:
        assert stream.head
        self._library.send_headers(stream.stream_id, stream.head, end_stream=ends)
        stream.head, stream.sent = None, ends

    def _send_data(self, stream: Stream) -> None:
        stream_id = stream.stream_id
        room = self._library.local_flow_control_window(stream_id)
        if room <= 0:
            self._blocked[stream_id] = self._ready.pop(stream_id)
            return
        data = stream.cut(min(room, _LARGEST))
        ends = stream.ends_here and not stream.pieces
        self._library.send_data(stream_id, data, end_stream=ends)
        stream.sent = ends
        if len(data) >= _SMALL or not stream.waiting:
            self._work.earn(3)  # for two WINDOW_UPDATE and a PING that may come back
