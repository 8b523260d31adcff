"""The flows of several captures in the order in which they began.

A capture holds flows in the order in which they ended, so the first to have begun may be the last in its file. Those of
a small capture are held in memory. More are copied to a temporary file, each as a section of its own, which can be read
by itself; in memory there are a time and a place for each. The file takes as much room as the captures do, in TMPDIR.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from io import BytesIO
from typing import BinaryIO, cast

from ..errors import OutputError
from ..flowfile import FlowReader, RawFlow, SectionWriter
from ..model.flow import Flow

Pair = tuple[Flow, RawFlow | None]

# Some thousand ordinary flows. Of each, its record is held and what was made of it, of some fifty objects.
HELD = 64 * 1024 * 1024
_COST = 8 * 1024

# A section that is not read in pieces, in bytes.
_SMALL = 64 * 1024


class InOrder:
    """Flows, each with how it stands in a file if it does, by the time of their begin: once more with each iteration.

    All are taken when this is made. Bodies can be read until `close`, and no longer than in the file that they come
    from. Up to `held` bytes are held in memory. Raises OutputError where there is no room for more.
    """

    def __init__(self, flows: Iterable[Pair], *, held: int = HELD) -> None:
        self._room = held
        self._held: list[Pair] = []
        self._times, self._places = array("d"), array("Q", [0])  # the end of one is the beginning of the next
        self._file: BinaryIO | None = None
        try:
            for flow, raw in flows:
                self._add(flow, raw)
            if self._file:
                self._file.flush()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise OutputError(
                    f"cannot keep flows to sort them: {error.strerror}. Set TMPDIR to a directory with more room"
                ) from error
            raise

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[Pair]:
        for index in sorted(range(len(self)), key=self._times.__getitem__):
            yield self._read(index, self._file) if self._file else self._held[index]

    def close(self) -> None:
        """Give the room back."""
        self._held.clear()
        if self._file:
            with suppress(OSError):  # where there was no room, there is none for its last bytes either
                self._file.close()

    def _add(self, flow: Flow, raw: RawFlow | None) -> None:
        self._times.append(flow.timestamp_start)
        if self._file:
            self._write(flow, raw, self._file)
            return
        self._held.append((flow, raw))
        self._room -= _COST + (len(raw.final) if raw else _size(flow))
        if self._room < 0:
            self._move()

    def _move(self) -> None:
        """From memory into a file."""
        from tempfile import TemporaryFile  # here, as most runs never need it

        self._file = cast(BinaryIO, TemporaryFile())  # noqa: SIM115  # there is `close`
        for flow, raw in self._held:
            self._write(flow, raw, self._file)
        self._held.clear()

    def _write(self, flow: Flow, raw: RawFlow | None, file: BinaryIO) -> None:
        writer = SectionWriter(file.write, created=flow.timestamp_start)
        if raw is None:
            writer.add(flow)
        else:
            writer.copy(raw)
        self._places.append(file.tell())

    def _read(self, index: int, kept: BinaryIO) -> Pair:
        kept.seek(self._places[index])
        size = self._places[index + 1] - self._places[index]
        # A reader of the file itself reads ahead, which costs much more than a small flow does.
        file = BytesIO(kept.read(size)) if size <= _SMALL else kept
        reader = FlowReader(file, name="the temporary file")
        return next(reader), reader.raw


def _size(flow: Flow) -> int:
    """What is kept of a flow's bodies."""
    return sum(message.body.stored for message in (flow.request, flow.response) if message)


def by_time(flows: Iterable[Pair]) -> Iterator[Pair]:
    """All of these flows, by the time of their begin. All are taken before this returns.

    Bodies can be read until the last one was taken. Raises OutputError where there is no room for them.
    """
    return _once(InOrder(flows))


def _once(flows: InOrder) -> Iterator[Pair]:
    with closing(flows):
        yield from flows
