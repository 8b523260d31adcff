"""What every connection shares, in one object that is handed down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..handlers.hooks import Hooks
from ..model.connection import Address
from ..net.resolver import Resolver
from ..net.stream import Streams
from ..net.turn import Turn
from ..settings import Settings
from ..sinks.tap import Outlet, Outlets
from ..tls.contexts import Contexts
from ..wire.http1 import Limits
from . import onboarding
from .known import KnownServers, RecordedServers
from .policy import Policy, Refusals

if TYPE_CHECKING:
    from .client import Client
    from .http2client import Http2Client


@dataclass(slots=True)
class Services:
    """Settings, sinks and certificates; and what is known of the running proxy.

    `warn` says one line that a user should see, `debug` one that helps to find out why something went wrong. `limits`
    are those of the heads of HTTP/1. `idle` are the connections that wait for a request, `shared` all that may have
    several at once.
    """

    settings: Settings
    outlet: Outlet | Outlets
    tls: Contexts
    warn: Callable[[str], object]
    debug: Callable[[str], object]
    streams: Streams = field(default_factory=Streams)
    resolver: Resolver = field(default_factory=Resolver)
    hooks: Hooks = field(default_factory=Hooks)
    known: KnownServers = field(default_factory=KnownServers)
    recorded: RecordedServers | None = None
    own_addresses: list[Address] = field(default_factory=list)
    idle: dict[Client | Http2Client, None] = field(default_factory=dict)
    shared: set[Http2Client] = field(default_factory=set)
    stopping: bool = False
    limits: Limits = field(init=False)
    policy: Policy = field(init=False)
    refusals: Refusals = field(init=False)
    turn: Turn = field(init=False)
    _warned: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.limits = Limits(self.settings.max_header_size, self.settings.max_header_count)
        self.turn = Turn(self.outlet.settle)
        self.outlet.put_off_settling(self.turn.soon)
        self.policy = Policy(self.settings, self.warn)
        self.refusals = Refusals(enabled=self.settings.fail_open)

    def onboards(self, host: str) -> bool:
        """Is this the host of the page for new clients, which we are ourselves?"""
        return self.settings.onboarding and onboarding.is_our_name(host)

    def refused(self, host: str, reason: str, *, certain: bool) -> bool:
        """A client has refused our certificate for a host, or may have: will that be passed through from now on?"""
        return not self.onboards(host) and self.refusals.refused(host, reason, certain=certain)

    def close_idle(self, count: int) -> None:
        """Close up to `count` connections that wait for a client's next request, those that wait longest first."""
        for client in list(self.idle)[:count]:
            del self.idle[client]
            client.leave()

    def stop(self) -> None:
        """Take no more requests: who waits for one is closed, who may send several at once is told (GOAWAY)."""
        self.stopping = True
        self.close_idle(len(self.idle))
        for client in self.shared:
            client.leave()

    def refuse_public(self, address: Address | None) -> None:
        """Say, once, that clients from the public internet are refused."""
        name = address[0] if address else "a public address"
        self.warn_once(
            "public", f"refused a client from {name}, and will refuse others from the internet (--no-block-global)"
        )

    def warn_once(self, about: str, message: str) -> None:
        """Say what is likely to go wrong again and again."""
        if about in self._warned:
            self.debug(message)
            return
        self._warned.add(about)
        self.warn(message)
