"""A flow file that another process is still writing, read as `tail -F` reads a log.

At its end the reader waits for more, so that a frame of which only a part has been written yet is no damage. It ends
only when another file has come to its path, or when it has become shorter; then the file that is there now is read from
its beginning.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO, cast

from ..errors import FlowFileError
from ..flowfile import RawFlow
from ..model.flow import Flow
from ..model.reading import Damage, FlowSource

# How long a flow may be in the file before it is noticed, in seconds: less than a person notices.
INTERVAL = 0.1


class Following(FileIO):
    """A file that somebody else writes: at its end, reading waits for more. `idle` is called while it does."""

    def __init__(self, path: str, idle: Callable[[], object]) -> None:
        super().__init__(path)
        self._path = path
        self._idle = idle

    def read(self, size: int | None = -1, /) -> bytes:
        """At least one byte, none only when nothing will ever follow. Raises OSError."""
        size = -1 if size is None else size
        while not (data := super().read(size)):
            if self._is_over():
                return super().read(size) or b""  # what came before it was
            self._idle()
        return data

    def _is_over(self) -> bool:
        """Is another file there, or is this one shorter than what was read of it?"""
        try:
            there = Path(self._path).stat()
        except FileNotFoundError:
            return False  # moved away: the next one will come, and until then this one may grow
        here = os.fstat(self.fileno())
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino) or here.st_size < self.tell()


class Followed:
    """The flows of a file as they are written to it, without end. A `FlowSource`, and `raw` as `FlowReader` has it.

    `open_` opens a file of which nothing has been read. `warn` is told when another file has come to the path.
    """

    def __init__(
        self,
        path: str,
        open_: Callable[[BinaryIO], FlowSource],
        warn: Callable[[str], object],
        idle: Callable[[], object] | None,
    ) -> None:
        self.name = path
        self._open = open_
        self._warn = warn
        self._idle = idle or _wait
        self._source: FlowSource | None = None
        self._damage: list[Damage] = []  # these three of the sources before this one
        self._cut_off = 0
        self._passed_over = 0

    def __iter__(self) -> Iterator[Flow]:
        while True:
            source = self._source = self._open_next()
            yield from source
            self._damage, self._cut_off, self._passed_over = self.damage, self.cut_off, self.passed_over
            self._source = None
            source.close()
            self._warn(f"{self.name} was replaced or cut short: going on with what is there now")

    @property
    def damage(self) -> list[Damage]:
        return [*self._damage, *(self._source.damage if self._source else ())]

    @property
    def cut_off(self) -> int:
        return self._cut_off + (self._source.cut_off if self._source else 0)

    @property
    def passed_over(self) -> int:
        return self._passed_over + (self._source.passed_over if self._source else 0)

    @property
    def raw(self) -> RawFlow | None:
        return getattr(self._source, "raw", None)

    def close(self) -> None:
        """Close the file."""
        if self._source:
            self._source.close()

    def _open_next(self) -> FlowSource:
        try:
            file = Following(self.name, self._idle)
        except OSError as error:
            raise FlowFileError(f"cannot read {self.name}: {error.strerror}") from error
        try:
            return self._open(cast(BinaryIO, file))
        except BaseException:
            file.close()
            raise


def _wait() -> None:
    time.sleep(INTERVAL)
