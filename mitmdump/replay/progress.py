"""A line on a terminal that is drawn again and again: how far a replay is.

It is a sink, the first of all, because flows may be printed on the same terminal: before one is, the line has to be
taken away. It comes back with the next tick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TextIO

from ..model.flow import Flow
from ..sinks.base import Sink
from ..sinks.words import duration

_ERASE = "\r\x1b[K"  # ECMA-48 section 8.3.41, from the first column on


@dataclass(slots=True)
class Counts:
    """What became of so many requests out of `total`; `skipped` by reason."""

    total: int = 0
    answered: int = 0
    failed: int = 0
    differing: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> int:
        """How many need not be waited for any more."""
        return self.answered + self.failed + self.skipped.total()


class Progress(Sink):
    """Draws `counts` on `stream`, a terminal, from the time `since` on (of `clock`, in seconds)."""

    wants_bodies = False

    def __init__(self, stream: TextIO, counts: Counts, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._counts = counts
        self._clock = clock
        self._since = clock()
        self._drawn = False

    def finish(self, flow: Flow) -> None:  # noqa: ARG002  # whatever it is, it is about to be printed
        self.erase()

    def tick(self, now: float) -> None:  # noqa: ARG002  # a clock that may be set is not for rates
        if self._counts.done == self._counts.total:  # clients may be served for long after it
            self.erase()
            return
        self._write(_ERASE + line(self._counts, self._clock() - self._since))
        self._drawn = True

    def erase(self) -> None:
        """Take the line away, for something else to be written."""
        if self._drawn:
            self._drawn = False
            self._write(_ERASE)

    def close(self) -> None:
        self.erase()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            pass  # a terminal that is gone is no reason to end


def line(counts: Counts, seconds: float) -> str:
    """The line, `seconds` after the start."""
    words = [f"{counts.done} of {counts.total} done"]
    for number, what in ((counts.failed, "failed"), (counts.differing, "differ")):
        if number:
            words.append(f"{number} {what}")
    sent = counts.answered + counts.failed
    if sent and seconds > 0:
        rate = sent / seconds
        words.append(f"{rate:.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        if rest := counts.total - counts.done:
            words.append(f"{duration(rest / rate)} left")
    return ", ".join(words)
