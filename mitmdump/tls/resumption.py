"""Sessions with servers, to be gone on with: the next connection then needs no certificate and no signature.

What was found when a session began holds for all that go on with it, and nothing is verified again: the server proves
that it is the one that we spoke with then, and sends no certificate. So the verdict is kept with the session, be it
good or bad (`-k`: whoever takes any certificate learns no less from the one of before); it is found again only for the
same server, host and offers; and it is good for as long as every certificate of the chain is, and no longer.

A ticket of TLS 1.3 is used once (RFC 8446 appendix C.4: a second use would let onlookers connect the two), and each
connection brings a new one. One of TLS 1.2 was given in the clear, and is used until there is a newer one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from time import gmtime, strftime
from typing import NamedTuple

from OpenSSL import SSL

# Hosts of a day, as in `contexts`; and as many connections as a browser has to one host at a time, since those that
# end together come again together. A session takes some 10 KiB, with the server's chain.
MAX_SERVERS = 300
MAX_EACH = 6


class Resumable(NamedTuple):
    """A session; the verdict on its server's certificate; when the first one of the chain expires, as ASN.1 has it,
    "YYYYMMDDhhmmssZ"; and the group of the key exchange (`shares`).
    """

    session: SSL.Session
    verdict: str
    expires: bytes
    group: str


class Resumptions:
    """Sessions by server; the servers that were not met for longest are forgotten first."""

    def __init__(self, max_servers: int = MAX_SERVERS) -> None:
        self._max_servers = max_servers
        self._by_server: OrderedDict[Hashable, list[Resumable]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._by_server.values()))

    def take(self, server: Hashable, now: float) -> Resumable | None:
        """The newest session with a server; None if there is none that is still good."""
        sessions = self._by_server.get(server)
        if not sessions:
            return None
        newest = sessions[-1]
        if newest.group:
            sessions.pop()
        if newest.expires > strftime("%Y%m%d%H%M%SZ", gmtime(now)).encode():
            return newest
        del self._by_server[server]
        return None

    def put(self, server: Hashable, resumable: Resumable) -> None:
        """Keep a session."""
        sessions = self._by_server.setdefault(server, [])
        sessions.append(resumable)
        del sessions[:-MAX_EACH]
        self._by_server.move_to_end(server)
        if len(self._by_server) > self._max_servers:
            self._by_server.popitem(last=False)
