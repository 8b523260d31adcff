"""What all sinks that write files have in common: options, counts, and that they end with the first failure."""

from __future__ import annotations

import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic

from ..errors import OutputError
from .base import Sink
from .output import Output
from .series import ONE_FILE, File, Rotation, Series, W


@dataclass(frozen=True)
class Options:
    """How the files of a FileSink are written.

    With `append` an existing file is continued. With `gathers`, small flows that end at the same time may be written
    together, when `settle` is called. `fsync` waits for the disk at the end of each flow. `clock` gives Unix seconds;
    what goes wrong besides writing is told to `warn`.
    """

    append: bool = False
    fsync: bool = False
    gathers: bool = False
    rotation: Rotation = ONE_FILE
    clock: Callable[[], float] = time.time
    warn: Callable[[str], object] = warnings.warn


DEFAULTS = Options()


class FileSink(Sink, ABC, Generic[W]):
    """A sink that writes the files of a series; what stands in them, its children know.

    `path`: what strftime knows in it is filled in, "-" is stdout, an existing file is emptied, or continued. Raises
    OutputError where the file cannot be opened, and once when it can no longer be written; after that the sink does
    nothing.
    """

    def __init__(self, path: str, options: Options = DEFAULTS) -> None:
        self.path = path
        self._fsync = options.fsync
        self._gathers = options.gathers and not options.rotation.is_limited  # which looks at the size after each flow
        self._clock = options.clock
        self._failed = False
        self._series = Series(
            path,
            self._begin,
            self._finish,
            append=options.append,
            rotation=options.rotation,
            clock=options.clock,
            warn=options.warn,
        )

    @property
    def flows(self) -> int:
        """How many flows were written."""
        return self._series.flows

    @property
    def written(self) -> int:
        """How many bytes were written."""
        return self._series.written

    @property
    def notes(self) -> list[str]:
        """What there is to say about the files, once they are closed."""
        return []

    def settle(self) -> None:
        """Write what was gathered."""
        if self._failed:
            return
        try:  # not `_failing`, which takes as long as all the rest here
            self._series.settle()
        except OutputError:
            self._fail()
            raise

    def tick(self, now: float) -> None:
        """See to the files."""
        if not self._failed:
            with self._failing():
                self._series.tick(now)

    def reopen(self) -> None:
        """Go on in a new file of the same name, if the one that is written has been moved away or renamed by its date.

        Raises OutputError where that cannot be opened; then the old one stays in use.
        """
        if not self._failed:
            self._series.reopen()

    def close(self) -> None:
        """Close the files."""
        self._series.close()

    @abstractmethod
    def _begin(self, path: str, append: bool) -> tuple[Output, W]:
        """Open a file, go on in it if that is true, and write what opens it. Raises OutputError."""

    @abstractmethod
    def _finish(self, writer: W) -> None:
        """Write what closes a file. Raises OutputError."""

    def _fail(self) -> None:
        """Do nothing from now on."""
        self._failed = True

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """What fails in here is the end of the sink."""
        try:
            yield
        except OutputError:
            self._fail()
            raise

    def _file(self) -> File[W]:
        """The file in which a flow begins. To be called likewise."""
        return self._series.current or self._series.open()

    def _whole(self, file: File[W], *, was_running: bool = False) -> None:
        """One more flow of this file is whole. To be called where what fails is the end of the sink."""
        if self._fsync:
            file.output.sync()
        if was_running:
            self._series.leave(file)
        else:
            self._series.count(file)
