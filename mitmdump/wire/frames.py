"""WebSocket frames taken apart (RFC 6455 section 5.2).

     first byte            second byte
    | FIN | RSV1-3 | opcode | MASK | length | longer length: 2 or 8 bytes | key: 4 bytes, if masked | payload |

A payload is handed out as it comes, unmasked, so a frame of any length needs no memory; only that of a control frame,
which has at most 125 bytes, is waited for. What frames mean together is the matter of `websocket`.
"""

from __future__ import annotations

from typing import NamedTuple

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_KNOWN = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})

# Masks of the first byte and of the second. RSV1 marks what is compressed (RFC 7692 section 6).
_FIN, _RSV, _RSV1, _OPCODE = 0x80, 0x70, 0x40, 0x0F
_MASK, _LENGTH = 0x80, 0x7F
_CONTROL = 0x08

# How many bytes a longer length has, and from what on it is one: fewer must not be said in so many.
_LONGER = {126: (2, 126), 127: (8, 1 << 16)}
_LONGEST_CONTROL = 125
_TOO_LONG = 1 << 63

PROTOCOL_ERROR = 1002


class FrameError(Exception):
    """A peer broke a rule; `code` is that for a close frame (RFC 6455 section 7.4.1)."""

    def __init__(self, message: str, code: int = PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class Piece(NamedTuple):
    """What has come of a frame, unmasked. Does the frame end with it, and the message with the frame?"""

    opcode: int
    is_compressed: bool
    data: bytes
    ends_frame: bool
    ends_message: bool


class FrameReader:
    """Takes the frames of one peer apart. `is_masked`: its frames are, because it is a client (section 5.3).

    `takes_compressed`: the first frames of messages may say that they are compressed.
    """

    __slots__ = ("_at", "_buffer", "_first", "_is_masked", "_key", "_left", "_takes_compressed")

    def __init__(self, *, is_masked: bool, takes_compressed: bool) -> None:
        self._is_masked = is_masked
        self._takes_compressed = takes_compressed
        self._buffer = b""
        self._at = 0
        # The frame that is under way: its first byte, what is left of it, and the key for that.
        self._first = -1
        self._left = 0
        self._key = b""

    @property
    def unread(self) -> int:
        """So many bytes have come of what is not complete enough to be handed out."""
        return len(self._buffer) - self._at

    def receive(self, data: bytes) -> None:
        """Bytes have come."""
        self._buffer = self._buffer[self._at :] + data if self.unread else data
        self._at = 0

    def read(self) -> Piece | None:
        """The next piece, None: more bytes are needed. Raises FrameError."""
        if self._first < 0 and not self._begin():
            return None
        first, size, start = self._first, self._left, self._at
        if size > self.unread:
            if first & _CONTROL or not self.unread:
                return None
            size = self.unread
        self._at += size
        self._left -= size
        data = self._buffer[start : self._at]
        if self._is_masked:
            data = _masked(data, self._key)
        if not self._left:
            self._first = -1
        elif turned := size % 4:
            self._key = self._key[turned:] + self._key[:turned]
        return Piece(first & _OPCODE, bool(first & _RSV1), data, not self._left, bool(first & _FIN))

    def _begin(self) -> bool:
        """Read a header, if all of it has come. Raises FrameError."""
        buffer, start = self._buffer, self._at
        if len(buffer) < start + 2:
            return False
        first, size = buffer[start], buffer[start + 1] & _LENGTH
        self._check(first, buffer[start + 1])
        end = start + 2
        if size in _LONGER:
            count, least = _LONGER[size]
            end += count
            if len(buffer) < end:
                return False
            size = int.from_bytes(buffer[start + 2 : end])
            if not least <= size < _TOO_LONG:
                raise FrameError(f"a length of {size} in {count} bytes")
        if self._is_masked:
            end += 4
            if len(buffer) < end:
                return False
            self._key = buffer[end - 4 : end]
        self._first, self._left, self._at = first, size, end
        return True

    def _check(self, first: int, second: int) -> None:
        opcode = first & _OPCODE
        if opcode not in _KNOWN:
            raise FrameError(f"a frame with the unknown opcode {opcode}")
        may_be_compressed = self._takes_compressed and opcode in (TEXT, BINARY)
        if first & _RSV & ~(_RSV1 if may_be_compressed else 0):
            raise FrameError("a frame with a reserved bit")
        if first & _CONTROL and (not first & _FIN or second & _LENGTH > _LONGEST_CONTROL):
            raise FrameError(f"a control frame that is a fragment, or longer than {_LONGEST_CONTROL} bytes")
        if bool(second & _MASK) is not self._is_masked:
            raise FrameError(f"a frame that is {'not ' * self._is_masked}masked")


def _masked(data: bytes, key: bytes) -> bytes:
    """Data under a key, or out from under it (section 5.3)."""
    size = len(data)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(keys)).to_bytes(size)
