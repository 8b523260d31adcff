"""stdout, for sinks that print flows: what becomes of a reader who has gone, and of a stream that fails."""

from __future__ import annotations

from typing import TextIO

from ..errors import OutputError


class Printer:
    """Prints to `stream`, so that a reader has at once what has been written; without `prompt`, when it is enough for
    one call of the system, which is all that somebody wants who reads what is long past.

    BrokenPipeError passes through: the reader has seen enough, which is no failure. Where the flows go elsewhere as
    well, `dispensable`, it only ends the printing, and `unread` says so. Any other failure raises OutputError.
    """

    def __init__(self, stream: TextIO, *, dispensable: bool = False, prompt: bool = True) -> None:
        self.unread = False
        self._prompt = prompt
        self._stream = stream
        self._dispensable = dispensable

    def write(self, text: str, *, flush: bool = True) -> None:
        """Print text; `flush` where a reader could do something with it."""
        self._put(text, flush=flush and self._prompt)

    def close(self) -> None:
        """Nothing more will be written. The stream stays open."""
        self._put("", flush=True)

    def _put(self, text: str, *, flush: bool) -> None:
        if self.unread:
            return
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:  # raised before anything was written
                encoding = self._stream.encoding
                self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            if flush:
                self._stream.flush()
        except BrokenPipeError:
            if not self._dispensable:
                raise
            self.unread = True
        except OSError as error:
            name = getattr(self._stream, "name", "the output")
            raise OutputError(f"cannot write flows to {name}: {error.strerror or error}") from error
