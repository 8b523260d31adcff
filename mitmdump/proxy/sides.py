"""What an exchange sees of the two it stands between.

A connection that speaks HTTP/1, a stream of one that speaks HTTP/2, a recorded request that is sent again, and a
recorded response all look like this: events come out, events go in, and somebody can be gone. Which version of HTTP a
side speaks is its own matter: it takes the heads of any, and says in its own way what they mean.

Whatever goes wrong is a PeerError: RemoteError where the peer broke a rule, StreamError or TlsError where it broke the
connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from ..errors import PeerError
from ..model.connection import Connection
from ..wire.events import Event, RequestHead

if TYPE_CHECKING:
    from .services import Services
    from .target import Target
    from .upstreams import Upstreams

# RFC 9110 section 9.2.2: what may be repeated when a connection closed before an answer came.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})


class Side(Protocol):
    """What both have in common. `send` queues, `flush` writes all that was queued at once."""

    @property
    def broken(self) -> bool:
        """Can nothing more be said to the peer?"""

    @property
    def keeps_alive(self) -> bool:
        """Can another exchange follow on this connection, as far as the peer's last head goes?"""

    async def receive(self) -> list[Event]:
        """The next events, at least one; [] when the peer has properly ended. Raises PeerError."""

    @property
    def send(self) -> Callable[[Event], None]:
        """Queue an event."""

    def write(self) -> None:
        """Write what is queued, without waiting for a slow peer. Raises PeerError."""

    def write_last(self) -> None:
        """Write what is queued; that the peer is gone is for the next who listens to it."""

    async def flush(self) -> None:
        """Write what is queued, and wait while the peer is slower than we are. Raises PeerError."""

    def watch(self, on_end: Callable[[], object] | None) -> None:
        """Tell when the peer ends its side or is gone, also if it has already; None: tell no more."""

    def abort(self, error: PeerError) -> None:
        """Break off, so that the peer sees it; who waits for the peer here gets `error`."""

    def close(self) -> None:
        """Have done with the peer."""


class ClientSide(Side, Protocol):
    """Who asks."""

    services: Services
    connection: Connection
    upstreams: Upstreams

    @property
    def answering(self) -> bool:
        """Has a final response head gone out? Then it is too late for another one."""

    @property
    def has_left(self) -> bool:
        """Has the client ended its side, with nothing more to come that we have not read?"""

    @property
    def parting(self) -> PeerError:
        """Why the client is `broken`."""

    def target_of(self, head: RequestHead) -> Target:
        """Where a request goes. Raises RemoteError."""

    def can_act_on(self, error: PeerError) -> bool:
        """Can the client itself make something of this error, so that it has to be cut off rather than get a page?"""

    def cut_off(self, error: PeerError) -> None:
        """End the response so that the client sees it cut off, because of `error`."""

    async def linger(self, seconds: float) -> None:
        """Have done with a client that is still sending, without destroying the answer on its way to it."""


class ServerSide(Side, Protocol):
    """Who is asked."""

    connection: Connection

    def may_repeat(self, method: bytes) -> bool:
        """Now that this has failed: may the request be sent again, on another connection?"""

    def end(self, seconds: float) -> None:
        """Tell that no more will be sent; the server has so many seconds left to answer."""

    def finish(self) -> None:
        """The exchange is complete."""
