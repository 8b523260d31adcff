"""Where a request goes: its target (RFC 9112 section 3.2) and its Host field, and nothing else, decide.

In HTTP/2 the target comes in parts (RFC 9113 section 8.3.1), which the codec has checked as `check_host` does here. To
a proxy they say what an absolute-form says. Inside a tunnel it is the tunnel that decides where a request goes, as the
connection does for its server: a browser sends requests for all names of a certificate on one connection.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from ..errors import RemoteError
from ..model import url
from ..model.connection import Address
from ..model.headers import Field, to_bytes, to_str
from ..wire.events import RequestHead

# Where a path can begin at the earliest: behind "https://", or "http://" and a letter.
_FIRST_PATH: Final = 8
_SLASH: Final = ord("/")
_QUERY: Final = ord("?")
_FRAGMENT: Final = ord("#")


class Origin(NamedTuple):
    """A server that can be asked."""

    scheme: str
    host: str
    port: int


@dataclass(init=False)
class Target:
    """Where a request goes: the server, the path to ask it for, and the authority that the target itself named."""

    origin: Origin
    path: bytes
    authority: str

    def __init__(self, origin: Origin, path: bytes, authority: str = "") -> None:
        self.origin = origin
        self.path = path
        self.authority = authority


def named_server(head: RequestHead, target: Target) -> Address:
    """The host and port that a request names: in its target, or else in its Host field, or else where it goes."""
    origin = target.origin
    if target.authority:
        return url.split_host_port(target.authority, origin.port)
    hosts = head.survey().values.get(b"host")
    return url.split_host_port(to_str(hosts[0]), origin.port) if hosts else (origin.host, origin.port)


def connect_target(head: RequestHead) -> Origin:
    """Where a CONNECT wants to go (authority-form, RFC 9112 section 3.2.3). Raises RemoteError."""
    if not head.authority:
        check_host(head)
    try:
        host, port = url.split_host_port(to_str(head.target), None)
    except ValueError as error:
        raise RemoteError(f"the client sent CONNECT to a target that is no host and port: {error}", 400) from None
    return Origin("https", host, port)


def proxy_target(head: RequestHead) -> Target:
    """Where a request to a proxy wants to go (absolute-form, RFC 9112 section 3.2.2). Raises RemoteError."""
    if head.scheme:
        return _http2_target(head)
    check_host(head)
    if head.target[0] in b"/*":
        raise RemoteError(
            "the client sent a request without a host in its target, as to a server; "
            "this is a proxy: set it as such in the client, do not open its address",
            400,
        )
    return _absolute_target(head)


def server_target(head: RequestHead, origin: Origin) -> Target:
    """Where a request goes that came inside a connection to `origin`. Raises RemoteError."""
    if head.scheme:
        return Target(origin, head.target, to_str(head.authority))
    check_host(head)
    if head.target[0] == _SLASH or (head.target == b"*" and head.method == b"OPTIONS"):
        return Target(origin, head.target)
    target = _absolute_target(head)
    if target.origin.scheme != origin.scheme:
        raise _unspoken(target.origin.scheme)
    return Target(origin, target.path, target.authority)


@lru_cache(maxsize=1024)  # as in `url`, the same few again and again
def _origin(scheme: str, authority: str) -> Origin:
    """Raises ValueError."""
    return Origin(scheme, *url.split_host_port(authority, url.DEFAULT_PORTS[scheme]))


@lru_cache(maxsize=1024)
def _server(target: bytes) -> tuple[Origin, str]:
    """The server and the authority that a target names which has neither path nor query. Raises RemoteError."""
    try:
        scheme, authority, _ = url.split_absolute(to_str(target))
    except ValueError as error:
        raise RemoteError(f"the client sent a target that is no URL: {error}", 400) from None
    if scheme not in url.DEFAULT_PORTS:
        raise _unspoken(scheme)
    try:
        return _origin(scheme, authority), authority
    except ValueError as error:
        raise RemoteError(f"the client sent a URL with a bad authority: {error}", 400) from None


def _unspoken(scheme: str) -> RemoteError:
    return RemoteError(f"the client asked for a scheme that is not spoken here: {scheme!a}", 400)


def _absolute_target(head: RequestHead) -> Target:
    """Where an absolute-form target leads; its path is never empty. Raises RemoteError."""
    target = head.target
    cut = target.find(b"/", _FIRST_PATH)
    server = target if cut < 0 else target[:cut]
    if _QUERY in server:
        server = server.partition(b"?")[0]
    origin, authority = _server(server)
    path = target[len(server) :]
    if _FRAGMENT in path:
        raise RemoteError("the client sent a target that is no URL: a fragment", 400)
    if len(server) != cut:  # an empty one is, of OPTIONS, the server as a whole (RFC 9112 section 3.2.4)
        path = b"*" if head.method == b"OPTIONS" and not path else b"/" + path
    return Target(origin, path, authority)


def _http2_target(head: RequestHead) -> Target:
    """Raises RemoteError."""
    scheme = to_str(head.scheme).lower()
    if scheme not in url.DEFAULT_PORTS:
        raise _unspoken(scheme)
    authority = to_str(head.authority or head.survey().values[b"host"][0])
    return Target(_origin(scheme, authority), head.target, authority)


def check_host(head: RequestHead) -> None:
    """RFC 9112 section 3.2: in HTTP/1.1 there is exactly one Host, and in any version it is a host. Raises
    RemoteError.
    """
    survey = head.survey()
    if survey.host:
        return
    hosts = survey.values.get(b"host", [])
    if len(hosts) > 1:
        raise RemoteError("the client sent more than one Host field", 400)
    if not hosts:
        if head.version != b"HTTP/1.0":
            raise RemoteError("the client sent no Host field", 400)
        return
    host = to_str(hosts[0])
    try:
        url.split_host_port(host, 80)
    except ValueError as error:
        raise RemoteError(f"the client sent a bad Host field: {error}", 400) from None
    survey.host = host


def with_host(fields: list[Field], authority: str) -> list[Field]:
    """The fields with the Host that follows the target (RFC 9112 section 3.2.2), where the client's stood, or first."""
    host = to_bytes(authority)
    for at, (name, value) in enumerate(fields):
        if len(name) == 4 and name.lower() == b"host":
            return fields if value == host else [*fields[:at], (name, host), *fields[at + 1 :]]
    return [(b"Host", host), *fields]
