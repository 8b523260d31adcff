"""The file behind an output: opened with care, written whole or not at all.

Captures hold credentials, so a regular file is made 0600, and a symbolic link, which somebody else may have put there,
is refused. Fifos, /dev/null and the like may be written too. A record that could be written only in part is cut off
again where that is possible, so a full disk leaves a file that ends with a whole record.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import suppress
from pathlib import Path

from ..errors import OutputError

_STDOUT = 1

# Symbolic links that the system itself provides: /dev/stdout, and what a shell makes of >(command).
_SYSTEM_LINKS = ("/dev", "/dev/fd", "/proc/self/fd")

_ADVICE = {
    errno.ENOENT: "Create the directory first",
    errno.ENOTDIR: "Name a file in a directory that exists",
    errno.EISDIR: "Name a file in it",
    errno.EACCES: "Choose a place that you may write to",
    errno.EPERM: "Choose a place that you may write to",
    errno.EROFS: "Choose a place that you may write to",
    errno.ELOOP: "Links are not followed; name the file that it points to, or remove it",
    errno.ENOSPC: "Make room, or choose another place",
    errno.EDQUOT: "Make room, or choose another place",
    errno.EFBIG: "Split the capture into several files, or raise the limit (ulimit -f)",
}


def expand(path: str, now: float) -> str:
    """Fill in what strftime knows in a path; `now` in Unix seconds.

    Raises OutputError where an expansion holds a slash (as %D does) or is a directory: it must not lead elsewhere.
    """
    local = time.localtime(now)
    names = path.split("/")
    for index, name in enumerate(names):
        if "%" not in name:
            continue
        names[index] = time.strftime(name, local)
        if "/" in names[index] or "\0" in names[index] or names[index] in ("", ".", ".."):
            raise OutputError(
                f"cannot write {path}: {name} stands for {names[index]!r}, which is no file name. "
                "Use %Y-%m-%d and the like"
            )
    return "/".join(names)


class Output:
    """An open output; `path` "-" is stdout. An existing regular file is emptied.

    Raises OutputError, whose text says what to do, where the file cannot be opened, and once it cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.name = "standard output" if path == "-" else path
        self._fd = _stdout() if path == "-" else self._open(path)
        status = os.fstat(self._fd)
        self._identity = (status.st_dev, status.st_ino)
        self.is_regular = stat.S_ISREG(status.st_mode)
        if not self.is_regular:
            os.set_blocking(self._fd, True)  # who shares a pipe with us may have made it otherwise

    def write(self, data: bytes) -> None:
        """Write all of it, in one call of the system if that takes it. Raises OutputError."""
        written = 0
        try:
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            if written and self.is_regular:
                self._cut_back(written)
            raise self._failed("write", error) from error

    def sync(self) -> None:
        """Wait until all that was written is on the disk, if there is one. Raises OutputError."""
        if self.is_regular:
            try:
                os.fsync(self._fd)
            except OSError as error:
                raise self._failed("write", error) from error

    def is_still_at(self, path: str) -> bool:
        """Would opening this path give the same file again?"""
        try:
            status = Path(path).lstat()
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def close(self) -> None:
        """Close the file. Raises OutputError: some file systems tell only now that they are full."""
        try:
            os.close(self._fd)
        except OSError as error:
            raise self._failed("write", error) from error

    def _open(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        if str(Path(path).parent) not in _SYSTEM_LINKS:
            flags |= os.O_NOFOLLOW
        try:
            fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise self._failed("open", error) from error
        try:
            self._prepare(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _prepare(self, fd: int) -> None:
        """Empty a regular file and make it private."""
        status = os.fstat(fd)
        if stat.S_ISBLK(status.st_mode):
            raise OutputError(f"cannot write {self.name}: it is a disk. Name a file")
        if not stat.S_ISREG(status.st_mode):
            return
        try:
            os.fchmod(fd, 0o600)
        except PermissionError:
            if status.st_uid != os.geteuid():  # of our own it means that the file system knows no modes
                raise OutputError(
                    f"cannot write {self.name}: it belongs to somebody else, who could read what is captured. "
                    "Remove it, or choose another name"
                ) from None
        try:
            os.ftruncate(fd, 0)
        except OSError as error:
            raise self._failed("write", error) from error

    def _cut_back(self, written: int) -> None:
        with suppress(OSError):  # the error that is being reported says more than this one would
            os.ftruncate(self._fd, os.lseek(self._fd, -written, os.SEEK_CUR))

    def _failed(self, what: str, error: OSError) -> OutputError:
        reason = "it is a symbolic link" if error.errno == errno.ELOOP else (error.strerror or str(error)).lower()
        advice = _ADVICE.get(error.errno or 0)
        return OutputError(f"cannot {what} {self.name}: {reason}{f'. {advice}' if advice else ''}")


def _stdout() -> int:
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed. Redirect it to a file or a program")
    if os.isatty(_STDOUT):
        raise OutputError("cannot write flows to a terminal. Redirect standard output to a file or a program")
    return os.dup(_STDOUT)
