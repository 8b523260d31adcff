"""Where a flow file can be appended to.

Frames say their lengths, so a file of any size is hopped over without reading what is in it. Only the last frame is
verified: it may have been written when the machine died.
"""

from __future__ import annotations

from contextlib import suppress
from io import SEEK_END
from struct import unpack_from
from typing import BinaryIO

from ..errors import FlowFileError
from .frame import HEADER, MARK, MAX_CONTENT, SECTION, Frame, Frames
from .packing import unpack
from .reader import recognise
from .schema import read_section
from .upgrade import check

# Of the header, `length` counts the last four bytes.
_BEFORE_LENGTH_COUNTS = HEADER.size - 4

_HEAD = 64


def end_of_last_frame(file: BinaryIO) -> int:
    """Where the last whole frame of a flow file ends. What stands behind it, a torn frame as a rule, is to be cut off;
    never is that a whole frame, however damaged the file is before it.

    Raises FlowFileError for what is no flow file, or one of a newer version.
    """
    size = file.seek(0, SEEK_END)
    file.seek(0)
    head = file.read(_HEAD)
    if head and not recognise(head):
        raise FlowFileError("it is not a flow file")
    at = last = 0
    while (after := _next(file, at, size)) is not None:
        last, at = at, after
    if at == size and _frame_at(file, last) is not None:
        return size
    return _end_of_found(file, last)


def _next(file: BinaryIO, at: int, size: int) -> int | None:
    """Where a frame ends, going by its length; None where none begins or the file ends before it."""
    file.seek(at)
    head = file.read(HEADER.size)
    if len(head) < HEADER.size:
        return None
    mark, length, code = unpack_from(">BIb", head)
    after = at + _BEFORE_LENGTH_COUNTS + int(length)
    if mark != MARK or not 4 <= length <= MAX_CONTENT + 4 or after > size:
        return None
    if code == SECTION:
        _check_version(_frame_at(file, at))
    return after


def _check_version(section: Frame | None) -> None:
    """Raises FlowFileError for a section that a newer program has written."""
    if section is not None:
        with suppress(ValueError, TypeError):
            check(read_section(unpack(section.content)))


def _frame_at(file: BinaryIO, at: int) -> Frame | None:
    """The whole frame that begins here, if one does."""
    file.seek(at)
    found = next(iter(Frames(file.read, _ignore, at)), None)
    return found if found and found.offset == at + HEADER.size else None


def _end_of_found(file: BinaryIO, at: int) -> int:
    """Where the last frame ends that can be found from here on; here, if there is none."""
    file.seek(at)
    end = at
    for found in Frames(file.read, _ignore, at):
        end = found.offset + len(found.content)
        if found.code == SECTION:
            _check_version(found)
    return end


def _ignore(offset: int, size: int, reason: str) -> None:
    """Damage that the readers of the file will report."""
