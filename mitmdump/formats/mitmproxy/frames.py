"""The frames of a flow file: where each flow begins and ends, and where the next one is after damage.

A file is read in place. A pipe can be read only once, so each flow of it is put into a temporary file of its own, which
is freed with the flow; one that is small stays in memory.
"""

from __future__ import annotations

import re
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, NamedTuple, Protocol, cast

from ...errors import FlowFileError
from ...model.body import PIECE
from .state import as_map
from .tnetstring import PREFIX, Stored, Value, prefix, value_at

# A dict whose first key is a word, as those of flows are, whatever their order. Inside a flow there may be the one that
# it was before somebody changed it.
_BEGINNING = re.compile(rb"(?<!6:backup[,;])(?=[1-9][0-9]{1,11}:(?:[1-9]|[12][0-9]):[a-z_]{1,29}[,;])")
_LONGEST_BEGINNING = 64

# How much is searched in one go.
_WINDOW = 64 * 1024

# Of a flow from a pipe, in memory.
_IN_MEMORY = 1024 * 1024

_CUT_OFF = "a flow that is cut off"


def recognise(head: bytes) -> bool:
    """Does a file that begins with these bytes look like a flow file of mitmproxy?"""
    return _BEGINNING.match(head) is not None


class Frame(NamedTuple):
    """The frame of a dict: its offset and that of the next, and where its content lies."""

    offset: int
    end: int
    store: Stored
    start: int
    size: int

    def open(self) -> dict[str, Value]:
        """The dict. Raises ValueError where it is malformed."""
        return as_map(value_at(self.store, self.start, self.size))


class Input(Protocol):
    """What frames are taken from, one after the other."""

    def take(self, offset: int) -> Frame | None:
        """The frame at this offset, None at the end of the input. Raises ValueError where it is broken."""
        ...

    def from_here(self, offset: int) -> Disk:
        """What can be read at any place from this offset on, that of the frame taken last."""
        ...


class Disk:
    """A file that can be read at any place; `base` is the offset of its first byte."""

    def __init__(self, file: BinaryIO, name: str, base: int = 0) -> None:
        self._file = file
        self._name = name
        self._store = Stored(file, name)
        self._base = base

    def take(self, offset: int) -> Frame | None:
        """See Input."""
        place = offset - self._base
        head = self._store.read(place, PREFIX)
        if not head:
            return None
        start, size = prefix(head)
        start += place
        tag = self._store.read(start + size, 1)
        if tag != b"}":
            raise ValueError("a flow that does not end where it should" if tag else _CUT_OFF)
        return Frame(offset, start + size + 1 + self._base, self._store, start, size)

    def from_here(self, offset: int) -> Disk:  # noqa: ARG002
        """It can."""
        return self

    def end(self) -> int:
        """The offset of its end. Raises FlowFileError."""
        try:
            return self._file.seek(0, 2) + self._base
        except OSError as error:
            raise _unreadable(self._name, error) from error

    def search(self, offset: int) -> Frame | None:
        """The first dict with a version, at this offset or later.

        What is inside a dict without one is not looked at: a file made to be slow takes no longer than any.
        """
        window = offset
        while data := self._store.read(window - self._base, _WINDOW + _LONGEST_BEGINNING):
            for match in _BEGINNING.finditer(data):
                found = window + match.start()
                frame = self._frame(found) if found >= offset else None
                if frame and _is_flow(frame):
                    return frame
                offset = frame.end if frame else offset
            window = max(window + _WINDOW, offset)
        return None

    def _frame(self, offset: int) -> Frame | None:
        try:
            return self.take(offset)
        except ValueError:
            return None


class Pipe:
    """A file that can be read only once."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._ahead = b""
        self._last = _temporary()

    def take(self, offset: int) -> Frame | None:
        """See Input."""
        self._last = _temporary()
        while len(self._ahead) < PREFIX and (data := self._read()):
            self._ahead += data
        if not self._ahead:
            return None
        start, size = prefix(self._ahead)
        whole = start + size + 1
        if self._move(whole) < whole:
            raise ValueError(_CUT_OFF)
        return Disk(self._last, self._name, offset).take(offset)

    def from_here(self, offset: int) -> Disk:
        """All that is left is put into the temporary file of the frame taken last."""
        while self._ahead or (data := self._read()):
            self._ahead = self._ahead or data
            self._move(len(self._ahead))
        return Disk(self._last, self._name, offset)

    def _move(self, size: int) -> int:
        """Move so many bytes from the pipe to the temporary file; fewer if there are no more."""
        left = size
        try:
            while left and (data := self._ahead or self._read()):
                self._last.write(data[:left])
                self._ahead = data[left:]
                left -= len(data[:left])
        except OSError as error:
            raise FlowFileError(
                f"cannot keep a flow while it is read: {error.strerror}. Set TMPDIR to a directory with more room"
            ) from error
        return size - left

    def _read(self) -> bytes:
        """What there is, at most a piece; nothing at the end."""
        try:
            data: bytes = getattr(self._file, "read1", self._file.read)(PIECE)
        except OSError as error:
            raise _unreadable(self._name, error) from error
        return data


def _is_flow(frame: Frame) -> bool:
    try:
        return "version" in frame.open()
    except ValueError:
        return False


def _temporary() -> BinaryIO:
    return cast("BinaryIO", SpooledTemporaryFile(max_size=_IN_MEMORY))


def _unreadable(name: str, error: OSError) -> FlowFileError:
    return FlowFileError(f"cannot read {name}: {error.strerror or error}")
