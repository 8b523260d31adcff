"""Frames of flows that a reader does not hold in memory: where they are, and how to get at them.

A file that can be read at any place is its own store (`OnDisk`): what is kept is offsets. What comes through a pipe is
kept in a `Spool` per flow, which is freed with the flow.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from io import FileIO
from typing import Protocol

from ..errors import FlowFileError
from ..model.body import PIECE
from ..model.message import Message
from .frame import HEADER, Frame, encode
from .packing import unpack
from .schema import read_message

# Of one flow, in memory; some hundred large flows may be under way at a time.
_IN_MEMORY = 1024 * 1024


class Store(Protocol):
    """Something that frames can be read back from."""

    def keep(self, found: Frame) -> int:
        """Keep a whole frame; returns the place of its content, which the header stands before."""
        ...

    def read(self, place: int, size: int) -> bytes:
        """The bytes of a place. Raises FlowFileError where they can no longer be had."""
        ...


class OnDisk:
    """The flow file itself."""

    def __init__(self, file: FileIO, name: str) -> None:
        self._file = file
        self.name = name

    def keep(self, found: Frame) -> int:
        """Nothing to do: there it is."""
        return found.offset

    def read(self, place: int, size: int) -> bytes:
        """Read without moving the position that the reader scans from."""
        try:
            data = os.pread(self._file.fileno(), size, place)
        except ValueError:
            raise FlowFileError(f"{self.name} was closed before the bodies of its flows were read") from None
        except OSError as error:
            raise FlowFileError(f"cannot read {self.name} at byte {place}: {error.strerror}") from error
        if len(data) < size:
            raise FlowFileError(f"{self.name} has become shorter while it was read, at byte {place}")
        return data


class Spool:
    """Memory while there is little, then a temporary file."""

    def __init__(self) -> None:
        from tempfile import SpooledTemporaryFile  # here, as most runs never need it

        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # freed with the flow
        self._end = 0

    def keep(self, found: Frame) -> int:
        """Copy it."""
        place = self._end
        whole = encode(found.code, found.content)
        try:
            self._file.seek(place)
            self._file.write(whole)
        except OSError as error:
            raise FlowFileError(
                f"cannot keep a flow until it is complete: {error.strerror}. Set TMPDIR to a directory with more room"
            ) from error
        self._end += len(whole)
        return place + HEADER.size

    def read(self, place: int, size: int) -> bytes:
        """Read it back."""
        self._file.seek(place)
        return self._file.read(size)

    def __del__(self) -> None:
        self._file.close()


class KeptFrames:
    """All frames of one flow but its final one, in order; every iteration reads them anew."""

    __slots__ = ("_ranges", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ranges = array("Q")

    def add(self, found: Frame) -> int:
        """Keep the next frame; returns the place of its content in the store."""
        place = self._store.keep(found)
        self._ranges.append(place - HEADER.size)
        self._ranges.append(HEADER.size + len(found.content))
        return place

    def __iter__(self) -> Iterator[bytes]:
        for place, size in _pairs(self._ranges):
            yield self._store.read(place, size)


class KeptBody:
    """The kept bytes of one body, as a `model.body.Source`."""

    __slots__ = ("_ranges", "_size", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ranges = array("Q")  # place and size of each piece, in turn: a large body has very many
        self._size = 0

    def add(self, place: int, size: int) -> None:
        """The next piece stands there in the store."""
        self._ranges.append(place)
        self._ranges.append(size)
        self._size += size

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> Iterator[bytes]:
        """The bytes in order, in pieces of at most 64 KiB."""
        for place, size in _pairs(self._ranges):
            for at in range(place, place + size, PIECE):
                yield self._store.read(at, min(PIECE, place + size - at))

    def part(self, start: int, size: int) -> KeptBody:
        """So many of the bytes from `start` on, as far as they are there."""
        part = KeptBody(self._store)
        for place, length in _pairs(self._ranges):
            if start < length and size > 0:
                taken = min(length - start, size)
                part.add(place + start, taken)
                size -= taken
            start = max(start - length, 0)
        return part


class KeptMessages:
    """The messages of one flow; every iteration reads them anew."""

    __slots__ = ("_ranges", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ranges = array("Q")

    def add(self, place: int, size: int) -> None:
        """The next MESSAGE frame's content stands there in the store."""
        self._ranges.append(place)
        self._ranges.append(size)

    def __len__(self) -> int:
        return len(self._ranges) // 2

    def __iter__(self) -> Iterator[Message]:
        for place, size in _pairs(self._ranges):
            content = self._store.read(place, size)
            try:
                yield read_message(unpack(content))[1]
            except (ValueError, TypeError):  # it was sound when the reader passed it
                raise FlowFileError(f"the flow file was changed while it was read, at byte {place}") from None


def _pairs(ranges: array[int]) -> Iterator[tuple[int, int]]:
    return zip(ranges[::2], ranges[1::2], strict=True)
