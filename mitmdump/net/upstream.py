"""Connecting to servers: names to addresses, addresses to a stream, each failure said in one sentence.

Addresses of both families are raced as RFC 8305 ("Happy Eyeballs") says, by the library that aiohttp uses for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
from collections.abc import Iterable, Sequence

import aiohappyeyeballs

from ..errors import ConnectError
from ..model.connection import Address
from ..model.url import join_host_port
from .stream import Stream, Streams

# RFC 8305 section 5 recommends a quarter of a second before the next address is tried beside the last.
ATTEMPT_DELAY = 0.25

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[str, int]]


async def connect(host: str, port: int, streams: Streams, *, seconds: float, own: Sequence[Address]) -> Stream:
    """A stream to a server, within `seconds`.

    `own` are the addresses that we listen on: a connection to one of them would be a loop, and is refused. Raises
    ConnectError (504 when time ran out).
    """
    name = join_host_port(host, port)
    try:
        async with asyncio.timeout(seconds):
            addresses = await _resolve(host, port)
            sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=ATTEMPT_DELAY, interleave=1)
    except TimeoutError:
        raise ConnectError(f"cannot connect to {name}: no answer within {seconds:g} seconds", 504) from None
    except (OSError, RuntimeError, UnicodeError) as error:  # uvloop raises RuntimeError for some
        raise ConnectError(f"cannot connect to {name}: {_reason(error)}") from None
    if is_loop(sock, own):
        sock.close()
        raise ConnectError(f"refused to connect to {name}: that is this proxy itself, the request would go in circles")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    _, stream = await asyncio.get_running_loop().create_connection(lambda: Stream("server", streams), sock=sock)
    return stream


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


def _plain(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address without its zone; an IPv4 address that was mapped into IPv6 as itself."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


async def _resolve(host: str, port: int) -> list[AddressInfo]:
    """The addresses of a name; an address is its own, and costs no trip to the resolver's thread."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)  # type: ignore[return-value]
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    sockaddr = (host, port) if address.version == 4 else (host, port, 0, 0)
    return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sockaddr)]  # type: ignore[list-item]


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):  # a label that is empty or too long, which no resolver is asked for
        return "no such host"
    if isinstance(error, socket.gaierror):
        return "no such host" if error.errno in (socket.EAI_NONAME, _NO_DATA) else f"name lookup failed: {error}"
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)


_NO_DATA = getattr(socket, "EAI_NODATA", socket.EAI_NONAME)
