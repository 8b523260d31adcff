"""A file of TLS secrets, with which Wireshark and others can read what was captured on the wire, on both sides of us.

Its lines are those of NSS (draft-ietf-tls-keylogfile), as browsers and curl write them. Whoever has the file can read
those connections, so it is readable by its owner alone, and is only written where the command line asks for it: the
variable SSLKEYLOGFILE, which the clients of this proxy may well have in their environment, is not looked at.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from OpenSSL import SSL

from ..errors import OutputError


class KeyLog:
    """Appends to `path`; `warn` hears of it, once, when that fails. Raises OutputError if it cannot be opened."""

    def __init__(self, path: Path, warn: Callable[[str], object]) -> None:
        self._path = path
        self._warn = warn
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            if stat.S_ISREG(os.fstat(self._fd).st_mode):
                os.fchmod(self._fd, 0o600)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise OutputError(f"cannot write {path}: {reason}. Choose another file with --keylog") from None

    def attach(self, context: SSL.Context) -> None:
        """Log the secrets of all sessions of a context."""
        context.set_keylog_callback(self._write)

    def _write(self, _connection: SSL.Connection, line: bytes) -> None:
        if self._fd < 0:
            return
        try:
            os.write(self._fd, line + b"\n")
        except OSError as error:  # which is no reason to end the connection, and must not get into OpenSSL
            os.close(self._fd)
            self._fd = -1
            self._warn(f"cannot write {self._path}: {error.strerror}; no more TLS secrets are written")
