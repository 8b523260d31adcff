"""Server replay from its beginning to its end: what the settings ask for, and what is said when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from time import time
from typing import cast

from ..errors import FlowFileError, OutputError
from ..filter import Filter
from ..log import Log
from ..redaction import Redactor
from ..redaction.jsonpath import JsonPaths
from ..settings import Settings
from .answers import Answers
from .bodies import Ignored
from .match import Matching
from .report import Case, Report
from .server import Answering, Extra, ServerReplay

# So many places of damage are told one by one, as in reading back.
_DAMAGE_SHOWN = 20


class ServerReplayRun:
    """One run with -S: its `handler`; making one reads the files.

    Raises FlowFileError, SettingsError or OutputError where something cannot be read, or the report not be written.
    """

    def __init__(self, settings: Settings, wanted: Filter | None, redactor: Redactor | None, log: Log) -> None:
        self._settings = settings
        self._log = log
        report = None if settings.client_replay else settings.replay_report
        self._report = Report(report, "mitmdump server replay") if report else None
        self.answers = Answers(_matching(settings, redactor))
        for name in settings.server_replay:
            self.answers.load(name, wanted)
        self.handler = ServerReplay(self.answers, _answering(settings), log.warn)
        self._tell_loaded()

    def _tell_loaded(self) -> None:
        answers = self.answers
        for damage in answers.damage[:_DAMAGE_SHOWN]:
            self._log.warn(damage)
        if len(answers.damage) > _DAMAGE_SHOWN:
            self._log.warn(f"and {len(answers.damage) - _DAMAGE_SHOWN} more places of damage")
        for reason, count in answers.skipped.items():
            self._log.info(f"{count} recorded flow{'s' if count > 1 else ''} cannot answer anything: {reason}")
        if not len(answers) and self.handler.sealed:
            self._log.warn("there is no recording that could answer anything, so all requests will be refused")

    def close(self) -> tuple[bool, bool]:
        """Say what became of the recordings, and write the report: is all as the user wants it, and was all of the
        files read?
        """
        handler, answers = self.handler, self.answers
        unasked = answers.given.count(0)
        self._log.info(
            f"server replay: {handler.answered} answered, {handler.misses} missed, {unasked} of {len(answers)} "
            "recordings never asked for"
        )
        is_good = not (self._settings.replay_strict and (handler.misses or unasked))
        if self._report:
            for case in self._cases():
                self._report.add(case)
            try:
                self._report.close()
            except OutputError as error:
                self._log.error(str(error))
                is_good = False
        answers.close()
        return is_good, not answers.damage

    def _cases(self) -> Iterator[Case]:
        """First what matched nothing, then the recordings in their order."""
        for missed in self.handler.missed:
            reason, details = "no recording matches it", list(map(str, missed.nearest))
            yield Case(missed.method, missed.url, "failed", reason, details)
        for number, count in enumerate(self.answers.given):
            try:
                flow = self.answers.take(number)
            except FlowFileError as error:
                self._log.warn(str(error))
                return
            assert flow.request
            assert flow.response
            status = flow.response.status_code
            if count:
                details = [f"answered {count} times" if count > 1 else "answered once"]
                yield Case(flow.request.method, flow.request.url, "passed", details=details, status=status)
            else:
                yield Case(flow.request.method, flow.request.url, "skipped", "never asked for", status=status)


def _matching(settings: Settings, redactor: Redactor | None) -> Matching:
    parts = set(settings.replay_match)
    parts -= {"host"} if settings.replay_ignore_host else set()
    parts -= {"body"} if settings.replay_ignore_content else set()
    paths = list(chain.from_iterable(settings.replay_ignore_json))
    fields = frozenset(chain.from_iterable(settings.replay_ignore_payload_params))
    return Matching(
        frozenset(parts),
        frozenset(chain.from_iterable(settings.replay_ignore_params)),
        Ignored(fields, JsonPaths(paths) if paths else None),
        tuple(name.lower() for name in chain.from_iterable(settings.replay_headers)),
        redactor,
    )


def _answering(settings: Settings) -> Answering:
    return Answering(
        cast(Extra, settings.replay_extra),
        settings.replay_after,
        reuse=settings.replay_reuse,
        refresh=settings.replay_refresh,
        latency=settings.replay_latency,
        forwards_silently=settings.record_mode is not None,
        started=time(),
    )
