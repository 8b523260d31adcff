"""Accepting clients, no more at a time than the settings and the system allow; `binding` makes the sockets.

We accept ourselves, rather than let the event loop do it, so that at the limit clients wait in the kernel's queue
instead of being accepted and dropped, and so that running out of descriptors is a pause and one line of log.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence

from ..model.connection import Address

PAUSE_SECONDS = 0.02
_OUT_OF_SOMETHING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


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
