"""A stand-in for standard output."""

from __future__ import annotations

import io


class Stream(io.StringIO):
    """Remembers what was done to it, and fails on demand."""

    def __init__(self, error: OSError | None = None) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.error = error

    def write(self, text: str) -> int:
        self.calls.append("write")
        return super().write(text)

    def flush(self) -> None:
        self.calls.append("flush")
        if self.error:
            raise self.error
