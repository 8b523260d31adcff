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
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

from .errors import MitmdumpError, OutputError, SettingsError
from .job import DAMAGED, DONE, OUTPUT_FAILED, REFUSED, Filters, let_go_of_stdout
from .log import Log
from .settings import Settings
from .sinks.output import expand

if TYPE_CHECKING:
    from .filter import Filter

# Settings that say how to do what -C asks for, what -S does, and what either does.
_OF_CLIENT_REPLAY = (
    "replay_concurrency",
    "replay_timing",
    "replay_rate",
    "replay_loop",
    "replay_to",
    "replay_timeout",
    "replay_verify",
    "replay_dry_run",
)
_OF_SERVER_REPLAY = (
    "replay_extra",
    "replay_match",
    "replay_ignore_params",
    "replay_ignore_payload_params",
    "replay_ignore_json",
    "replay_ignore_content",
    "replay_ignore_host",
    "replay_headers",
    "replay_after",
    "replay_reuse",
    "replay_latency",
    "replay_refresh",
    "record_mode",
    "replay_strict",
)
_OF_REPLAY = ("replay_filter", "replay_report")
_DEFAULTS = Settings()


def run(settings: Settings) -> int:
    """Do what the settings say; returns the exit status. Never raises."""
    log = Log(quiet=settings.quiet, verbose=settings.verbose, tracebacks=settings.debug)
    try:
        _check_replay(settings)
        if settings.record_mode:
            from .replay.cassette import with_cassette  # which few runs need

            settings = with_cassette(settings)
        filters = _parse_filters(settings, log)
        _check_outputs(settings)
        if settings.read:
            from .readback import read_back

            return read_back(settings, log, filters)
        if settings.follow or (settings.sort and not settings.client_replay):
            raise OutputError("nothing to do for --follow or --sort: there is no -r FILE to read")
        if settings.client_replay and settings.replay_dry_run:
            return _dry_run(settings, log, filters)
        if not (settings.server or settings.client_replay):
            raise OutputError("nothing to do: -n starts no server, and there is no -r FILE to read, nor -C to replay")
        from .doors import open_doors

        doors = open_doors(settings, log)
        from .live import run_proxy  # asyncio, OpenSSL and all that is behind them: clients can wait at the doors

        return run_proxy(settings, log, filters, doors)
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

    def understood(text: str) -> Filter:
        from .filter import parse  # most runs have no filter

        return parse(text, case_sensitive=settings.case_sensitive, now=time(), warn=log.warn)

    main = None if settings.filter is None else understood(settings.filter)
    replayed = main if settings.replay_filter is None else understood(settings.replay_filter)
    return Filters(main, tuple(understood(text) for _, text in settings.save), replayed)


def _dry_run(settings: Settings, log: Log, filters: Filters) -> int:
    """Raises MitmdumpError if a recording is refused."""
    from .replay.dryrun import dry_run  # none of the network comes with it
    from .replay.recordings import Recordings
    from .sinks.printer import Printer

    recordings = Recordings.of(settings, filters.replayed, log.warn)
    printer = Printer(sys.stdout)

    def say(line: str) -> None:
        if sys.stdout is not None:  # whoever started us may have closed it
            printer.write(f"{line}\n")

    with closing(recordings):
        try:
            log.info(dry_run(settings, recordings, say))
        except BrokenPipeError:
            let_go_of_stdout()
        except OutputError as error:
            log.error(str(error))
            let_go_of_stdout()
            return OUTPUT_FAILED
    return DAMAGED if recordings.damaged else DONE


def _check_replay(settings: Settings) -> None:
    """What of the options of replay makes no sense beside others, or without them, is refused. Raises SettingsError."""
    clients, servers = settings.client_replay, settings.server_replay
    for names, files, missing in (
        (_OF_CLIENT_REPLAY, clients, "-C FILE to replay"),
        (_OF_SERVER_REPLAY, servers, "-S FILE to answer from"),
        (_OF_REPLAY, clients or servers, "-C FILE to replay, nor -S FILE to answer from"),
    ):
        if not files and (flag := _first_given(settings, names)):
            raise SettingsError(f"nothing to do for {flag}: there is no {missing}")
    if clients and (settings.read or settings.follow):
        raise SettingsError("-C sends requests, and -r only reads them: choose one")
    if servers and settings.read:
        raise SettingsError("-r reads flows back, and -S answers clients: give one of the two")
    if settings.replay_keep_host and not settings.replay_to:
        raise SettingsError("--replay-keep-host says what --replay-to leaves as it is: give --replay-to, too")
    if settings.replay_ignore and not settings.replay_verify:
        raise SettingsError("--replay-ignore says what --replay-verify leaves out: give --replay-verify, too")
    if settings.replay_reuse and settings.replay_after != "last":
        raise SettingsError("--replay-reuse uses no recording up, so there is nothing to do for --replay-after")


def _first_given(settings: Settings, names: Iterable[str]) -> str:
    """The flag of the first of these settings that is not as it is by default, "" if all are."""
    name = next((name for name in names if getattr(settings, name) != getattr(_DEFAULTS, name)), "")
    if not name:
        return ""
    from .options import OPTIONS  # only who is refused needs it

    return next(option.flags for group in OPTIONS.values() for option in group if option.field == name)


def _check_outputs(settings: Settings) -> None:
    """A file cannot be written twice, nor read and replaced, at a time. Raises OutputError."""
    seen: set[str] = set()
    outputs = [(name, name if name == "-" else expand(name, time()), "-w or --save") for name in settings.outputs]
    if report := settings.replay_report:
        outputs.append((str(report), str(report), "--replay-report"))
    for name, file, flag in outputs:
        path = file if file == "-" else os.path.realpath(file)
        if path in seen:
            raise OutputError(f"cannot write {name} twice. Choose another file with {flag}")
        seen.add(path)
        for source in (*settings.read, *settings.client_replay, *settings.server_replay):
            if settings.record_mode and source in settings.server_replay and flag != "--replay-report":
                continue  # a cassette may be gone on with
            if name != "-" and _is_same(_status(path), _status(source)):
                raise OutputError(f"cannot write {name}: it is also read. Choose another file with {flag}")


def _is_same(one: os.stat_result | None, other: os.stat_result | None) -> bool:
    return bool(one and other and stat.S_ISREG(one.st_mode) and os.path.samestat(one, other))


def _status(name: str) -> os.stat_result | None:
    try:
        return os.fstat(0) if name == "-" else Path(name).stat()
    except OSError:
        return None  # who opens it says why
