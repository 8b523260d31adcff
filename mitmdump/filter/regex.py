"""Regular expressions that search what strangers sent.

Python's engine backtracks, so some patterns take exponential time on text made for it: `(a+)+$` on forty letters. Only
repetitions can do that. A pattern without one is searched directly; any other under a timer whose signal the engine
looks for while it works. What takes longer than TIME_LIMIT counts as not found, and a warning says so.

What remains: who can send such texts as often as he likes can take that time for each; and there is no timer outside
the main thread, nor on systems without POSIX timers.
"""

from __future__ import annotations

import re
import signal
import warnings
from collections.abc import Callable
from threading import get_ident, main_thread
from types import FrameType
from typing import AnyStr

from .words import ArgumentError

# In seconds of processor time. A harmless pattern goes through 16 MiB, the longest text searched, in a fifth of it;
# a harmful one fills some 500 MB with places to come back to.
TIME_LIMIT = 1.0

Search = Callable[[AnyStr], bool]


def compile_search(pattern: AnyStr, flags: re.RegexFlag, warn: Callable[[str], None]) -> Search[AnyStr]:
    """A function that says whether `pattern` is found anywhere in a text.

    `warn` is called with a sentence when a search was given up. Raises ArgumentError, with the place in the pattern
    counted in characters.
    """
    search = _compile(pattern, flags).search
    if not re.search(r"[*+?{]", _text(pattern)):
        return lambda data: search(data) is not None

    def patient(data: AnyStr) -> bool:
        try:
            return _watchdog.run(search, data) is not None
        except (_TooSlow, MemoryError):  # for the places to come back to
            warn(f"gave up searching for {_text(pattern)!a}, too slow on {len(data)} bytes: counts as not matching")
            return False

    return patient


def _compile(pattern: AnyStr, flags: re.RegexFlag) -> re.Pattern[AnyStr]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what future versions of Python may take for a nested set
            return re.compile(pattern, flags)
    except re.error as error:
        offset = len(_text(pattern[: error.pos or 0]))
        raise ArgumentError(error.msg, offset) from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise ArgumentError(str(error)) from error


def _text(pattern: str | bytes) -> str:
    return pattern if isinstance(pattern, str) else pattern.decode("utf-8", "ignore")


class _TooSlow(Exception):  # noqa: N818  # a signal, caught a few lines above
    pass


class _Watchdog:
    """The process's one timer of processor time (SIGPROF); silent unless armed.

    The handler stays installed: without one, a signal that is still on its way would end the process.
    """

    def __init__(self) -> None:
        self._armed = False
        self._installed = False

    def run(self, search: Callable[[AnyStr], object], data: AnyStr) -> object:
        """`search(data)`, or _TooSlow after TIME_LIMIT."""
        if get_ident() != main_thread().ident or not hasattr(signal, "setitimer"):
            return search(data)
        if not self._installed:  # each time would cost more than many a search
            signal.signal(signal.SIGPROF, self._bark)
            self._installed = True
        self._armed = True
        try:
            signal.setitimer(signal.ITIMER_PROF, TIME_LIMIT)
            return search(data)
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _bark(self, _signum: int, _frame: FrameType | None) -> None:
        if self._armed:
            raise _TooSlow


_watchdog = _Watchdog()


# A pattern in pieces: an escape, a character class, a repetition, any other character.
_PIECES = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{\d*,?\d*\}|.", re.DOTALL)
_BREAKING_ESCAPES = frozenset(rf"\{letter}" for letter in "AbBdDsSwWZafnrtv")


def required_literals(pattern: str) -> list[str]:
    """The texts that every match of `pattern` must contain, in their order; [] where that is not easily seen."""
    if "(?" in pattern:  # flags, look-around, conditions: too clever for us
        return []
    runs, depth = [""], 0
    for piece in _PIECES.findall(pattern):
        if piece == "|" and depth == 0:
            return []
        if piece in ("(", ")"):
            depth += 1 if piece == "(" else -1
            runs.append("")
        elif depth:
            continue
        elif piece in ("*", "?") or piece[0] == "{":
            runs[-1:] = [runs[-1][:-1], ""]  # the character before may be absent
        elif piece in ("+", ".", "^", "$") or (len(piece) > 1 and piece[0] == "[") or piece in _BREAKING_ESCAPES:
            runs.append("")
        elif piece[0] != "\\":
            runs[-1] += piece
        elif not piece[1:].isalnum():
            runs[-1] += piece[1]
        else:  # a character by its number, or a group again
            return []
    return [run for run in runs if run]


def required_literal(pattern: str) -> str:
    """The longest text that every match of `pattern` must contain; "" where that is not easily seen."""
    return max(required_literals(pattern), key=len, default="")
