"""Captures compressed with Zstandard: a series of independent frames, which `zstdcat` takes for one stream.

Each frame holds whole records and is written in one go, so the file can be read up to the last frame whenever its
writer dies, two of them can be joined with `cat`, and one can be appended to. `Packer` makes such frames,
`Decompressing` reads those of anybody, `end_of_last_frame` finds where to append.

A frame (RFC 8878 section 3.1) is a header, blocks that each say their size, and often a checksum; `_anatomy` knows how
these follow each other. So no more than one block, at most 128 KiB, is ever unpacked at a time, whatever a hostile file
says, and the end of a broken frame can be found without unpacking it.
"""

from __future__ import annotations

from collections.abc import Generator
from io import SEEK_END, RawIOBase
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import zstandard
from zstandard import ZstdError

from ..errors import FlowFileError
from ..model.reading import Damage
from .magic import MAGIC, is_skippable, recognise

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# A frame is closed when so many bytes are in it: they compress nearly as well as an endless stream would.
FRAME_BYTES = 256 * 1024

# Or after this time in seconds. Ticks come every quarter of a second, so nothing waits for more than one.
FRAME_SECONDS = 0.75

# More memory than this is not given to unpacking: what RFC 8878 section 3.1.1.1.2 wants every decoder to support. It is
# enough for zstd up to -19; only --long and --ultra ask for more.
MAX_WINDOW = 8 * 1024 * 1024

# So much of a broken frame is searched for the next one, and so much is cut off before appending. Our own frames are
# smaller: FRAME_BYTES, and the record that filled them, which is seldom above 1 MiB.
MAX_FRAME = 4 * 1024 * 1024

# Bytes that may be gone through again in search of a frame, for each byte of the file: frames of a hostile file can
# claim to begin at every fourth byte, and end nowhere.
_VAIN_PER_BYTE = 4

_CHUNK = 64 * 1024
_MAX_BLOCK = 128 * 1024  # Block_Maximum_Size
_RLE, _RESERVED = 1, 3  # Block_Type
_TORN = "the file ends inside a Zstandard frame"


class Packer:
    """Gathers records, and packs them into a frame; `flows` counts the flows that are whole with what is gathered."""

    def __init__(self) -> None:
        self.flows = 0
        self._compressor = zstandard.ZstdCompressor(write_checksum=True)
        self._pieces: list[bytes] = []
        self._size = 0
        self._taken_at = 0.0

    def add(self, data: bytes) -> bool:
        """Gather a record; is it time to take a frame?"""
        self._pieces.append(data)
        self._size += len(data)
        return self._size >= FRAME_BYTES

    def is_due(self, now: float) -> bool:
        """Has what is gathered been waiting? `now` in seconds; asked at each tick."""
        if now - self._taken_at < FRAME_SECONDS:
            return False
        self._taken_at = now
        return bool(self._pieces)

    def take(self) -> tuple[bytes, int]:
        """A frame of what is gathered, and how many flows became whole with it; no bytes if there is nothing."""
        data, flows = b"".join(self._pieces), self.flows
        self._pieces, self._size, self.flows = [], 0, 0
        return self._compressor.compress(data) if data else b"", flows


class Decompressing(RawIOBase):
    """The unpacked content of a file of Zstandard frames, as a raw stream for a BufferedReader, in constant memory.

    What is not a whole frame is listed in `damage`, with offsets of the compressed file: what could be unpacked of it
    is delivered, then what the next frame holds. Skippable frames are skipped. `file` is closed with this; if reading
    from it waits for more (a pipe, a file that grows), so does this, and delivers each block as soon as it is there.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.damage: list[Damage] = []
        self._file = file
        self._read_some = getattr(file, "read1", file.read)
        self._zstd = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._buffer = bytearray()
        self._base = 0  # offset of the buffer in the file
        self._at = 0  # offset of the next piece
        self._vain = 0
        self._unpacked = memoryview(b"")
        self._begin(0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Some bytes, none only at the end. Raises OSError."""
        while not self._unpacked:
            if self._at == self._frame and not self._have(1):
                return 0
            self._step()
        room = memoryview(buffer).cast("B")
        size = min(len(room), len(self._unpacked))
        room[:size] = self._unpacked[:size]
        self._unpacked = self._unpacked[size:]
        return size

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()

    def _begin(self, offset: int) -> None:
        """Expect a frame at this offset."""
        self._frame = self._at = offset
        self._pieces = _anatomy()
        self._piece = next(self._pieces)
        self._unpacker: zstandard.ZstdDecompressionObj | None = None
        self._fault = ""

    def _step(self) -> None:
        """Take the next piece of a frame."""
        if not self._have(self._piece.size):
            self._fail(_TORN)
            return
        data = self._slice(self._piece.size)
        if self._at == self._frame and data == MAGIC:
            self._unpacker = self._zstd.decompressobj()
        self._at += len(data)
        try:
            self._piece = self._pieces.send(data)
        except ValueError as error:
            self._fail(self._fault or str(error))
        except StopIteration:
            self._unpack(data)
            self._end()
        else:
            self._unpack(data)

    def _unpack(self, data: bytes) -> None:
        if self._unpacker is None or not data:
            return
        try:
            self._unpacked = memoryview(self._unpacker.decompress(data))
        except ZstdError:
            self._unpacker = None
            self._fault = "a Zstandard frame that cannot be unpacked"

    def _end(self) -> None:
        """A frame has ended, by its own account. If it was broken, that is believed where another frame follows."""
        if not self._fault:
            self._begin(self._at)
        elif not self._have(len(MAGIC)) or self._slice(len(MAGIC)) == MAGIC:
            self.damage.append(Damage(self._frame, self._at - self._frame, self._fault))
            self._begin(self._at)
        else:
            self._fail(self._fault)

    def _fail(self, reason: str) -> None:
        """No whole frame is here: go on at the next that can be found."""
        self._vain += self._at - self._frame
        searched = self._frame + 1
        if self._vain > MAX_FRAME + _VAIN_PER_BYTE * self._at:
            searched = max(self._at, searched)
        place = self._find(max(searched, self._base))
        self.damage.append(Damage(self._frame, place - self._frame, reason))
        self._begin(place)

    def _find(self, offset: int) -> int:
        """Where from this offset on the next frame seems to begin, or the file ends."""
        while (place := self._buffer.find(MAGIC, offset - self._base)) < 0:
            held = self._base + len(self._buffer)
            self._at = offset = max(offset, held - len(MAGIC) + 1)
            if not self._have(held - offset + 1):
                return held
        return self._base + place

    def _have(self, size: int) -> bool:
        """Are there so many bytes from here on? Of a frame that is very long, its beginning is forgotten."""
        while self._base + len(self._buffer) - self._at < size:
            data = self._read_some(_CHUNK)
            if not data:
                return False
            forgotten = max(self._frame, self._at - MAX_FRAME) - self._base
            if forgotten > 0:
                del self._buffer[:forgotten]
                self._base += forgotten
            self._buffer += data
        return True

    def _slice(self, size: int) -> bytes:
        start = self._at - self._base
        return bytes(self._buffer[start : start + size])


