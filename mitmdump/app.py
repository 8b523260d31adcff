"""Wiring: out of the settings come the sinks, and the job that feeds them; out of the job comes the exit status.

| status | meaning |
|---|---|
| 0 | done |
| 1 | an output could no longer be written |
| 2 | refused before the first flow could pass |
| 3 | the input was damaged; what could be read was processed |

Reading back imports nothing of the network; the proxy's half is `live`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from time import time

from .errors import MitmdumpError, OutputError
from .filter import Filter, parse
from .flowfile import open_flows
from .log import Log
from .settings import Settings
from .sinks.base import Sink
from .sinks.output import expand
from .sinks.recorder import Recorder
from .sinks.tap import Outlet
from .sinks.text import TextSink

DONE, OUTPUT_FAILED, REFUSED, DAMAGED = 0, 1, 2, 3


class Job:
    """One run of the program: its sinks, how it ended, and what is said about it.

    Making one empties the output files, so it is made when nothing else can be refused any more. Raises OutputError.
    """

    def __init__(self, settings: Settings, log: Log, filter_: Filter | None) -> None:
        self.settings = settings
        self.log = log
        self.recorder: Recorder | None = None
        self.failure: OSError | OutputError | None = None
        self.on_failure: Callable[[], object] = _do_nothing
        sinks: list[Sink] = []
        if settings.write is not None:
            self.recorder = Recorder(settings.write, fsync=settings.fsync)
            sinks.append(self.recorder)
        if not settings.quiet and settings.flow_detail and settings.write != "-":
            sinks.append(TextSink(sys.stdout, settings.flow_detail, color=_use_color(settings)))
        self._sinks = sinks
        self.outlet = Outlet(filter_, sinks, self._fail)

    def _fail(self, error: OSError | OutputError) -> None:
        self.failure = error
        if not isinstance(error, BrokenPipeError):
            self.log.error(str(error))
        self.on_failure()

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
        """The closing line; `dropped` are flows that the filter wanted and no file could take."""
        tally = self.outlet.tally
        written = self.recorder.flows if self.recorder else 0
        dropped = tally.matched - written if self.recorder else 0
        return (
            f"{tally.seen} flows seen, {tally.matched} matched, {written} written, {tally.failed} failed, "
            f"{dropped} dropped"
        )


def _do_nothing() -> None:
    pass


def _use_color(settings: Settings) -> bool:
    if settings.color == "auto":
        return sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return settings.color == "always"


def run(settings: Settings) -> int:
    """Do what the settings say; returns the exit status. Never raises."""
    log = Log(quiet=settings.quiet, verbose=settings.verbose)
    try:
        filter_ = None if settings.filter is None else parse(settings.filter, now=time(), warn=log.warn)
        if settings.read:
            return _read_back(settings, log, filter_)
        if not settings.server:
            raise OutputError("nothing to do: -n starts no server, and there is no -r FILE to read")
        from .live import run_proxy  # asyncio, OpenSSL and all that is behind them

        return run_proxy(settings, log, filter_)
    except MitmdumpError as error:
        log.error(*str(error).split("\n"))
        return REFUSED
    except KeyboardInterrupt:
        return DONE
    except Exception as error:  # noqa: BLE001  # a traceback never reaches a user who did not ask for it
        if settings.debug:
            traceback.print_exc()
        log.error(f"this should not have happened: {type(error).__name__}: {error}. Please report it (--debug)")
        return OUTPUT_FAILED


def _read_back(settings: Settings, log: Log, filter_: Filter | None) -> int:
    """Flows from files, through the filter, to the sinks."""
    _refuse_overwriting(settings)
    with contextlib.ExitStack() as files:
        readers = [(name, files.enter_context(open_flows(name))) for name in settings.read]
        job = Job(settings, log, filter_)
        for name, reader in readers:
            for flow in reader:
                job.outlet.put(flow)
                if job.failure:
                    return job.close()
            for damage in reader.damage:
                log.warn(f"{name}: damaged: {damage.reason}; skipped {damage.size} bytes from byte {damage.offset} on")
            if reader.cut_off:
                log.info(f"{name}: {reader.cut_off} flows were cut off, because their capture was")
        status = job.close()
        return DAMAGED if not status and any(reader.damage for _, reader in readers) else status


def _refuse_overwriting(settings: Settings) -> None:
    """A file cannot be read and replaced at a time. Raises OutputError."""
    if settings.write is None or settings.write == "-":
        return
    target = _status(expand(settings.write, time()))
    for name in settings.read:
        source = _status(name)
        if target and source and stat.S_ISREG(target.st_mode) and os.path.samestat(target, source):
            raise OutputError(f"cannot write {settings.write}: it is also read (-r). Choose another file with -w")


def _status(name: str) -> os.stat_result | None:
    try:
        return os.fstat(0) if name == "-" else Path(name).stat()
    except OSError:
        return None  # who opens it says why
