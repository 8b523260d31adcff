"""The sink that writes a flow file.

A flow whose bodies are small is kept in memory until it has ended, and is then written as one frame; those that end at
the same time can be written in one call (`settle`). Once a body grows past 64 KiB, a message comes, or a tick finds the
flow older than a quarter of a second, it is written as it runs: from then on each piece goes into the file as it
passes, so even `kill -9` loses no more than the first half second of it.

Which file that is, and when the next one is begun, is the matter of `series`: by rotation, or with `reopen` (SIGHUP,
after logrotate has moved the file). A flow that is being written as it runs is finished in the file in which it began:
nothing is torn apart and nothing is lost, but who compresses the old file after SIGHUP should wait for that
(`delaycompress`).
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO, Final

from ..errors import OutputError
from ..flowfile.raw import RawFlow
from ..flowfile.writer import INLINE, RunningFlow, SectionWriter
from ..model.flow import Flow, Part
from ..model.message import HttpMessage, Message
from .filesink import DEFAULTS, FileSink, Options
from .output import Output
from .series import File

# How long a flow may wait in memory, in seconds: a kill or a crash loses as much. Most flows are over by then.
PATIENCE: Final = 0.25


def make_recorder(path: str, options: Options = DEFAULTS) -> FileSink[Any]:
    """The sink that writes `path`, in the format that its extension says: a flow file, where it is not another's.

    Raises OutputError.
    """
    _, suffix = os.path.splitext(path.removesuffix(".zst"))  # noqa: PTH122  # as in `naming`
    if not suffix or suffix == ".flows":
        return Recorder(path, options)
    from ..formats import FORMATS  # a few modules, which few runs need
    from .exporter import Exporter

    for each in FORMATS:
        if suffix.lower() == each.suffix:
            return Exporter(path, each, options)
    return Recorder(path, options)


class Recorder(FileSink[SectionWriter]):
    """Writes flow files."""

    def __init__(self, path: str, options: Options = DEFAULTS) -> None:
        self._waiting: dict[int, _Waiting] = {}  # by id, oldest first
        self._running: dict[int, tuple[File[SectionWriter], RunningFlow]] = {}  # by id
        super().__init__(path, options)

    def begin(self, flow: Flow) -> None:
        """Wait for the rest."""
        if not self._failed:
            self._waiting[flow.id] = _Waiting(flow, self._clock())

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        """Keep a piece of a small body, write one of a large."""
        if flow.id in self._running:
            try:
                self._running[flow.id][1].data(part, data)
            except OutputError:
                self._fail()
                raise
            return
        waiting = self._waiting.get(flow.id)
        if waiting is not None and waiting.add(part, data) > INLINE:
            self._start(flow.id)

    def message(self, flow: Flow, message: Message) -> None:
        """Write a message."""
        if flow.id in self._waiting:
            self._start(flow.id)
        if flow.id in self._running:
            file, running = self._running[flow.id]
            try:
                running.message(message)
                file.output.settle()  # the flow may not end for a long time
            except OutputError:
                self._fail()
                raise

    def finish(self, flow: Flow) -> None:
        """Write the flow, or what is still to be said of it."""
        waiting = self._waiting.pop(flow.id, None)
        try:
            if waiting is not None:
                file = self._file()
                request, response = _content(flow.request, waiting.request), _content(flow.response, waiting.response)
                file.writer.write(flow, request, response)
                self._whole(file)
            elif flow.id in self._running:
                file, running = self._running.pop(flow.id)
                running.finish(_content(flow.request, b""), _content(flow.response, b""))
                self._whole(file, was_running=True)
        except OutputError:
            self._fail()
            raise

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:
        """Write a flow that is all there; copy it where that can be done."""
        if self._failed:
            return
        with self._failing():
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
            section = SectionWriter(output.write, output.write_parts, created=self._clock())
            output.settle()
            return output, section
        except OutputError:
            output.close()
            raise

    def _finish(self, section: SectionWriter) -> None:
        if not self._failed:
            section.close()

    def _start(self, flow_id: int) -> None:
        """Write a flow as it runs from now on."""
        waiting = self._waiting.pop(flow_id)
        with self._failing():
            file = self._file()
            running = file.writer.start(waiting.flow)
            self._series.enter(file)
            self._running[flow_id] = (file, running)
            running.data(Part.REQUEST, waiting.request)
            running.data(Part.RESPONSE, waiting.response)

    def _fail(self) -> None:
        super()._fail()
        self._waiting.clear()
        self._running.clear()


class _Waiting:
    """A flow that is still in memory, since when (Unix seconds), and its two bodies as far as they have passed.

    They are short (INLINE), so joining their pieces as they come costs less than to keep them apart.
    """

    __slots__ = ("flow", "request", "response", "since")

    def __init__(self, flow: Flow, since: float) -> None:
        self.flow = flow
        self.since = since
        self.request = b""
        self.response = b""

    def add(self, part: Part, data: bytes) -> int:
        """Keep a piece; returns the size of the body so far."""
        if part == Part.REQUEST:
            self.request += data
            return len(self.request)
        self.response += data
        return len(self.response)


def _content(message: HttpMessage | None, passed: bytes) -> bytes | None:
    """A body as it passed; None where bytes passed that we never saw."""
    if passed:
        return passed
    return None if message is None or message.body.length else b""


def _end_of_last_frame(file: BinaryIO) -> int:
    from ..flowfile.tail import end_of_last_frame  # only appending needs it

    return end_of_last_frame(file)
