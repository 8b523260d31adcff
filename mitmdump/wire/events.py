"""The one vocabulary between the HTTP versions and everything else.

The same events come out of `receive` and go into `send`, in both roles, as in h11. `stream_id` tells apart the
exchanges of one connection; in HTTP/1 it is always 1. Names, values and targets are bytes as on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from ..errors import RemoteError
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


class Survey:
    """What a head's fields say of where the message goes and where it ends, found in one pass over them.

    `values` are those of the DECISIVE fields that are here, by lower-case name; `options` is what Connection lists, in
    lower case (RFC 9110 section 7.6.1), and `closes`: "close" is one of them.

    Heads that say the same word for word share a survey. So what others have found out is kept here, too: `announced`,
    what the fields say of the body (`head`); `host`, the Host that was found good (`target`), "" before that; `passed`,
    what goes on to the next hop (`hop`); and `lines`, the fields as they are written (`head`).
    """

    __slots__ = ("announced", "closes", "fields", "host", "lines", "options", "passed", "values")

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        self.values: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            lower = name.lower()
            if lower in DECISIVE:
                self.values.setdefault(lower, []).append(value)
        listed = self.values.get(b"connection")
        self.options = _options(b",".join(listed)) if listed else _NO_OPTIONS
        self.closes = b"close" in self.options
        self.announced: int | None = None
        self.host = ""
        self.passed: Survey | None = None
        self.lines: bytes | None = None


def _options(listed: bytes) -> frozenset[bytes]:
    return frozenset([option.strip(b" \t").lower() for option in listed.split(b",")]) - _NO_OPTION


_NO_OPTION = frozenset({b""})
_NO_OPTIONS: frozenset[bytes] = frozenset()

# The events of every exchange have an __init__ of their own: one that is generated stays interpreted where the rest is
# machine code, and takes ten times as long.


@dataclass(init=False)
class Head:
    """What request and response heads share.

    `framing` is what body follows (see `head`); None: what the fields say, which the codec finds out. `known` is the
    survey, as soon as somebody has asked for it; from then on the fields are not to be changed. `block` is what was
    parsed, where that is remembered: such a head is not to be changed at all, but copied (`again`).
    """

    fields: list[Field]
    version: bytes
    stream_id: int
    framing: int | None
    known: Survey | None = field(repr=False, compare=False)
    block: bytes = field(repr=False, compare=False)

    def survey(self) -> Survey:
        """What the fields say."""
        known = self.known
        if known is None:
            known = self.known = Survey(self.fields)
        return known


@dataclass(init=False)
class RequestHead(Head):
    """A request line and its header fields.

    In HTTP/2 (version b"HTTP/2") the target is :path, or of a plain CONNECT the authority; `scheme` and `authority` are
    what HTTP/1 has in its target or not at all; `protocol` is what an extended CONNECT wants to speak (RFC 8441).
    """

    method: bytes
    target: bytes
    scheme: bytes
    authority: bytes
    protocol: bytes

    def __init__(
        self,
        method: bytes,
        target: bytes,
        fields: list[Field],
        version: bytes = b"HTTP/1.1",
        stream_id: int = 1,
        framing: int | None = None,
        scheme: bytes = b"",
        authority: bytes = b"",
        protocol: bytes = b"",
    ) -> None:
        self.method = method
        self.target = target
        self.fields = fields
        self.version = version
        self.stream_id = stream_id
        self.framing = framing
        self.scheme = scheme
        self.authority = authority
        self.protocol = protocol
        self.known = None
        self.block = b""

    def again(self, stream_id: int = 1) -> RequestHead:
        """The same head once more, with a list of fields of its own."""
        copy = RequestHead(
            self.method,
            self.target,
            self.fields.copy(),
            self.version,
            stream_id,
            self.framing,
            self.scheme,
            self.authority,
            self.protocol,
        )
        copy.known = self.survey()
        return copy


@dataclass(init=False)
class ResponseHead(Head):
    """A status line and its header fields; a status of 1xx (but 101) is not final, another head follows.

    `is_final`: this is the answer itself. 101 is: nothing else of HTTP follows (RFC 9110 section 15.2.2).
    """

    status: int
    reason: bytes
    is_final: bool = field(repr=False, compare=False)

    def __init__(
        self,
        status: int,
        fields: list[Field],
        reason: bytes = b"",
        version: bytes = b"HTTP/1.1",
        stream_id: int = 1,
        framing: int | None = None,
    ) -> None:
        self.status = status
        self.fields = fields
        self.reason = reason
        self.version = version
        self.stream_id = stream_id
        self.framing = framing
        self.known = None
        self.block = b""
        self.is_final = status >= 200 or status == 101

    def again(self, stream_id: int = 1) -> ResponseHead:
        """The same head once more, with a list of fields of its own, but without its framing."""
        copy = ResponseHead(self.status, self.fields.copy(), self.reason, self.version, stream_id)
        copy.known = self.survey()
        return copy


@dataclass(init=False)
class Data:
    """A piece of a body; its borders mean nothing."""

    data: bytes
    stream_id: int

    def __init__(self, data: bytes, stream_id: int = 1) -> None:
        self.data = data
        self.stream_id = stream_id


@dataclass(init=False)
class End:
    """The message is complete; `trailers` are the fields that came after a chunked body. Not to be changed."""

    trailers: list[Field] | None
    stream_id: int

    def __init__(self, trailers: list[Field] | None = None, stream_id: int = 1) -> None:
        self.trailers = trailers
        self.stream_id = stream_id


@dataclass
class Reset:
    """A stream of HTTP/2 ended before its time: nothing more comes of it, and nothing more can be sent.

    `code` is one of RFC 9113 section 7. `error` is what the peer did wrong where we ended it for that, None where the
    peer ended it. `unprocessed`: it surely did nothing with the request, which can be sent again (RFC 9113 section
    8.7).
    """

    code: int
    stream_id: int
    error: RemoteError | None = None
    unprocessed: bool = False


@dataclass
class GoAway:
    """The peer of an HTTP/2 connection takes no more streams; those up to `last_stream_id` go on.

    Each of ours above that has its Reset, too. `code` is one of RFC 9113 section 7, `text` the peer's explanation.
    """

    last_stream_id: int
    code: int
    text: bytes = b""


Event = RequestHead | ResponseHead | Data | End
StreamEvent = Event | Reset | GoAway
