"""A report of what became of each request: as JUnit's XML, which build servers understand, or as JSON.

The counts come first in it, and there may be millions of requests: so each is written, as it will stand there, to a
temporary file, and the report when all are known. Everything in it that came from the network is on one line and
harmless for a terminal, as on stderr.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from shutil import copyfileobj
from tempfile import SpooledTemporaryFile
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from ..errors import OutputError
from ..sinks.words import harmless

# `passed`: answered, and like the recorded answer as far as that was asked; `failed`: differs from it, or is not what
# was asked for; `error`: no answer; `skipped`: not tried.
Outcome = Literal["passed", "failed", "error", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "error", "skipped")

# What an element of JUnit is called in which this outcome is told.
_ELEMENTS: dict[Outcome, str] = {"failed": "failure", "error": "error", "skipped": "skipped"}

# In memory up to here, in characters: what a build server runs hardly ever needs the temporary file.
_HELD = 8 * 1024 * 1024


@dataclass(slots=True)
class Case:
    """One request: what became of it, why, and in which points; `seconds` is how long it took."""

    method: str
    url: str
    outcome: Outcome
    reason: str = ""
    details: Sequence[str] = field(default=())
    status: int | None = None
    seconds: float = 0.0


class Totals(NamedTuple):
    """What is known in the end: how many cases of each outcome, and how long they took together."""

    title: str
    counts: Counter[Outcome]
    seconds: float


class Format(NamedTuple):
    """How a report is written: what comes before the cases, between two, and after the last."""

    begin: Callable[[Totals], str]
    case: Callable[[Case], str]
    between: str
    end: str


class Report:
    """A report with this title in a file, as XML where its name ends so, else as JSON.

    `add` one case after the other, then `close`. The file is emptied when this is made, as what cannot be written is to
    be refused at the start. Making and closing raise OutputError.
    """

    def __init__(self, path: Path, title: str) -> None:
        self._title = title
        self._format = JUNIT if path.suffix.lower() == ".xml" else JSON
        self._counts: Counter[Outcome] = Counter()
        self._seconds = 0.0
        self._failure = ""
        try:
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{_refusal(path, error)}. Name another file with --replay-report") from None
        self._cases = SpooledTemporaryFile(_HELD, "w+", encoding="utf-8")  # noqa: SIM115  # there is `close`

    def add(self, case: Case) -> None:
        """One more. If there is no room for it, it is `close` that says so."""
        between = self._format.between if self._counts else ""
        self._counts[case.outcome] += 1
        self._seconds += case.seconds
        if self._failure:
            return
        try:
            self._cases.write(between + self._format.case(_harmless(case)))
        except OSError as error:
            self._failure = f"no room for its cases: {error.strerror}. Set TMPDIR to a directory with more room"

    def close(self) -> None:
        """Write it. Raises OutputError."""
        try:
            with self._file as file, self._cases as cases:
                if self._failure:
                    raise OutputError(f"cannot write {file.name}: {self._failure}")
                cases.seek(0)
                file.write(self._format.begin(Totals(self._title, self._counts, self._seconds)))
                copyfileobj(cases, file)
                file.write(self._format.end)
        except OSError as error:
            raise OutputError(_refusal(Path(self._file.name), error)) from None


def _refusal(path: Path, error: OSError) -> str:
    return f"cannot write {path}: {(error.strerror or str(error)).lower()}"


def _harmless(case: Case) -> Case:
    return Case(
        harmless(case.method),
        harmless(case.url),
        case.outcome,
        harmless(case.reason),
        [harmless(line) for line in case.details],
        case.status,
        round(case.seconds, 6),
    )


# -- JSON: the counts by outcome, and the cases in order --------------------------------------------------------------


def _json_begin(totals: Totals) -> str:
    counts = {outcome: totals.counts[outcome] for outcome in OUTCOMES}
    return json.dumps({"title": totals.title, **counts}, indent=1).removesuffix("\n}") + ',\n "requests": [\n'


def _json_case(case: Case) -> str:
    return json.dumps(asdict(case))


JSON = Format(_json_begin, _json_case, ",\n", "\n ]\n}\n")


# -- JUnit: a test suite of which each request is a test case, by server as its class, method and path as its name ----


def _junit_begin(totals: Totals) -> str:
    counts = totals.counts
    suite = {
        "name": totals.title,
        "tests": counts.total(),
        "failures": counts["failed"],
        "errors": counts["error"],
        "skipped": counts["skipped"],
        "time": f"{totals.seconds:.3f}",
    }
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n{_tag("testsuite", suite)}\n'


def _junit_case(case: Case) -> str:
    server, path = _split(case.url)
    opening = _tag("testcase", {"classname": server, "name": f"{case.method} {path}", "time": f"{case.seconds:.3f}"})
    if case.outcome not in _ELEMENTS:
        return f"{opening}</testcase>"
    name = _ELEMENTS[case.outcome]
    details = escape(_xml("\n".join(case.details)))
    return f"{opening}\n{_tag(name, {'message': case.reason})}{details}</{name}>\n</testcase>"


JUNIT = Format(_junit_begin, _junit_case, "\n", "\n</testsuite>\n</testsuites>\n")


def _split(url: str) -> tuple[str, str]:
    """A URL as server and path; both are a name of something in JUnit, so neither may be empty."""
    scheme, separator, rest = url.partition("://")
    server, slash, path = rest.partition("/")
    return (f"{scheme}://{server}", slash + path or "/") if separator else ("replay", url)


def _tag(name: str, attributes: dict[str, object]) -> str:
    return f"<{name} {' '.join(f'{key}={quoteattr(_xml(str(value)))}' for key, value in attributes.items())}>"


def _xml(text: str) -> str:
    """Text without the two characters that are harmless elsewhere and have no place in XML (XML 1.0 section 2.2)."""
    return text.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
