"""The flows that a client replay sends, in the order in which they began, as often as they are wanted.

A capture has them in the order in which they ended, so all are taken first, and where they are too many for the memory
copied to a temporary file; see `files.sorting`. So captures may be pipes, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from typing import NamedTuple

from ..errors import FlowFileError
from ..files import Flows, InOrder, open_flows
from ..filter import Filter
from ..flowfile import RawFlow
from ..model.flow import Flow
from ..settings import Settings

# So many places of damage in a file are told one by one: enough to see a pattern, few enough to be read.
_SHOWN = 20


class Recorded(NamedTuple):
    """A recorded flow; `is_first`: the ones before it, if any, belong to another recording."""

    flow: Flow
    is_first: bool


class Recordings:
    """The flows of captures that a filter wants (None: all), one capture after the other, or with `merge` by time.

    Iterating gives all of them `rounds` times; bodies can be read until `close`. What is damaged is told `warn`, and
    `damaged` says that something was. Raises FlowFileError where a capture cannot be read at all, and OutputError where
    there is no room for the copy.
    """

    def __init__(
        self,
        names: Iterable[str],
        wanted: Filter | None,
        warn: Callable[[str], object],
        *,
        merge: bool = False,
        rounds: int = 1,
    ) -> None:
        self.damaged = False
        self._warn = warn
        self._rounds = rounds
        self._kept = ExitStack()
        try:
            inputs = [self._kept.enter_context(open_flows(name, filter=wanted)) for name in names]
            streams = [self._read(flows) for flows in inputs]
            self._parts = [self._keep(stream) for stream in ([chain.from_iterable(streams)] if merge else streams)]
        except BaseException:
            self._kept.close()
            raise

    @classmethod
    def of(cls, settings: Settings, wanted: Filter | None, warn: Callable[[str], object]) -> Recordings:
        """Those that the settings name."""
        return cls(settings.client_replay, wanted, warn, merge=settings.sort, rounds=settings.replay_loop)

    def __len__(self) -> int:
        return sum(map(len, self._parts)) * self._rounds

    def __iter__(self) -> Iterator[Recorded]:
        for _ in range(self._rounds):
            for part in self._parts:
                for number, (flow, _) in enumerate(part):
                    yield Recorded(flow, is_first=number == 0)

    def close(self) -> None:
        """Give the room back."""
        self._kept.close()

    def _keep(self, flows: Iterable[tuple[Flow, RawFlow | None]]) -> InOrder:
        part = InOrder(flows)
        self._kept.callback(part.close)
        return part

    def _read(self, flows: Flows) -> Iterator[tuple[Flow, RawFlow | None]]:
        try:
            for flow in flows:
                yield flow, flows.raw
        except FlowFileError as error:
            self._tell(str(error))
        for damage in flows.damage[:_SHOWN]:
            self._tell(
                f"{flows.name}: damaged: {damage.reason}; skipped {damage.size} bytes from byte {damage.offset} on"
            )
        if rest := flows.damage[_SHOWN:]:
            self._tell(f"{flows.name}: damaged: and {len(rest)} more places")

    def _tell(self, text: str) -> None:
        self.damaged = True
        self._warn(text)
