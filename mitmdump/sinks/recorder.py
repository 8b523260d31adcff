"""The sink that writes a flow file.

A flow whose bodies are small is kept in memory until it has ended, and is then written as one frame. Once a body grows
past 64 KiB, a message comes, or the flow is older than a quarter of a second, the flow is written as it runs: from
then on each piece goes into the file as it passes, so even `kill -9` loses no more than a quarter of a second of it.

`reopen` (SIGHUP, after logrotate has moved the file) starts a new file. A flow that is being written as it runs is
finished in the file in which it began, which stays open until its last such flow has ended: nothing is torn apart and
nothing is lost, but who compresses the old file should wait for that (`delaycompress`).
"""

from __future__ import annotations

import time
from collections.abc import Callable

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
    written so far. Raises OutputError where the file cannot be opened, and once when it cannot be written any more;
    after that the recorder does nothing.
    """

    def __init__(self, path: str, *, fsync: bool = False, clock: Callable[[], float] = time.time) -> None:
        self.flows = 0
        self.bytes = 0
        self._path = path
        self._fsync = fsync
        self._clock = clock
        self._failed = False
        self._waiting: dict[int, _Waiting] = {}  # by id, oldest first
        self._running: dict[int, _Running] = {}
        self._section = self._open()

    def begin(self, flow: Flow) -> None:
        if not self._failed:
            self._waiting[flow.id] = _Waiting(flow)

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        waiting = self._waiting.get(flow.id)
        if waiting is None:
            if flow.id in self._running:
                self._running[flow.id].data(part, data)
        elif waiting.add(part, data) > INLINE:
            self._start(flow.id)

    def message(self, flow: Flow, message: Message) -> None:
        if flow.id in self._waiting:
            self._start(flow.id)
"""
"""
