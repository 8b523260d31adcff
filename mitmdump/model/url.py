"""Authorities and URLs, taken apart strictly and put together as a person would type them (RFC 3986, RFC 9110 4.2)."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address, ip_address

DEFAULT_PORTS = {"http": 80, "https": 443}

# RFC 3986 section 3.2.2, without percent-encoding, which no resolver takes, and with the underscore that real names
# have. Whatever else could be read as a host by one program and as something else by the next is refused.
_REG_NAME = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=-]{1,255}\Z")
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")


@lru_cache(maxsize=1024)  # a client names the same few hosts again and again
def split_host_port(authority: str, default_port: int | None) -> tuple[str, int]:
    """Take "host", "host:port", "[v6]" or "[v6]:port" apart; the host comes back without brackets.

    Raises ValueError, with a reason fit for an error page, for userinfo, an empty host, or a port outside 1 to 65535
    (or none at all while there is no default).
    """
    if "@" in authority:
        raise ValueError("userinfo in the authority")
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError("brackets that do not close around an IPv6 address")
        if not _is_ipv6(host):
            raise ValueError("brackets around what is no IPv6 address")
        port_text = rest[1:]
    else:
        host, _, port_text = authority.partition(":")
        if not _REG_NAME.match(host):
            raise ValueError("an empty host" if not host else "a character that cannot stand in a host")
    if not port_text:  # "host:" is allowed, and means the default (RFC 3986 section 6.2.3)
        if default_port is None:
            raise ValueError("no port")
        return host, default_port
    if not _PORT.match(port_text) or not 0 < int(port_text) < 65536:
        raise ValueError("a port that is no number from 1 to 65535")
    return host, int(port_text)


def _is_ipv6(host: str) -> bool:
    try:
        # A zone has a meaning only on the machine that named it, and any text passes for one.
        return IPv6Address(host).scope_id is None
    except AddressValueError:
        return False


def split_absolute(target: str) -> tuple[str, str, str]:
    """Take an absolute-form target apart into scheme (lower case), authority and path with query.

    The path is never empty. Raises ValueError, with a reason fit for an error page, where there is no scheme, and for a
    fragment, which may not be in a target (RFC 9112 section 3.2).
    """
    match = _ABSOLUTE.match(target)
    if not match:
        raise ValueError("a fragment" if _ABSOLUTE.match(target.partition("#")[0]) else "no scheme")
    scheme, authority, path = match.groups()
    return scheme.lower(), authority, path if path.startswith("/") else "/" + path


def is_address(host: str) -> bool:
    """Is this host an IPv4 or IPv6 address rather than a name?"""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def join_host_port(host: str, port: int, scheme: str = "") -> str:
    """ "host:port" with brackets around an IPv6 address; the port is left out where it is the scheme's default."""
    name = f"[{host}]" if ":" in host else host
    return name if DEFAULT_PORTS.get(scheme) == port else f"{name}:{port}"


def unparse(scheme: str, authority: str, path: str) -> str:
    """A URL from its parts; the port is left out where it is the scheme's default, or empty.

    The path "*" (RFC 9112 section 3.2.4) is of the server as a whole: its URL has none. Any other begins with a slash
    (RFC 3986 section 3.3).
    """
    host, colon, port = authority.rpartition(":")
    is_default = port in ("", str(DEFAULT_PORTS.get(scheme, "")))
    if colon and is_default and (":" not in host or host.endswith("]")):
        authority = host
    if path == "*":
        path = ""
    elif path and not path.startswith("/"):
        path = f"/{path}"
    return f"{scheme}://{authority}{path}"
