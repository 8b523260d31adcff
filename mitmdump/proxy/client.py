"""One client connection: its requests one after the other, as a proxy's client or inside a tunnel to one server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from time import time

from ..errors import PeerError, RemoteError, StreamError, TlsError
from ..model.connection import Connection
from ..model.url import join_host_port
from ..net.destination import Lookup
from ..net.stream import Stream
from ..wire.events import Event, RequestHead, Role
from ..wire.head import starts_like_http2
from ..wire.http1 import Http1
from .channel import Channel
from .handled import new_exchange
from .redirected import serve_redirected
from .services import Services
from .target import Origin, Target, proxy_target, server_target
from .tunnel import answer_connect
from .upstreams import HTTP_1, HTTP_2, Upstreams

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
        _, stream = await loop.connect_accepted_socket(lambda: Stream("client", services.streams), sock)  # type: ignore[type-var]
    except OSError:
        return  # it is gone already
    if services.settings.block_global and is_public(stream):
        stream.close()
        services.refuse_public(stream.peername)
        return
    client = Client(services, stream)
    try:
        for hook in services.hooks.client_connected:
            await hook(client.connection)
        if destination:
            await serve_redirected(client, destination)
        else:
            await client.run()
    except PeerError as error:
        services.debug(f"{client.name}: {error}")
    finally:
        client.upstreams.close()
        client.close()
        client.connection.timestamp_end = time()


def is_public(stream: Stream) -> bool:
    """Does this client come from an address of the public internet?"""
    return stream.peername is not None and _is_global(stream.peername[0])


@lru_cache(maxsize=1024)
def _is_global(host: str) -> bool:
    return ip_address(host.partition("%")[0]).is_global


def _refuse_other_protocols(data: bytes) -> None:
    """Tell who speaks something else to the proxy what it speaks. Raises RemoteError."""
    if other := _OTHER_PROTOCOLS.get(data[:1]):
        raise RemoteError(f"the client speaks {other} to the proxy, which speaks HTTP", 400)


class Client(Channel):
    """A client that speaks HTTP/1, until it is known to speak HTTP/2 (`http2client`).

    `origin` is the server that its connection leads to, None while it speaks to us as to a proxy. `asked`: it has sent
    a request. `speaks_http2`: it does, after all.
    """

    __slots__ = ("asked", "connection", "name", "origin", "services", "speaks_http2", "upstreams")

    def __init__(self, services: Services, stream: Stream) -> None:
        super().__init__(stream, Http1(Role.SERVER, services.limits))
        self.services = services
        self.connection = Connection(
            "client", peername=stream.peername, sockname=stream.sockname, timestamp_start=time()
        )
        self.name = join_host_port(*stream.peername) if stream.peername else "a client"
        self.upstreams = Upstreams(services)
        self.origin: Origin | None = None
        self.asked = False
        self.speaks_http2 = False

    def target_of(self, head: RequestHead) -> Target:
        """Where a request goes. Raises RemoteError."""
        return proxy_target(head) if self.origin is None else server_target(head, self.origin)

    @property
    def answering(self) -> bool:
        """Has a final response head gone out?"""
        return self.codec.response_started

    @property
    def has_left(self) -> bool:
        """Has the client ended its side, with nothing more to come that we have not read?"""
        return self.stream.ended and not (self.stream.has_data or self.codec.has_rest)

    @property
    def parting(self) -> PeerError:
        """Why nothing more can be said to it."""
        return StreamError("the client broke the connection before the response was complete")

    def watch(self, on_end: Callable[[], object] | None) -> None:
        """Tell when the client ends its side or is gone, also if it has already; None: tell no more."""
        self.stream.on_end = on_end
        if on_end and self.stream.ended:
            on_end()

    async def linger(self, seconds: float) -> None:
        """End our side, and let a client that is still sending read our last words."""
        await self.stream.linger(seconds)

    def can_act_on(self, _error: PeerError) -> bool:
        """HTTP/1 has no words for it."""
        return False

    def cut_off(self, _error: PeerError) -> None:
        """End the connection so that the client sees its response cut off, whatever frames it."""
        if self.codec.sends_until_close:
            self.stream.abort(StreamError("we cut the connection off"))
        else:
            self.stream.close(clean=False)

    async def enter(self, origin: Origin) -> None:
        """Go on inside a tunnel to `origin`, with a fresh start of HTTP."""
        self.origin = origin
        self.speak(Http1(Role.SERVER, self.codec.limits))
        if self.connection.alpn == HTTP_2 or self.upstreams.prior_knowledge:
            self.speaks_http2 = True
            await self._speak_http2()
        else:
            await self.run()

    def on(self, stream: Stream) -> Client:
        """The same client on another stream, with a record of its own."""
        return Client(self.services, stream)

    def leave(self) -> None:
        """Have done with a client that rests."""
        self.close()

    def close(self) -> None:
        """End the connection; what was put off to the end of the turn is done before."""
        self.services.turn.settle()
        self.write_last()
        self.stream.close()

    async def run(self) -> None:
        """Requests, one after the other. Raises StreamError or TlsError when the client breaks off."""
        while events := await self._next_request():
            head = events[0]
            if isinstance(head, RequestHead) and head.method == b"CONNECT" and self.origin is None:
                await answer_connect(self, head)
                return
            if not self.asked:
                self.asked = True
                if self.origin:
                    self.services.refusals.accepted(self.connection.sni or self.origin.host)
            exchange = new_exchange(self)
            await exchange.run(events)
            if exchange.switched:
                from .switching import relay_switched  # likewise

                await relay_switched(self, exchange)
                return
            if not exchange.keep_alive:
                return
            self.codec.start_next_cycle()
        if self.speaks_http2:
            self.upstreams.alpn = HTTP_2, HTTP_1
            await self._speak_http2()

    async def _speak_http2(self) -> None:
        from .http2client import Http2Client  # and with it a library that starting can do without

        await Http2Client(self).run()

    async def _next_request(self) -> list[Event]:
        """The first events of the next request, [] when there is none.

        A request that breaks a rule of HTTP is answered and recorded here, and is the last.
        """
        stream, services, codec = self.stream, self.services, self.codec
        first = b""
        if not (codec.has_rest or stream.has_data):
            if services.stopping:
                return []
            stream.patience, stream.resting = services.settings.timeout_idle, True
            services.idle[self] = None
            try:
                first = await stream.read()
            except (StreamError, TlsError):
                return []  # between requests a client may leave as it likes
            finally:
                stream.resting = False
                services.idle.pop(self, None)
        events = await self._request_after(first)
        if isinstance(events, RemoteError):
            await self._turn_away(events)
            events = []  # the traceback of an error leads back here
        return events

    async def _turn_away(self, error: RemoteError) -> None:
        """Answer what is no request, unless it begins like HTTP/2."""
        rest = self.codec.rest()
        if not self.asked and self.origin is None and self.services.settings.http2 and starts_like_http2(rest):
            self.stream.unread(rest)
            self.speaks_http2 = True
        else:
            await new_exchange(self).refuse(error, error.head)

    async def _request_after(self, first: bytes) -> list[Event] | RemoteError:
        """The first events of a request that begins with `first`, or what is wrong with it.

        That is returned, not raised: compiled, nothing may wait while an exception is handled.
        """
        stream, codec, settings = self.stream, self.codec, self.services.settings
        try:
            if not self.asked and self.origin is None:
                _refuse_other_protocols(first or await stream.peek(1))
            if first and (events := codec.receive(first)):
                return events
            stream.patience, stream.forgiving = settings.timeout_head, False
            return await self.receive()
        except RemoteError as error:
            return error
        finally:
            stream.patience, stream.forgiving = settings.timeout_quiet, True
