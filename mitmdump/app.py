"""Wiring: out of the settings comes a job, out of the job the exit status.

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
import signal
import stat
from functools import partial
from pathlib import Path
from time import time

from .errors import MitmdumpError, OutputError
from .filter import parse
from .flowfile import FlowReader, open_flows
from .job import DAMAGED, DONE, OUTPUT_FAILED, REFUSED, Filters, Job
from .log import Log
from .settings import Settings
from .sinks.output import expand


def run(settings: Settings) -> int:
    """Do what the settings say; returns the exit status. Never raises."""
    log = Log(quiet=settings.quiet, verbose=settings.verbose, tracebacks=settings.debug)
    try:
        filters = _parse_filters(settings, log)
        _check_outputs(settings)
        if settings.read:
            return _read_back(settings, log, filters)
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


def _read_back(settings: Settings, log: Log, filters: Filters) -> int:
    """Flows from files, through the filter, to the sinks. SIGINT and SIGTERM end it early, with the files closed."""
    with contextlib.ExitStack() as files:
        files.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        unwanted = filters.rule_out if filters.main else None
        readers = [files.enter_context(open_flows(name, unwanted=unwanted)) for name in settings.read]
        job = Job(settings, log, filters)
        with contextlib.suppress(KeyboardInterrupt):
            for reader in readers:
                _read_one(reader, job)
                if job.failure:
                    break
        status = job.close()
        return DAMAGED if not status and any(reader.damage for reader in readers) else status


def _read_one(reader: FlowReader, job: Job) -> None:
    """The flows of one file, until its end or that of an output; and what there is to say of it."""
    try:
        for flow in reader:
            job.outlet.put(flow)
            if job.failure:
                return
    finally:
        job.outlet.pass_over(reader.passed_over)
    for damage in reader.damage:
        place = f"skipped {damage.size} bytes from byte {damage.offset} on"
        job.log.warn(f"{reader.name}: damaged: {damage.reason}; {place}")
    if reader.cut_off:
        job.log.info(f"{reader.name}: {reader.cut_off} flows were cut off, because their capture was")


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
