"""Wiring: out of the settings comes a job, out of the job the exit status.

| status | meaning |
|---|---|
| 0 | done |
| 1 | an output could no longer be written |
| 2 | refused before the first flow could pass |
| 3 | the input was damaged; what could be read was processed |

Flows come from files (`readback`, which imports nothing of the network) or from clients (`live`).
"""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from time import time

from .errors import MitmdumpError, OutputError
from .filter import parse
from .job import DONE, OUTPUT_FAILED, REFUSED, Filters
from .log import Log
from .readback import read_back
from .settings import Settings
from .sinks.output import expand


def run(settings: Settings) -> int:
    """Do what the settings say; returns the exit status. Never raises."""
    log = Log(quiet=settings.quiet, verbose=settings.verbose, tracebacks=settings.debug)
    try:
        filters = _parse_filters(settings, log)
        _check_outputs(settings)
        if settings.read:
            return read_back(settings, log, filters)
        if settings.follow or settings.sort:
            raise OutputError("nothing to do for --follow or --sort: there is no -r FILE to read")
        if not settings.server:
            raise OutputError("nothing to do: -n starts no server, and there is no -r FILE to read")
        from .live import run_proxy  # asyncio, OpenSSL and all that is behind them

        return run_proxy(settings, log, filters)
    except MitmdumpError as error:
        log.error(*str(error).split("\n"))
        return REFUSED
    except KeyboardInterrupt:
        return DONE
    except Exception as error:  # noqa: BLE001  # a traceback never reaches a user who did not ask for it
        log.bug(error)
        return OUTPUT_FAILED


def _parse_filters(settings: Settings, log: Log) -> Filters:
    """Raises FilterError."""
    understood = partial(parse, case_sensitive=settings.case_sensitive, now=time(), warn=log.warn)
    main = None if settings.filter is None else understood(settings.filter)
    return Filters(main, tuple(understood(text) for _, text in settings.save))


def _check_outputs(settings: Settings) -> None:
    """A file cannot be written twice, nor read and replaced, at a time. Raises OutputError."""
    seen: set[str] = set()
    for name in settings.outputs:
        path = name if name == "-" else os.path.realpath(expand(name, time()))
        if path in seen:
            raise OutputError(f"cannot write {name} twice. Choose another file with -w or --save")
        seen.add(path)
        for source in settings.read:
            if name != "-" and _is_same(_status(path), _status(source)):
                raise OutputError(f"cannot write {name}: it is also read (-r). Choose another file with -w or --save")


def _is_same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    return bool(one and other and stat.S_ISREG(one.st_mode) and os.path.samestat(one, other))


def _status(name: str) -> os.stat_result | None:
    try:
        return os.fstat(0) if name == "-" else Path(name).stat()
    except OSError:
        return None  # who opens it says why
