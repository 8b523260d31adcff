"""Bytes of flows that a reader does not hold in memory: where they are, and how to get them.

A file that can be read at any place is its own store (`OnDisk`): what is kept is offsets. What comes through a pipe is
kept in a `Spool` per flow, which is freed with the flow.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterator
from io import FileIO
from typing import Protocol

from ..errors import FlowFileError
from ..model.body import PIECE
from ..model.message import Message
from .packing import unpack
from .schema import read_message

# Of one flow, in memory; some hundred large flows may be under way at a time.
_IN_MEMORY = 1024 * 1024


class Store(Protocol):
    """Something that bytes can be read back from."""

    def keep(self, offset: int, data: bytes) -> int:
        """Keep bytes that stood at this offset of the input; returns their place."""
        ...

    def read(self, place: int, size: int) -> bytes:
        """The bytes of a place. Raises FlowFileError where they can no longer be had."""
        ...


class OnDisk:
    """The flow file itself."""

    def __init__(self, file: FileIO, name: str) -> None:
        self._file = file
        self._name = name

    def keep(self, offset: int, data: bytes) -> int:  # noqa: ARG002
        """Nothing to do: there they are."""
        return offset

    def read(self, place: int, size: int) -> bytes:
        """Read without moving the position that the reader scans from."""
        try:
            data = os.pread(self._file.fileno(), size, place)
        except ValueError:
            raise FlowFileError(f"{self._name} was closed before the bodies of its flows were read") from None
        except OSError as error:
            raise FlowFileError(f"cannot read {self._name} at byte {place}: {error.strerror}") from error
        if len(data) < size:
            raise FlowFileError(f"{self._name} has become shorter while it was read, at byte {place}")
        return data


class Spool:
    """Memory while there is little, then a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # freed with the flow
        self._end = 0

    def keep(self, offset: int, data: bytes) -> int:  # noqa: ARG002
        """Copy them."""
        place = self._end
        try:
            self._file.seek(place)
            self._file.write(data)
        except OSError as error:
            raise FlowFileError(
                f"cannot keep a flow until it is complete: {error.strerror}. Set TMPDIR to a directory with more room"
            ) from error
        self._end += len(data)
        return place

    def read(self, place: int, size: int) -> bytes:
        """Read them back."""
        self._file.seek(place)
        return self._file.read(size)

    def __del__(self) -> None:
        self._file.close()


class KeptBody:
    """The kept bytes of one body, as a `model.body.Source`."""

    __slots__ = ("_ranges", "_size", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ranges = array("Q")  # place and size of each piece, in turn: a large body has very many
        self._size = 0

    def add(self, offset: int, data: bytes) -> None:
        """Keep the next piece, which stood at this offset of the input."""
        self._ranges.append(self._store.keep(offset, data))
        self._ranges.append(len(data))
        self._size += len(data)

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> Iterator[bytes]:
        """The bytes in order, in pieces of at most 64 KiB."""
        for place, size in _pairs(self._ranges):
            for at in range(place, place + size, PIECE):
                yield self._store.read(at, min(PIECE, place + size - at))


class KeptMessages:
    """The messages of one flow; every iteration reads them anew."""

    __slots__ = ("_ranges", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._ranges = array("Q")

    def add(self, offset: int, content: bytes) -> None:
        """Keep the next MESSAGE frame's content."""
        self._ranges.append(self._store.keep(offset, content))
        self._ranges.append(len(content))

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
