"""The files of one output, one after the other.

A capture that runs for days is cut into files: by size, by time, by number of flows, whichever comes first. A flow is
never split: one that is written as it runs is finished in the file in which it began, which stays open until its last
such flow has ended, while what begins later goes into the next. A file counts as full only after a whole flow, so it
can be larger than `size` by one flow. The next file is begun by the next flow, and `seconds` run from a file's first
flow: there is no empty file, but the first where nothing ever comes.

A finished file is handed to the command, and stands in a ring of `keep` files: when there is one more, the oldest is
removed, be it of this run or of an earlier one, so that who is restarted again and again does not fill the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from ..errors import OutputError, SettingsError
from ..settings import Settings
from .naming import Names
from .output import Output

if TYPE_CHECKING:
    from .commands import Commands


class Rotation(NamedTuple):
    """When a file is full (bytes, seconds, flows; None: not by this), how many files there may be at a time, and what
    is run with the name of each that is finished.
    """

    size: int | None = None
    seconds: float | None = None
    flows: int | None = None
    keep: int | None = None
    commands: Commands | None = None

    @classmethod
    def of(cls, settings: Settings, warn: Callable[[str], object]) -> Rotation:
        """The rotation that the settings ask for; what goes wrong with the command is told to `warn`.

        Raises SettingsError where they make no sense together.
        """
        size, seconds, flows = settings.rotate_size, settings.rotate_time, settings.rotate_flows
        command = settings.rotate_command
        if 0 in (size, seconds):
            raise SettingsError("--rotate-size and --rotate-time need more than 0")
        rotation = cls(size, seconds, flows, settings.keep, _commands(command, warn) if command else None)
        if rotation.keep and not rotation.is_limited:
            raise SettingsError("--keep needs to know when the next file begins: add --rotate-size, -time or -flows")
        if (rotation.is_limited or rotation.commands) and not settings.outputs:
            raise SettingsError("nothing to rotate: no file is written. Name one with -w")
        return rotation

    @property
    def is_limited(self) -> bool:
        """Will there be more than one file?"""
        return any(limit is not None for limit in (self.size, self.seconds, self.flows))


ONE_FILE = Rotation()


def _commands(command: str, warn: Callable[[str], object]) -> Commands:
    from .commands import Commands  # with all that starting programs takes, which few runs do

    return Commands(command, warn)


W = TypeVar("W")


class File(Generic[W]):
    """An open file of a series; `running` counts the flows that are written to it as they run."""

    __slots__ = ("flows", "output", "path", "running", "since", "stem", "writer")

    def __init__(self, path: str, stem: str, output: Output, writer: W) -> None:
        self.path = path
        self.stem = stem
        self.output = output
        self.writer = writer
        self.flows = 0
        self.running = 0
        self.since: float | None = None  # Unix seconds of the first flow


class Series(Generic[W]):
    """The files behind `path`.

    `begin` opens the file of a name, to go on in it if that is true, and gives the output and what writes to it; `end`
    writes what closes a file. `append` goes on in the newest file of an earlier run, if there is one. `clock` gives
    Unix seconds. What goes wrong besides writing is told to `warn`.

    `current` is the file that takes flows: None where the next flow has to begin one, with `open`. The first is opened
    at once. Raises OutputError.
    """

    def __init__(
        self,
        path: str,
        begin: Callable[[str, bool], tuple[Output, W]],
        end: Callable[[W], None],
        *,
        append: bool,
        rotation: Rotation,
        clock: Callable[[], float],
        warn: Callable[[str], object],
    ) -> None:
        self._is_limited = rotation.is_limited
        if self._is_limited:
            _check_regular(path)
        self.current: File[W] | None = None
        self._begin = begin
        self._end = end
        self._append = append
        self._rotation = rotation
        self._clock = clock
        self._warn = warn
        self._names = Names(path, several=self._is_limited)
        self._open_files: list[File[W]] = []
        # What may be removed, the oldest first.
        self._finished = [] if rotation.keep is None else self._names.existing()
        self._closed_flows = self._closed_bytes = 0
        self.current = self._open(self._names.latest(clock()) if append else None)

    @property
    def flows(self) -> int:
        """How many flows were written."""
        return self._closed_flows + sum(file.output.flows for file in self._open_files)

    @property
    def written(self) -> int:
        """How many bytes were written."""
        return self._closed_bytes + sum(file.output.written for file in self._open_files)

    def open(self) -> File[W]:
        """Begin the next file. Raises OutputError; then the current one stays."""
        self.current = self._open(None)
        return self.current

    def enter(self, file: File[W]) -> None:
        """A flow will be written to this file as it runs."""
        file.running += 1
        if file.since is None:
            file.since = self._clock()

    def leave(self, file: File[W]) -> None:
        """A flow that was written as it ran is whole."""
        file.running -= 1
        self.count(file)

    def count(self, file: File[W]) -> None:
        """One more flow of this file is whole."""
        file.output.count_flow()
        file.flows += 1
        if file is not self.current:
            if not file.running:
                self._finish(file)
        elif self._is_limited:
            now = self._clock()
            if file.since is None:
                file.since = now
            if self._is_full(file, now):
                self._retire(file)

    def settle(self) -> None:
        """Write what the files have gathered. Raises OutputError."""
        for file in self._open_files:
            file.output.settle()

    def tick(self, now: float) -> None:
        """See to what is due. Raises OutputError."""
        for file in self._open_files:
            file.output.tick(now)
        if self.current is not None and self._is_full(self.current, now):
            self._retire(self.current)
        if self._rotation.commands:
            self._rotation.commands.poll()

    def reopen(self) -> None:
        """Go on in a new file, if the current one was moved away or its name has another date by now.

        Raises OutputError where that cannot be opened; then the old one stays in use.
        """
        old = self.current
        if old is None or not old.output.is_regular or old.path == "-":
            return
        if old.output.is_still_at(old.path) and old.stem == self._names.stem(self._clock()):
            return
        self.open()
        if not old.running:
            self._finish(old)

    def close(self) -> None:
        """Finish all files, also where that fails for one. Raises OutputError."""
        failure: OutputError | None = None
        if self.current is not None:
            try:
                self.current.output.check()
            except OutputError as error:
                failure = error
        self.current = None
        while self._open_files:
            try:
                self._finish(self._open_files[0])
            except OutputError as error:
                failure = failure or error
        if failure:
            raise failure

    def _is_full(self, file: File[W], now: float) -> bool:
        size, seconds, flows, *_ = self._rotation
        if file.since is None:
            return False
        return (
            (size is not None and file.output.size >= size)
            or (flows is not None and file.flows >= flows)
            or (seconds is not None and now - file.since >= seconds)
        )

    def _open(self, path: str | None) -> File[W]:
        """`path`: an existing file to go on in."""
        now = self._clock()
        path = path or self._names.next(now)
        file = File(path, self._names.stem(now), *self._begin(path, self._append))
        self._open_files.append(file)
        if path in self._finished:
            self._finished.remove(path)
        self._trim()
        return file

    def _retire(self, file: File[W]) -> None:
        """Let no more flows begin in the current file."""
        self.current = None
        if not file.running:
            self._finish(file)

    def _finish(self, file: File[W]) -> None:
        self._open_files.remove(file)
        try:
            try:
                self._end(file.writer)
            finally:
                file.output.close()
        finally:
            self._closed_flows += file.output.flows
            self._closed_bytes += file.output.written
        if self._rotation.keep is not None:
            self._finished.append(file.path)
        if self._rotation.commands:
            self._rotation.commands.run(file.path, self._trim)
        self._trim()

    def _trim(self) -> None:
        """Remove the oldest finished files, as long as there are too many, and no command is at work with them."""
        keep, commands = self._rotation.keep, self._rotation.commands
        if keep is None or len(self._finished) + len(self._open_files) <= keep:
            return
        self._finished = [path for path in self._finished if os.path.lexists(path)]  # a command may have moved some
        for path in self._finished[: max(0, len(self._finished) + len(self._open_files) - keep)]:
            if commands and commands.busy(path):
                continue
            self._finished.remove(path)
            try:
                Path(path).unlink(missing_ok=True)
            except OSError as error:
                self._warn(f"cannot remove {path}, one file more than --keep allows: {(error.strerror or '').lower()}")


def _check_regular(path: str) -> None:
    """Raises OutputError where several files cannot be made of an output."""
    if path == "-":
        raise OutputError("cannot rotate standard output. Name a file with -w")
    if os.path.lexists(path) and not Path(path).is_symlink() and not Path(path).is_file():
        raise OutputError(f"cannot rotate {path}: it is no regular file. Name one that is")
