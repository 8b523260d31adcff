"""Frames cut out of the bytes (RFC 9113 section 4), and a limit on those that get nobody anywhere.

Every frame is looked at here before h2 sees it, because most attacks on HTTP/2 are ordinary frames in extraordinary
numbers: PING, SETTINGS, PRIORITY, empty DATA (CVE-2019-9512 to 9518), CONTINUATION without end (CVE-2024-24549 and its
likes), streams that are reset as soon as they are open, by the peer (CVE-2023-44487) or by us for a fault that the peer
makes on purpose (CVE-2025-8671). A peer has an allowance of such frames. Time refills it, so that the keep-alive PINGs
of a quiet day do no harm, and so does work that gets done: who moves a lot of data sends a lot of WINDOW_UPDATE.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from ..events import GoAway
from ..head import PREFACE
from .codes import Code, Http2Error

HEADER_SIZE = 9
# The smallest that may be set, and what all peers use by default: larger frames only let one stream hold up the others.
MAX_FRAME_SIZE = 16384

# nghttp2 has the same for resets, and for all it calls glitches.
BURST = 1000
PER_SECOND = 33

# 16 full CONTINUATION frames hold four times the fields that are accepted by default; h2 would take 64.
MAX_CONTINUATIONS = 32

_HEADER = Struct(">HBBBL")
_GOAWAY = Struct(">LL")
_STREAM_ID = 0x7FFFFFFF

# What h2 is told of a peer's settings: the rest it would keep, and there could be 65,536 of them. That peers allow
# only so many streams is not for h2, which would not send what was let through before. 8 is of RFC 8441 section 3.
_MAX_STREAMS = b"\0\3"
_SETTINGS = frozenset(bytes([0, number]) for number in (1, 2, 4, 5, 6, 8))


class Kind(IntEnum):
    """The types of frames; others are ignored (RFC 9113 section 5.5)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4


class Frame(NamedTuple):
    """One frame; `whole` is all its bytes with the header."""

    kind: int
    flags: int
    stream_id: int
    whole: bytes

    @property
    def payload(self) -> bytes:
        """What is behind the header."""
        return self.whole[HEADER_SIZE:]


def frame(kind: Kind, flags: int, stream_id: int, payload: bytes) -> bytes:
    """A frame as bytes."""
    size = len(payload)
    return _HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def write_goaway(last: int, code: int, text: bytes) -> bytes:
    """A GOAWAY; streams above `last` were not processed."""
    return frame(Kind.GOAWAY, 0, 0, _GOAWAY.pack(last, code) + text)


def read_goaway(found: Frame) -> GoAway:
    """What a GOAWAY says. Raises Http2Error."""
    if found.stream_id:
        raise Http2Error(Code.PROTOCOL_ERROR, "sent a GOAWAY for a stream")
    if len(found.payload) < _GOAWAY.size:
        raise Http2Error(Code.FRAME_SIZE_ERROR, "sent a GOAWAY of a wrong size")
    last, code = _GOAWAY.unpack_from(found.payload)
    return GoAway(last & _STREAM_ID, code, found.payload[_GOAWAY.size :])


def check_priority(found: Frame) -> None:
    """Nothing else is made of it (RFC 9113 section 5.3.2). Raises Http2Error."""
    if not found.stream_id:
        raise Http2Error(Code.PROTOCOL_ERROR, "sent PRIORITY for no stream")
    if len(found.payload) != 5:
        raise Http2Error(Code.FRAME_SIZE_ERROR, "sent a PRIORITY of a wrong size")


def split_settings(found: Frame) -> tuple[bytes, int | None]:
    """A SETTINGS as h2 is to see it, and how many streams the peer allows, None where it does not say."""
    payload = found.payload
    if not payload or len(payload) % 6 or found.flags & ACK:
        return found.whole, None
    entries = [payload[at : at + 6] for at in range(0, len(payload), 6)]
    allowed = [int.from_bytes(entry[2:]) for entry in entries if entry[:2] == _MAX_STREAMS]
    known = b"".join(entry for entry in entries if entry[:2] in _SETTINGS)
    return frame(Kind.SETTINGS, found.flags, found.stream_id, known), allowed[-1] if allowed else None


class Cutter:
    """Cuts the bytes of a peer into frames, and keeps those of a field block together (RFC 9113 section 4.3)."""

    def __init__(self, *, with_preface: bool, max_block: int) -> None:
        self._buffer = b""
        self._at = 0
        self._preface = PREFACE if with_preface else b""
        self._max_block = max_block
        self._block_stream = 0
        self._block_size = 0
        self._continuations = 0

    def feed(self, data: bytes) -> None:
        """Add bytes. What was not cut yet is at most one frame, or what comes behind a fault."""
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def next(self) -> Frame | None:
        """The next frame, None if that is not all here. Raises Http2Error."""
        if self._preface and not self._skip_preface():
            return None
        data, at = self._buffer, self._at
        if len(data) - at < HEADER_SIZE:
            return None
        high, low, kind, flags, stream_id = _HEADER.unpack_from(data, at)
        end = at + HEADER_SIZE + (high << 8 | low)
        if end - at - HEADER_SIZE > MAX_FRAME_SIZE:
            raise Http2Error(Code.FRAME_SIZE_ERROR, f"sent a frame of more than {MAX_FRAME_SIZE} bytes")
        if len(data) < end:
            return None
        self._at = end
        found = Frame(kind, flags, stream_id & _STREAM_ID, data[at:end])
        if self._block_stream or kind in _OF_BLOCKS:
            self._check_block(found)
        return found

    @property
    def inside(self) -> bool:
        """Is there the beginning of a frame, or of a field block?"""
        return self._at < len(self._buffer) or self._block_stream > 0

    def _skip_preface(self) -> bool:
        if not self._buffer.startswith(self._preface):
            if not self._preface.startswith(self._buffer):
                raise Http2Error(Code.PROTOCOL_ERROR, "did not begin with HTTP/2's preface")
            return False
        self._at, self._preface = len(self._preface), b""
        return True

    def _check_block(self, found: Frame) -> None:
        if self._block_stream:
            if found.kind != Kind.CONTINUATION or found.stream_id != self._block_stream:
                raise Http2Error(Code.PROTOCOL_ERROR, "sent another frame inside a field block")
            self._continuations += 1
        elif found.kind == Kind.CONTINUATION:
            raise Http2Error(Code.PROTOCOL_ERROR, "sent a CONTINUATION without a field block")
        else:
            self._block_stream, self._block_size, self._continuations = found.stream_id, 0, 0
        self._block_size += len(found.whole) - HEADER_SIZE
        if self._block_size > self._max_block or self._continuations > MAX_CONTINUATIONS:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, "sent a field block without end")
        if found.flags & END_HEADERS:
            self._block_stream = 0


_OF_BLOCKS = frozenset({Kind.HEADERS, Kind.CONTINUATION})


class Allowance:
    """How much of something a peer may still do; a token bucket."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._left = float(BURST)
        self._since: float | None = None

    def spend(self, now: float) -> None:
        """Raises Http2Error when there is nothing left."""
        if self._since is None:
            self._since = now
        if self._left < 1:
            self.earn(max(now - self._since, 0) * PER_SECOND)
            self._since = now
        self._left -= 1
        if self._left < 0:
            raise Http2Error(Code.ENHANCE_YOUR_CALM, f"sent too many {self._what}")

    def earn(self, amount: float) -> None:
        """Something useful was done, or time has passed."""
        self._left = min(self._left + amount, BURST)
