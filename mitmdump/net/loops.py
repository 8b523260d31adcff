"""Connections that lead back to ourselves, and would go in circles until nothing is left to open.

There are three ways there. We are asked to connect to an address that we listen on (`is_loop`, asked of the connected
socket). A connection arrives that was meant for such an address (`is_own`): in transparent mode somebody has connected
to us directly. And a packet filter sends our own connection to a server back to us (`Outgoing`), which is known by both
its ends: a source address alone can be that of other connections, too.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import PeerError
from ..model.connection import Address

if TYPE_CHECKING:
    from .stream import Stream


def is_loop(sock: socket.socket, own: Iterable[Address]) -> bool:
    """Does this connected socket lead to one of our own listening addresses?

    It is asked of the connected socket, not of the name: so no alias, mapped address, 0.0.0.0 or change of the name
    service gets by. A connection to an address of this machine comes from an address of this machine.
    """
    try:
        peer, here = sock.getpeername()[:2], sock.getsockname()[0]
    except OSError:
        return False  # the server has gone again, so it was not us
    address = _plain(peer[0])
    local = address.is_loopback or address == _plain(here)
    return any(
        peer[1] == port and (address == _plain(host) or (local and _plain(host).is_unspecified)) for host, port in own
    )


def is_own(destination: Address, own: Iterable[Address]) -> bool:
    """Is this an address that we listen on?"""
    address = _plain(destination[0])
    for host, port in own:
        if destination[1] != port:
            continue
        if address == _plain(host) or (_plain(host).is_unspecified and _is_local(str(address))):
            return True
    return False


def _is_local(host: str) -> bool:
    """Is this an address of this machine? Others cannot be bound."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


@lru_cache(maxsize=1024)  # an address takes longer to be understood than all else that is done with it here
def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without its zone; an IPv4 address that was mapped into IPv6 as itself."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


class Outgoing:
    """Our own connections to servers: those that are open, and those that are just being made.

    The latter matter, because what comes back can be accepted before our own end knows that it is connected.
    """

    def __init__(self) -> None:
        self._open: dict[tuple[Address, Address], Stream] = {}
        self._attempts: set[Attempt] = set()

    def add(self, stream: Stream) -> None:
        """Know a connection that is open."""
        if stream.sockname and stream.peername:
            self._open[stream.sockname, stream.peername] = stream

    def discard(self, stream: Stream) -> None:
        """Forget it."""
        if stream.sockname and stream.peername:
            self._open.pop((stream.sockname, stream.peername), None)

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """While a connection is made."""
        attempt = Attempt()
        self._attempts.add(attempt)
        try:
            yield attempt
        finally:
            self._attempts.discard(attempt)

    def end(self, source: Address, destination: Address, error: PeerError) -> bool:
        """End the connection with these ends, if it is one of ours: who uses it gets `error`. Was it?"""
        if stream := self._open.get((source, destination)):
            stream.abort(error)
            return True
        for attempt in self._attempts:
            if attempt.has(source, destination):
                attempt.error = error
                return True
        return False


class Attempt:
    """A connection being made, over several addresses at once perhaps. It must not be used if there is an `error`."""

    def __init__(self) -> None:
        self.error: PeerError | None = None
        self._sockets: list[tuple[socket.socket, Address]] = []

    def add(self, sock: socket.socket, destination: Address) -> None:
        """Know a socket that is about to connect."""
        self._sockets.append((sock, destination))

    def has(self, source: Address, destination: Address) -> bool:
        """Is one of them on its way from here to there?"""
        for sock, goal in self._sockets:
            with suppress(OSError):  # it is closed already, as another one was faster
                if goal == destination and sock.getsockname()[:2] == source:
                    return True
        return False
