"""A request's target out of an entry's URL."""

from __future__ import annotations

from typing import NamedTuple

from ...model.url import DEFAULT_PORTS, split_absolute, split_host_port

# Browsers name the scheme of a WebSocket; the request that opens it is HTTP (RFC 6455 section 4.1).
_SCHEMES = {"ws": "http", "wss": "https"}


class Target(NamedTuple):
    """Where a request goes: the parts of `model.message.Request`."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str


def target_of(url: str) -> Target:
    """The target that a URL names; userinfo and fragment are never sent (RFC 9110 sections 4.2.4 and 7.1).

    What is no URL of HTTP (data:, blob:, about:) is the path of a target that goes nowhere, so that it is shown.
    """
    try:
        scheme, authority, path = split_absolute(url.partition("#")[0])
        scheme = _SCHEMES.get(scheme, scheme)
        host, port = split_host_port(authority.rpartition("@")[2], DEFAULT_PORTS.get(scheme))
    except ValueError:
        return Target("", "", 0, "", url)
    return Target(scheme, host, port, "", path)
