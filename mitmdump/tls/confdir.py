"""Files in the confdir: there completely or not at all, readable by whom they are for, whatever the umask.

A file is written under a temporary name, with its permissions set on the open file, and gets its real name in one step:
by a hard link where it must not replace anything (two programs that start at once end up with the same file), by a
rename where it should. Errors are OSErrors, for the caller to explain.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE, PUBLIC = 0o600, 0o644


def make_directory(directory: Path) -> None:
    """Make a directory for its owner only; one that exists stays as it is."""
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700, parents=True)
        directory.chmod(0o700)  # a umask may have taken away from the owner too


def create(path: Path, content: bytes) -> None:
    """Make a private file that does not exist yet, else FileExistsError."""
    with _temporary(path.parent, content, PRIVATE) as temporary:
        os.link(temporary, path)


def replace(path: Path, content: bytes) -> None:
    """Make or replace a public file."""
    with _temporary(path.parent, content, PUBLIC) as temporary:
        temporary.replace(path)


def read_private(path: Path) -> bytes:
    """Read a file that only its owner may know; PermissionError if others can open it too."""
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if os.name == "posix" and mode & 0o077:
            raise PermissionError(f"others than its owner have access to it (mode {mode & 0o777:04o})")
        return file.read()


@contextmanager
def _temporary(directory: Path, content: bytes, mode: int) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(prefix=".mitmdump-", dir=directory)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
