"""A codec on a stream: events to and from one peer."""

from __future__ import annotations

from ..net.stream import Stream
from ..wire.events import Event
from ..wire.http1 import Http1


class Channel:
    """One HTTP/1 connection. `send` queues, `flush` writes all that was queued at once."""

    __slots__ = ("codec", "stream")

    def __init__(self, stream: Stream, codec: Http1) -> None:
        self.stream = stream
        self.codec = codec

    async def receive(self) -> list[Event]:
        """The next events, at least one; [] when the peer has properly ended.

        Raises RemoteError, StreamError or TlsError.
        """
        codec, stream = self.codec, self.stream
        events = codec.receive(b"") if codec.has_rest else []
        while not events:
            data = await stream.read()
            if not data:
                return codec.eof()
            events = codec.receive(data)
        return events

    def send(self, event: Event) -> None:
        """Queue an event."""
        self.codec.send(event)

    def write(self) -> None:
        """Write what is queued, without waiting for a slow peer. Raises StreamError."""
        if data := self.codec.take():
            self.stream.write(data)

    async def flush(self) -> None:
        """Write what is queued, and wait while the peer is slower than we are. Raises StreamError."""
        self.write()
        if self.stream.congested:
            await self.stream.drain()
