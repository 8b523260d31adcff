"""What every connection shares, in one object that is handed down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..model.connection import Address
from ..net.stream import Streams
from ..settings import Settings
from ..sinks.tap import Outlet, Outlets
from ..tls.contexts import Contexts

if TYPE_CHECKING:
    from .client import Client


@dataclass(slots=True)
class Services:
    """Settings, sinks and certificates; and what is known of the running proxy.

    `warn` says one line that a user should see, `debug` one that helps to find out why something went wrong.
    """

    settings: Settings
    outlet: Outlet | Outlets
    tls: Contexts
    warn: Callable[[str], object]
    debug: Callable[[str], object]
    streams: Streams = field(default_factory=Streams)
    own_addresses: list[Address] = field(default_factory=list)
    idle: dict[Client, None] = field(default_factory=dict)
    stopping: bool = False
    _public_refused: bool = False

    def close_idle(self, count: int) -> None:
        """Close up to `count` connections that wait for a client's next request, those that wait longest first."""
        for client in list(self.idle)[:count]:
            del self.idle[client]
            client.stream.close()

    def refuse_public(self, address: Address | None) -> None:
        """Say, once, that clients from the public internet are refused."""
        if not self._public_refused:
            self._public_refused = True
            name = address[0] if address else "a public address"
            self.warn(f"refused a client from {name}, and will refuse others from the internet (--no-block-global)")
