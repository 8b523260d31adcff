"""The names of the files of one output: what strftime knows in a path, and a number.

A path is filled in when a file is begun: conversions of strftime(3) stand for that time, `{n}` for a number that counts
up from 1, after the highest that exists. Where there will be several files and none may be replaced, a path without
either gets `-{n}` before its extension, and so does one with conversions when a file of that name exists already.

The number is looked for in the directory, so it goes on where an earlier run left off; a file that got one more ending
since then (`out-00001.flows.gz`) counts too, and in one run no number comes twice. Nothing from a flow is ever part of
a name.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from ..errors import OutputError
from .output import expand

NUMBER = "{n}"

# What conversions of strftime can stand for; words depend on the locale, and are not among them.
_CONVERSIONS = {
    **dict.fromkeys("CHIMSUVWdgmy", "[0-9]{2}"),
    **dict.fromkeys("GY", "[0-9]{4}"),
    **dict.fromkeys("uw", "[0-9]"),
    "F": "[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "R": "[0-9]{2}:[0-9]{2}",
    "T": "[0-9]{2}:[0-9]{2}:[0-9]{2}",
    "j": "[0-9]{3}",
    "s": "[0-9]{9,}",
    "z": "[+-][0-9]{4}",
    "%": "%",
}
_DIGITS = "[0-9]{5,}"


class Names:
    """The names that `path` stands for. `several`: each file gets a name of its own, and none is replaced.

    Raises OutputError where the path cannot stand for names.
    """

    def __init__(self, path: str, *, several: bool) -> None:
        directory, name = os.path.split(path)
        if NUMBER in directory or name.count(NUMBER) > 1:
            raise OutputError(f"cannot write {path}: {NUMBER} belongs into the name of the file, and there once")
        self._path = path
        self._own = several or NUMBER in name
        self._numbered = path if NUMBER in name else _with_number(path)
        self._first = path if not self._own or "%" in name else self._numbered
        self._last: dict[str, int] = {}  # the last number that was given, by stem; the current stem only

    def stem(self, now: float) -> str:
        """The path with the time filled in: while it stays the same, a new file would differ by its number only."""
        return expand(self._first, now)

    def next(self, now: float) -> str:
        """The name of a file that is begun now, in Unix seconds. Raises OutputError.

        A name that no other file may have is taken by making the file, empty and private.
        """
        stem = self.stem(now)
        if not self._own or (NUMBER not in stem and _take(stem)):
            return stem
        stem = expand(self._numbered, now)
        while True:
            number = 1 + max([self._last.get(stem, 0), *(number for number, _ in _numbers(stem))])
            self._last = {stem: number}
            name = stem.replace(NUMBER, f"{number:05}")
            if _take(name):
                return name

    def latest(self, now: float) -> str | None:
        """The newest of the files that exist under the name of now, None if there is none. Raises OutputError."""
        stem = self.stem(now)
        if self._own:
            ending = self._numbered.rpartition(NUMBER)[2]
            found = [each for each in _numbers(expand(self._numbered, now)) if each[1].name.endswith(ending)]
            if found:
                return str(max(found)[1])
        return stem if os.path.lexists(stem) else None

    def existing(self) -> list[str]:
        """All files that the path can have stood for, at any time, the oldest first. Raises OutputError."""
        directory = Path(self._path).parent
        if "%" in str(directory):
            raise OutputError(f"cannot write {self._path} with --keep: name a directory without conversions")
        pattern = re.compile("|".join(self._pattern(Path(each).name) for each in (self._first, self._numbered)))
        found = [directory / name for name in _list(directory) if pattern.fullmatch(name)]
        ours = [(status.st_mtime_ns, str(each)) for each in found if (status := _regular(each))]
        return [name for _, name in sorted(ours)]

    def _pattern(self, name: str) -> str:
        """A regular expression for all that a name can stand for."""
        found = ""
        for token in re.findall(r"%.|\{n\}|.", name, re.DOTALL):
            if token == NUMBER:
                found += _DIGITS
            elif len(token) == 1:
                found += re.escape(token)
            elif token[1] in _CONVERSIONS:
                found += _CONVERSIONS[token[1]]
            else:
                raise OutputError(
                    f"cannot write {self._path} with --keep: files of earlier runs cannot be told by {token}. "
                    "Use conversions that stand for digits, such as %Y-%m-%d"
                )
        return found


def _with_number(path: str) -> str:
    """Put a number before the extension: out.flows.zst is out-{n}.flows.zst."""
    base, extension = os.path.splitext(path)  # noqa: PTH122  # the rest is to stay as it was written
    if extension == ".zst":
        base, inner = os.path.splitext(base)  # noqa: PTH122
        extension = inner + extension
    if "%" in extension:  # a dot inside a date
        base, extension = path, ""
    return f"{base}-{NUMBER}{extension}"


def _numbers(stem: str) -> list[tuple[int, Path]]:
    """The numbered files that exist, whatever comes after what stands behind the number. Raises OutputError."""
    directory, name = Path(stem).parent, Path(stem).name
    before, _, after = name.partition(NUMBER)
    pattern = re.compile(f"{re.escape(before)}({_DIGITS}){re.escape(after)}")
    found = [(pattern.match(each), each) for each in _list(directory)]
    return [(int(match[1]), directory / each) for match, each in found if match]


def _list(directory: Path) -> list[str]:
    """The names in a directory; none if it is not there, of which who opens the file speaks. Raises OutputError."""
    try:
        return os.listdir(directory)  # noqa: PTH208  # names alone
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise OutputError(f"cannot look for files in {directory}: {(error.strerror or str(error)).lower()}") from error


def _regular(path: Path) -> os.stat_result | None:
    """The status of a regular file; None of what is none, or has gone meanwhile."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _take(name: str) -> bool:
    """Make a file, unless there is one. What else is wrong, who opens it says."""
    try:
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return False
    except OSError:
        pass
    return True
