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
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Begin to accept."""
        for sock in self._sockets:
            self._listen(sock)

    def stop(self) -> None:
        """Accept no more, and give the port back."""
        loop = asyncio.get_running_loop()
        for pause in self._pauses.values():
            pause.cancel()
        for sock in self._sockets:
            loop.remove_reader(sock)
            sock.close()

    def _listen(self, listening: socket.socket) -> None:
        self._pauses.pop(listening, None)
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """A client waits: called in each turn of the loop, until none does."""
        if self._count() >= self._limit:
            self._pause(
                listening, f"{self._limit} clients at a time is the limit, more have to wait (--max-connections)"
            )
            return
        try:
            sock, _ = listening.accept()
        except OSError as error:
            if error.errno in _OUT_OF_SOMETHING:
                self._pause(listening, f"cannot accept more clients for now: {error.strerror} (ulimit -n)")
            return  # else the client gave up while it waited, which is its own business (accept(2))
        self._serve(sock)

    def _pause(self, listening: socket.socket, why: str) -> None:
        """Let clients wait until there is room."""
        self._complain(why)
        self._make_room()
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._pauses[listening] = loop.call_later(PAUSE_SECONDS, self._listen, listening)

    def _complain(self, message: str) -> None:
        """Say it once, not for each client."""
        if not self._warned:
            self._warned = True
            self._warn(message)
