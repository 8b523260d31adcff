"""Connecting to servers: names to addresses, addresses to a stream, each failure said in one sentence.

Several addresses, of both families, are raced as RFC 8305 ("Happy Eyeballs") says, by the library that aiohttp uses for
it; which names lead to them is for `resolver` to say.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

import aiohappyeyeballs

from ..errors import ConnectError, SettingsError
from ..model.connection import Address
from ..model.url import join_host_port
from .loops import Attempt, is_loop
from .resolver import AddressInfo, Resolver
from .stream import Stream, Streams
from .wakeup import Wakeup

# RFC 8305 section 5 recommends a quarter of a second before the next address is tried beside the last.
ATTEMPT_DELAY = 0.25

SO_MARK = 36  # asm-generic/socket.h


async def connect(
    host: str,
    port: int,
    streams: Streams,
    resolver: Resolver,
    *,
    seconds: float,
    own: Sequence[Address],
    mark: int | None = None,
) -> Stream:
    """A stream to a server, within `seconds`, with `mark` on its packets (see `check_mark`).

    `own` are the addresses that we listen on: a connection to one of them would be a loop, and is refused. Raises
    ConnectError (504 when time ran out).
    """
    name = join_host_port(host, port)
    with streams.outgoing.attempt() as attempt:
        sock = await _connect(host, port, resolver, _opener(attempt, mark), seconds)
        if attempt.error or is_loop(sock, own):
            sock.close()
            reason = attempt.error or "that is this proxy itself, the request would go in circles"
            raise ConnectError(f"refused to connect to {name}: {reason}")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _, stream = await asyncio.get_running_loop().create_connection(lambda: Stream("server", streams), sock=sock)  # type: ignore[type-var]
    if attempt.error:
        stream.abort(attempt.error)
    return stream


def check_mark(mark: int) -> None:
    """Can packets be marked here? Raises SettingsError."""
    with socket.socket() as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        except OSError as error:
            advice = "It takes root, or CAP_NET_ADMIN" if isinstance(error, PermissionError) else "It is for Linux"
            reason = (error.strerror or str(error)).lower()
            raise SettingsError(f"--mark: packets cannot be marked: {reason}. {advice}") from None


def _opener(attempt: Attempt, mark: int | None) -> Callable[[AddressInfo], socket.socket]:
    """What makes the sockets of an attempt."""

    def open_socket(info: AddressInfo) -> socket.socket:
        family, kind, proto, _, address = info
        sock = socket.socket(family, kind, proto)
        attempt.add(sock, address[:2])
        if mark is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
        return sock

    return open_socket


async def _connect(
    host: str, port: int, resolver: Resolver, open_socket: Callable[[AddressInfo], socket.socket], seconds: float
) -> socket.socket:
    """A connected socket. Raises ConnectError."""
    name = join_host_port(host, port)
    try:
        async with asyncio.timeout(seconds):
            addresses = await resolver.addresses(host, port)
            if len(addresses) == 1:
                return await _connect_socket(open_socket(addresses[0]), addresses[0][4])
            return await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=ATTEMPT_DELAY, interleave=1, socket_factory=open_socket
            )
    except TimeoutError:
        resolver.forget(host, port)
        raise ConnectError(f"cannot connect to {name}: no answer within {seconds:g} seconds", 504) from None
    except (OSError, RuntimeError, UnicodeError) as error:  # uvloop raises RuntimeError for some
        resolver.forget(host, port)
        raise ConnectError(f"cannot connect to {name}: {_reason(error)}") from None


async def _connect_socket(sock: socket.socket, address: tuple[str, int]) -> socket.socket:
    """Connect to the only address that there is. Raises OSError.

    uvloop's sock_connect would send it through the resolver's thread, though it is no name.
    """
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    try:
        with suppress(BlockingIOError):
            sock.connect(address)
            return sock
        connected = Wakeup()
        loop.add_writer(sock, connected.now)
        try:
            await connected
        finally:
            loop.remove_writer(sock)
        if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, os.strerror(error))
    except BaseException:
        sock.close()
        raise
    return sock


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):  # a label that is empty or too long, which no resolver is asked for
        return "no such host"
    if isinstance(error, socket.gaierror):
        return "no such host" if error.errno in (socket.EAI_NONAME, _NO_DATA) else f"name lookup failed: {error}"
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error)


_NO_DATA = getattr(socket, "EAI_NODATA", socket.EAI_NONAME)
