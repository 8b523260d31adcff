"""One run of the program: its outputs, how it ended, and what is said about it at the end."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import OutputError, SettingsError
from .log import Log
from .settings import Settings
from .sinks.base import Sink
from .sinks.series import Rotation
from .sinks.tap import Outlet, Outlets

if TYPE_CHECKING:
    from .filter import Filter
    from .redaction import Redactor
    from .sinks.filesink import FileSink

DONE, OUTPUT_FAILED, REFUSED, DAMAGED = 0, 1, 2, 3


class Filters(NamedTuple):
    """The filters of a run: of what is printed and written, of each --save, and of what is replayed."""

    main: Filter | None
    saved: tuple[Filter, ...]
    replayed: Filter | None = None

    @property
    def unwanted(self) -> Callable[[bytes], bool] | None:
        """What says of records of flows, one or many, that it is certain that none of them wants one in a flow file.

        None where they want every flow.
        """
        if self.main is None:
            return None
        if not self.saved:
            return self.main.rules_out
        tests = [each.rules_out for each in (self.main, *self.saved)]
        return lambda record: all(rules_out(record) for rules_out in tests)


class Job:
    """One run of the program: its sinks, how it ended, and what is said about it.

    Making one empties the output files, so it is made when nothing else can be refused any more. Raises OutputError.
    `is_over`: no more flows are to be taken. `on_failure` is told when that is because an output failed, `on_enough`
    when it is because of --stop-after. `before` are told of the flows that match before any output is.
    """

    def __init__(self, settings: Settings, log: Log, filters: Filters, *before: Sink) -> None:
        self.settings = settings
        self.log = log
        self.recorders: list[FileSink[Any]] = []
        self._rotation = Rotation.of(settings, log.warn)
        self.failure: OSError | OutputError | None = None
        self.is_over = False
        self.on_failure: Callable[[], object] = _do_nothing
        self.on_enough: Callable[[], object] = _do_nothing
        self._goes_on = settings.on_write_error == "pass"
        self._since = time()
        self._redactor = make_redactor(settings, log.warn)
        self._warn_once = cache(log.warn)
        main: list[Sink] = [*before, *map(self._file, settings.write)]
        main += map(self._guarded, self._printing())
        limit = settings.stop_after.flows if settings.stop_after else None
        self._outlets = [Outlet(filters.main, main, self._fail, limit=limit, on_full=self._stop)]
        for (file, _), filter_ in zip(settings.save, filters.saved, strict=True):
            self._outlets.append(Outlet(filter_, [self._file(file)], self._fail))
        self.outlet = Outlets(self._outlets) if settings.save else self._outlets[0]

    def _printing(self) -> Iterator[Sink]:
        """What goes to stdout, if anything does."""
        settings, how = self.settings, {"dispensable": bool(self.settings.outputs), "prompt": _is_live(self.settings)}
        if sys.stdout is None:  # whoever started us has closed it
            return
        if settings.stats:
            from .sinks.stats import StatsSink

            yield StatsSink(sys.stdout)
        elif settings.json and settings.flow_detail:
            from .sinks.lines import JsonSink

            yield self._trimmed(JsonSink(sys.stdout, contents=settings.flow_detail > 2, **how))
        elif not settings.quiet and settings.flow_detail and "-" not in settings.outputs:
            from .sinks.text import TextSink

            yield TextSink(sys.stdout, settings.flow_detail, _use_color(settings), **how)

    def _file(self, file: str) -> Sink:
        """A file, behind what keeps secrets and large bodies from it."""
        return self._guarded(self._trimmed(self._record(file)))

    def _trimmed(self, sink: Sink) -> Sink:
        if self.settings.body_limit is None:
            return sink
        from .sinks.trim import Trimming

        return Trimming(sink, self.settings.body_limit)

    def _guarded(self, sink: Sink) -> Sink:
        if not self._redactor:
            return sink
        from .sinks.redact import Redacting

        return Redacting(sink, self._redactor, self._warn_once)

    def _record(self, file: str) -> FileSink[Any]:
        from .sinks.filesink import Options  # many runs write no file
        from .sinks.recorder import make_recorder

        path = file.removeprefix("+")
        append = self.settings.append or path != file
        recorder = make_recorder(
            path,
            Options(
                append=append,
                fsync=self.settings.fsync,
                gathers=not self.settings.read,
                rotation=self._rotation,
                warn=self.log.warn,
            ),
        )
        self.recorders.append(recorder)
        return recorder

    def tick(self, now: float) -> None:
        """Called about every quarter of a second; `now` in Unix seconds."""
        self.outlet.tick(now)
        self.check(now)

    def check(self, now: float) -> None:
        """Have so much time passed, or so many bytes been written, that it is enough?"""
        stop = self.settings.stop_after
        if stop is None or self.is_over:
            return
        passed, written = now - self._since, self._bytes()
        if (stop.seconds and passed >= stop.seconds) or (stop.bytes and written >= stop.bytes):
            self._stop()

    def _bytes(self) -> int:
        """What was written; where there are no files, what passed."""
        if self.recorders:
            return sum(recorder.written for recorder in self.recorders)
        return self._outlets[0].tally.bytes

    def _stop(self) -> None:
        """Stop in good order."""
        if not self.is_over and self.settings.stop_after:
            self.is_over = True
            self.log.info(f"stopping, as --stop-after {self.settings.stop_after.text} says")
            self.on_enough()

    def _fail(self, error: OSError | OutputError) -> None:
        """An output can take no more: that is the end, unless the user thinks otherwise."""
        goes_on = self._goes_on and not isinstance(error, BrokenPipeError)
        if not isinstance(error, BrokenPipeError):
            self.log.error(f"{error}. Going on without it" if goes_on else str(error))
        if self.failure is None or isinstance(self.failure, BrokenPipeError):
            self.failure = error
        if not goes_on:
            self.is_over = True
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
        self._goes_on = False
        for outlet in self._outlets:
            outlet.close()
        if self._rotation.commands:
            self._rotation.commands.wait()
        for note in chain.from_iterable(recorder.notes for recorder in self.recorders):
            self.log.warn(note)
        self.log.info(self.summary())
        if self.failure is None:
            return DONE
        if isinstance(self.failure, BrokenPipeError):
            let_go_of_stdout()
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
        ) + (f", {tally.passed_through} passed through" if tally.passed_through else "")


def let_go_of_stdout() -> None:
    """Nobody reads it any more, which is not our trouble; Python would write its last bytes there all the same."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _do_nothing() -> None:
    pass


def _is_live(settings: Settings) -> bool:
    """May flows still happen while they are printed?"""
    past = settings.read and all(name != "-" and Path(name).is_file() for name in settings.read)
    return settings.follow or not past


def make_redactor(settings: Settings, warn: Callable[[str], object]) -> Redactor | None:
    """What --redact asks for. Raises SettingsError."""
    if not settings.redact:
        if settings.redact_key:
            raise SettingsError("--redact-key says how to redact, and nothing says what: give --redact, too")
        return None
    from .redaction import Redactor
    from .sinks.redact import read_key

    return Redactor(chain.from_iterable(settings.redact), read_key(settings.redact_key, warn))


def _use_color(settings: Settings) -> bool:
    if settings.color == "auto":
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return settings.color == "always"
