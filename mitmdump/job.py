"""One run of the program: its outputs, how it ended, and what is said about it at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NamedTuple

from .errors import OutputError
from .filter import Filter
from .log import Log
from .settings import Settings
from .sinks.base import Sink
from .sinks.recorder import Recorder
from .sinks.tap import Outlet, Outlets
from .sinks.text import TextSink

DONE, OUTPUT_FAILED, REFUSED, DAMAGED = 0, 1, 2, 3


class Filters(NamedTuple):
    """The filters of a run: of what is printed and written, and of each --save."""

    main: Filter | None
    saved: tuple[Filter, ...]

    def rule_out(self, record: bytes) -> bool:
        """Is it certain that none of them wants the flow with this record in a flow file?"""
        return self.main is not None and all(each.rules_out(record) for each in (self.main, *self.saved))


class Job:
    """One run of the program: its sinks, how it ended, and what is said about it.

    Making one empties the output files, so it is made when nothing else can be refused any more. Raises OutputError.
    """

    def __init__(self, settings: Settings, log: Log, filters: Filters) -> None:
        self.settings = settings
        self.log = log
        self.recorders: list[Recorder] = []
        self.failure: OSError | OutputError | None = None
        self.on_failure: Callable[[], object] = _do_nothing
        main: list[Sink] = [self._record(file) for file in settings.write]
        if not settings.quiet and settings.flow_detail and "-" not in settings.outputs:
            recording = bool(settings.outputs)
            main.append(TextSink(sys.stdout, settings.flow_detail, _use_color(settings), dispensable=recording))
        self._outlets = [Outlet(filters.main, main, self._fail)]
        for (file, _), filter_ in zip(settings.save, filters.saved, strict=True):
            self._outlets.append(Outlet(filter_, [self._record(file)], self._fail))
        self._sinks = [sink for outlet in self._outlets for sink in outlet.sinks]
        self.outlet = Outlets(self._outlets) if settings.save else self._outlets[0]

    def _record(self, file: str) -> Recorder:
        recorder = Recorder(file, fsync=self.settings.fsync)
        self.recorders.append(recorder)
        return recorder

    def _fail(self, error: OSError | OutputError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.log.error(str(error))
        if self.failure is None or isinstance(self.failure, BrokenPipeError):
            self.failure = error
        self.on_failure()

    def reopen(self) -> None:
        """Go on in new files, where somebody has moved the old ones away."""
        for recorder in self.recorders:
            try:
                recorder.reopen()
            except OutputError as error:
                self._fail(error)

    def close(self) -> int:
        """Close the sinks, say what there is to say, and return the exit status."""
        for sink in self._sinks:
            try:
                sink.close()
            except (OSError, OutputError) as error:
                if self.failure is None:
                    self._fail(error)
        self.log.info(self.summary())
        if self.failure is None:
            return DONE
        if isinstance(self.failure, BrokenPipeError):
            # Nobody reads stdout any more, which is not our trouble; Python would write its last bytes there all the
            # same.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return DONE
        return OUTPUT_FAILED

    def summary(self) -> str:
        """The closing line. `written` counts the flows in all files; `dropped` are those that a file was to take and
        could not.
        """
        tally = self._outlets[0].tally
        written = sum(recorder.flows for recorder in self.recorders)
        wanted = sum(outlet.tally.matched for outlet in self._outlets[1:]) + tally.matched * len(self.settings.write)
        return (
            f"{tally.seen} flows seen, {tally.matched} matched, {written} written, {tally.failed} failed, "
            f"{wanted - written} dropped"
        )


def _do_nothing() -> None:
    pass


def _use_color(settings: Settings) -> bool:
    if settings.color == "auto":
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return settings.color == "always"
