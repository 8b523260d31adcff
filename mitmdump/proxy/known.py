"""What servers were found to be like lately, so that both handshakes of the next connection can run at once.

The client's handshake needs two things of the server's: the names for a leaf, and the protocol that was agreed on. For
a server that was seen a moment ago both are known. If it then turns out to be another, nothing is lost: no request
leaves before its certificate was verified anew, the entry is forgotten, and where the protocol is another, each side is
spoken to in its own.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol

from ..model.flow import Flow
from ..net.stream import Stream, Streams
from ..tls.names import LeafNames

# A certificate is changed every few weeks, a server's configuration by somebody who will look whether it has worked.
# Seconds.
MAX_AGE = 300.0
# Hosts of a day; the names of a leaf take a few KiB, 40 KiB at most.
MAX_SERVERS = 500


class Known(NamedTuple):
    """The names of a server's leaf, and the protocol that it chose."""

    names: LeafNames
    alpn: bytes | None


class RecordedServers(Protocol):
    """Servers that are known from a recording, which stands in for them.

    `sealed`: no connection is made to any server, whatever is asked.
    """

    sealed: bool

    def server(self, asked: str, port: int, offers: Sequence[bytes]) -> Known | None:
        """What the server of this name, or address, is to be like for a client that offers these protocols.

        None: that is for the server itself to say.
        """
        ...

    async def stand_in(self, flow: Flow, streams: Streams) -> Stream | None:
        """A connection to somebody who answers the request of this flow in the server's place, if there is one."""
        ...


class KnownServers:
    """Servers by what they were asked; those that were not seen for longest are forgotten first."""

    def __init__(self, max_servers: int = MAX_SERVERS) -> None:
        self._max_servers = max_servers
        self._servers: OrderedDict[Hashable, tuple[Known, float]] = OrderedDict()

    def get(self, server: Hashable, now: float) -> Known | None:
        """What a server was like, if it was seen lately. `now` is in Unix seconds."""
        known, seen = self._servers.get(server, (None, 0.0))
        return known if 0 <= now - seen < MAX_AGE else None

    def put(self, server: Hashable, known: Known, now: float) -> None:
        """A server was seen, and its certificate was in order."""
        self._servers[server] = known, now
        self._servers.move_to_end(server)
        if len(self._servers) > self._max_servers:
            self._servers.popitem(last=False)

    def forget(self, server: Hashable) -> None:
        """A server is not what it was."""
        self._servers.pop(server, None)
