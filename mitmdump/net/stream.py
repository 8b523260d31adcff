"""One connection as everything above sees it: read, peek, write, drain, start_tls, close.

TLS is a session on the stream, not another stream around it: after `start_tls` the same methods speak plaintext. Bytes
cross in two calls each way, `data_received` -> `session.receive` and `session.send` -> `transport.write`.

Back-pressure: reading pauses while more than `HIGH_WATER` bytes wait unread; writers `await drain()` while `congested`.

Time-outs cost nothing per byte. Each stream has a number of seconds, `patience`, that somebody will wait for its peer;
one timer for all streams (`Streams`) adds up how long each has been quiet while it was waited for, and breaks the
connection of a peer that outstays it, or closes it where all is said (`resting`). The precision is that timer's second.

Who does several things at once on one connection waits for none of them: a `Consumer` is called with what happens.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, cast

from ..errors import PeerError, StreamError, TlsError
from ..model.connection import Address
from .loops import Outgoing
from .vigil import Vigil, granted
from .wakeup import Gate, Wakeup
from .wide import PLENTY, read_widely

HIGH_WATER = 256 * 1024
SWEEP_SECONDS = 1.0
TLS_PIECE = 64 * 1024  # a session keeps, as long as it lasts, the room that it needed once (`tls.session.PIECE`)
CLOSE_SECONDS = 30.0  # how long a peer may take over what was written before we closed
_RESET = struct.pack("ii", 1, 0)


class Session(Protocol):
    """What a stream needs of a TLS session (`tls.session.Session` is one)."""

    established: bool
    closed: bool

    def handshake(self) -> None: ...
    def receive(self, data: bytes) -> bytes: ...
    def send(self, data: bytes) -> None: ...
    def take(self) -> bytes: ...
    def close(self) -> None: ...


class Consumer(Protocol):
    """Takes what a stream has, instead of a task that reads."""

    def has_data(self) -> None:
        """Bytes have come: `take` them, all."""

    def has_ended(self) -> None:
        """No more will come: see `ended`, `broken` and `error`."""

    def has_room(self) -> None:
        """The stream is not `congested` any more."""

    def grow_older(self, seconds: float) -> None:
        """So much time has passed."""


class Streams:
    """All open streams: their number, their time-outs, when they go on, and those that lead to servers."""

    def __init__(self) -> None:
        self.outgoing = Outgoing()
        self.gate = Gate()
        self.vigil = Vigil(granted())
        self._open: set[Stream] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, stream: Stream) -> None:
        """Watch over a stream that has just opened."""
        self._open.add(stream)
        if stream.peer == "server":
            self.outgoing.add(stream)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def discard(self, stream: Stream) -> None:
        """Forget a stream that has closed."""
        self._open.discard(stream)
        if stream.peer == "server":
            self.outgoing.discard(stream)

    def _sweep(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep) if self._open else None
        for stream in list(self._open):
            stream.grow_older(SWEEP_SECONDS)


class Stream:
    """A connection to `peer` ("client" or "server").

    `read` and the like raise StreamError or TlsError when the connection is broken. One task at a time may wait to
    read, and one to write.

    `ended`: the peer will send no more, or the connection is broken or closed. `broken`: nothing more can be written to
    the peer, because of `error`, or because we have closed. To the event loop this is an `asyncio.Protocol`.
    """

    def __init__(self, peer: str, streams: Streams) -> None:
        self.peer = peer
        self.patience = float("inf")
        self.forgiving = True  # does a peer that sends anything get its time anew?
        self.resting = False  # is all said, so that what comes begins something, and no failure if nothing does?
        self.congested = False
        self.ended = False
        self.broken = False
        self.error: PeerError | None = None
        self.write_ended = False
        self.on_end: Callable[[], object] | None = None
        self.consumer: Consumer | None = None
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.peername: Address | None = None
        self.sockname: Address | None = None
        self._streams = streams
        self._session: Session | None = None
        self._buffer = b""
        self._eof = False
        self._ended_by_us = False
        self._quiet = 0.0
        self._paused = False
        self._reader = Wakeup()
        self._writer: asyncio.Future[None] | None = None

    # -- for those who use it -----------------------------------------------------------------------------------------

    @property
    def left(self) -> bool:
        """Has the peer ended or broken the connection, before we did?"""
        return self.ended and not self._ended_by_us

    @property
    def has_data(self) -> bool:
        """Are there bytes to read without waiting?"""
        return bool(self._buffer)

    @property
    def is_awaited(self) -> bool:
        """Does somebody wait for what comes?"""
        return self._reader.awaited

    @property
    def is_quiet(self) -> bool:
        """Is it open both ways, with nothing to read?"""
        return not (self.ended or self.write_ended or self._buffer)

    async def read(self) -> bytes:
        """The next bytes, as many as there are; b"" when the peer has ended its side."""
        while not self._buffer:
            if self.error:
                raise self.error.again()
            if self._eof:
                return b""
            await self._arrival()
        return self.take()

    def take(self) -> bytes:
        """The bytes that have come, without waiting."""
        data, self._buffer = self._buffer, b""
        if self._paused:
            self._resume()
        return data

    async def peek(self, count: int) -> bytes:
        """All bytes that have come and were not read, once there are at least `count`, or the peer has ended."""
        while len(self._buffer) < count and not self._eof:
            if self.error:
                raise self.error.again()
            await self._arrival()
        return self._buffer

    def unread(self, data: bytes) -> None:
        """Give bytes back, to be read again."""
        self._buffer = data + self._buffer

    def write(self, data: bytes) -> None:
        """Send bytes; what cannot leave at once is kept (see `drain`). Raises StreamError when the peer is gone."""
        if self.broken:
            raise self.error.again() if self.error else StreamError(f"the connection to the {self.peer} is closed")
        if self._session is None:
            self.transport.write(data)
            return
        for start in range(0, len(data), TLS_PIECE):
            self._session.send(data[start : start + TLS_PIECE])
            self.transport.write(self._session.take())

    async def drain(self) -> None:
        """Wait while the peer is slower than we are."""
        while self.congested:
            if self.error:
                raise self.error.again()
            self._quiet = 0.0
            self._writer = asyncio.get_running_loop().create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    async def start_tls(self, session: Session) -> None:
        """Do a TLS handshake, with what was peeked as its first bytes; from then on all is inside TLS."""
        data, self._buffer = self._buffer, b""
        self._session = session
        try:
            session.handshake()
            self._write_session()
            if data:
                self._receive(data)
            while not session.established:
                if self.error:
                    raise self.error.again()
                if self._eof:
                    raise TlsError(f"the {self.peer} closed the connection in the TLS handshake")
                await self._arrival()
        except TlsError:
            self._write_session()  # the alert that says why
            raise

    def write_eof(self) -> None:
        """End our side; the peer may still send."""
        if self.broken or self.write_ended:
            return
        self.write_ended = True
        if self._session is not None:
            self._session.close()
            self._write_session()
        if self.transport.can_write_eof():
            with suppress(OSError):  # the connection is broken, which asyncio's own loop is about to tell
                self.transport.write_eof()

    def close(self, *, clean: bool = True) -> None:
        """End both sides, after what was written has left; not `clean`: without ending TLS, so as to look cut off."""
        if self.broken:
            return
        if clean and self._session is not None and self._session.established and not self.write_ended:
            self._session.close()
            self._write_session()
        self.broken = self.ended = True
        self._ended_by_us = not self._eof
        self.error = self.error or StreamError(f"we closed the connection to the {self.peer}")
        self._reader.soon()
        self.transport.close()

    def abort(self, error: PeerError) -> None:
        """Break the connection at once, so that the peer sees it broken; who waits for it here sees `error`."""
        if self.broken:
            return
        self._ended_by_us = not self._eof
        self._fail(error)
        # A reset, because a FIN would look like the proper end of a body that is delimited by the connection's close.
        if sock := self.transport.get_extra_info("socket"):
            with suppress(OSError):  # some systems refuse it once the peer has reset the connection
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    async def linger(self, seconds: float) -> None:
        """End our side and let the peer read our last words: closing with bytes unread would make TCP drop them.

        RFC 9112 section 9.6. The peer has `seconds` to end its side, whatever it sends till then is thrown away.
        """
        self.patience, self.forgiving, self._quiet = seconds, False, 0.0
        try:
            self.write_eof()
            while await self.read():
                pass
        except (StreamError, TlsError):
            pass  # it is over either way
        self.close()

    # -- for the timer ------------------------------------------------------------------------------------------------

    def grow_older(self, seconds: float) -> None:
        """Time has passed; it counts against the peer while somebody waits for it."""
        if self.broken:  # and still here: it does not take our last bytes
            self._quiet += seconds
            if self._quiet > CLOSE_SECONDS:
                self.transport.abort()
            return
        if self.consumer is not None:
            self.consumer.grow_older(seconds)
            return
        if self._writer is None and not self._reader.awaited:
            return
        self._quiet += seconds
        if self._quiet <= self.patience:
            return
        if self.resting:  # a reset would take away what the peer has not read yet
            self.close()
        else:
            what = "sent nothing for" if self._writer is None else "took no data for"
            what = what if self.forgiving else "was not done within"
            self.abort(StreamError(f"the {self.peer} {what} {self.patience:g} seconds", 504))

    # -- for the event loop -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(HIGH_WATER)
        self.peername = _address(transport.get_extra_info("peername"))
        self.sockname = _address(transport.get_extra_info("sockname"))
        self._streams.add(self)

    def data_received(self, data: bytes) -> None:
        self._streams.vigil.keep()
        if self.forgiving:
            self._quiet = 0.0
        if self._session is None:
            self._buffer = self._buffer + data if self._buffer else data
        else:
            try:
                self._receive(data)
            except TlsError as error:
                self._write_session()
                self._fail(error)
                self.transport.close()
                return
        if self.consumer is not None:
            if self._buffer:
                self.consumer.has_data()
            return
        if len(self._buffer) >= PLENTY and not self._paused:
            self._take_plenty()
        if self.resting:
            self._streams.gate.let(self._reader)
        else:
            self._reader.now()

    def eof_received(self) -> bool:
        if self._session is not None and not self._session.closed:
            self.error = self.error or StreamError(f"the {self.peer} cut the connection off without ending TLS")
        self._eof = self.ended = True
        self._reader.soon()
        self._tell_end()
        return True  # our side stays open: a client may end its side and still want the answer

    def connection_lost(self, exc: Exception | None) -> None:
        self._streams.discard(self)
        if not self.broken:
            reason = f" ({exc})" if isinstance(exc, OSError) and exc.strerror else ""
            self._fail(StreamError(f"the {self.peer} broke the connection{reason}"))
        elif self._writer and self.error and not self._writer.done():
            self._writer.set_exception(self.error.again())
        self._session = None  # frees OpenSSL's buffers even if somebody still holds the stream

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        self._quiet = 0.0
        if self._writer and not self._writer.done():
            self._writer.set_result(None)
        if self.consumer is not None:
            self.consumer.has_room()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes) -> None:
        session = self._session
        assert session is not None
        plain = session.receive(data)
        self._buffer = self._buffer + plain if self._buffer else plain
        if not self.broken and (answer := session.take()):  # part of a handshake, or an acknowledgement
            self.transport.write(answer)
        if session.closed and not self._eof:
            self._eof = self.ended = True
            self._tell_end()

    def _tell_end(self) -> None:
        if self.on_end:
            self.on_end()
        if self.consumer is not None:
            self.consumer.has_ended()

    def _write_session(self) -> None:
        if self._session is not None and not self.broken and (data := self._session.take()):
            self.transport.write(data)

    def _fail(self, error: PeerError) -> None:
        self.error = self.error or error.again()
        self.broken = self.ended = True
        self.congested = False
        if self._writer and not self._writer.done():
            self._writer.set_exception(self.error.again())
        self._reader.soon()
        self._tell_end()

    def _arrival(self) -> Wakeup:
        """To be awaited, where there is nothing to read: something comes, if only the end."""
        if self.forgiving:
            self._quiet = 0.0
        return self._reader

    def _take_plenty(self) -> None:
        """Much has come: read more of it at a time, but not more than somebody takes."""
        read_widely(self)
        if len(self._buffer) > HIGH_WATER and (self.resting or not self.is_awaited):
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        self._paused = False
        if not self.broken:
            self.transport.resume_reading()


def _address(info: tuple[str, int] | tuple[str, int, int, int] | str | None) -> Address | None:
    """Host and port out of what the system gives; an IPv4 address mapped into IPv6 is that IPv4 address."""
    if not info or isinstance(info, str):
        return None
    return info[0].removeprefix("::ffff:") if "." in info[0] else info[0], info[1]
