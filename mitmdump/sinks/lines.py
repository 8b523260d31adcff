"""Flows as JSON Lines on a stream, for programs (--json): each when it has ended, a line of its own."""

from __future__ import annotations

from typing import TextIO

from ..flowfile.raw import RawFlow
from ..formats.jsonl import JsonLines
from ..model.flow import Flow, Part
from ..model.message import Message
from .base import Sink
from .gathering import Gathering
from .printer import Printer

# What is gathered of a line before it is printed: nearly all of them whole.
_BATCH = 1024 * 1024


class JsonSink(Sink):
    """Prints flows to `stream`, with their bodies and messages or without these `contents`.

    When a reader has them, and what becomes of one who has gone, is the matter of `Printer`.
    """

    def __init__(self, stream: TextIO, *, contents: bool, dispensable: bool = False, prompt: bool = True) -> None:
        self.wants_bodies = contents
        self._printer = Printer(stream, dispensable=dispensable, prompt=prompt)
        self._encoder = JsonLines(contents=contents)
        self._running = Gathering()

    def begin(self, flow: Flow) -> None:
        if self.wants_bodies and not self._printer.unread:
            self._running.begin(flow)

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        self._running.data(flow, part, data)

    def message(self, flow: Flow, message: Message) -> None:
        self._running.message(flow, message)

    def finish(self, flow: Flow) -> None:
        with self._running.finish(flow):
            self._print(flow)

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:  # noqa: ARG002  # JSON is another format
        """Print a flow that is all there."""
        self._print(flow)

    def close(self) -> None:
        self._printer.close()

    def _print(self, flow: Flow) -> None:
        batch = bytearray()
        for piece in self._encoder.flow(flow):
            batch += piece
            if len(batch) >= _BATCH:
                self._printer.write(batch.decode("ascii"), flush=False)
                batch.clear()
        self._printer.write(batch.decode("ascii"))
