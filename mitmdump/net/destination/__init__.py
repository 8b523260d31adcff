"""Where a connection was going before the packet filter sent it here: one module a kind of packet filter.

| module | packet filter |
|---|---|
| `linux` | netfilter, be it through nft or iptables: REDIRECT, DNAT and TPROXY |
| `pf` | pf of macOS, FreeBSD and OpenBSD; ipfw's fwd |

Of a connection that nobody has redirected, all of them say where it arrived. Whether that is an address at which we
listen (somebody has connected to us) or not (a rule such as TPROXY has left the destination as it was) is for who asks
to find out, see `net.loops`.
"""

from __future__ import annotations

import socket
import sys
from typing import Protocol

from ...errors import SettingsError
from ...model.connection import Address


class Lookup(Protocol):
    """What knows where connections were going."""

    def prepare(self, listening: socket.socket, /) -> bool:
        """Let a bound socket take what the packet filter hands over with its destination unchanged.

        False where that is not allowed; what is redirected to the socket is accepted all the same.
        """

    def find(self, sock: socket.socket) -> Address:
        """Where an accepted connection was going. Raises OSError."""


def open_lookup(platform: str = sys.platform) -> Lookup:
    """The lookup for this system, made once, as it may need privileges. Raises SettingsError where there is none."""
    if platform == "linux":
        from .linux import Netfilter

        return Netfilter()
    from . import pf

    system = platform.rstrip("0123456789.")  # up to Python 3.13 it is "freebsd14"
    if system in pf.LAYOUTS:
        return pf.open_device(pf.LAYOUTS[system])
    raise SettingsError(f"transparent mode does not work on {platform}: no way is known to ask its packet filter")
