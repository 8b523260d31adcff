"""Reading mitmproxy's flow files: one typed netstring after the other, each a dict that is a flow.

There is nothing between the flows, and no check on what they hold. A flow whose frame is sound (its length ends at the
tag of a dict) and whose content is not is passed over. Where the frame is not, as when a capture was cut off and
another one appended, the next dict with a version is looked for. In a damaged flow that could be one in its body, if
that is a flow file itself.

In a file, bodies and long messages stay where they are. Until version 11 a WebSocket was a flow of its own, after that
of its handshake: the two are put together, for which a handshake waits, unless too many do.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from ...errors import FlowFileError
from ...model.flow import Flow
from ...model.reading import Damage
from .decode import handshake_id, is_handshake, read_flow
from .frames import Disk, Frame, Input, Pipe
from .state import NEWEST, State

# A handshake that waits takes up to 64 KiB; so many WebSockets open at a time are rare.
_WAITING = 256


class MitmproxyReader:
    """The flows of a file, a `model.reading.FlowSource`. `name` is what messages call it.

    Raises FlowFileError on the way where it cannot be read, or its first flow is of a mitmproxy newer than all we know.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name = name
        self.damage: list[Damage] = []
        self.cut_off = 0
        self.passed_over = 0
        self._file = file
        can_seek = file.seekable()
        self._start = file.tell() if can_seek else 0
        self._input: Input = Disk(file, name) if can_seek else Pipe(file, name)
        self._waiting: dict[int | None, Flow] = {}  # handshakes by id, oldest first
        self._flows = self._read()

    def __iter__(self) -> Iterator[Flow]:
        return self._flows

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self) -> Iterator[Flow]:
        offset = self._start
        while frame := self._next(offset):
            offset = frame.end
            try:
                state = State("flow", frame.open())
                self._check_version(state, is_first=frame.offset == self._start)
                flow = read_flow(state, f"{frame.offset}")
                ready = self._paired(state, flow)
            except ValueError as error:
                self.damage.append(Damage(frame.offset, frame.end - frame.offset, str(error)))
                continue
            if ready:
                yield ready
        yield from self._waiting.values()
        self._waiting.clear()

    def _next(self, offset: int) -> Frame | None:
        """The flow at this offset, or after damage the next one that there is."""
        try:
            return self._input.take(offset)
        except ValueError as error:
            reason = str(error)
        disk = self._input = self._input.from_here(offset)
        frame = disk.search(offset + 1)
        self.damage.append(Damage(offset, (frame.offset if frame else disk.end()) - offset, reason))
        return frame

    def _check_version(self, state: State, *, is_first: bool) -> None:
        """Versions were lists of numbers once, and are numbers now. Raises ValueError where there is none.

        Of one that is newer, too, but FlowFileError of the first flow: the others will be no better.
        """
        version = state.get("version")
        if isinstance(version, list):
            version = version[0] if version else None
        if type(version) is not int:
            raise ValueError("a flow without a version")
        if version > NEWEST and is_first:
            raise FlowFileError(
                f"cannot read {self.name}: it was written by a newer mitmproxy, as version {version} of its flow "
                f"files; this program reads them up to {NEWEST}"
            )
        if version > NEWEST:
            raise ValueError(f"a flow of version {version}, where {NEWEST} is the newest known")

    def _paired(self, state: State, flow: Flow) -> Flow | None:
        """The flow that is to be delivered now: not yet, if it is a handshake; with that, if it is a WebSocket."""
        if state.text("type") == "websocket":
            waiting = handshake_id(state)
            return flow if waiting not in self._waiting else _joined(self._waiting.pop(waiting), flow)
        if not is_handshake(state):
            return flow
        self._waiting[flow.id] = flow
        return self._waiting.pop(next(iter(self._waiting))) if len(self._waiting) > _WAITING else None


def _joined(handshake: Flow, websocket: Flow) -> Flow:
    handshake.messages = websocket.messages
    handshake.error = handshake.error or websocket.error
    handshake.timestamp_end = websocket.timestamp_end or handshake.timestamp_end
    return handshake
