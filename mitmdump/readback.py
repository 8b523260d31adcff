"""Reading back: flows from files, through the filter, to the outputs; the proxy's counterpart is `live`.

Damage in a file, or a file that breaks off, ends nothing: what can be read is processed, and what could not is said.
SIGINT and SIGTERM end it early, with the outputs closed; following a file ends in no other way.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from time import sleep, time

from .errors import FlowFileError, SettingsError
from .files import INTERVAL, Flows, by_time, open_flows
from .flowfile import RawFlow
from .job import DAMAGED, Filters, Job
from .log import Log
from .model.flow import Flow
from .settings import Settings

Pair = tuple[Flow, RawFlow | None]

# So many places of damage in a file are told one by one: enough to see a pattern, few enough to be read.
_SHOWN = 20


def read_back(settings: Settings, log: Log, filters: Filters) -> int:
    """Read the files that the settings name; returns the exit status.

    Raises MitmdumpError if a file or an output is refused before the first flow.
    """
    _check(settings)
    faults: list[FlowFileError] = []

    def idle() -> None:
        job.tick(time())
        if job.is_over:
            raise KeyboardInterrupt  # there is no other way out of waiting for a flow
        sleep(INTERVAL)

    with ExitStack() as files:
        for number in (
            signal.SIGINT,
            signal.SIGTERM,
        ):  # the first is ignored in what a script has put into the background
            files.callback(signal.signal, number, signal.signal(number, signal.default_int_handler))
        open_ = partial(open_flows, follow=settings.follow, unwanted=filters.unwanted, warn=log.warn, idle=idle)
        inputs = [files.enter_context(open_(name)) for name in settings.read]
        flows = _in_order(inputs, faults.append, copied=bool(settings.outputs or settings.sort))
        if settings.sort:
            flows = by_time(flows)
        job = Job(settings, log, filters)
        with suppress(KeyboardInterrupt):
            _put_all(flows, job, faults.append)
        for fault in faults:
            log.warn(str(fault))
        for each in inputs:
            job.outlet.pass_over(each.passed_over)
            _tell(each, log)
        status = job.close()
    return DAMAGED if not status and (faults or any(each.damage for each in inputs)) else status


def _check(settings: Settings) -> None:
    if settings.follow and len(settings.read) > 1:
        raise SettingsError("--follow takes one file: give one -r only")
    if settings.follow and settings.sort:
        raise SettingsError("--follow and --sort exclude each other: a file that has no end cannot be sorted")


def _in_order(inputs: Iterable[Flows], failed: Callable[[FlowFileError], object], *, copied: bool) -> Iterator[Pair]:
    """The flows of one file after the other, each with how it stands there if it may be `copied`."""
    for flows in inputs:
        try:
            for flow in flows:
                yield flow, flows.raw if copied else None
        except FlowFileError as error:
            failed(error)


def _put_all(flows: Iterable[Pair], job: Job, failed: Callable[[FlowFileError], object]) -> None:
    """To the outputs, until one of them can take no more."""
    for flow, raw in flows:
        try:
            job.outlet.put(flow, raw)
        except FlowFileError as error:  # its body could not be read
            failed(error)
        job.check(time())
        if job.is_over:
            return


def _tell(flows: Flows, log: Log) -> None:
    """What there is to say of a file."""
    for damage in flows.damage[:_SHOWN]:
        place = f"skipped {damage.size} bytes from byte {damage.offset} on"
        log.warn(f"{flows.name}: damaged: {damage.reason}; {place}")
    rest = flows.damage[_SHOWN:]
    if rest:
        log.warn(f"{flows.name}: damaged: and {len(rest)} more places; skipped {sum(d.size for d in rest)} bytes there")
    if flows.cut_off:
        log.info(f"{flows.name}: {flows.cut_off} flows were cut off, because their capture was")
