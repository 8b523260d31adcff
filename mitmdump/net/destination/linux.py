"""Netfilter: REDIRECT and DNAT are remembered by connection tracking, TPROXY leaves the destination on the socket.

A connection that is not tracked, or a kernel without tracking, means that nothing was translated.
"""

from __future__ import annotations

import errno
import socket
import struct

from ...model.connection import Address

# linux/in.h, linux/in6.h, linux/netfilter_ipv4.h, linux/netfilter_ipv6/ip6_tables.h. SOL_IP and SOL_IPV6 are what
# Python calls IPPROTO_IP and IPPROTO_IPV6.
IP_TRANSPARENT = 19
IPV6_TRANSPARENT = 75
SO_ORIGINAL_DST = 80
IP6T_SO_ORIGINAL_DST = 80

# struct sockaddr_in: family, port, address. struct sockaddr_in6: family, port, flow label, address, scope.
_SOCKADDR_IN = struct.Struct("=2xH4s8x")
_SOCKADDR_IN6 = struct.Struct("=2xH4x16s4x")
_NOT_TRANSLATED = frozenset({errno.ENOENT, errno.ENOPROTOOPT})


class Netfilter:
    """Linux's packet filter."""

    def prepare(self, listening: socket.socket, /) -> bool:
        """TPROXY gives connections to sockets with IP_TRANSPARENT only, which takes CAP_NET_ADMIN (ip(7))."""
        try:
            if listening.family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
            else:
                listening.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        except OSError:
            return False
        return True

    def find(self, sock: socket.socket) -> Address:
        """Where an accepted connection was going. Raises OSError."""
        try:
            return original_destination(sock)
        except OSError as error:
            if error.errno not in _NOT_TRANSLATED:
                raise
        host, port = sock.getsockname()[:2]
        return host, port


def original_destination(sock: socket.socket) -> Address:
    """What connection tracking says. Raises OSError, with ENOENT for a connection that it does not know."""
    if sock.family == socket.AF_INET6:
        return parse_sockaddr(
            sock.getsockopt(socket.IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, _SOCKADDR_IN6.size), _SOCKADDR_IN6
        )
    return parse_sockaddr(sock.getsockopt(socket.IPPROTO_IP, SO_ORIGINAL_DST, _SOCKADDR_IN.size), _SOCKADDR_IN)


def parse_sockaddr(data: bytes, layout: struct.Struct) -> Address:
    """Host and port of a struct sockaddr_in or sockaddr_in6."""
    port, address = layout.unpack(data)
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, address), socket.ntohs(port)
