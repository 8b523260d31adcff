"""A server that speaks HTTP/2: one connection for all that one client asks of it at the same time."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import RemoteError, StreamError
from ..model import url
from ..model.connection import Connection
from ..model.headers import to_bytes
from ..net.stream import Stream
from ..wire.events import End, Event, RequestHead, Reset, ResponseHead, Role
from ..wire.hop import asks_for_upgrade
from ..wire.http1 import Limits as HeadLimits
from ..wire.http2 import Code, Http2, Limits
from ..wire.translate import connected_to_switched, request_to_http2, upgrade_to_connect
from .inside import open_inside
from .lane import Lane
from .multiplex import Multiplex
from .services import Services
from .sides import IDEMPOTENT
from .target import Origin


class Http2Server(Multiplex):
    """The connection to a server. `used`: it has answered before. `on_settled` is called once it has said what it
    takes.
    """

    def __init__(
        self,
        services: Services,
        stream: Stream,
        connection: Connection,
        origin: Origin,
        limits: HeadLimits,
        on_settled: Callable[[], object],
    ) -> None:
        codec = Http2(Role.CLIENT, Limits(limits.head, limits.fields))
        super().__init__(stream, codec, services.turn, services.settings.timeout_quiet)
        self.services = services
        self.connection = connection
        self.origin = origin
        self.used = False
        self._on_settled: Callable[[], object] | None = on_settled
        self.start()

    @property
    def has_capacity(self) -> bool:
        """Can another request be sent now?"""
        return not self.leaving and self.codec.capacity > 0

    def lane(self) -> ServerLane:
        """Room for one more request."""
        return ServerLane(self)

    def has_data(self) -> None:
        super().has_data()
        if self._on_settled and self.codec.settled:
            on_settled, self._on_settled = self._on_settled, None
            on_settled()

    def begin(self, head: RequestHead) -> None:
        """Never called: servers open no streams, as the codec refuses what they push."""

    def refuse(self, error: RemoteError) -> None:
        """Never called either."""

    def rest(self) -> None:
        """Stay open for the client's next request."""

    def over(self) -> None:
        self.stream.close()


class ServerLane(Lane):
    """One request to a server; it has no stream before its head is sent, because streams are numbered in that order."""

    __slots__ = ("_answered", "_key", "_unprocessed", "connection", "services")

    def __init__(self, server: Http2Server) -> None:
        super().__init__(server, 0)
        self.services = server.services
        self.connection = server.connection
        self._answered = False
        self._key: bytes | None = None  # the Sec-WebSocket-Key of what has become an extended CONNECT (RFC 8441)
        self._unprocessed = False

    @property
    def keeps_alive(self) -> bool:
        """Does the server still take what we send?"""
        return not self.broken

    async def receive(self) -> list[Event]:
        events = await super().receive()
        self._answered = True
        if self._key is not None and isinstance(head := events[0], ResponseHead) and 200 <= head.status < 300:
            self.unread(events[1:])
            switched = connected_to_switched(head, self._key)
            switched.version = head.version
            return [switched]
        return events

    def send(self, event: Event) -> None:
        """Queue an event. The head opens the stream, if the server takes one."""
        server = self.mux
        assert isinstance(server, Http2Server)
        if type(event) is RequestHead:
            if not server.has_capacity:
                self._unprocessed = True
                self.fail(StreamError("the server takes no more streams"))
                return
            self.stream_id = server.codec.next_stream_id()
            server.lanes[self.stream_id] = self
        elif type(event) is End and self._key is not None and not self._answered:
            return  # the stream stays open for what follows the request
        super().send(event)

    def worded(self, head: RequestHead | ResponseHead) -> RequestHead:
        server = self.mux
        assert isinstance(server, Http2Server)
        assert isinstance(head, RequestHead)
        scheme, host, port = server.origin
        authority = to_bytes(url.join_host_port(host, port, scheme))
        if asks_for_upgrade(head) and server.codec.extended_connect:
            keys = [value for name, value in head.fields if name.lower() == b"sec-websocket-key"]
            self._key = keys[0] if keys else b""
            return upgrade_to_connect(head, self.stream_id, scheme.encode(), authority)
        return request_to_http2(head, self.stream_id, scheme.encode(), authority)

    def reset_by_peer(self, event: Reset) -> None:
        self._unprocessed = event.unprocessed
        super().reset_by_peer(event)

    def may_repeat(self, method: bytes) -> bool:
        """What the server has not looked at can be sent again (RFC 9113 section 8.7), and what does no harm twice, if
        the connection may just have been closed as nobody used it.
        """
        server = self.mux
        assert isinstance(server, Http2Server)
        return self._unprocessed or (server.lost and server.used and not self._answered and method in IDEMPOTENT)

    def end(self, seconds: float) -> None:
        """The server has so many seconds left to answer."""
        self.patience = min(self.patience, seconds)

    def leave_http(self) -> tuple[Stream, bytes]:
        """A connection inside the stream, for another protocol."""
        return open_inside(self, self.services.streams), b""

    def finish(self) -> None:
        """The exchange is complete."""
        server = self.mux
        assert isinstance(server, Http2Server)
        server.used = True
        if self._key is not None:  # and it was refused, so that nothing follows
            self.reset(Code.CANCEL)
        self.leave()
