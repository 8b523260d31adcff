"""Reading much at a time from a peer that has much to send.

An event loop reads 250 KiB or so in one call of the system. What each of these pieces costs on its way through all
layers is little in instructions and more in time, because the bytes of the last one have driven the code for it out of
the processor's caches. So once a peer has filled such a read, its stream is read through a `Wide`, up to SIZE at a
time, for as long as the connection lasts.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .stream import Stream

# uvloop reads 256,000 bytes at most, asyncio 262,144. In TLS a little less of that is plaintext.
PLENTY = 250_000

# More gains nothing: this much does not fit into the nearer caches any more.
SIZE = 1024 * 1024

# One for all streams: an event loop hands over what it has read before it reads again.
_room = memoryview(bytearray(SIZE))
_usual = _room[: 256 * 1024]


def read_widely(stream: Stream) -> None:
    """Read more at a time from this stream, which must not be paused."""
    transport = stream.transport
    if transport.get_extra_info("socket") is None:  # inside a stream of HTTP/2, of which a lane reads
        return
    if isinstance(transport.get_protocol(), Wide):
        return
    transport.pause_reading()  # uvloop looks at its protocol when it begins to read
    transport.set_protocol(Wide(stream))
    transport.resume_reading()


class Wide(asyncio.BufferedProtocol):
    """A stream, as an event loop sees it that reads into our own memory."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # which is no more than usual
        """Room for the next read; of a usual size where nobody waits for it, so that little lies about unread."""
        return _room if self._stream.is_awaited else _usual

    def buffer_updated(self, nbytes: int) -> None:
        self._stream.data_received(bytes(_room[:nbytes]))

    def eof_received(self) -> bool:
        return self._stream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stream.connection_lost(exc)

    def pause_writing(self) -> None:
        self._stream.pause_writing()

    def resume_writing(self) -> None:
        self._stream.resume_writing()
