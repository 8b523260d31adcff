"""One client connection: its requests one after the other, as a proxy's client or inside a tunnel to one server."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import ip_address
from time import time

from ..errors import PeerError, RemoteError, StreamError, TlsError
from ..model.connection import Connection
from ..model.flow import Flow
from ..model.url import join_host_port
from ..net.destination import Lookup
from ..net.stream import Stream
from ..wire.events import Event, RequestHead, Role
from ..wire.http1 import Http1, Limits
from .channel import Channel
from .exchange import Exchange
from .redirected import serve_redirected
from .relay import pass_through, relay
from .services import Services
from .target import Origin, Target, connect_target, proxy_target, server_target
from .tunnel import ESTABLISHED, tunnel
from .upstreams import Upstreams

# By the first byte, what clients speak whose proxy setting is not quite right.
_OTHER_PROTOCOLS = {
    b"\x16": "TLS (its address should be given to the client with http://, not https://)",
    b"\x04": "SOCKS 4",
    b"\x05": "SOCKS 5",
}


async def serve(services: Services, sock: socket.socket, lookup: Lookup | None = None) -> None:
    """Serve a client that was just accepted, until it or we have had enough.

    With `lookup` it was redirected, and that knows where it was going.
    """
    loop = asyncio.get_running_loop()
    try:
        destination = lookup.find(sock) if lookup else None
    except OSError as error:
        services.warn_once("lookup", f"cannot tell where a client was going: {error.strerror or error}")
        sock.close()
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, stream = await loop.connect_accepted_socket(lambda: Stream("client", services.streams), sock)
    except OSError:
        return  # it is gone already
    if services.settings.block_global and is_public(stream):
        stream.close()
        services.refuse_public(stream.peername)
        return
    client = Client(services, stream)
    try:
        if destination:
            await serve_redirected(client, destination)
        else:
            await client.run()
    except PeerError as error:
        services.debug(f"{client.name}: {error}")
    finally:
        client.upstreams.close()
        client.stream.close()
        client.connection.timestamp_end = time()


def is_public(stream: Stream) -> bool:
    """Does this client come from an address of the public internet?"""
    return stream.peername is not None and ip_address(stream.peername[0].partition("%")[0]).is_global


def _refuse_other_protocols(data: bytes) -> None:
    """Tell who speaks something else to the proxy what it speaks. Raises RemoteError."""
    if other := _OTHER_PROTOCOLS.get(data[:1]):
        raise RemoteError(f"the client speaks {other} to the proxy, which speaks HTTP", 400)


class Client(Channel):
    """A client that speaks HTTP/1.

    `origin` is the server that its connection leads to, None while it speaks to us as to a proxy. `asked`: inside a
    tunnel, it has sent a request.
    """

    __slots__ = ("asked", "connection", "name", "origin", "services", "upstreams")

    def __init__(self, services: Services, stream: Stream) -> None:
        settings = services.settings
        super().__init__(stream, Http1(Role.SERVER, Limits(settings.max_header_size, settings.max_header_count)))
        self.services = services
        self.connection = Connection(
            "client", peername=stream.peername, sockname=stream.sockname, timestamp_start=time()
        )
        self.name = join_host_port(*stream.peername) if stream.peername else "a client"
        self.upstreams = Upstreams(services)
        self.origin: Origin | None = None
        self.asked = False

    def target_of(self, head: RequestHead) -> Target:
        """Where a request goes. Raises RemoteError."""
        return proxy_target(head) if self.origin is None else server_target(head, self.origin)

    def cut_off(self) -> None:
        """End the connection so that the client sees its response cut off, whatever frames it."""
        if self.codec.sends_until_close:
            self.stream.abort(StreamError("we cut the connection off"))
        else:
            self.stream.close(clean=False)

    async def enter(self, origin: Origin) -> None:
        """Go on inside a tunnel to `origin`, with a fresh start of HTTP."""
        self.origin = origin
        self.codec = Http1(Role.SERVER, self.codec.limits)
        await self.run()

    async def run(self) -> None:
        """Requests, one after the other. Raises StreamError or TlsError when the client breaks off."""
        while events := await self._next_request():
            head = events[0]
            if isinstance(head, RequestHead) and head.method == b"CONNECT" and self.origin is None:
                await self._connect(head)
                return
            if self.origin and not self.asked:
                self.asked = True
                self.services.refusals.accepted(self.connection.sni or self.origin.host)
            exchange = Exchange(self)
            await exchange.run(events)
            if exchange.switched:
                upstream = exchange.switched
                rest = self.codec.rest(), upstream.codec.rest()
                if not exchange.recorded:
                    await pass_through(self.services, self.stream, upstream.stream, *rest)
                    return
                flow = Flow("tcp", self.connection, upstream.connection, timestamp_start=time())
                flow.metadata["upgraded_from"] = exchange.flow.id
                await relay(self.services, flow, self.stream, upstream.stream, *rest)
                return
            if not exchange.keep_alive:
                return
            self.codec.start_next_cycle()

    async def _next_request(self) -> list[Event]:
        """The first events of the next request, [] when there is none.

        A request that breaks a rule of HTTP is answered and recorded here, and is the last.
        """
        stream, services = self.stream, self.services
        settings = services.settings
        first = b""
        if self.codec.idle and not stream.has_data:
            if services.stopping:
                return []
            stream.patience, stream.resting = settings.timeout_idle, True
            services.idle[self] = None
            try:
                first = await stream.peek(1)
            except (StreamError, TlsError):
                return []  # between requests a client may leave as it likes
            finally:
                stream.resting = False
                services.idle.pop(self, None)
        stream.patience, stream.forgiving = settings.timeout_head, False
        try:
            if self.origin is None and self.codec.idle:
                _refuse_other_protocols(first or await stream.peek(1))
            return await self.receive()
        except RemoteError as error:
            await Exchange(self).refuse(error, error.head)
            return []
        finally:
            stream.patience, stream.forgiving = settings.timeout_quiet, True

    async def _connect(self, head: RequestHead) -> None:
        """Answer a CONNECT, and go on in the tunnel."""
        try:
            origin = connect_target(head)
            if head.framing:
                raise RemoteError("the client sent CONNECT with a body", 400)
        except RemoteError as error:
            await Exchange(self).refuse(error, head)
            return
        self.send(ESTABLISHED)
        await self.flush()
        if rest := self.codec.rest():
            self.stream.unread(rest)
        await tunnel(self, origin)
