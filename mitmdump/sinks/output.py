"""The file behind an output: opened with care, written whole or not at all.

Captures hold credentials, so a regular file is made 0600, and a symbolic link, which somebody else may have put there,
is refused. Fifos, /dev/null and the like may be written too. A regular file is locked (flock), so that no two captures
write into each other. A record that could be written only in part is cut off again where that is possible, so a full
disk leaves a file that ends with a whole record.

Where the name ends in .zst, what is written is gathered and goes out compressed, a Zstandard frame at a time; see
`flowfile.compressed`. A kill loses what was gathered in the last second. `flows` counts only what has gone out.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from ..errors import FlowFileError, OutputError

if TYPE_CHECKING:
    from ..flowfile.compressed import Packer

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
    errno.EWOULDBLOCK: "Choose another file, or stop that program",
    errno.ELOOP: "Links are not followed; name the file that it points to, or remove it",
    errno.ENOSPC: "Make room, or choose another place",
    errno.EDQUOT: "Make room, or choose another place",
    errno.EFBIG: "Split the capture into several files, or raise the limit (ulimit -f)",
}

# Errors that go by another name here than in the system's words.
_REASONS = {errno.ELOOP: "it is a symbolic link", errno.EWOULDBLOCK: "another program is writing it"}

# A file that is removed may be about to be reopened (`rm FILE; kill -HUP PID`); seconds until that is a loss.
_GRACE = 1.0

# As much is written in one call, as a rule: more gains nothing, and is there for a kill to lose.
_GATHERED: Final = 256 * 1024

# So much of a compressed file is looked at to see that it holds what is to be appended.
_BEGINNING = 64 * 1024


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
    """An open output; `path` "-" is stdout.

    An existing regular file is emptied, unless `resume` is given: it says where the last whole record in a file ends
    (or raises FlowFileError), what stands behind is cut off, and writing goes on there; `resumed` says so. `size` is
    how many bytes the file has, `written` how many of them are ours, `flows` how many flows `count_flow` was told of.

    With `gathers`, what is given to `write` waits for `settle`, or for whatever else is written; `size`, `written` and
    `flows` do not count it until then.

    Raises OutputError, whose text says what to do, where the file cannot be opened, and once it cannot be written.
    """

    def __init__(self, path: str, *, resume: Callable[[BinaryIO], int] | None = None, gathers: bool = False) -> None:
        self.name = "standard output" if path == "-" else path
        self.resumed = False
        self.written = 0
        self.flows = 0
        self._gathered: list[bytes] = []
        self._gathered_size = 0
        self._gathered_flows: list[int] = []  # how many of the gathered were there when a flow was whole
        self._removed_since: float | None = None
        self._packer = _make_packer(path)
        self._gathers = gathers and self._packer is None
        self._fd = _stdout() if path == "-" else self._open(path, resume)
        status = os.fstat(self._fd)
        self._identity = (status.st_dev, status.st_ino)
        self.is_regular = stat.S_ISREG(status.st_mode)
        self.can_overwrite = self.is_regular and path != "-" and self._packer is None
        self.size = status.st_size
        if not self.is_regular:
            os.set_blocking(self._fd, True)  # who shares a pipe with us may have made it otherwise

    def write(self, data: bytes) -> None:
        """Write all of it, in one call of the system if that takes it. Raises OutputError."""
        if self._gathers:
            self._gathered.append(data)
            self._gathered_size += len(data)
            if self._gathered_size > _GATHERED:
                self.settle()
        elif self._packer is None:
            self._put(data)
        elif self._packer.add(data):
            self._flush()

    def write_parts(self, front: bytes, data: bytes) -> None:
        """Like `write`, of a large `data` with something before it: not joined where the system takes both."""
        if self._packer is None:
            self.settle()
            self._put(front, data)
        else:
            self.write(front + data)

    def settle(self) -> None:
        """Write what was gathered: all at once, or if that fails as much of it as there is room for.

        Raises OutputError.
        """
        if not self._gathered:
            return
        gathered, ends = self._gathered, self._gathered_flows
        self._gathered, self._gathered_flows, self._gathered_size = [], [], 0
        try:
            self._put(b"".join(gathered))
            self.flows += len(ends)
        except OutputError:
            if not self.is_regular:
                raise
            for number, data in enumerate(gathered, 1):
                self._put(data)
                self.flows += ends.count(number)

    def count_flow(self) -> None:
        """With what was written so far one more flow is whole."""
        if self._gathered:
            self._gathered_flows.append(len(self._gathered))
        elif self._packer is None:
            self.flows += 1
        else:
            self._packer.flows += 1

    def overwrite(self, back: int, data: bytes) -> None:
        """Replace the last `back` bytes of the file by data, at least as long, if possible in one call of the system.

        Only where `can_overwrite`. Raises OutputError; then the file is as it was.
        """
        start = self.size - back
        before = b""
        try:
            before = os.pread(self._fd, back, start)
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, memoryview(data)[written:], start + written)
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, self.size)
                os.pwrite(self._fd, before, start)
            raise self._failed("write", error) from error
        self.size += len(data) - back
        self.written += len(data) - back
        os.lseek(self._fd, self.size, os.SEEK_SET)

    def cut(self, size: int) -> None:
        """Cut the file back to its first `size` bytes. Only where `can_overwrite`. Raises OutputError."""
        try:
            os.ftruncate(self._fd, size)
            os.lseek(self._fd, size, os.SEEK_SET)
        except OSError as error:
            raise self._failed("write", error) from error
        self.written -= self.size - size
        self.size = size

    def tick(self, now: float) -> None:
        """Write what has been gathered for long enough, and see if the file is still there; `now` in Unix seconds.

        Raises OutputError.
        """
        self.settle()
        if self._packer is not None and self._packer.is_due(now):
            self._flush()
        if not self._is_removed():
            self._removed_since = None
        elif self._removed_since is None:
            self._removed_since = now
        elif now - self._removed_since >= _GRACE:
            self.check()

    def sync(self) -> None:
        """Wait until all that was written is on the disk, if there is one. Raises OutputError."""
        self.settle()
        if self._packer is not None:
            self._flush()
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
            self.settle()
            if self._packer is not None:
                self._flush()
        finally:
            self._close()

    def check(self) -> None:
        """Raises OutputError if somebody has removed the file, so that what was written is lost."""
        if self._is_removed():
            self.flows = 0
            raise OutputError(f"cannot write {self.name}: it was removed, with all that was in it")

    def _close(self) -> None:
        try:
            os.close(self._fd)
        except OSError as error:
            raise self._failed("write", error) from error

    def _flush(self) -> None:
        """Write what the packer has gathered. If that fails, it is gone."""
        assert self._packer is not None
        data, flows = self._packer.take()
        self._put(data)
        self.flows += flows

    def _put(self, data: bytes, more: bytes = b"") -> None:
        written, size = 0, len(data) + len(more)
        try:
            if more:
                written = os.writev(self._fd, (data, more))
            while written < size:
                whole = data + more if more else data
                written += os.write(self._fd, memoryview(whole)[written:] if written else whole)
        except OSError as error:
            if written and self.is_regular:
                self._cut_back(written)
            raise self._failed("write", error) from error
        self.size += written
        self.written += written

    def _open(self, path: str, resume: Callable[[BinaryIO], int] | None) -> int:
        flags = (os.O_WRONLY if _is_special(path) else os.O_RDWR) | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        if str(Path(path).parent) not in _SYSTEM_LINKS:
            flags |= os.O_NOFOLLOW
        try:
            fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise self._failed("open", error) from error
        try:
            self._prepare(fd, resume)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _prepare(self, fd: int, resume: Callable[[BinaryIO], int] | None) -> None:
        """Make a regular file private and ours, and cut it to where writing begins."""
        status = os.fstat(fd)
        if stat.S_ISBLK(status.st_mode):
            raise OutputError(f"cannot write {self.name}: it is a disk. Name a file")
        if not stat.S_ISREG(status.st_mode):
            return
        try:
            _lock(fd)
            start = self._end_of_records(fd, resume) if resume and status.st_size else 0
            self._make_private(fd, status.st_uid)
            os.ftruncate(fd, start)
            os.lseek(fd, start, os.SEEK_SET)
        except OSError as error:
            raise self._failed("write", error) from error
        self.resumed = start > 0

    def _make_private(self, fd: int, owner: int) -> None:
        try:
            os.fchmod(fd, 0o600)
        except PermissionError:
            if owner != os.geteuid():  # of our own it means that the file system knows no modes
                raise OutputError(
                    f"cannot write {self.name}: it belongs to somebody else, who could read what is captured. "
                    "Remove it, or choose another name"
                ) from None

    def _end_of_records(self, fd: int, resume: Callable[[BinaryIO], int]) -> int:
        try:
            if self._packer is None:
                with os.fdopen(os.dup(fd), "rb") as file:
                    return resume(file)
            return _end_of_packed(fd, resume)
        except FlowFileError as error:
            raise OutputError(
                f"cannot append to {self.name}: {error}. Choose another file, or do not append"
            ) from error

    def _is_removed(self) -> bool:
        return self.is_regular and os.fstat(self._fd).st_nlink == 0

    def _cut_back(self, written: int) -> None:
        with suppress(OSError):  # the error that is being reported says more than this one would
            os.ftruncate(self._fd, os.lseek(self._fd, -written, os.SEEK_CUR))

    def _failed(self, what: str, error: OSError) -> OutputError:
        reason = _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()
        advice = _ADVICE.get(error.errno or 0)
        return OutputError(f"cannot {what} {self.name}: {reason}{f'. {advice}' if advice else ''}")


def _make_packer(path: str) -> Packer | None:
    if not path.endswith(".zst"):
        return None
    from ..flowfile.compressed import Packer  # zstandard, which few runs need

    return Packer()


def _end_of_packed(fd: int, resume: Callable[[BinaryIO], int]) -> int:
    """Where a compressed file can be appended to. Raises FlowFileError."""
    from ..flowfile.compressed import Decompressing, end_of_last_frame

    with Decompressing(os.fdopen(os.dup(fd), "rb")) as unpacked:
        beginning = unpacked.read(_BEGINNING)
    if beginning:
        resume(BytesIO(beginning))  # only for what it raises if this is another format
    with os.fdopen(os.dup(fd), "rb") as file:
        return end_of_last_frame(file)


def _is_special(path: str) -> bool:
    """Is this a fifo or the like, which must not be opened for reading as well?"""
    try:
        return not stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        return False


def _lock(fd: int) -> None:
    """Keep others of our kind away. Raises BlockingIOError where one of them was there before."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        pass  # a file system without locks


def _stdout() -> int:
    if sys.stdout is None:
        raise OutputError("cannot write to standard output: it is closed. Redirect it to a file or a program")
    if os.isatty(_STDOUT):
        raise OutputError("cannot write flows to a terminal. Redirect standard output to a file or a program")
    return os.dup(_STDOUT)
