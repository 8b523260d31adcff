"""A new capture file, for programs that make flows, choose among them or change them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from time import time
from typing import BinaryIO

from ..flowfile import RawFlow, SectionWriter
from ..model.flow import Flow
from ..sinks.base import Sink
from ..sinks.filesink import Options
from ..sinks.recorder import make_recorder


class FlowWriter:
    """Writes flows to a capture: a path, "-" for standard output, or a binary file object.

        with open_flows("out.flows") as flows, FlowWriter("shop.har") as out:
            for flow in flows:
                if "cart" in flow.request.path:
                    out.write(flow)

    The extension of a path chooses the format: .har, .jsonl and .mitm, else a flow file; .zst behind it compresses. An
    existing file is emptied, or with `append` gone on with. It is readable by nobody but its owner, and a symbolic link
    is refused. A file object gets a flow file, from where it stands on, and is not closed.

    Raises OutputError where the file cannot be opened or written; what a file object raises goes through.
    """

    def __init__(self, file: str | PathLike[str] | BinaryIO, *, append: bool = False) -> None:
        self._sink: Sink
        if isinstance(file, str | PathLike):
            name = os.fspath(file).replace("%", "%%")  # to recorders it would be a conversion of strftime
            self._sink = make_recorder(name, Options(append=append))
        else:
            self._sink = _Section(file)

    def write(self, flow: Flow) -> None:
        """Write a flow with all that it holds. Raises FlowFileError where its body cannot be read any more."""
        self._sink.put(flow)

    @property
    def notes(self) -> Sequence[str]:
        """After closing: what the format could not hold, a line for each kind of thing."""
        return getattr(self._sink, "notes", ())

    def close(self) -> None:
        """Complete the file. Nothing can be written afterwards."""
        self._sink.close()

    def __enter__(self) -> FlowWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Section(Sink):
    """A section of a flow file, in a file object of somebody else."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer = SectionWriter(file.write, created=time())

    def put(self, flow: Flow, raw: RawFlow | None = None) -> None:  # noqa: ARG002
        self._writer.add(flow)

    def close(self) -> None:
        self._writer.close()
