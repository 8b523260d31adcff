"""What is said to the person who runs the program: lines on stderr, each prefixed, each harmless for a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable

from .sinks.words import harmless


class Log:
    """Lines on stderr. `quiet` leaves only what is wrong, `verbose` adds what helps to find out why.

    `tracebacks` shows those of our own bugs; otherwise no user ever sees one.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, tracebacks: bool = False) -> None:
        self.quiet = quiet
        self._verbose = verbose
        self._tracebacks = tracebacks
        self.make_room: Callable[[], object] = lambda: None  # before a line, where there is something in its place

    def error(self, *lines: str) -> None:
        """Something is wrong, and the user has to know."""
        text = "\n".join(map(harmless, lines))
        self.make_room()
        try:
            sys.stderr.write(f"mitmdump: {text}\n")
            sys.stderr.flush()
        except OSError:
            pass  # nobody is left to be told

    warn = error

    def bug(self, error: BaseException) -> None:
        """Something that is our own fault."""
        if self._tracebacks:
            import traceback  # here, as hardly a run needs it

            traceback.print_exception(error)
        self.error(f"this should not have happened: {type(error).__name__}: {error}. Please report it (--debug)")

    def info(self, text: str) -> None:
        """What is going on."""
        if not self.quiet:
            self.error(text)

    def debug(self, text: str) -> None:
        """Details for those who asked for them."""
        if self._verbose:
            self.error(text)
