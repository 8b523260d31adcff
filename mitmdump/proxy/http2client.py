"""A client that speaks HTTP/2: each of its requests is an exchange, in a task of its own.

There are never more tasks than streams that a client may have open (`wire.http2.Limits`). A client that rests for
`timeout_idle` is told that the connection ends (GOAWAY), as are all when the proxy stops; what is open then goes on.

CONNECT (RFC 9113 section 8.5) makes a stream lead to a server, and what is in there is a client connection like any
other (`inside`). WebSocket over HTTP/2 (RFC 8441) is offered to the clients of a server that has offered it to us; the
others make a connection of HTTP/1.1 for it, as they do without us. It is understood, and recorded, as the Upgrade that
it would be in HTTP/1.1.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from contextlib import suppress
from os import urandom
from time import time
from typing import TYPE_CHECKING

from ..errors import PeerError, RemoteError, ResetError, StreamError
from ..net.stream import Stream
from ..wire.events import End, RequestHead, ResponseHead, Role
from ..wire.http2 import Code, Http2, Limits
from ..wire.translate import connect_to_upgrade, response_to_http2, switched_to_connected
from .handled import new_exchange
from .inside import open_inside
from .lane import Lane
from .multiplex import Multiplex
from .switching import relay_switched
from .target import Origin, Target, connect_target, proxy_target, server_target
from .tunnel import ESTABLISHED, tunnel
from .upstreams import nobody_waits

if TYPE_CHECKING:
    from .client import Client

LINGER_SECONDS = 2.0

# What a server's reset says to those who asked, not to us in between (RFC 9113 sections 7 and 8.7).
_FOR_CLIENTS = frozenset({Code.REFUSED_STREAM, Code.HTTP_1_1_REQUIRED})


class Http2Client(Multiplex):
    """The connection of a client. What is known of it is in `client`."""

    def __init__(self, client: Client) -> None:
        settings = client.services.settings
        limits = Limits(settings.max_header_size, settings.max_header_count)
        super().__init__(client.stream, Http2(Role.SERVER, limits), client.services.turn, settings.timeout_quiet)
        self.client = client
        self._over: asyncio.Future[None] = self.loop.create_future()
        self._tasks = asyncio.TaskGroup()
        self._quiet = 0.0

    async def run(self) -> None:
        """Serve requests until the client or we have had enough."""
        services = self.client.services
        services.shared.add(self)
        try:
            async with self._tasks:
                self.client.upstreams.on_settled = self._offer_websocket
                self._offer_websocket()
                self.start()
                if services.stopping:
                    self.leave()
                await self._over
        finally:
            services.shared.discard(self)
            self.client.upstreams.on_settled = nobody_waits
        if not self.stream.broken:
            await self.stream.linger(LINGER_SECONDS)

    def _offer_websocket(self) -> None:
        origin, upstreams = self.client.origin, self.client.upstreams
        if origin and upstreams.takes_extended_connect(origin):
            self.codec.offer_extended_connect()
            self.write_soon()

    def leave(self) -> None:
        """Announce the end."""
        self.client.services.idle.pop(self, None)
        super().leave()

    def begin(self, head: RequestHead) -> Lane:
        self._quiet = 0.0
        self.client.services.idle.pop(self, None)
        lane = ClientLane(self, head.stream_id)
        self._tasks.create_task(self._serve(lane))
        return lane

    def refuse(self, error: RemoteError) -> None:
        self._tasks.create_task(self._record_refused(error))

    def rest(self) -> None:
        services = self.client.services
        if services.stopping:
            self.leave()
        elif self not in services.idle:
            services.idle[self] = None

    def over(self) -> None:
        error = self.error
        self.client.services.idle.pop(self, None)
        if isinstance(error, RemoteError):  # what else breaks is told by the exchanges that it breaks
            self.client.services.debug(f"{self.client.name}: {error}")
        if self._over.done():
            return
        if error is None or isinstance(error, PeerError):
            self._over.set_result(None)
        else:
            self._over.set_exception(error)

    def has_data(self) -> None:
        self._quiet = 0.0
        super().has_data()

    def grow_older(self, seconds: float) -> None:
        super().grow_older(seconds)
        if self.lanes:
            return
        settings = self.client.services.settings
        self._quiet += seconds
        if self._quiet > (settings.timeout_idle if self.codec.idle else settings.timeout_quiet):
            if self.leaving:
                self.stream.close()
                self.lose(RemoteError("the client did not take the rest of its responses"))
            self.leave()

    async def _serve(self, lane: ClientLane) -> None:
        client = self.client
        events = await lane.receive()
        head = events[0]
        assert isinstance(head, RequestHead)
        try:
            if lane.broken:  # who opens streams only to reset them makes nobody else work
                await new_exchange(lane).refuse(lane.parting, head)
                return
            if head.protocol not in (b"", b"websocket"):
                unknown = RemoteError("the client asked for a protocol that is not spoken here", 501)
                await new_exchange(lane).refuse(unknown, head)
                return
            if head.method == b"CONNECT" and client.origin is None and not head.protocol:
                lane.unread(events[1:])
                await self._connect(lane, head)
                return
            if client.origin and not client.asked:
                client.asked = True
                client.services.refusals.accepted(client.connection.sni or client.origin.host)
            exchange = new_exchange(lane)
            if head.protocol:
                lane.unread(events[1:])
                events = [lane.as_upgrade(head), End()]
            await exchange.run(events)
            if exchange.switched:
                await relay_switched(lane, exchange)
                await lane.linger(LINGER_SECONDS)
        finally:
            lane.leave()

    async def _record_refused(self, error: RemoteError) -> None:
        lane = ClientLane(self, error.head.stream_id)
        lane.fail(error)
        await new_exchange(lane).refuse(error, error.head)

    async def _connect(self, lane: ClientLane, head: RequestHead) -> None:
        """Answer a CONNECT, and go on in the tunnel."""
        try:
            origin = connect_target(head)
        except RemoteError as error:
            await new_exchange(lane).refuse(error, head)
            return
        lane.send(ResponseHead(ESTABLISHED.status, []))
        lane.write()
        inner = self.client.on(open_inside(lane, self.client.services.streams))
        try:
            await tunnel(inner, origin)
        except PeerError as error:
            inner.services.debug(f"{inner.name}: {error}")
        finally:
            inner.upstreams.close()
            inner.stream.close()
            inner.connection.timestamp_end = time()
        await lane.linger(LINGER_SECONDS)


class ClientLane(Lane):
    """One request of a client. `key`: the Sec-WebSocket-Key of one for a WebSocket."""

    __slots__ = ("answering", "connection", "key", "services", "upstreams")

    def __init__(self, mux: Http2Client, stream_id: int) -> None:
        super().__init__(mux, stream_id)
        client = mux.client
        self.services = client.services
        self.connection = client.connection
        self.upstreams = client.upstreams
        self.answering = False
        self.key = b""

    # That of other requests is not touched, whatever becomes of this one.
    keeps_alive = True
    has_left = False

    @property
    def parting(self) -> PeerError:
        """Why nothing more can be said to it."""
        error = self._error
        return error.again() if isinstance(error, PeerError) else StreamError("the client has gone")

    def target_of(self, head: RequestHead) -> Target:
        """Where a request goes. Raises RemoteError."""
        assert isinstance(self.mux, Http2Client)
        origin: Origin | None = self.mux.client.origin
        return proxy_target(head) if origin is None else server_target(head, origin)

    def as_upgrade(self, head: RequestHead) -> RequestHead:
        """An extended CONNECT as the Upgrade that it would be in HTTP/1.1, which all that follow understand."""
        self.key = b64encode(urandom(16))
        asked = connect_to_upgrade(head, self.key)
        asked.version, asked.stream_id = head.version, head.stream_id
        return asked

    def worded(self, head: RequestHead | ResponseHead) -> ResponseHead:
        assert isinstance(head, ResponseHead)
        if head.status == 101:
            worded = switched_to_connected(head, self.stream_id, self.key)
        else:
            worded = response_to_http2(head, self.stream_id)
        self.answering = self.answering or head.is_final
        return worded

    def can_act_on(self, error: PeerError) -> bool:
        """It can ask again what the server did not look at, and over HTTP/1.1 what that wants so."""
        return isinstance(error, ResetError) and error.code in _FOR_CLIENTS

    def cut_off(self, error: PeerError) -> None:
        """End the response so that the client sees it cut off, for the server's own reason if that gave one."""
        self.mux.write_now()
        self.reset(error.code if isinstance(error, ResetError) else Code.INTERNAL_ERROR)

    async def linger(self, _seconds: float) -> None:
        """Have done with a client that is still sending: it can stop, once it has the answer (RFC 9113 section 8.1)."""
        with suppress(PeerError):
            await self.drain()
            self.reset(Code.NO_ERROR)

    def leave_http(self) -> tuple[Stream, bytes]:
        """A connection inside the stream, for another protocol."""
        return open_inside(self, self.services.streams), b""
