"""In front of a sink: no more than so many bytes of each body (--body-limit).

What is known of a body stays true of the whole of it: its length, whether it is complete, and the digest, which is
taken here, since the sink does not see all the bytes. Messages of WebSockets and raw connections pass whole: their
records have no place for a length that is not that of their content.
"""

from __future__ import annotations

from hashlib import sha256

from ..flowfile.raw import RawFlow
from ..model.flow import Flow, Part
from ..model.message import Message
from .base import Sink


class Trimming(Sink):
    """Hands flows on to `sink` with the first `limit` bytes of each body."""

    def __init__(self, sink: Sink, limit: int) -> None:
        self.wants_bodies = sink.wants_bodies
        self._sink = sink
        self._limit = limit
        self._running: dict[int, tuple[_Seen, _Seen]] = {}

    def begin(self, flow: Flow) -> None:
        self._running[flow.id] = (_Seen(), _Seen())
        self._sink.begin(flow)

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        seen = self._running[flow.id][part]
        room = self._limit - seen.length
        seen.add(data)
        if room > 0:
            self._sink.data(flow, part, data[:room])

    def message(self, flow: Flow, message: Message) -> None:
        self._sink.message(flow, message)

    def finish(self, flow: Flow) -> None:
        for seen, message in zip(self._running.pop(flow.id), (flow.request, flow.response), strict=True):
            if message and message.body.length == seen.length > self._limit:
                message.body.digest = seen.digest.digest()
        self._sink.finish(flow)

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:
        """A flow of which nothing is cut may be copied as it stands in its file."""
        messages = [message for message in (flow.request, flow.response) if message]
        if all(message.body.stored <= self._limit for message in messages):
            self._sink.put(flow, raw)
        else:
            super().put(flow)

    def settle(self) -> None:
        self._sink.settle()

    def tick(self, now: float) -> None:
        self._sink.tick(now)

    def close(self) -> None:
        self._sink.close()


class _Seen:
    """What has passed of a body: how many bytes, and their digest."""

    __slots__ = ("digest", "length")

    def __init__(self) -> None:
        self.length = 0
        self.digest = sha256()

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self.digest.update(data)
