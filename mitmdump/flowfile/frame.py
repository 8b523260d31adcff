"""Frames: the outermost layer of a flow file, a plain stream of msgpack ext 32 objects.

    0xC9 | length: u32 big-endian | type: i8 | crc: u32 big-endian | content

`length` counts crc and content; `crc` is CRC-32 (zlib) of the type byte and the content; `content` is msgpack. Always
ext 32, never the shorter forms, so that a frame can be found again: where no whole frame stands, `Frames` searches
for the next 0xC9 with a known type, a plausible length and a correct crc, and tells what it had to skip.

Files are hostile. No number read from one is ever the size of an allocation: a frame is gathered in bounded reads and
lies in memory only as far as its bytes exist. Nor may checksums that fail cost more than a multiple of the file: a
length can claim 64 MiB at every sixth byte, which is why work done in vain has a budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, NamedTuple

from zlib_ng.zlib_ng import crc32  # zlib's own, with the processor's instructions for it: five to twenty times as fast

from ..errors import OutputError

MARK: Final = 0xC9
HEADER: Final = Struct(">BIbI")

SECTION: Final = 0
CONNECTION: Final = 1
FLOW: Final = 2
BODY: Final = 3
MESSAGE: Final = 4
END: Final = 5

# A reader holds one frame in memory at a time, so its size needs an end. Our writer cuts bodies and messages into
# pieces of 1 MiB; what can be larger is header fields, certificates and metadata, and this is far more than any proxy
# lets through (pcapng readers draw their line at 16 MiB, mitmproxy's at 1 TB and have paid for it).
MAX_CONTENT: Final = 64 * 1024 * 1024

# A read of this size is served from memory that has been used before; larger ones take the system's, page by page.
_CHUNK = 64 * 1024
_CRC_SIZE: Final = 4
_HEADER_SIZE = HEADER.size
_BEFORE_LENGTH_COUNTS = _HEADER_SIZE - _CRC_SIZE
_pack_header: Final = HEADER.pack
_unpack_header: Final = HEADER.unpack_from
_SEEDS: Final = {code: crc32(code.to_bytes(1, "big", signed=True)) for code in range(-128, 128)}

# With what a known frame's content begins: a map, or an array of three or five. Makes a false find rarer still.
_MAPS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))
_FIRST_BYTES = {SECTION: _MAPS, CONNECTION: _MAPS, FLOW: _MAPS, BODY: {0x93}, MESSAGE: {0x95}, END: _MAPS}

# Bytes that may be checksummed in vain: at first, and for each byte of the input. Ordinary damage costs a fraction.
_VAIN = 4 * MAX_CONTENT
_VAIN_PER_BYTE = 64


def encode(code: int, content: bytes) -> bytes:
    """One frame of this type. Raises OutputError for content above MAX_CONTENT, which no reader would take."""
    size = len(content)
    if size > MAX_CONTENT:
        raise OutputError(
            f"a record of {size} bytes cannot be written: a flow file takes at most {MAX_CONTENT} bytes besides bodies"
            " and messages. Does a script keep too much in the metadata of a flow?"
        )
    return _pack_header(MARK, size + _CRC_SIZE, code, crc32(content, _SEEDS[code])) + content


def encode_apart(code: int, front: bytes, data: bytes) -> tuple[bytes, bytes]:
    """One frame whose content is `front` and `data`, in two parts: to copy a large `data` costs more than all else.

    Both together are known to fit.
    """
    crc = crc32(data, crc32(front, _SEEDS[code]))
    return _pack_header(MARK, len(front) + len(data) + _CRC_SIZE, code, crc) + front, data


def code_of(whole: bytes) -> int:
    """The type of a whole frame."""
    return int.from_bytes(whole[5:6], "big", signed=True)


class Frame(NamedTuple):
    """One whole frame; `offset` is where its content begins in the input."""

    code: int
    content: bytes
    offset: int


class Frames:
    """The frames of an input, in order, whatever else stands between them.

    `read(n)` gives at most n bytes, none only at the end. `damaged(offset, size, reason)` is told of each stretch of
    bytes that no frame was found in. `offset` is where in the input the first byte from `read` stands.

    Where `unwanted` says of a stretch of the input that nobody wants a flow in it, the FLOW frames there that
    `pass_over` takes are left out, once they are found to be sound.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        damaged: Callable[[int, int, str], None],
        offset: int = 0,
        *,
        unwanted: Callable[[bytes], bool] | None = None,
        pass_over: Callable[[bytes], bool] = lambda _: False,
    ) -> None:
        self._read = read
        self._damaged = damaged
        self._unwanted = unwanted
        self._pass_over = pass_over
        self._skips: bool | None = None  # is the rest of the buffer unwanted? None: nobody has asked
        self._buffer = b""
        self._at = 0  # where in the buffer the next frame should begin
        self._base = offset  # where in the input the buffer begins
        self._ended = False
        self._vain = 0

    def __iter__(self) -> Iterator[Frame]:
        while self._have(1):
            yield from self._sound()
            if not self._have(1):
                return
            found = self._frame(0)
            if isinstance(found, str):
                self._resynchronise(found)
                continue
            self._at += HEADER.size + len(found.content)
            yield found

    def _sound(self) -> Iterator[Frame]:
        """The frames that lie whole in the buffer, up to the first with any fault: nearly all frames, at little cost.

        `_frame` meets the fault again and says what it is, so the budget counts half of what it costs.
        """
        at, base, buffer, size = self._at, self._base, self._buffer, len(self._buffer)
        skips, pass_over = self._skips_rest(), self._pass_over
        while at + _HEADER_SIZE <= size:
            mark, length, code, crc = _unpack_header(buffer, at)
            start, end = at + _HEADER_SIZE, at + _BEFORE_LENGTH_COUNTS + length
            if mark != MARK or end > size or not _CRC_SIZE <= length <= MAX_CONTENT + _CRC_SIZE:
                return
            content = buffer[start:end]
            if crc32(content, _SEEDS[code]) != crc:
                return
            at = self._at = end
            if not (skips and code == FLOW and pass_over(content)):
                yield Frame(code, content, base + start)

    def _skips_rest(self) -> bool:
        """Is nothing wanted of what is in the buffer? Asked once for all frames in it: they are small, and many."""
        if self._skips is None:
            self._skips = self._unwanted is not None and self._unwanted(self._buffer[self._at :])
        return self._skips

    def _have(self, size: int) -> bool:
        """Are there `size` bytes from here on? Reads on, a bounded piece at a time, until that is known."""
        missing = size - (len(self._buffer) - self._at)
        if missing <= 0 or self._ended:
            return missing <= 0
        pieces = [self._buffer[self._at :]]
        while missing > 0 and not self._ended:
            piece = self._read(_CHUNK)
            pieces.append(piece)
            missing -= len(piece)
            self._ended = not piece
        self._base += self._at
        self._at = 0
        self._buffer = b"".join(pieces)
        self._skips = None
        return missing <= 0

    def _frame(self, ahead: int) -> Frame | str:
        """The frame that begins `ahead` bytes from here, or why there is none."""
        there = len(self._buffer) - self._at - ahead
        if there < HEADER.size and not self._have(ahead + HEADER.size):
            return "the file ends inside a frame"
        mark, length, code, crc = HEADER.unpack_from(self._buffer, self._at + ahead)
        if mark != MARK:
            return "no frame begins here"
        if not _CRC_SIZE <= length <= MAX_CONTENT + _CRC_SIZE:
            return "a frame of impossible length"
        if there < _BEFORE_LENGTH_COUNTS + length and not self._have(ahead + _BEFORE_LENGTH_COUNTS + length):
            return "the file ends inside a frame"
        start = self._at + ahead + HEADER.size
        if self._vain + length > _VAIN + _VAIN_PER_BYTE * (self._base + start):
            return "too many frames with a wrong checksum"
        content = self._buffer[start : start + length - _CRC_SIZE]
        if crc32(content, _SEEDS[code]) != crc:
            self._vain += length
            return "a frame with a wrong checksum"
        return Frame(code, content, self._base + start)

    def _resynchronise(self, reason: str) -> None:
        """Skip to where the next whole frame begins, or to the end, and report it."""
        start = self._base + self._at
        if not self._skip_claimed():
            self._search()
        self._damaged(start, self._base + self._at - start, reason)

    def _skip_claimed(self) -> bool:
        """Skip the broken frame by its own length, if a frame follows there.

        Most damage is inside a content, and a content may hold frames (of a flow file that somebody downloaded) which
        are not ours to read.
        """
        if not self._have(HEADER.size):
            return False
        mark, length, _, _ = HEADER.unpack_from(self._buffer, self._at)
        size = _BEFORE_LENGTH_COUNTS + length
        if mark != MARK or length > MAX_CONTENT + _CRC_SIZE or not isinstance(self._frame(size), Frame):
            return False
        self._at += size
        return True

    def _search(self) -> None:
        self._at += 1
        while self._have(HEADER.size + 1):
            place = self._buffer.find(MARK, self._at)
            if place < 0:
                self._at = len(self._buffer)
                continue
            self._at = place
            if self._is_plausible() and isinstance(self._frame(0), Frame):
                return
            self._at += 1
        self._at = len(self._buffer)

    def _is_plausible(self) -> bool:
        if not self._have(HEADER.size + 1):
            return False
        code, first = self._buffer[self._at + 5], self._buffer[self._at + HEADER.size]
        return first in _FIRST_BYTES.get(code, ())
