"""The one vocabulary between the HTTP versions and everything else.

The same events come out of `receive` and go into `send`, in both roles, as in h11. `stream_id` tells apart the
exchanges of one connection; in HTTP/1 it is always 1. Names, values and targets are bytes as on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache

from ..model.headers import Field


class Role(Enum):
    """Which end of a connection a codec plays."""

    CLIENT = "client"
    SERVER = "server"


# The fields that decide what becomes of a message: where it goes, where it ends, and what of it goes on.
DECISIVE = frozenset(
    {
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"http2-settings",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)


class _Fields:
    """What request and response heads share: looking at their fields."""

    __slots__ = ()
    fields: list[Field]
    _decisive: dict[bytes, list[bytes]] | None

    @property
    def decisive(self) -> dict[bytes, list[bytes]]:
        """The values of the DECISIVE fields that are here, by lower-case name.

        Found in one pass over the fields, once, because each of a dozen rules asks for one or two of them.
        """
        found = self._decisive
        if found is None:
            self._decisive = found = {}  # type: ignore[misc]  # the slot is in the classes below
            for name, value in self.fields:
                lower = name.lower()
                if lower in DECISIVE:
                    found.setdefault(lower, []).append(value)
        return found

    @decisive.setter
    def decisive(self, found: dict[bytes, list[bytes]]) -> None:
        self._decisive = found  # type: ignore[misc]

    def options(self) -> frozenset[bytes]:
        """What Connection lists, in lower case (RFC 9110 section 7.6.1)."""
        listed = b",".join(self.decisive.get(b"connection", ()))
        return _usual_options(listed) if len(listed) < _USUAL_SIZE else _options(listed)


def _options(listed: bytes) -> frozenset[bytes]:
    return frozenset(option.strip(b" \t").lower() for option in listed.split(b",")) - {b""}


# "keep-alive" or "close", mostly, so they are remembered; what is longer could fill the memory.
_USUAL_SIZE = 64
_usual_options = lru_cache(maxsize=64)(_options)


@dataclass(slots=True)
class RequestHead(_Fields):
    """A request line and its header fields.

    `framing` is what body follows (see `head`); None: what the fields say, which the codec finds out.
    """

    method: bytes
    target: bytes
    fields: list[Field]
    version: bytes = b"HTTP/1.1"
    stream_id: int = 1
    framing: int | None = None
    _decisive: dict[bytes, list[bytes]] | None = field(default=None, init=False, repr=False, compare=False)


@dataclass(slots=True)
class ResponseHead(_Fields):
    """A status line and its header fields; a status of 1xx (but 101) is not final, another head follows.

    `framing` as in a request.
    """

    status: int
    fields: list[Field]
    reason: bytes = b""
    version: bytes = b"HTTP/1.1"
    stream_id: int = 1
    framing: int | None = None
    _decisive: dict[bytes, list[bytes]] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def is_final(self) -> bool:
        """Is this the answer itself? 101 is: nothing else of HTTP follows (RFC 9110 section 15.2.2)."""
        return self.status >= 200 or self.status == 101


@dataclass(slots=True)
class Data:
    """A piece of a body; its borders mean nothing."""

    data: bytes
    stream_id: int = 1


@dataclass(slots=True)
class End:
    """The message is complete; `trailers` are the fields that came after a chunked body."""

    trailers: list[Field] | None = None
    stream_id: int = 1


Event = RequestHead | ResponseHead | Data | End