def end_of_last_frame(file: BinaryIO) -> int:
    """Where the last whole frame of a file ends, which others may follow. What stands behind it is to be cut off.

    Behind damage a frame counts only if another one, or the end, follows: the bodies in a torn frame may hold some.

    Raises FlowFileError where that would be more than a frame of ours.
    """
    size = file.seek(0, SEEK_END)
    end = at = 0
    while at < size:
        after = _end_of_frame(file, at, size)
        if after and (at == end or after == size or recognise(_read_at(file, after, len(MAGIC)))):
            end = at = after
        else:  # damage, or what only looks like a frame, inside of a torn one
            at = _find_magic(file, at + 1, size)
    if size and not recognise(_read_at(file, 0, len(MAGIC))):
        raise FlowFileError("it is not compressed with Zstandard")
    if size - end > MAX_FRAME:
        raise FlowFileError(f"its last {size - end} bytes are damaged. Copy what can be read of it: -nr FILE -w NEW")
    return end


def _end_of_frame(file: BinaryIO, at: int, size: int) -> int:
    """Where the frame that begins here ends; 0 where none does, or the file ends before it. Nothing is unpacked."""
    pieces = _anatomy()
    try:
        piece = next(pieces)
        while (after := at + piece.size) <= size:
            data = _read_at(file, at, piece.size) if piece.is_shown else b""
            at = after
            piece = pieces.send(data)
    except ValueError:
        return 0
    except StopIteration:
        return at
    return 0


def _find_magic(file: BinaryIO, at: int, size: int) -> int:
    while at < size:
        data = _read_at(file, at, _CHUNK)
        place = data.find(MAGIC)
        if place >= 0:
            return at + place
        at += max(1, len(data) - len(MAGIC) + 1)
    return size


def _read_at(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


class _Piece(NamedTuple):
    """What comes next in a frame. `is_shown`: what follows depends on it, so `_anatomy` has to be sent its bytes."""

    size: int
    is_shown: bool = True


def _anatomy() -> Generator[_Piece, bytes, None]:
    """The pieces of a frame, one after the other (RFC 8878 sections 3.1.1 and 3.1.2). Raises ValueError, which says
    what is wrong with it.
    """
    magic = yield _Piece(len(MAGIC))
    if is_skippable(magic):
        left = int.from_bytes((yield _Piece(4)), "little")
        while left:  # a bit at a time: nobody should have to hold it
            size = min(left, _MAX_BLOCK)
            yield _Piece(size, is_shown=False)
            left -= size
        return
    if magic != MAGIC:
        raise ValueError("no Zstandard frame begins here")
    head = magic + (yield _Piece(1))
    head += yield _Piece(zstandard.frame_header_size(head) - len(head))
    has_checksum = _read_header(head)
    is_last = False
    while not is_last:
        header = int.from_bytes((yield _Piece(3)), "little")
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == _RESERVED or size > _MAX_BLOCK:
            raise ValueError("a Zstandard frame with an impossible block")
        yield _Piece(1 if kind == _RLE else size, is_shown=False)
    if has_checksum:
        yield _Piece(4, is_shown=False)


def _read_header(head: bytes) -> bool:
    """Does a frame with this header have a checksum? Raises ValueError for one that we do not unpack."""
    try:
        parameters = zstandard.get_frame_parameters(head)
    except ZstdError:
        raise ValueError("a Zstandard frame with an impossible header") from None
    if parameters.dict_id:
        raise ValueError("a Zstandard frame that needs a dictionary")
    if parameters.window_size > MAX_WINDOW:
        raise ValueError(f"a Zstandard frame that needs {parameters.window_size} bytes of memory. Made with --long?")
    return parameters.has_checksum
