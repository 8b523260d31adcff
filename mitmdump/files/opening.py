"""A capture file of any format, opened: the format is seen from its first bytes, and its name does not matter.

path, "-" or file object  ->  Following, if others still write it  ->  decompressed, if it is compressed
                          ->  the reader of its format             ->  Flows: the filter, and `strict`
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BufferedReader
from os import PathLike
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, BinaryIO, cast

from ..errors import FlowFileError
from ..filter import Stage
from ..flowfile import FlowReader, RawFlow, Shelf, holds_frame, magic, recognise
from ..model.flow import Flow
from ..model.reading import Damage, FlowSource
from .following import Followed
from .peeking import peek

if TYPE_CHECKING:
    from ..filter import Filter

Unwanted = Callable[[bytes], bool]

# What the formats of others are told by.
_HEAD = 4096
# With that many, a flow file is told, and that something is compressed.
_ENOUGH = 64
# A flow file whose beginning is damaged is one all the same, if a whole frame is within so many bytes.
_SEARCHED = 1024 * 1024


class Flows:
    """The flows of a capture file, one after the other; each can be had once. Made by `open_flows`.

    Bodies and messages that are not small stay in the file until somebody reads them, so they can be read as long as it
    is open: a context manager closes it. After the last flow, `damage` lists what could not be read, and `cut_off`
    counts the flows that were delivered without their end, because their capture was cut off.
    """

    def __init__(self, source: FlowSource, *, wanted: Filter | None = None, strict: bool = False) -> None:
        self._source = source
        self._wanted = wanted
        self._strict = strict
        self._flows = self._read() if strict or wanted else iter(source)

    def __iter__(self) -> Iterator[Flow]:
        return self._flows

    def __next__(self) -> Flow:
        return next(self._flows)

    def __enter__(self) -> Flows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._source.close()

    @property
    def name(self) -> str:
        """What messages call the file."""
        return self._source.name

    @property
    def damage(self) -> Sequence[Damage]:
        """What could not be read so far."""
        return self._source.damage

    @property
    def cut_off(self) -> int:
        """How many flows were delivered so far without their end."""
        return self._source.cut_off

    @property
    def passed_over(self) -> int:
        """How many flows were ruled out so far without decoding them."""
        return self._source.passed_over

    @property
    def raw(self) -> RawFlow | None:
        """How the flow that was delivered last stands in a flow file; None if it does not, just as it was delivered."""
        return getattr(self._source, "raw", None)

    @property
    def shelf(self) -> Shelf | None:
        """Where flows can be had again by the place that `raw` tells; None if the file is not of that kind."""
        return getattr(self._source, "shelf", None)

    def _read(self) -> Iterator[Flow]:
        for flow in self._source:
            self._check()
            if self._wanted is None or self._wanted.verdict(flow, Stage.END):
                yield flow
        self._check()

    def _check(self) -> None:
        if self._strict and self.damage:
            offset, _, reason = self.damage[0]
            raise FlowFileError(f"{self.name} is damaged at byte {offset}: {reason}")


def open_flows(
    file: str | PathLike[str] | BinaryIO,
    *,
    filter: str | Filter | None = None,  # noqa: A002  # the word for it everywhere
    strict: bool = False,
    follow: bool = False,
    unwanted: Unwanted | None = None,
    warn: Callable[[str], object] = lambda _: None,
    idle: Callable[[], object] | None = None,
) -> Flows:
    """The flows of a capture: a path, "-" for standard input, or a binary file object.

        with open_flows("out.flows", filter="~d example.com & ~c 5xx") as flows:
            for flow in flows:
                print(flow.request.url)

    It may be a flow file, or one of the formats in `mitmdump.formats`, each also compressed with Zstandard. `filter`
    selects flows, in the language of mitmdump-filters(7). Damage is skipped and listed; with `strict` it raises.
    `follow` waits at the end of a flow file (a path) for what others write to it, for ever; if another file comes to
    the path, `warn` is told and that is read, and `idle` is called instead of waiting a tenth of a second.

    `unwanted` is shown undecoded records, one or many, and says where no flow need be delivered, see `FlowReader`; with
    a filter it is the filter that says so.

    Raises FlowFileError, here or on the way, where the file cannot be read, is no capture, or is newer than this
    program; and FilterError.
    """
    wanted = _parsed(filter) if isinstance(filter, str) else filter
    unwanted = wanted.rules_out if wanted else unwanted
    source = _follow(file, unwanted, warn, idle) if follow else _open(file, unwanted)
    return Flows(source, wanted=wanted, strict=strict)


def _parsed(text: str) -> Filter:
    """Raises FilterError."""
    from ..filter import parse  # most captures are read whole

    return parse(text, now=time())


def _open(file: str | PathLike[str] | BinaryIO, unwanted: Unwanted | None) -> FlowSource:
    if file == "-":
        if sys.stdin is None:
            raise FlowFileError("cannot read standard input: it is closed. Redirect it from a file or a program")
        return _recognised(sys.stdin.buffer, "standard input", unwanted)
    if not isinstance(file, str | PathLike):
        return _recognised(file, str(getattr(file, "name", "the input")), unwanted)
    name = os.fspath(file)
    try:
        opened = Path(name).open("rb")  # noqa: SIM115  # the reader closes it
    except OSError as error:
        raise FlowFileError(f"cannot read {name}: {error.strerror}") from error
    try:
        return _recognised(opened, name, unwanted)
    except BaseException:
        opened.close()
        raise


def _follow(
    file: str | PathLike[str] | BinaryIO,
    unwanted: Unwanted | None,
    warn: Callable[[str], object],
    idle: Callable[[], object] | None,
) -> FlowSource:
    if file == "-" or not isinstance(file, str | PathLike) or Path(file).is_fifo():
        raise FlowFileError("only a regular file can be followed, by its name; a pipe is read as it comes in any case")
    source = _open(file, unwanted)  # what is no capture is refused now, and not when its first byte is waited for
    source.close()
    reader = source.source if isinstance(source, _Unpacked) else source
    if not isinstance(reader, FlowReader):
        raise FlowFileError(f"cannot follow {source.name}: only flow files can be followed")
    return Followed(os.fspath(file), partial(_recognised, name=os.fspath(file), unwanted=unwanted), warn, idle)


def _recognised(file: BinaryIO, name: str, unwanted: Unwanted | None) -> FlowSource:
    """The reader for what a file holds. Raises FlowFileError."""
    try:
        head, file = peek(file, _HEAD, _is_enough)
        if not magic.recognise(head):
            return _reader(head, file, name, unwanted)
        from ..flowfile import compressed  # zstandard, which few captures need

        unpacked = compressed.Decompressing(file)
        head, file = peek(cast(BinaryIO, BufferedReader(unpacked)), _HEAD, _is_enough)
        return _Unpacked(_reader(head, file, name, unwanted), unpacked.damage)
    except OSError as error:
        raise FlowFileError(f"cannot read {name}: {error.strerror or error}") from error


def _reader(head: bytes, file: BinaryIO, name: str, unwanted: Unwanted | None) -> FlowSource:
    """The reader for a file that begins with these bytes; an empty one has no flows. Raises FlowFileError, OSError."""
    if not head or recognise(head):
        return FlowReader(file, name=name, unwanted=unwanted)
    from ..formats import FORMATS  # many modules, which few runs need

    for known in FORMATS:
        if known.read and known.recognise(head):
            return known.read(file, name)
    head, file = peek(file, _SEARCHED, lambda _: False)
    if holds_frame(head):
        return FlowReader(file, name=name, unwanted=unwanted)
    others = ", ".join(known.name for known in FORMATS if known.read)
    raise FlowFileError(
        f"{name} is not a flow file, nor anything else that mitmdump can read: {others}, or those as .zst"
    )


def _is_enough(head: bytes) -> bool:
    """Are these first bytes enough to tell what a file is?"""
    return (len(head) >= _ENOUGH and recognise(head)) or magic.recognise(head)


class _Unpacked:
    """What a compressed file holds; a `FlowSource`, and `raw` as `FlowReader` has it."""

    def __init__(self, source: FlowSource, damage: Sequence[Damage]) -> None:
        self.source = source
        self._damage = damage

    def __iter__(self) -> Iterator[Flow]:
        return iter(self.source)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def damage(self) -> Sequence[Damage]:
        """That of the file, then that of what it unpacks to, of which the offsets are of that."""
        inner = (each._replace(reason=f"{each.reason}, as unpacked") for each in self.source.damage)
        return [*self._damage, *inner]

    @property
    def cut_off(self) -> int:
        return self.source.cut_off

    @property
    def passed_over(self) -> int:
        return self.source.passed_over

    @property
    def raw(self) -> RawFlow | None:
        return getattr(self.source, "raw", None)

    def close(self) -> None:
        """Close the file."""
        self.source.close()
