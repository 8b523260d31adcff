"""The server connections of one client connection: reused where they are idle, opened where they are not.

A client that speaks HTTP/2 asks for several things at once. A server that does, too, gets them all on one connection,
and on one more when it takes no more streams on the first: to wait for a stream that may stay open for hours (a feed, a
call) could be to wait for ever. Any other server gets a connection for each. There are never more of either than the
streams that the client may have open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import time
from typing import TYPE_CHECKING

from ..errors import CertificateError, ConnectError, StreamError, TlsError
from ..model import url
from ..model.connection import Connection
from ..model.flow import Flow
from ..net.stream import Stream
from ..net.upstream import connect
from ..tls.clienthello import ClientHello
from ..wire.events import Role
from ..wire.http1 import Http1, Limits
from .channel import Channel
from .services import Services
from .sides import IDEMPOTENT, ServerSide
from .target import Origin

if TYPE_CHECKING:
    from .http2server import Http2Server, ServerLane

# A client that spreads its requests over many servers is served; that it comes back to more than these is not likely.
MAX_IDLE = 16
HTTP_1, HTTP_2 = b"http/1.1", b"h2"


class Upstream(Channel):
    """A connection to a server that speaks HTTP/1. `used` counts the requests that it has answered."""

    __slots__ = ("connection", "origin", "used")

    def __init__(self, stream: Stream, connection: Connection, origin: Origin, limits: Limits) -> None:
        super().__init__(stream, Http1(Role.CLIENT, limits))
        self.connection = connection
        self.origin = origin
        self.used = 0

    @property
    def quiet(self) -> bool:
        """A server that has ended, or sent what nobody asked for, is not asked again."""
        return self.stream.is_quiet and not self.codec.has_rest

    def start_next_cycle(self) -> bool:
        """Be ready for another request, if the server can take one, as far as we can see from here."""
        codec = self.codec
        if not (codec.keep_alive and codec.cycle_done and self.quiet):
            return False
        codec.start_next_cycle()
        return True

    def may_repeat(self, method: bytes) -> bool:
        """A connection that was used before may just have been closed by the server; then a request that does no harm
        twice may be sent again (RFC 9112 section 9.3.1).
        """
        return bool(self.used) and self.codec.idle and method in IDEMPOTENT

    def finish(self) -> None:
        """The exchange is complete."""
        self.used += 1

    def watch(self, on_end: Callable[[], object] | None) -> None:
        """Tell when the server ends its side or is gone, also if it has already; None: tell no more."""
        self.stream.on_end = on_end
        if on_end and self.stream.ended:
            on_end()

    def end(self, seconds: float) -> None:
        """End our side; the server has so many seconds left to answer."""
        self.stream.patience = min(self.stream.patience, seconds)
        self.stream.write_eof()


class Upstreams:
    """The upstream connections of one client.

    Inside a tunnel, `hello` is what the client sent to open TLS, and `failure` is why its server could not be reached.
    `alpn` is what servers are offered; by default what HTTP makes of the client's own offer. `prior_knowledge`: a
    server speaks HTTP/2 without TLS, because the client does. `on_settled` is called when a server that speaks HTTP/2
    has said what it takes.
    """

    def __init__(
        self, services: Services, hello: ClientHello | None = None, alpn: Sequence[bytes] | None = None
    ) -> None:
        self._services = services
        self._hello = hello
        self.alpn = alpn_offer(hello, http2=services.settings.http2) if alpn is None else alpn
        self.prior_knowledge = False
        self.on_settled: Callable[[], object] = nobody_waits
        self.failure: tuple[Connection, ConnectError] | None = None
        self._idle: list[Upstream] = []
        self._shared: dict[Origin, list[Http2Server]] = {}
        self._opening: dict[Origin, asyncio.Future[tuple[Connection, ConnectError | None]]] = {}
        self._limits = services.limits

    def idle(self, origin: Origin, flow: Flow) -> Upstream | ServerLane | None:
        """What to ask `origin` on, if there is a connection that is idle, or has room; set as the flow's server
        connection.
        """
        for upstream in reversed(self._idle):
            if upstream.origin != origin:
                continue
            self._idle.remove(upstream)
            if upstream.quiet:
                flow.server_conn = upstream.connection
                return upstream
            upstream.stream.close()
        for server in self._shared.get(origin, ()):
            if server.has_capacity:
                flow.server_conn = server.connection
                return server.lane()
        return None

    async def connect(self, origin: Origin, flow: Flow) -> Upstream | ServerLane:
        """A new connection, or room on one that somebody else is just making; set as the flow's server connection.

        Raises ConnectError.
        """
        if self.failure:
            flow.server_conn, error = self.failure
            raise error.again()
        if self._may_speak_http2(origin):
            return await self._connect_for_all(origin, flow)
        return await self._connect(origin, flow)

    async def _connect(self, origin: Origin, flow: Flow) -> Upstream | ServerLane:
        flow.server_conn = connection = Connection("server", address=(origin.host, origin.port))
        return self.adopt(await self.open(origin, connection), connection, origin)

    async def _connect_for_all(self, origin: Origin, flow: Flow) -> Upstream | ServerLane:
        """The first makes a connection. The others wait for it, and make their own if it is not one to be shared."""
        opening = self._opening.get(origin)
        if opening:
            flow.server_conn, failure = await asyncio.shield(opening)
            if failure:
                raise failure.again()
            return self.idle(origin, flow) or await self._connect(origin, flow)
        self._opening[origin] = opening = asyncio.get_running_loop().create_future()
        failure = None
        try:
            return await self._connect(origin, flow)
        except ConnectError as error:
            failure = error.again()
            raise
        finally:
            del self._opening[origin]
            assert flow.server_conn
            opening.set_result((flow.server_conn, failure))

    def _settled(self) -> None:
        self.on_settled()

    def takes_extended_connect(self, origin: Origin) -> bool:
        """Has a server that we are connected to said that it takes extended CONNECT (RFC 8441)?"""
        return any(server.codec.extended_connect for server in self._shared.get(origin, ()))

    def _may_speak_http2(self, origin: Origin) -> bool:
        return HTTP_2 in self.alpn if origin.scheme == "https" else self.prior_knowledge

    async def open(self, origin: Origin, connection: Connection) -> Stream:
        """Connect to a server, through TLS for https; `connection` tells afterwards what came of it, good or bad.

        Raises ConnectError.
        """
        settings, recorded = self._services.settings, self._services.recorded
        if recorded and recorded.sealed:
            raise ConnectError(f"no connection is made to {origin.host}:{origin.port}, as only recordings answer (-S)")
        connection.timestamp_start = time()
        stream = await connect(
            origin.host,
            origin.port,
            self._services.streams,
            self._services.resolver,
            seconds=settings.timeout_connect,
            own=self._services.own_addresses,
            mark=settings.mark,
        )
        connection.peername, connection.sockname = stream.peername, stream.sockname
        connection.timestamp_tcp_setup = time()
        stream.patience = settings.timeout_quiet
        if origin.scheme == "https":
            await self.secure(stream, origin, connection)
        return stream

    async def secure(self, stream: Stream, origin: Origin, connection: Connection) -> None:
        """Start TLS towards a server, in the client's name and with its offers. Raises ConnectError."""
        hello, settings = self._hello, self._services.settings
        name = hello.sni if hello else None if url.is_address(origin.host) else origin.host
        address = (origin.host, origin.port)
        session = self._services.tls.session_for_server(name or origin.host, name, self.alpn, time(), address)
        stream.patience, stream.forgiving = settings.timeout_head, False
        try:
            await stream.start_tls(session)
        except (TlsError, StreamError) as error:
            stream.close()
            raise ConnectError(f"no TLS connection to {origin.host}:{origin.port}: {error}", error.status) from None
        except asyncio.CancelledError:
            stream.close()
            raise
        finally:
            session.describe(connection)
        connection.timestamp_tls_setup = time()
        connection.verification = session.verification
        if session.verification != "ok" and not settings.ssl_insecure:
            stream.close()
            raise CertificateError(
                f"the certificate of {origin.host}:{origin.port} was not accepted: {session.verification}; "
                "trust its CA with --upstream-ca FILE, or accept any certificate with -k"
            )
        stream.patience, stream.forgiving = settings.timeout_quiet, True

    def adopt(self, stream: Stream, connection: Connection, origin: Origin) -> Upstream | ServerLane:
        """HTTP on a stream that is open."""
        is_clear = connection.timestamp_tls_setup is None
        if self.prior_knowledge if is_clear else connection.alpn == HTTP_2:
            from .http2server import Http2Server  # and with it a library that starting can do without

            server = Http2Server(self._services, stream, connection, origin, self._limits, self._settled)
            servers = self._shared.setdefault(origin, [])
            servers[:] = [*(other for other in servers if not other.leaving), server]
            return server.lane()
        return Upstream(stream, connection, origin, self._limits)

    def give_back(self, upstream: ServerSide) -> None:
        """Keep a connection for the next request, or close it if it cannot take one."""
        upstream.finish()
        if isinstance(upstream, Upstream):
            if upstream.start_next_cycle():
                self.keep(upstream)
            else:
                upstream.close()

    def keep(self, upstream: Upstream | ServerLane) -> None:
        """Keep a connection for a request to come."""
        if not isinstance(upstream, Upstream):  # but a way to a connection that is shared, and so kept
            return
        self._idle.append(upstream)
        if len(self._idle) > MAX_IDLE:
            self._idle.pop(0).stream.close()

    def settle(self, alpn: bytes | None) -> None:
        """Offer servers no more than what the client has agreed to speak."""
        if alpn == HTTP_1:
            self.alpn = [offer for offer in self.alpn if offer == HTTP_1]

    def close(self) -> None:
        """Close all that are idle, and the others when they are."""
        for upstream in self._idle:
            upstream.stream.close()
        for servers in self._shared.values():
            for server in servers:
                server.leave()
        self._idle.clear()
        self._shared.clear()


def nobody_waits() -> None:
    """What `Upstreams.on_settled` is where nobody wants to be told."""


def alpn_offer(hello: ClientHello | None, *, http2: bool) -> Sequence[bytes]:
    """What to offer a server: of the client's offer what we speak; nothing if that is nothing we know."""
    spoken = (HTTP_2, HTTP_1) if http2 else (HTTP_1,)
    return tuple(offer for offer in hello.alpn if offer in spoken) if hello else ()
