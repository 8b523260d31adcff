"""The first bytes of an input, to tell what it is; a pipe cannot be rewound, so it is given out with them in front."""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedReader, RawIOBase
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


def peek(file: BinaryIO, size: int, is_enough: Callable[[bytes], bool]) -> tuple[bytes, BinaryIO]:
    """The first bytes of a file, and a file that begins with them: the same where it can be rewound.

    They are `size`, unless fewer are enough, or all: who waits for a pipe's first flow need not wait for more. Raises
    OSError.
    """
    read = getattr(file, "read1", file.read)  # of a pipe, what is there
    can_rewind = file.seekable()
    start = file.tell() if can_rewind else 0
    head = b""
    while len(head) < size and not is_enough(head):
        piece = read(size - len(head))
        if not piece:
            break
        head += piece
    if not can_rewind:
        return head, BufferedReader(_Rewound(head, file))
    file.seek(start)
    return head, file


class _Rewound(RawIOBase):
    """A stream of which the first bytes have been read already: here they are read again."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file
        self._read = getattr(file, "read1", file.read)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """What was there at the beginning, then what there is to be had without waiting for more."""
        view = memoryview(buffer).cast("B")
        data, self._head = self._head[: len(view)], self._head[len(view) :]
        data = data or self._read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the stream itself."""
        self._file.close()
        super().close()
