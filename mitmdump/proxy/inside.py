"""A stream of HTTP/2 as a connection: what lives on a `net.stream.Stream` can live inside one.

That is how CONNECT and WebSocket run over HTTP/2 (RFC 9113 section 8.5, RFC 8441): the Stream with its TLS, its peeking
and its time-outs is the same, and only its transport is another.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from ..errors import PeerError
from ..net.stream import Stream, Streams
from ..wire.events import Data, End
from ..wire.http2 import Code
from .lane import Lane


def open_inside(lane: Lane, streams: Streams) -> Stream:
    """A connection to the peer of a lane; `drain` and `close` the lane when it is over."""
    outer = lane.mux.stream
    stream = Stream(outer.peer, streams)
    # Towards servers these would stand for a connection of its own (`net.loops.Outgoing`).
    names = {"peername": outer.peername, "sockname": outer.sockname} if outer.peer == "client" else {}
    stream.connection_made(LaneTransport(lane, stream, names))
    return stream


class LaneTransport(asyncio.Transport):
    """What a stream inside a lane reads from and writes to."""

    def __init__(self, lane: Lane, stream: Stream, names: dict[str, Any]) -> None:
        super().__init__(names)
        self._lane = lane
        self._stream: Stream | None = stream
        self._readable = asyncio.Event()
        self._readable.set()
        self._ended = False
        self._closing = False
        self._draining: asyncio.Task[None] | None = None
        lane.patience = float("inf")  # the stream has its own
        lane.on_end = self._lose
        self._reading = asyncio.create_task(self._read(stream))

    async def _read(self, stream: Stream) -> None:
        with suppress(PeerError):  # which `on_end` tells
            while not self._closing:
                await self._readable.wait()
                for event in await self._lane.receive():
                    if isinstance(event, Data):
                        stream.data_received(event.data)
                    elif isinstance(event, End):
                        stream.eof_received()
                        return

    def write(self, data: Any) -> None:
        stream = self._stream
        if self._closing or self._ended or stream is None:
            return
        self._lane.send(Data(bytes(data)))
        self._write_lane()
        if self._lane.is_full and self._draining is None:
            stream.pause_writing()
            self._draining = asyncio.create_task(self._drain(stream))

    async def _drain(self, stream: Stream) -> None:
        with suppress(PeerError):  # who reads learns it
            await self._lane.flush()
        self._draining = None
        stream.resume_writing()

    def write_eof(self) -> None:
        if not self._ended:
            self._ended = True
            self._lane.send(End())
            self._write_lane()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.write_eof()
        self._lose()

    def abort(self) -> None:
        self._lane.reset(Code.CONNECT_ERROR)
        self._lose()

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._readable.clear()

    def resume_reading(self) -> None:
        self._readable.set()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The lane's are fixed."""

    def _write_lane(self) -> None:
        with suppress(PeerError):  # who reads learns it
            self._lane.write()

    def _lose(self) -> None:
        if not self._closing:
            self._closing = True
            self._lane.on_end = None
            asyncio.get_running_loop().call_soon(self._tell_lost)
            if asyncio.current_task() is not self._reading:
                self._reading.cancel()

    def _tell_lost(self) -> None:
        # Let go of, as other transports do: or the two would hold each other until the garbage collector comes.
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.connection_lost(None)
