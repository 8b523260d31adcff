"""From names to addresses, as the system's resolver has them, remembered for a moment.

A client that opens a connection for each request would have the same name looked up for each, in a thread, and often at
a server. How long an answer holds is not told by the system. Browsers and curl keep one for a minute; here it is as
long as a page takes to load, so that whoever changes a name is not left wondering.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import OrderedDict

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int]]

MAX_AGE = 5.0  # seconds
MAX_NAMES = 500  # of some hundred bytes for each address; no page is made of more


class Resolver:
    """Remembers the addresses of names; those that were not looked up for longest are forgotten first."""

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self._max_names = max_names
        self._found: OrderedDict[tuple[str, int], tuple[list[AddressInfo], float]] = OrderedDict()

    async def addresses(self, host: str, port: int) -> list[AddressInfo]:
        """The addresses of a name; an address is its own. Raises OSError or UnicodeError if there is none."""
        loop = asyncio.get_running_loop()
        addresses, looked_up = self._found.get((host, port), (None, 0.0))
        if addresses is None or loop.time() - looked_up > MAX_AGE:
            addresses = _as_address(host, port) or await _look_up(host, port)
            self._found[host, port] = addresses, loop.time()
            self._found.move_to_end((host, port))
            if len(self._found) > self._max_names:
                self._found.popitem(last=False)
        return addresses

    def forget(self, host: str, port: int) -> None:
        """What was found leads nowhere."""
        self._found.pop((host, port), None)


def _as_address(host: str, port: int) -> list[AddressInfo]:
    """An address as itself, which costs no trip to the resolver's thread; [] for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return []
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sockaddr = (host, port) if address.version == 4 else (host, port, 0, 0)
    return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sockaddr)]  # type: ignore[list-item]


async def _look_up(host: str, port: int) -> list[AddressInfo]:
    loop = asyncio.get_running_loop()
    return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)  # type: ignore[return-value]
