"""Which key share goes to a server that we have met.

A ClientHello of TLS 1.3 brings a key share for each group that the client expects the server to choose (RFC 8446
section 4.2.8). OpenSSL makes two, one of them for a post-quantum group, and a server uses one of them, or with TLS 1.2
none: they are most of what a ClientHello takes. Of a server that was met before it is known which. All groups are
offered as ever, so a server that has changed its mind asks for another share (HelloRetryRequest).
"""

from __future__ import annotations

from OpenSSL import SSL
from OpenSSL._util import lib

_GROUPS = ("X25519MLKEM768", "x25519", "secp256r1")  # what servers choose
_CHEAPEST = "secp256r1"

# OpenSSL's words: "?" marks what a version may not have, "*" those for which a share is made, and DEFAULT are all that
# it offers by itself. Before 3.5 it made one share anyway, and knew none of these words.
_KNOWS_WORDS = SSL.OPENSSL_VERSION_NUMBER >= 0x30500000
_LISTS = {
    share: ":".join([*(f"?*{group}" if group == share else f"?{group}" for group in _GROUPS), "DEFAULT"]).encode()
    for share in _GROUPS
}


def chosen_group(connection: SSL.Connection) -> str:
    """The group of an established connection, "" for one of TLS 1.2, which takes no key share."""
    if connection.get_protocol_version() != SSL.TLS1_3_VERSION:
        return ""
    return connection.get_group_name() or ""


def share_only(connection: SSL.Connection, group: str) -> None:
    """Make a key share for `group` alone, or for the one that takes least where none will be used."""
    groups = _LISTS.get(group or _CHEAPEST)
    if groups is not None and _KNOWS_WORDS:
        lib.SSL_set1_curves_list(connection._ssl, groups)
