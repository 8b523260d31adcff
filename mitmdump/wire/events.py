"""The one vocabulary between the HTTP versions and everything else.

The same events come out of `receive` and go into `send`, in both roles, as in h11. `stream_id` tells apart the
exchanges of one connection; in HTTP/1 it is always 1. Names, values and targets are bytes as on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ..model.headers import Field


class Role(Enum):
    """Which end of a connection a codec plays."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(slots=True)
class RequestHead:
    """A request line and its header fields."""

    method: bytes
    target: bytes
    fields: list[Field]
    version: bytes = b"HTTP/1.1"
    stream_id: int = 1


@dataclass(slots=True)
class ResponseHead:
    """A status line and its header fields; a status of 1xx (but 101) is not final, another head follows."""

    status: int
    fields: list[Field]
    reason: bytes = b""
    version: bytes = b"HTTP/1.1"
    stream_id: int = 1

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
