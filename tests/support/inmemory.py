"""The proxy between one client and one server without a network: what one side writes, the other has at once.

    async with passage("https", [sink]) as between:
        await between.exchanges(100)()

Both far ends are the test's own. What they send is sealed beforehand, so that what runs between is the proxy alone: its
streams, TLS sessions, codecs, exchange and sinks. A test can count the calls or take the time of that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mitmdump.model.connection import Connection
from mitmdump.net.stream import Stream, Streams
from mitmdump.net.vigil import Vigil
from mitmdump.proxy.client import Client
from mitmdump.proxy.services import Services
from mitmdump.proxy.target import Origin
from mitmdump.settings import Settings
from mitmdump.sinks.base import Sink
from mitmdump.sinks.tap import Outlet
from mitmdump.tls.session import Session

from .pki import make
from .proxying import contexts
from .tls import make_client, make_server
from .websockets import TEXT, asking, close, frame, switching

IDENTITY = make("a.test")
PORTS = {"http": 80, "https": 443}

_FIELDS = b"User-Agent: curl/8.5.0\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nCookie: session=0123456789abcdef\r\n"
_RESPONSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 23 Nov 2026 07:00:00 GMT\r\nContent-Type: text/plain\r\n"
    b'ETag: "65"\r\nContent-Length: %d\r\n\r\n'
)
SMALL_RESPONSE = _RESPONSE_HEAD % 1024 + bytes(1024)
CHUNK = bytes(64 * 1024)


class Wire(asyncio.Transport):
    """What a stream writes to."""

    def __init__(self, end: FarEnd) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000), "sockname": ("127.0.0.1", 8080)})
        self._end = end

    def write(self, data: Any) -> None:
        self._end.on_data(data)

    def close(self) -> None:
        asyncio.get_running_loop().call_soon(self._end.stream.connection_lost, None)

    abort = close

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class FarEnd:
    """The other end of one of the proxy's streams, in TLS if it has a session. `on_data` gets what the proxy writes."""

    def __init__(self, peer: str, streams: Streams, session: Session | None) -> None:
        self.stream = Stream(peer, streams)
        self.session = session
        self.on_data: Callable[[bytes], object] = lambda data: None
        self.stream.connection_made(Wire(self))

    async def start_tls(self, near: Session) -> None:
        """Shake hands with the proxy, whose own end is `near`."""
        assert self.session
        self.on_data = self._shake_hands
        self.session.handshake()
        self.send(self.session.take())
        await self.stream.start_tls(near)
        await asyncio.sleep(0)  # for the tickets

    def _shake_hands(self, data: bytes) -> None:
        assert self.session
        self.session.receive(data)
        self.send(self.session.take())

    def seal(self, data: bytes) -> bytes:
        """What of these bytes is seen on the wire; to be sent in the order of the calls."""
        if self.session is None:
            return data
        self.session.send(data)
        return self.session.take()

    def leave(self) -> None:
        """End this side."""
        if self.session:
            self.session.close()
            self.send(self.session.take())
        asyncio.get_running_loop().call_soon(self.stream.eof_received)

    def send(self, sealed: bytes) -> None:
        """Have the proxy receive this, as soon as it is done with what it does."""
        if sealed:
            asyncio.get_running_loop().call_soon(self.stream.data_received, sealed)


