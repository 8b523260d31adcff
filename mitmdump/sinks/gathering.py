"""Flows that are still running, for sinks that need each in one piece: what passes waits in a spool until the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import OutputError
from ..model.flow import Flow, Part
from ..model.message import Message
from .spool import Spool


class Gathering:
    """What has passed of running flows. What is not known to it, it passes over. Raises OutputError."""

    def __init__(self) -> None:
        self._spools: dict[int, tuple[Flow, Spool]] = {}  # by id

    def __len__(self) -> int:
        return len(self._spools)

    @property
    def flows(self) -> list[Flow]:
        """The flows that are running."""
        return [flow for flow, _ in self._spools.values()]

    def begin(self, flow: Flow) -> None:
        """Wait for the rest."""
        self._spools[flow.id] = (flow, Spool())

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        """Keep a piece of a body."""
        self._keep(flow, lambda spool: spool.add(part, data))

    def message(self, flow: Flow, message: Message) -> None:
        """Keep a message."""
        self._keep(flow, lambda spool: spool.add_message(message))

    @contextmanager
    def finish(self, flow: Flow) -> Iterator[bool]:
        """The flow with what was gathered of it, as if it held that; then it is let go. Was it running here?"""
        if flow.id not in self._spools:
            yield False
            return
        _, spool = self._spools.pop(flow.id)
        bodies = [message.body if message else None for message in (flow.request, flow.response)]
        before = [body.source if body else None for body in bodies], flow.messages
        for part, body in zip(Part, bodies, strict=True):
            if body is not None:
                body.source = spool.body(part) if spool.size(part) else (None if body.length else b"")
        flow.messages = spool.messages()
        try:
            yield True
        finally:
            for body, source in zip(bodies, before[0], strict=True):
                if body is not None:
                    body.source = source
            flow.messages = before[1]
            spool.close()

    def clear(self) -> None:
        """Let go of all."""
        for _, spool in self._spools.values():
            spool.close()
        self._spools.clear()

    def _keep(self, flow: Flow, add: Callable[[Spool], None]) -> None:
        if flow.id not in self._spools:
            return
        try:
            add(self._spools[flow.id][1])
        except OSError as error:
            raise OutputError(
                f"cannot keep a flow until it has ended: {error.strerror}; set TMPDIR to a directory with more room"
            ) from error
