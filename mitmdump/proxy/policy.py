"""What becomes of a connection: is it intercepted, recorded raw, or passed through untouched?

The user's patterns are searched in all that a server is known by: "host:port" as the client asked for it, "name:port"
and the bare name of the ClientHello's SNI, "address:port" that we are connected to. These are learned one after the
other, so the question is asked more than once: a name that is to be ignored decides at once, all else is decided when
everything is known. What is ignored stays so, whatever else it matches.

With --fail-open there is one more reason to pass a host through: a client that has refused our certificate for it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum

from ..filter.regex import Search, compile_search
from ..model.url import join_host_port
from ..settings import Settings

# Hosts of a day; an entry takes some hundred bytes. Who is forgotten is intercepted once more, and refuses once more.
MAX_HOSTS = 1000
# How long after a handshake a client that pins a certificate takes to look at ours and to leave.
PINNED_SECONDS = 1.0


class Treatment(Enum):
    """What becomes of a connection."""

    INTERCEPT = "TLS is intercepted, and HTTP inside it understood"
    RAW = "TLS is intercepted, and what is inside recorded as it is"
    UNTOUCHED = "relayed as it is, and not recorded"


def names_of(host: str, port: int, sni: str | None = None) -> list[str]:
    """What the patterns are searched in."""
    names = [join_host_port(host, port)]
    return [*names, f"{sni}:{port}", sni] if sni else names


class Policy:
    """--ignore-hosts, --allow-hosts and --tcp-hosts. False if none was given: then everything is intercepted.

    `warn` is called where a pattern is too slow. Raises filter's ArgumentError for a bad one.
    """

    def __init__(self, settings: Settings, warn: Callable[[str], object]) -> None:
        self._ignored = _compiled(settings.ignore_hosts, warn)
        self._allowed = _compiled(settings.allow_hosts, warn)
        self._raw = _compiled(settings.tcp_hosts, warn)

    def __bool__(self) -> bool:
        return bool(self._ignored or self._allowed or self._raw)

    def ignores(self, names: Sequence[str]) -> bool:
        """Is a server passed through, whatever else it will turn out to be called?"""
        return _any_found(self._ignored, names)

    def treatment(self, names: Sequence[str]) -> Treatment:
        """What becomes of a connection to a server that is known by these names."""
        if self.ignores(names) or (self._allowed and not _any_found(self._allowed, names)):
            return Treatment.UNTOUCHED
        return Treatment.RAW if _any_found(self._raw, names) else Treatment.INTERCEPT


def _compiled(patterns: Sequence[str], warn: Callable[[str], object]) -> list[Search[str]]:
    def say(text: str) -> None:
        warn(text)

    return [compile_search(pattern, re.IGNORECASE, say) for pattern in patterns]


def _any_found(patterns: Sequence[Search[str]], names: Sequence[str]) -> bool:
    return any(search(name) for search in patterns for name in names)


class Refusals:
    """Hosts by name, with why a client would not have our certificate for them; none unless `enabled` (--fail-open).

    It is the host that is remembered, for all clients. A client that just closes may have had other reasons: that
    counts only for hosts of which no client has taken our certificate yet.
    """

    def __init__(self, *, enabled: bool, max_hosts: int = MAX_HOSTS) -> None:
        self._enabled = enabled
        self._max_hosts = max_hosts
        self._hosts: OrderedDict[str, str | None] = OrderedDict()  # None: our certificate was taken

    def __contains__(self, host: str) -> bool:
        return self._hosts.get(host.lower()) is not None

    @property
    def hosts(self) -> list[str]:
        """The hosts for which our certificate was refused, the earliest first."""
        return [host for host, reason in self._hosts.items() if reason is not None]

    def refused(self, host: str, reason: str, *, certain: bool) -> bool:
        """A client has refused our certificate, or, not `certain`, has just gone. Is the host new in here thereby?"""
        if not self._enabled or host in self or (not certain and host.lower() in self._hosts):
            return False
        self._put(host, reason)
        return True

    def accepted(self, host: str) -> None:
        """A client has sent a request, so it has taken our certificate."""
        if self._enabled and host not in self:
            self._put(host, None)

    def _put(self, host: str, reason: str | None) -> None:
        self._hosts[host.lower()] = reason
        self._hosts.move_to_end(host.lower())
        if len(self._hosts) > self._max_hosts:
            self._hosts.popitem(last=False)
