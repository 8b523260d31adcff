"""One network connection, of a client to us or of us to a server, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from random import getrandbits
from typing import Any, Literal

Address = tuple[str, int]


# Gives a random unsigned 64-bit number: unique in practice over all flow files.
new_id = partial(getrandbits, 64)


@dataclass(eq=False)
class Connection:
    """What is known of a connection. Times are Unix seconds; what did not happen is None.

    `address` is where a server connection was asked to go (host name and port); `peername` where it arrived.
    `verification` is "ok" or the reason why the server's certificate was not accepted; None if there was none to check.
    `certificate_list` holds the peer's chain as DER, leaf first. `extra` are keys of the flow file that this program
    does not know and therefore keeps.
    """

    side: Literal["client", "server"]
    id: int = field(default_factory=new_id)
    peername: Address | None = None
    sockname: Address | None = None
    address: Address | None = None
    timestamp_start: float | None = None
    timestamp_tcp_setup: float | None = None
    timestamp_tls_setup: float | None = None
    timestamp_end: float | None = None
    tls_version: str | None = None
    cipher: str | None = None
    alpn_offers: tuple[bytes, ...] = ()
    alpn: bytes | None = None
    sni: str | None = None
    session_resumed: bool = False
    certificate_list: tuple[bytes, ...] = ()
    verification: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def tls_established(self) -> bool:
        """Is (or was) this connection inside TLS?"""
        return self.timestamp_tls_setup is not None
