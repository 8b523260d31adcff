"""The sink that writes a flow file.

A flow whose bodies are small is kept in memory until it has ended, and is then written as one frame. Once a body grows
past 64 KiB, a message comes, or a tick finds the flow older than a quarter of a second, it is written as it runs: from
then on each piece goes into the file as it passes, so even `kill -9` loses no more than the first half second of it.

`reopen` (SIGHUP, after logrotate has moved the file) starts a new file. A flow that is being written as it runs is
finished in the file in which it began, which stays open until its last such flow has ended: nothing is torn apart and
nothing is lost, but who compresses the old file should wait for that (`delaycompress`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..errors import OutputError
from ..flowfile.writer import INLINE, FlowWriter, RunningFlow
from ..model.flow import Flow, Part
from ..model.message import HttpMessage, Message
from .base import Sink
from .output import Output, expand

# How long a flow may wait in memory, in seconds: a kill or a crash loses as much. Most flows are over by then.
PATIENCE = 0.25


class Recorder(Sink):
    """Writes a flow file to `path`: what strftime knows in it is filled in, "-" is stdout, an existing file is emptied.

    `fsync` waits for the disk at the end of each flow. `clock` gives Unix seconds. `flows` and `bytes` count what was
    written so far. Raises OutputError where the file cannot be opened, and once when it can no longer be written; after
    that the recorder does nothing.
    """

    def __init__(self, path: str, *, fsync: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.flows = 0
        self.bytes = 0
        self._path = path
        self._fsync = fsync
        self._clock = clock
        self._failed = False
        self._waiting: dict[int, _Waiting] = {}  # by id, oldest first
        self._running: dict[int, tuple[_Section, RunningFlow]] = {}  # by id
        self._section = self._open()

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
            self._running[flow.id][1].message(message)

    def finish(self, flow: Flow) -> None:
        """Write the flow, or what is still to be said of it."""
        waiting = self._waiting.pop(flow.id, None)
        if waiting is not None:
            section = self._section
            section.writer.write(
                flow, _content(flow.request, waiting.pieces[0]), _content(flow.response, waiting.pieces[1])
            )
        elif flow.id in self._running:
            section, running = self._running.pop(flow.id)
            running.finish(_content(flow.request, ()), _content(flow.response, ()))
        else:
            return
        self.flows += 1
        if self._fsync:
            section.output.sync()
        if waiting is None:
            self._leave(section)

    def tick(self, now: float) -> None:
        """Start writing the flows that have waited long enough."""
        while self._waiting:
            flow_id, waiting = next(iter(self._waiting.items()))
            if waiting.since > now - PATIENCE:
                return
            self._start(flow_id)

    def reopen(self) -> None:
        """Go on in a new file of the same name, if the one that is written has been moved away or renamed by its date.

        Raises OutputError where that cannot be opened; then the old one stays in use.
        """
        regular = self._section.output.is_regular and self._path != "-"
        if self._failed or not regular or self._section.output.is_still_at(expand(self._path, self._clock())):
            return
        old, self._section = self._section, self._open()
        if not old.running:
            self._close(old)

    def close(self) -> None:
        """Write what is known of flows that have not ended, and close the file."""
        for flow_id in list(self._waiting):
            self._start(flow_id)
        for section in {self._section, *(section for section, _ in self._running.values())}:
            self._close(section)
        self._running.clear()

    def _open(self) -> _Section:
        now = self._clock()
        output = Output(expand(self._path, now))
        return _Section(output, FlowWriter(partial(self._write, output), created=now))

    def _write(self, output: Output, data: bytes) -> None:
        try:
            output.write(data)
        except OutputError:
            self._failed = True
            self._waiting.clear()
            self._running.clear()
            raise
        self.bytes += len(data)

    def _start(self, flow_id: int) -> None:
        """Write a flow as it runs from now on."""
        waiting = self._waiting.pop(flow_id)
        running = self._section.writer.start(waiting.flow)
        self._section.running += 1
        self._running[flow_id] = (self._section, running)
        for part, pieces in zip(Part, waiting.pieces, strict=True):
            running.data(part, b"".join(pieces))

    def _leave(self, section: _Section) -> None:
        section.running -= 1
        if not section.running and section is not self._section:
            self._close(section)

    def _close(self, section: _Section) -> None:
        try:
            if not self._failed:
                section.writer.close()
        finally:
            section.output.close()


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


@dataclass(slots=True, eq=False)
class _Section:
    """A file, and how many flows are written to it as they run."""

    output: Output
    writer: FlowWriter
    running: int = 0


def _content(message: HttpMessage | None, pieces: Sequence[bytes]) -> bytes | None:
    """A body as it was kept; None where bytes passed that we never saw."""
    if pieces:
        return b"".join(pieces)
    return None if message is None or message.body.length else b""
