"""The peer of an HTTP/2 codec in tests: it writes frames, right ones and wrong ones, and reads what came back.

It knows nothing of ours: frames are put together and taken apart here, field blocks by hpack, without its table, so
that every piece stands for itself.
"""

from __future__ import annotations

from typing import NamedTuple

import hpack

from mitmdump.errors import RemoteError
from mitmdump.wire.events import Data, End, RequestHead, Role
from mitmdump.wire.http2 import Http2, Limits

Fields = list[tuple[bytes, bytes]]

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8

GET: Fields = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.test"), (b":path", b"/")]
POST: Fields = [(b":method", b"POST"), *GET[1:]]
OK: Fields = [(b":status", b"200")]


class Frame(NamedTuple):
    """A frame that the codec has written."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """Any frame."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream_id.to_bytes(4) + payload


def block(fields: Fields) -> bytes:
    """A field block that needs no table, and leaves none behind."""
    return hpack.Encoder().encode([(name, value, True) for name, value in fields])


def headers(stream_id: int, fields: Fields, *, ends: bool = False) -> bytes:
    """A head, or trailers, in one frame."""
    return frame(HEADERS, END_HEADERS | ends, stream_id, block(fields))


def data(stream_id: int, body: bytes, *, ends: bool = False) -> bytes:
    """A piece of a body."""
    return frame(DATA, int(ends), stream_id, body)


def settings(**values: int) -> bytes:
    """SETTINGS, of the names that RFC 9113 gives them."""
    names = ["header_table_size", "enable_push", "max_concurrent_streams", "initial_window_size", "max_frame_size"]
    entries = [(names.index(name) + 1).to_bytes(2) + value.to_bytes(4) for name, value in values.items()]
    return frame(SETTINGS, payload=b"".join(entries))


def window(stream_id: int, size: int) -> bytes:
    """Room for so many bytes more."""
    return frame(WINDOW_UPDATE, 0, stream_id, size.to_bytes(4))


def reset(stream_id: int, code: int) -> bytes:
    """The end of a stream."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4))


def goaway(last: int, code: int = 0, text: bytes = b"") -> bytes:
    """The end of a connection."""
    return frame(GOAWAY, 0, 0, last.to_bytes(4) + code.to_bytes(4) + text)


def opening(role: Role, **values: int) -> bytes:
    """How the peer of a codec with this role begins."""
    return (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if role is Role.SERVER else b"") + settings(**values)


def request(stream_id: int, method: bytes = b"GET", fields: Fields | None = None) -> RequestHead:
    """A request of ours."""
    return RequestHead(method, b"/", fields or [], b"HTTP/2", stream_id, scheme=b"https", authority=b"a.test")


def make_codec(role: Role, method: bytes = b"GET", limits: Limits | None = None, requests: int = 2) -> Http2:
    """A codec that has written its beginning; as a client it has asked on streams 1, 3 and so on."""
    codec = Http2(role, limits)
    for stream_id in range(1, 2 * requests, 2) if role is Role.CLIENT else ():
        codec.send(request(stream_id, method))
        codec.send(End(None, stream_id))
    codec.take()
    return codec


def opened(role: Role, limits: Limits | None = None, **values: int) -> Http2:
    """A codec whose peer has begun, too."""
    codec = make_codec(role, limits=limits)
    codec.receive(opening(role, **values))
    codec.take()
    return codec


def read(codec: Http2, *pieces: bytes) -> list[object]:
    """What comes of these bytes: events, neighbouring pieces of a body joined, and last the text of an error."""
    outcome: list[object] = []
    try:
        for piece in pieces:
            outcome += codec.receive(piece)
            if codec.has_rest:
                codec.receive(b"")
    except RemoteError as error:
        outcome.append(str(error))
    return _join(outcome)


def frames(written: bytes) -> list[Frame]:
    """What the codec has written, frame by frame."""
    found = []
    while written:
        end = 9 + int.from_bytes(written[:3])
        found.append(Frame(written[3], written[4], int.from_bytes(written[5:9]), written[9:end]))
        written = written[end:]
    return found


def told(codec: Http2, kind: int) -> list[Frame]:
    """The frames of one kind among those that are to be written."""
    return [found for found in frames(codec.take()) if found.kind == kind]


def _join(outcome: list[object]) -> list[object]:
    joined: list[object] = []
    for event in outcome:
        last = joined[-1] if joined else None
        if isinstance(event, Data) and isinstance(last, Data) and event.stream_id == last.stream_id:
            joined[-1] = Data(last.data + event.data, event.stream_id)
        else:
            joined.append(event)
    return joined
