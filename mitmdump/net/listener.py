"""Accepting clients, no more at a time than the settings and the system allow.

We accept ourselves, rather than let the event loop do it, so that at the limit clients wait in the kernel's queue
instead of being accepted and dropped, and so that running out of descriptors is a pause and one line of log.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence

from ..model.connection import Address

BACKLOG = 1024
PAUSE_SECONDS = 0.02
_OUT_OF_SOMETHING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def bind(
    hosts: Sequence[str], port: int, prepare: Callable[[socket.socket], object] | None = None
) -> list[socket.socket]:
    """Listening sockets on `port` (0: a free one, the same for all) of each host; `prepare` sees each bound one.

    An address family that this machine does not have is left out, as long as one socket remains. Raises OSError.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for host in hosts:
            try:
                sockets.append(_bind_one(host, port, prepare))
            except OSError as error:
                if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) or len(hosts) == 1:
                    raise
                missing = error
                continue
            port = sockets[0].getsockname()[1]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets and missing:
        raise missing
    return sockets


def _bind_one(host: str, port: int, prepare: Callable[[socket.socket], object] | None) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # its own socket, whatever the system's default: 0.0.0.0 is bound by itself
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if prepare:
            prepare(sock)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


class Listener:
    """Accepts clients on bound sockets and hands each connected socket to `serve`.

    At `limit` clients at a time, `make_room` is asked to end one that is idle, and until one has gone no more are
    accepted.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        serve: Callable[[socket.socket], object],
        *,
        limit: int,
        count: Callable[[], int],
        make_room: Callable[[], object],
        warn: Callable[[str], object],
    ) -> None:
        self.addresses: list[Address] = [sock.getsockname()[:2] for sock in sockets]
        self._sockets = sockets
        self._serve = serve
        self._limit = limit
        self._count = count
        self._make_room = make_room
        self._warn = warn
        self._warned = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to accept."""
        self._tasks = [asyncio.create_task(self._accept(sock)) for sock in self._sockets]

    def stop(self) -> None:
        """Accept no more, and give the port back."""
        for task in self._tasks:
            task.cancel()
        for sock in self._sockets:
            sock.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(listening)
            except OSError as error:
                if error.errno in _OUT_OF_SOMETHING:
                    self._complain(f"cannot accept more clients for now: {error.strerror} (ulimit -n)")
                    self._make_room()
                    await asyncio.sleep(PAUSE_SECONDS)
                continue  # else the client gave up while it waited, which is its own business (accept(2))
            while self._count() >= self._limit:
                self._complain(f"{self._limit} clients at a time is the limit, more have to wait (--max-connections)")
                self._make_room()
                await asyncio.sleep(PAUSE_SECONDS)
            self._serve(sock)

    def _complain(self, message: str) -> None:
        """Say it once, not for each client."""
        if not self._warned:
            self._warned = True
            self._warn(message)