class Passage:
    """One client connection of the proxy, with the server connection that all its requests go to."""

    def __init__(self, scheme: str, sinks: Sequence[Sink]) -> None:
        self.failures: list[BaseException] = []
        self.outlet = Outlet(None, sinks, self.failures.append)
        services = Services(Settings(), self.outlet, contexts()[0], print, lambda _: None)
        services.streams.vigil = Vigil(granted=1)  # the turns that it adds are as many as the clock says
        is_tls = scheme == "https"
        self.client = FarEnd("client", services.streams, make_client() if is_tls else None)
        self.server = FarEnd("server", services.streams, make_server(IDENTITY) if is_tls else None)
        self._origin = Origin(scheme, "a.test", PORTS[scheme])
        self._proxy = Client(services, self.client.stream)
        self._prefix = b"" if is_tls else b"http://a.test"

    async def open(self) -> asyncio.Task[None]:
        """Connect, and have the proxy wait for requests."""
        proxy, origin = self._proxy, self._origin
        if self.client.session:
            await self.client.start_tls(make_server(IDENTITY))
            await self.server.start_tls(make_client())
        connection = Connection("server", address=(origin.host, origin.port))
        proxy.upstreams.keep(proxy.upstreams.adopt(self.server.stream, connection, origin))
        return asyncio.create_task(proxy.enter(origin) if self.client.session else proxy.run())

    async def close(self, running: asyncio.Task[None]) -> None:
        """Have the client leave; nothing may have gone wrong."""
        self.client.on_data = self.server.on_data = lambda _: None
        self.client.leave()
        await running
        self._proxy.upstreams.close()
        self.client.stream.close()
        await asyncio.sleep(0)
        assert not self.failures

    def request(self, line: bytes = b"GET /some/path?q=1", *fields: bytes) -> bytes:
        """A request head."""
        method, _, path = line.partition(b" ")
        more = b"".join(field + b"\r\n" for field in fields)
        return b"%b %b%b HTTP/1.1\r\nHost: a.test\r\n%b%b\r\n" % (method, self._prefix, path, _FIELDS, more)

    def exchanges(self, count: int) -> Callable[[], Awaitable[None]]:
        """So many small exchanges, one after the other. The server answers what it gets, and the client asks again when
        it gets something: the proxy writes a message at once.
        """
        requests = iter([self.client.seal(self.request()) for _ in range(count)])
        responses = iter([self.server.seal(SMALL_RESPONSE) for _ in range(count)])

        async def run() -> None:
            done = asyncio.get_running_loop().create_future()
            self.server.on_data = lambda _: self.server.send(next(responses))
            self.client.on_data = lambda _: _next(self.client, requests, done)
            _next(self.client, requests, done)
            await done

        return run

    async def begin_download(self, chunks: int) -> None:
        """The head of a response with so many CHUNKs has passed."""
        self.server.on_data = lambda _: self.server.send(self.server.seal(_RESPONSE_HEAD % (chunks * len(CHUNK))))
        self.client.send(self.client.seal(self.request()))
        await self._arrival(self.client)

    async def begin_upload(self, chunks: int) -> None:
        """The head of a request with so many CHUNKs has passed."""
        self.client.send(self.client.seal(self.request(b"PUT /", b"Content-Length: %d" % (chunks * len(CHUNK)))))
        await self._arrival(self.server)

    async def end_upload(self) -> None:
        """The response to an upload."""
        self.server.send(self.server.seal(SMALL_RESPONSE))
        await self._arrival(self.client)

    def chunks(self, count: int, *, up: bool = False) -> Callable[[], Awaitable[None]]:
        """So many CHUNKs pass, each sent when the one before has arrived."""
        source, sink = (self.client, self.server) if up else (self.server, self.client)
        pieces = iter([source.seal(CHUNK) for _ in range(count)])

        async def run() -> None:
            done = asyncio.get_running_loop().create_future()
            sink.on_data = lambda _: _next(source, pieces, done)
            _next(source, pieces, done)
            await done

        return run

    async def begin_websocket(self) -> None:
        """A WebSocket is open."""
        self.server.on_data = lambda _: self.server.send(self.server.seal(switching()))
        self.client.send(self.client.seal(asking(b"a.test", absolute=not self.client.session)))
        await self._arrival(self.client)

    async def end_websocket(self) -> None:
        """Both ends have closed it."""
        self.client.send(self.client.seal(close(masked=True)))
        await self._arrival(self.server)
        self.server.send(self.server.seal(close(masked=False)))
        await self._arrival(self.client)
        self.server.leave()

    def echoes(self, count: int) -> Callable[[], Awaitable[None]]:
        """So many messages of 1 KiB pass, and as many answers, each when the one before has arrived."""
        text = bytes(ord("x") for _ in range(1024))
        asked = iter([self.client.seal(frame(TEXT, text, masked=True)) for _ in range(count)])
        answers = iter([self.server.seal(frame(TEXT, text, masked=False)) for _ in range(count)])

        async def run() -> None:
            done = asyncio.get_running_loop().create_future()
            self.server.on_data = lambda _: self.server.send(next(answers))
            self.client.on_data = lambda _: _next(self.client, asked, done)
            _next(self.client, asked, done)
            await done

        return run

    async def _arrival(self, end: FarEnd) -> None:
        arrived = asyncio.get_running_loop().create_future()
        end.on_data = lambda data: arrived.done() or arrived.set_result(data)
        await arrived


def _next(end: FarEnd, pieces: Iterator[bytes], done: asyncio.Future[None]) -> None:
    """Send what is next; when there is nothing left, it is done."""
    piece = next(pieces, None)
    if piece is None:
        done.set_result(None)
    else:
        end.send(piece)


@asynccontextmanager
async def passage(scheme: str, sinks: Sequence[Sink] = ()) -> AsyncIterator[Passage]:
    """A passage that is open."""
    between = Passage(scheme, sinks)
    running = await between.open()
    yield between
    await between.close(running)
