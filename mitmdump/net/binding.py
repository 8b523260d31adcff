"""Listening sockets. Who connects to one waits in the kernel's queue until a `listener` accepts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence

BACKLOG = 1024


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
