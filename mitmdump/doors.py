"""Where clients come in: the listening sockets, opened before all that serves clients is loaded.

That takes much longer than all else at a start. Who connects meanwhile waits a moment instead of being refused, and a
port that is taken is said at once.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from .errors import SettingsError
from .log import Log
from .model.url import join_host_port
from .net.binding import bind
from .net.destination import Lookup, open_lookup
from .settings import Settings
from .settings.texts import Mode


class Door(NamedTuple):
    """Where clients come in: a mode, its sockets, and what knows where those that were redirected were going."""

    mode: Mode
    sockets: Sequence[socket.socket]
    lookup: Lookup | None


def open_doors(settings: Settings, log: Log) -> list[Door]:
    """A door for each mode, if clients are to come at all. Raises SettingsError."""
    return [_open_door(mode, settings, log) for mode in settings.modes] if settings.server else []


def _open_door(mode: Mode, settings: Settings, log: Log) -> Door:
    """Raises SettingsError."""
    hosts, port = settings.place_of(mode)
    if mode.kind == "regular":
        return Door(mode, _bind(hosts, port), None)
    lookup = open_lookup()
    prepared: list[bool] = []
    sockets = _bind(hosts, port, lambda sock: prepared.append(lookup.prepare(sock)))
    if not all(prepared):
        log.debug("TPROXY will not work, as that takes root or CAP_NET_ADMIN; REDIRECT and DNAT will")
    return Door(mode, sockets, lookup)


def _bind(
    hosts: Sequence[str], port: int, prepare: Callable[[socket.socket], object] | None = None
) -> list[socket.socket]:
    try:
        return bind(hosts, port, prepare)
    except OSError as error:
        where = ", ".join(join_host_port(host, port) for host in hosts)
        advice = "Choose another port with -p, or stop the program that holds it."
        if isinstance(error, socket.gaierror) or error.errno != errno.EADDRINUSE:
            advice = "Choose another address with --listen-host, or another port with -p."
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(f"cannot listen on {where}: {reason}. {advice}") from None
