"""The sink that writes capture files of other formats, flow by flow, as each ends.

Those formats hold a flow in one piece, while flows run side by side. So what passes of a flow waits in a spool until
the flow has ended, and goes through the format's encoder then: memory stays flat whatever the size of a body.

What makes a file valid, its tail, is written after each flow, and overwritten by the next one with a new tail behind
it, in one call of the system where the flow is not very large. So the file is valid at any time, also after `kill -9`,
but for the moment that a large flow takes. Down a pipe the tail comes at the end.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from ..errors import OutputError
from ..flowfile.raw import RawFlow
from ..formats.base import Encoder, Format
from ..model.flow import Flow, Part
from ..model.message import Message
from .filesink import DEFAULTS, FileSink, Options
from .gathering import Gathering
from .output import Output

# What is gathered of an encoded flow before it is written: nearly all flows fit, and a few of them into the memory.
BATCH = 4 * 1024 * 1024


class Document:
    """One file of a format: its head, flows, and a tail, which where `output` allows it is there at any time.

    Raises OutputError once it cannot be written.
    """

    def __init__(self, output: Output, encoder: Encoder) -> None:
        self.encoder = encoder
        self._output = output
        self._standing = 0  # how many bytes of a tail the file ends with
        self._put(b"" if output.resumed else encoder.head(), whole=True)

    def add(self, flow: Flow) -> bool:
        """Write a flow; False where the format cannot hold it. If that fails, the file ends with the flow before."""
        start = self._output.size - self._standing
        batch = bytearray()
        begun = False
        try:
            for piece in self.encoder.flow(flow):
                batch += piece
                if len(batch) >= BATCH:
                    self._put(batch, whole=False)
                    begun = True
                    batch.clear()
            if begun or batch:
                self._put(batch, whole=True)
                begun = True
        except BaseException:
            if begun and self._output.can_overwrite:
                with suppress(OutputError):  # the error that is being raised says more than this one would
                    self._output.cut(start)
                    self._standing = 0
                    self._put(b"", whole=True)
            raise
        return begun

    def close(self) -> None:
        """Write the tail, if it is not there."""
        if not self._standing:
            self._output.write(self.encoder.tail)

    def _put(self, data: bytes | bytearray, *, whole: bool) -> None:
        """Write where the tail stands; `whole`: with a new tail behind it."""
        tail = self.encoder.tail if whole and self._output.can_overwrite else b""
        if self._standing:
            self._output.overwrite(self._standing, bytes(data) + tail)
        elif data or tail:
            self._output.write(bytes(data) + tail)
        self._standing = len(tail)


class Exporter(FileSink[Document]):
    """Writes files of a format."""

    def __init__(self, path: str, format_: Format, options: Options = DEFAULTS) -> None:
        self._format = format_
        self._running = Gathering()
        self._left_out: Counter[str] = Counter()
        if path.endswith(".zst") and format_.encoder().tail:
            raise OutputError(
                f"cannot write {path}: {format_.name} has an end that is written again after each flow, which a "
                "compressed file does not allow. Compress it afterwards"
            )
        super().__init__(path, options)

    @property
    def notes(self) -> list[str]:
        """What the format could not hold, once the files are closed."""
        return [
            f"{self.path}: {count} {what} cannot be held by {self._format.name}"
            for what, count in self._left_out.items()
        ]

    def begin(self, flow: Flow) -> None:
        """Wait for the rest."""
        if not self._failed:
            self._running.begin(flow)

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        """Keep a piece of a body."""
        with self._failing():
            self._running.data(flow, part, data)

    def message(self, flow: Flow, message: Message) -> None:
        """Keep a message."""
        with self._failing():
            self._running.message(flow, message)

    def finish(self, flow: Flow) -> None:
        """Write the flow."""
        with self._running.finish(flow) as was_running:
            if was_running:
                self._add(flow)

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:  # noqa: ARG002  # in another format than ours
        """Write a flow that is all there."""
        if not self._failed:
            self._add(flow)

    def close(self) -> None:
        """Write what is known of flows that have not ended, and close the files."""
        try:
            for flow in self._running.flows:
                self.finish(flow)
        finally:
            super().close()

    def _add(self, flow: Flow) -> None:
        with self._failing():
            file = self._file()
            if file.writer.add(flow):
                self._whole(file)

    def _begin(self, path: str, append: bool) -> tuple[Output, Document]:
        encoder = self._format.encoder()
        output = Output(path, resume=encoder.resume if append else None)
        try:
            return output, Document(output, encoder)
        except OutputError:
            output.close()
            raise

    def _finish(self, document: Document) -> None:
        self._left_out += document.encoder.left_out
        if not self._failed:
            document.close()

    def _fail(self) -> None:
        super()._fail()
        self._running.clear()
