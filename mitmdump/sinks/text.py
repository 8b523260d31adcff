"""Flows as text on a stream, for people: each when it finishes, in one write.

Flows run side by side, so nothing of one is printed before all of it can be. Until then what it needs of its bodies and
messages is kept here: of one flow what `render` would show, of all flows together no more than KEPT_IN_ALL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TextIO

from ..model.flow import Flow, Part
from ..model.message import Message
from .base import Sink
from .printer import Printer
from .render import LIMITS, Passed, render

# What flows that run at the same moment may keep, so that many large ones at once cannot use up the memory: enough for
# a dozen of the largest that `render` shows whole. A flow that finds no room is shown without the rest of its bytes.
KEPT_IN_ALL = 256 * 1024 * 1024

# What a kept message costs besides its content; without it, empty messages would be free.
MESSAGE_COST = 256


@dataclass(slots=True)
class _Running(Passed):
    """A flow that has not finished: `held` bytes are kept of it; `starved`: no room was left, so no more will be."""

    held: int = 0
    starved: bool = False


class TextSink(Sink):
    """Prints flows to `stream` in the detail of `render`, coloured or not.

    When a reader has them, and what becomes of one who has gone, is the matter of `Printer`.
    """

    def __init__(
        self, stream: TextIO, detail: int, color: bool, *, dispensable: bool = False, prompt: bool = True
    ) -> None:
        self._printer = Printer(stream, dispensable=dispensable, prompt=prompt)
        self._detail = detail
        self._color = color
        limits = LIMITS.get(min(detail, 4))
        self._kept_of_each = limits.bytes if limits else 0
        self.wants_bodies = bool(self._kept_of_each)
        self._room = KEPT_IN_ALL
        self._running: dict[int, _Running] = {}

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        running = self._of(flow)
        kept = running.bodies[part]
        kept += data[: self._take(running, len(data), self._kept_of_each - len(kept))]

    def message(self, flow: Flow, message: Message) -> None:
        running = self._of(flow)
        length = len(message.content)
        running.count += 1
        running.up += length if message.from_client else 0
        running.down += 0 if message.from_client else length
        taken = self._take(running, length + MESSAGE_COST, self._kept_of_each - running.held)
        if taken >= MESSAGE_COST:
            running.messages.append((replace(message, content=message.content[: taken - MESSAGE_COST]), length))

    def finish(self, flow: Flow) -> None:
        running = self._running.pop(flow.id, None)
        if running:
            self._room += running.held
        if not self._printer.unread:
            self._printer.write(render(flow, self._detail, self._color, running))

    def close(self) -> None:
        self._printer.close()

    def _of(self, flow: Flow) -> _Running:
        running = self._running.get(flow.id)
        if running is None:
            running = self._running[flow.id] = _Running()
        return running

    def _take(self, running: _Running, wanted: int, allowed: int) -> int:
        """How much of `wanted` is kept. Never some after none: what is kept of a flow has no gaps."""
        taken = min(wanted, allowed)
        running.starved = running.starved or taken > self._room
        if running.starved:
            return 0
        running.held += taken
        self._room -= taken
        return taken
