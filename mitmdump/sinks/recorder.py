"""The sink that writes a flow file.

A flow whose bodies are small is kept in memory until it has ended, and is then written as one frame; those that end at
the same time can be written in one call (`settle`). Once a body grows
past 64 KiB, a message comes, or a tick finds the flow older than a quarter of a second, it is written as it runs: from
then on each piece goes into the file as it passes, so even `kill -9` loses no more than the first half second of it.

Which file that is, and when the next one is begun, is the matter of `series`: by rotation, or with `reopen` (SIGHUP,
after logrotate has moved the file). A flow that is being written as it runs is finished in the file in which it began:
nothing is torn apart and nothing is lost, but who compresses the old file after SIGHUP should wait for that
(`delaycompress`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO, Unpack

from ..errors import OutputError
from ..flowfile.raw import RawFlow
from ..flowfile.writer import INLINE, RunningFlow, SectionWriter
from ..model.flow import Flow, Part
from ..model.message import HttpMessage, Message
from .filesink import FileSink, Options
from .output import Output
from .series import File

# How long a flow may wait in memory, in seconds: a kill or a crash loses as much. Most flows are over by then.
PATIENCE = 0.25


def make_recorder(path: str, **options: Unpack[Options]) -> FileSink[Any]:
    """The sink that writes `path`, in the format that its extension says: a flow file, where it is not another's.

    Raises OutputError.
    """
    _, suffix = os.path.splitext(path.removesuffix(".zst"))  # noqa: PTH122  # as in `naming`
    if not suffix or suffix == ".flows":
        return Recorder(path, **options)
    from ..formats import FORMATS  # a few modules, which few runs need
    from .exporter import Exporter

    for each in FORMATS:
        if suffix.lower() == each.suffix:
            return Exporter(path, each, **options)
    return Recorder(path, **options)


class Recorder(FileSink[SectionWriter]):
    """Writes flow files."""

    def __init__(self, path: str, **options: Unpack[Options]) -> None:
        self._waiting: dict[int, _Waiting] = {}  # by id, oldest first
        self._running: dict[int, tuple[File[SectionWriter], RunningFlow]] = {}  # by id
        super().__init__(path, **options)

    def begin(self, flow: Flow) -> None:
        """Wait for the rest."""
        if not self._failed:
            self._waiting[flow.id] = _Waiting(flow, self._clock())

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        """Keep a piece of a small body, write one of a large."""
        if flow.id in self._running:
            self._running[flow.id][1].data(part, data)
        elif flow.id in self._waiting and self._waiting[flow.id].add(part, data) > INLINE:
            self._start(flow.id)

    def message(self, flow: Flow, message: Message) -> None:
        """Write a message."""
        if flow.id in self._waiting:
            self._start(flow.id)
        if flow.id in self._running:
            file, running = self._running[flow.id]
            running.message(message)
            file.output.settle()  # the flow may not end for a long time

    def finish(self, flow: Flow) -> None:
        """Write the flow, or what is still to be said of it."""
        waiting = self._waiting.pop(flow.id, None)
        if waiting is not None:
            file = self._file()
            contents = _content(flow.request, waiting.pieces[0]), _content(flow.response, waiting.pieces[1])
            file.writer.write(flow, *contents)
            self._whole(file)
        elif flow.id in self._running:
            file, running = self._running.pop(flow.id)
            running.finish(_content(flow.request, ()), _content(flow.response, ()))
            self._whole(file, was_running=True)

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:
        """Write a flow that is all there; copy it where that can be done."""
        if self._failed:
            return
        file = self._file()
        if raw is None:
            file.writer.add(flow)
        else:
            file.writer.copy(raw)
        self._whole(file)

    def tick(self, now: float) -> None:
        """Start writing the flows that have waited long enough, and see to the files."""
        while self._waiting:
            flow_id, waiting = next(iter(self._waiting.items()))
            if waiting.since > now - PATIENCE:
                break
            self._start(flow_id)
        super().tick(now)

    def close(self) -> None:
        """Write what is known of flows that have not ended, and close the files."""
        try:
            for flow_id in list(self._waiting):
                self._start(flow_id)
        finally:
            self._running.clear()
            super().close()

    def _begin(self, path: str, append: bool) -> tuple[Output, SectionWriter]:
        """A file, and a section of its own in it, also where it has some already."""
        output = Output(path, resume=_end_of_last_frame if append else None, gathers=self._gathers)
        try:
            write, write_parts = (partial(self._write, each) for each in (output.write, output.write_parts))
            section = SectionWriter(write, write_parts, created=self._clock())
            output.settle()
            return output, section
        except OutputError:
            output.close()
            raise

    def _finish(self, section: SectionWriter) -> None:
        if not self._failed:
            section.close()

    def _write(self, write: Callable[..., None], *data: bytes) -> None:
        try:
            write(*data)
        except OutputError:
            self._fail()
            raise

    def _start(self, flow_id: int) -> None:
        """Write a flow as it runs from now on."""
        waiting = self._waiting.pop(flow_id)
        file = self._file()
        running = file.writer.start(waiting.flow)
        self._series.enter(file)
        self._running[flow_id] = (file, running)
        for part, pieces in zip(Part, waiting.pieces, strict=True):
            running.data(part, b"".join(pieces))

    def _fail(self) -> None:
        super()._fail()
        self._waiting.clear()
        self._running.clear()


class _Waiting:
    """A flow that is still in memory, since when (Unix seconds), and the pieces of its two bodies."""

    __slots__ = ("flow", "pieces", "since", "sizes")

    def __init__(self, flow: Flow, since: float) -> None:
        self.flow = flow
        self.since = since
        self.pieces: tuple[list[bytes], list[bytes]] = ([], [])
        self.sizes = [0, 0]

    def add(self, part: Part, data: bytes) -> int:
        """Keep a piece; returns the size of the body so far."""
        self.pieces[part].append(data)
        self.sizes[part] += len(data)
        return self.sizes[part]


def _content(message: HttpMessage | None, pieces: Sequence[bytes]) -> bytes | None:
    """A body as it was kept; None where bytes passed that we never saw."""
    if pieces:
        return b"".join(pieces)
    return None if message is None or message.body.length else b""


def _end_of_last_frame(file: BinaryIO) -> int:
    from ..flowfile.tail import end_of_last_frame  # only appending needs it

    return end_of_last_frame(file)
