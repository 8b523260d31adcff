"""The server connections of one client connection: reused where they are idle, opened where they are not."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import time

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
from .target import Origin

# A client that spreads its requests over many servers is served; that it comes back to more than these is not likely.
MAX_IDLE = 8
HTTP_1 = b"http/1.1"


class Upstream(Channel):
    """A connection to a server that speaks HTTP/1. `used` counts the requests that it has answered."""

    __slots__ = ("connection", "origin", "used")

    def __init__(self, stream: Stream, connection: Connection, origin: Origin, limits: Limits) -> None:
        super().__init__(stream, Http1(Role.CLIENT, limits))
        self.connection = connection
        self.origin = origin
        self.used = 0

    @property
    def reusable(self) -> bool:
        """Can it take another request, as far as we can see from here?"""
        codec = self.codec
        return codec.cycle_done and codec.keep_alive and self.quiet

    @property
    def quiet(self) -> bool:
        """A server that has ended, or sent what nobody asked for, is not asked again."""
        return not (self.stream.ended or self.stream.write_ended or self.stream.has_data or self.codec.has_rest)


class Upstreams:
    """The upstream connections of one client.

    Inside a tunnel, `hello` is what the client sent to open TLS, and `failure` is why its server could not be reached.
    `alpn` is what servers are offered, if that is not what HTTP makes of the client's own offer.
    """

    def __init__(
        self, services: Services, hello: ClientHello | None = None, alpn: Sequence[bytes] | None = None
    ) -> None:
        self._services = services
        self._hello = hello
        self._alpn = alpn_offer(hello) if alpn is None else alpn
        self.failure: tuple[Connection, ConnectError] | None = None
        self._idle: dict[Origin, Upstream] = {}
        self._limits = Limits(services.settings.max_header_size, services.settings.max_header_count)

    def idle(self, origin: Origin, flow: Flow) -> Upstream | None:
        """A connection to ask `origin` on, if one is idle; set as the flow's server connection."""
        idle = self._idle.pop(origin, None)
        if idle is None:
            return None
        if not idle.quiet:
            idle.stream.close()
            return None
        if idle.used:
            idle.codec.start_next_cycle()
        flow.server_conn = idle.connection
        return idle

    async def connect(self, origin: Origin, flow: Flow) -> Upstream:
        """A new connection, set as the flow's server connection. Raises ConnectError."""
        if self.failure:
            flow.server_conn, error = self.failure
            raise error
        flow.server_conn = connection = Connection("server", address=(origin.host, origin.port))
        return self.adopt(await self.open(origin, connection), connection, origin)

    async def open(self, origin: Origin, connection: Connection) -> Stream:
        """Connect to a server, through TLS for https; `connection` tells afterwards what came of it, good or bad.

        Raises ConnectError.
        """
        settings = self._services.settings
        connection.timestamp_start = time()
        stream = await connect(
            origin.host,
            origin.port,
            self._services.streams,
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
        session = self._services.tls.session_for_server(name or origin.host, name, self._alpn, time(), address)
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

    def adopt(self, stream: Stream, connection: Connection, origin: Origin) -> Upstream:
        """HTTP on a stream that is open."""
        return Upstream(stream, connection, origin, self._limits)

    def give_back(self, upstream: Upstream) -> None:
        """Keep a connection for the next request, or close it if it cannot take one."""
        if not upstream.reusable:
            upstream.stream.close()
            return
        self._idle[upstream.origin] = upstream
        if len(self._idle) > MAX_IDLE:
            self._idle.pop(next(iter(self._idle))).stream.close()

    def keep(self, upstream: Upstream) -> None:
        """Keep a connection that was made before there was a request for it."""
        self._idle[upstream.origin] = upstream

    def close(self) -> None:
        """Close all that are idle."""
        for upstream in self._idle.values():
            upstream.stream.close()
        self._idle.clear()


def alpn_offer(hello: ClientHello | None) -> Sequence[bytes]:
    """What to offer a server: of the client's offer what we speak; all of it if that is nothing we know."""
    if hello is None or not hello.alpn:
        return ()
    return (HTTP_1,) if HTTP_1 in hello.alpn else ()
