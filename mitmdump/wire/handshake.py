"""What the handshake of a WebSocket agrees on (RFC 6455 section 4, RFC 7692 section 7).

A proxy that reads along must understand every extension that the two ends agree on, so what it does not understand is
taken out of the client's offer. The rest goes on as it is, and so does the server's answer: both ends have agreed with
each other, and what one has compressed the other can read without our help.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from typing import Any

from ..model.headers import Field

_EXTENSIONS = b"sec-websocket-extensions"
_NAME = b"permessage-deflate"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# RFC 7692 section 7.1.
_PARAMETER = re.compile(
    rb"((?:client|server)_no_context_takeover)|"
    rb"""((?:client|server)_max_window_bits)(?:[ \t]*=[ \t]*("?)([89]|1[0-5])\3)?"""
)


@dataclass(frozen=True)
class Deflate:
    """The parameters of permessage-deflate that a server has chosen (RFC 7692 section 7.1)."""

    client_no_context_takeover: bool = False
    server_no_context_takeover: bool = False
    client_max_window_bits: int = 15
    server_max_window_bits: int = 15


def grants_websocket(asked: Iterable[Field], granted: Iterable[Field]) -> bool:
    """Do the fields of a request and of its response with status 101 open a WebSocket that we can read?"""
    if _values(asked, b"sec-websocket-version") != [b"13"] or _values(granted, b"upgrade") != [b"websocket"]:
        return False
    try:
        agreed(granted)
    except ValueError:
        return False
    return True


def accept_of(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (RFC 6455 section 4.2.2)."""
    return b64encode(sha1(key + _GUID, usedforsecurity=False).digest())


def with_known_extensions(fields: Iterable[Field]) -> list[Field]:
    """The fields of a request, with those offers of extensions only that we understand."""
    kept: list[Field] = []
    for name, value in fields:
        if name.lower() != _EXTENSIONS:
            kept.append((name, value))
            continue
        offers = value.split(b",")
        known = [offer for offer in offers if _parameters(offer) is not None]
        if known:
            kept.append((name, value if len(known) == len(offers) else b",".join(known).strip(b" \t")))
    return kept


def agreed(fields: Iterable[Field]) -> Deflate | None:
    """The compression that the fields of a response agree on, None for no extension at all.

    Raises ValueError for what we do not understand, or nobody may answer.
    """
    values = [value for name, value in fields if name.lower() == _EXTENSIONS]
    extensions = [extension for extension in b",".join(values).split(b",") if extension.strip(b" \t")]
    if not extensions:
        return None
    parameters = _parameters(extensions[0])
    if len(extensions) > 1 or parameters is None or None in parameters.values():
        raise ValueError(f"unknown WebSocket extensions {b', '.join(values)[:80]!a}")
    return Deflate(**parameters)


def _parameters(extension: bytes) -> dict[str, Any] | None:
    """The parameters of an offer or an answer; None where it is not one of permessage-deflate that makes sense.

    A number that an offer leaves to the server is None.
    """
    name, *parts = (part.strip(b" \t") for part in extension.split(b";"))
    if name.lower() != _NAME:
        return None
    found: dict[str, Any] = {}
    for part in parts:
        match = _PARAMETER.fullmatch(part)
        if match is None:
            return None
        flag, numbered, _, bits = match.groups()
        key = (flag or numbered).decode()
        if key in found or (key == "server_max_window_bits" and bits is None):
            return None
        found[key] = True if flag else int(bits) if bits else None
    return found


def _values(fields: Iterable[Field], lower_name: bytes) -> list[bytes]:
    """The values of all fields of this name, in lower case."""
    return [value.strip(b" \t").lower() for name, value in fields if name.lower() == lower_name]
