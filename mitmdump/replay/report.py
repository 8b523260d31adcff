"""A report of what became of each request: as JUnit's XML, which build servers understand, or as JSON.

Everything in it that came from the network is on one line and harmless for a terminal, as on stderr.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TextIO
from xml.sax.saxutils import escape, quoteattr

from ..errors import OutputError
from ..sinks.words import harmless

# `passed`: answered, and like the recorded answer as far as that was asked; `failed`: differs from it, or is not what
# was asked for; `error`: no answer; `skipped`: not tried.
Outcome = Literal["passed", "failed", "error", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("passed", "failed", "error", "skipped")

# What an element of JUnit is called in which this outcome is told.
_ELEMENTS: dict[Outcome, str] = {"failed": "failure", "error": "error", "skipped": "skipped"}


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


def open_report(path: Path) -> TextIO:
    """The file of a report, emptied: what cannot be written is to be refused at the start. Raises OutputError."""
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}. Name another file with --replay-report"
        ) from None


def write_report(file: TextIO, title: str, cases: Iterable[Case]) -> None:
    """Write a report, as XML where the file's name ends so, else as JSON, and close it. Raises OutputError."""
    known = list(cases)
    text = junit(title, known) if file.name.lower().endswith(".xml") else as_json(title, known)
    try:
        with file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"cannot write {file.name}: {(error.strerror or str(error)).lower()}") from None


def as_json(title: str, cases: Sequence[Case]) -> str:
    """Counts by outcome, and the cases in order."""
    counts: dict[str, object] = {each: sum(case.outcome == each for case in cases) for each in OUTCOMES}
    found = {"title": title, **counts, "requests": [asdict(_harmless(case)) for case in cases]}
    return json.dumps(found, indent=1) + "\n"


def junit(title: str, cases: Sequence[Case]) -> str:
    """A test suite of which each request is a test case: by server as its class, method and path as its name."""
    counts = {outcome: sum(case.outcome == outcome for case in cases) for outcome in OUTCOMES}
    suite = {
        "name": title,
        "tests": len(cases),
        "failures": counts["failed"],
        "errors": counts["error"],
        "skipped": counts["skipped"],
        "time": f"{sum(case.seconds for case in cases):.3f}",
    }
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", _tag("testsuite", suite)]
    for case in cases:
        lines += _junit_case(_harmless(case))
    return "\n".join([*lines, "</testsuite>", "</testsuites>", ""])


def _junit_case(case: Case) -> list[str]:
    server, path = _split(case.url)
    opening = _tag("testcase", {"classname": server, "name": f"{case.method} {path}", "time": f"{case.seconds:.3f}"})
    if case.outcome not in _ELEMENTS:
        return [opening, "</testcase>"]
    name = _ELEMENTS[case.outcome]
    details = escape(_xml("\n".join(case.details)))
    return [opening, f"{_tag(name, {'message': case.reason})}{details}</{name}>", "</testcase>"]


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
