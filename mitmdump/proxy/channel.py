"""A codec on a stream: one HTTP/1 connection, as a side of an exchange (see `sides`)."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import PeerError
from ..net.stream import Stream
from ..wire.events import Event
from ..wire.http1 import Http1


class Channel:
    """One HTTP/1 connection. `send` queues, `flush` writes all that was queued at once."""

    __slots__ = ("codec", "send", "stream")

    def __init__(self, stream: Stream, codec: Http1) -> None:
        self.stream = stream
        self.speak(codec)

    def speak(self, codec: Http1) -> None:
        """Go on with this codec."""
        self.codec = codec
        self.send: Callable[[Event], None] = codec.send  # not a method, which would be called with every event

    @property
    def broken(self) -> bool:
        """Can nothing more be written to the peer?"""
        return self.stream.broken

    @property
    def keeps_alive(self) -> bool:
        """Does the peer's last message let another one follow?"""
        return self.codec.keep_alive

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

    def write(self) -> None:
        """Write what is queued, without waiting for a slow peer. Raises StreamError."""
        if data := self.codec.take():
            self.stream.write(data)

    def write_last(self) -> None:
        """Write what is queued; that the peer is gone is for the next who listens to it."""
        try:  # noqa: SIM105  # a context manager takes longer than all the rest
            self.write()
        except PeerError:
            pass

    async def flush(self) -> None:
        """Write what is queued, and wait while the peer is slower than we are. Raises StreamError."""
        self.write()
        if self.stream.congested:
            await self.stream.drain()

    def abort(self, error: PeerError) -> None:
        """Break the connection; who waits for the peer here sees `error`."""
        self.stream.abort(error)

    def leave_http(self) -> tuple[Stream, bytes]:
        """The connection, for another protocol, and what has come of that already."""
        return self.stream, self.codec.rest()

    def close(self) -> None:
        """End the connection, after what was written has left."""
        self.stream.close()
