"""Where bytes wait while a filter is undecided: in memory while they are few, then in a temporary file.

One file per flow holds both bodies and the messages as they come; what lies where is a list of extents for each, and
neighbours grow into one, so the lists stay short however small the pieces are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from ..model.body import PIECE
from ..model.flow import Part
from ..model.message import Message, MessageKind

# In memory up to here: most undecided flows are small, and some hundred of them may wait at a time.
IN_MEMORY = 256 * 1024

_KINDS: tuple[MessageKind, ...] = get_args(MessageKind)
_MESSAGE = struct.Struct(">?BdI")  # from client, kind, time, length


class Spool:
    """The bytes of one flow. Raises OSError when the temporary file cannot be written."""

    def __init__(self) -> None:
        from tempfile import SpooledTemporaryFile  # here, as most runs never need it

        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115  # lives as long as the flow does
        self._end = 0
        self._extents: dict[Part | None, list[list[int]]] = {Part.REQUEST: [], Part.RESPONSE: [], None: []}

    def add(self, part: Part, data: bytes) -> None:
        """Keep the next piece of a body."""
        self._append(part, data)

    def add_message(self, message: Message) -> None:
        """Keep the next message."""
        head = _MESSAGE.pack(message.from_client, _KINDS.index(message.kind), message.timestamp, len(message.content))
        self._append(None, head + message.content)

    def body(self, part: Part) -> SpooledBody:
        """What was kept of a body so far, as a `model.body.Source`."""
        return SpooledBody(self, part)

    def messages(self) -> SpooledMessages:
        """The messages kept so far."""
        return SpooledMessages(self)

    def iter_messages(self) -> Iterator[Message]:
        """The messages kept so far, in order."""
        for offset, length in self._extents[None]:
            at, end = offset, offset + length
            while at < end:
                from_client, kind, timestamp, size = _MESSAGE.unpack(self._read(at, _MESSAGE.size))
                content = self._read(at + _MESSAGE.size, size)
                yield Message(from_client, _KINDS[kind], timestamp, content)
                at += _MESSAGE.size + size

    def size(self, part: Part) -> int:
        """How many bytes of a body were kept."""
        return sum(length for _, length in self._extents[part])

    def pieces(self, part: Part) -> Iterator[bytes]:
        """The bytes of a body, in pieces."""
        for offset, length in self._extents[part]:
            for at in range(offset, offset + length, PIECE):
                yield self._read(at, min(PIECE, offset + length - at))

    def close(self) -> None:
        """Give the memory or the file back."""
        self._file.close()

    def _append(self, key: Part | None, data: bytes) -> None:
        self._file.seek(self._end)
        self._file.write(data)
        extents = self._extents[key]
        if extents and sum(extents[-1]) == self._end:
            extents[-1][1] += len(data)
        else:
            extents.append([self._end, len(data)])
        self._end += len(data)

    def _read(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


@dataclass(frozen=True, slots=True)
class SpooledBody:
    """One body of a spool."""

    spool: Spool
    part: Part

    def __len__(self) -> int:
        return self.spool.size(self.part)

    def pieces(self) -> Iterator[bytes]:
        """The bytes in order."""
        return self.spool.pieces(self.part)


@dataclass(frozen=True, slots=True)
class SpooledMessages:
    """The messages of a spool; each iteration reads them anew."""

    spool: Spool

    def __iter__(self) -> Iterator[Message]:
        return self.spool.iter_messages()
