"""pf of macOS, FreeBSD and OpenBSD: the ioctl DIOCNATLOOK on /dev/pf (pf(4)) finds a connection's state.

It is asked with a struct pfioc_natlook, with source, destination, family, protocol and direction filled in, and answers
in the same structure with the addresses of the other side of the translation, of which the destination is what we want.
The structure differs a little between systems, and no library of Python's knows it; these are the definitions in
xnu's bsd/net/pfvar.h, FreeBSD's sys/net/pfvar.h and OpenBSD's sys/net/pfvar.h.

A connection that has no state with a translation was not redirected, or by a rule that leaves the destination as it was
(OpenBSD's divert-to, FreeBSD's ipfw fwd): then the socket's own address is the answer.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Callable
from typing import NamedTuple

from ...errors import SettingsError
from ...model.connection import Address

DEVICE = "/dev/pf"
_PF_IN, _PF_OUT = 1, 2
_AF_INET = 2  # on all of them, other than AF_INET6


class Layout(NamedTuple):
    """A system's struct pfioc_natlook, as fields in the order of `_question`; and its AF_INET6."""

    fields: struct.Struct
    inet6: int

    @property
    def request(self) -> int:
        """DIOCNATLOOK: _IOWR('D', 23, struct pfioc_natlook)."""
        return 0xC0000000 | self.fields.size << 16 | ord("D") << 8 | 23


# Four addresses, four ports, family, protocol, direction, filled up to a multiple of four bytes. On macOS a port lies
# in a union of four bytes, and there is a proto_variant before the direction; on OpenBSD the ports come after two
# routing domains, which are 0 for the one that everybody has.
LAYOUTS = {
    "darwin": Layout(struct.Struct("=16s16s16s16s2s2x2s2x2s2x2s2xBBxB"), 30),
    "freebsd": Layout(struct.Struct("=16s16s16s16s2s2s2s2sBBBx"), 28),
    "openbsd": Layout(struct.Struct("=16s16s16s16s4x2s2s2s2sBBBx"), 24),
}


def open_device(layout: Layout) -> PacketFilter:
    """pf, ready to be asked. Raises SettingsError."""
    try:
        device = os.open(DEVICE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        advice = "Start mitmdump as root" if isinstance(error, PermissionError) else "Is pf there, and enabled?"
        raise SettingsError(f"cannot ask the packet filter ({DEVICE}): {reason}. {advice}") from None
    return PacketFilter(layout, lambda question: fcntl.ioctl(device, layout.request, question, True))


class PacketFilter:
    """pf. `ask` does the ioctl: it puts the answer into the question, or raises OSError."""

    def __init__(self, layout: Layout, ask: Callable[[bytearray], object]) -> None:
        self._layout = layout
        self._ask = ask

    def prepare(self, _listening: socket.socket, /) -> bool:
        """pf needs nothing of the socket."""
        return True

    def find(self, sock: socket.socket) -> Address:
        """Where an accepted connection was going. Raises OSError."""
        client, here = sock.getpeername()[:2], sock.getsockname()[:2]
        # A state's direction is that of the connection through this machine; of one that began here it is the other.
        for direction in (_PF_OUT, _PF_IN):
            data = self._question(client, here, direction)
            try:
                self._ask(data)
            except FileNotFoundError:  # ENOENT: no such state
                continue
            return self._answer(data)
        host, port = here
        return host, port

    def _question(self, client: Address, here: Address, direction: int) -> bytearray:
        is_ipv6 = ":" in client[0]
        family = self._layout.inet6 if is_ipv6 else _AF_INET
        source, destination = (_packed(host) for host, _ in (client, here))
        ports = (port.to_bytes(2, "big") for _, port in (client, here))
        fields = (source, destination, b"", b"", *ports, b"", b"", family, socket.IPPROTO_TCP, direction)
        return bytearray(self._layout.fields.pack(*fields))

    def _answer(self, data: bytearray) -> Address:
        fields = self._layout.fields.unpack(data)
        address, port, family = fields[3], fields[7], fields[8]
        if family == self._layout.inet6:
            return socket.inet_ntop(socket.AF_INET6, address), int.from_bytes(port, "big")
        return socket.inet_ntop(socket.AF_INET, address[:4]), int.from_bytes(port, "big")


def _packed(host: str) -> bytes:
    """An address as a struct pf_addr, which `pack` fills up with zeros."""
    address = host.partition("%")[0]
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
