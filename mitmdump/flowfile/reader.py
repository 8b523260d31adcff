"""Reading flow files: frames in, flows out, in the order in which the flows ended.

A flow is delivered when its final FLOW frame comes. What came before it (partial FLOW frames, pieces of bodies,
messages) waits in an `_Assembly`; any number of flows may be under way. Bodies and messages stay where they are: in the
file, or for a pipe in a spool. A flow never crosses from one section into another, so at the next SECTION, or at the
end, those still under way are delivered as cut off, with all that arrived of them.

Damage is skipped and listed; nothing that a file holds makes the reader raise anything but FlowFileError.

Which flow files there are, and opening them, is the matter of `mitmdump.files`.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import BytesIO, FileIO
from itertools import chain, islice
from stat import S_ISREG
from typing import Any, BinaryIO

from ..errors import FlowFileError
from ..model.body import Body
from ..model.connection import Connection
from ..model.flow import Error, Flow
from ..model.reading import Damage
from . import frame
from .frame import Frame, Frames
from .kept import KeptBody, KeptFrames, KeptMessages, OnDisk, Spool, Store
from .packing import Outline, unpack
from .raw import RawFlow
from .schema import FORMAT, Told, read_connection, read_flow, read_message, read_piece, read_section
from .shelf import Shelf
from .upgrade import VERSION, check, upgrade
from .usual import is_usual
from .writer import WINDOW

# The remembered connections of a hostile file: the same 16 KiB each that an honest one has at the very most.
_WINDOW_BYTES = 16 * 1024 * WINDOW

# A SECTION that opens a file shows its format within so many bytes.
_HEAD = 64

# Keys that tell if a FLOW frame is all there is of a flow without an error, and those that it then has.
_TELLING = frozenset({"id", "kind", "done", "error", "streamed", "messages"})
_OF_ALL = {"id", "kind", "done"}

_CUT_OFF = "the capture was cut off before this flow ended"
_LOST = "a part of this flow was lost to damage in the file"


def recognise(head: bytes) -> bool:
    """Does a file that begins with these bytes (64 are enough) look like a flow file? One without bytes does not."""
    if len(head) < _HEAD and head[:1] == b"\xc9":  # torn inside its first frame
        return head[5:6] in (b"", b"\0")
    return head[:1] == b"\xc9" and head[5:6] == b"\0" and FORMAT.encode() in head[:_HEAD]


def holds_frame(head: bytes) -> bool:
    """Is there a whole frame in these bytes? So a flow file may be told whose beginning is damaged."""
    return next(iter(Frames(BytesIO(head).read, lambda _offset, _size, _reason: None)), None) is not None


class FlowReader:
    """The flows of a file, one after the other: `for flow in reader`.

    `damage` and `cut_off` (how many flows were delivered without their end) grow on the way. `name` is what messages
    call the file. Bodies that lie in the file can be read until it is closed.

    `unwanted` spares the work of decoding: it is asked about stretches of the file, one or many frames, and where it
    says that no flow is wanted of which the FLOW frame lies there, those that are all in this frame, and without an
    error, are not delivered but counted, in `passed_over`.

    Raises FlowFileError, here or on the way, where the file cannot be read or was written by a newer mitmdump.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        name: str = "",
        unwanted: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.damage: list[Damage] = []
        self.cut_off = 0
        self.passed_over = 0
        self.name = name or str(getattr(file, "name", "the input"))
        self._file = file
        self._unwanted = unwanted
        self._outline = Outline(_TELLING)
        self._disk = _on_disk(file, self.name)
        self._version = VERSION
        self._connections: OrderedDict[int, tuple[bytes, Connection]] = (
            OrderedDict()
        )  # id: content of the frame, and it
        self._connection_bytes = 0
        self._under_way: dict[int, _Assembly] = {}
        self._delivered: tuple[Flow, Frame, Iterable[bytes]] | None = None  # with its final frame, and those before
        self._handlers: dict[int, Callable[[Frame, Any], Iterable[Flow]]] = {
            frame.SECTION: self._section,
            frame.CONNECTION: self._connection,
            frame.FLOW: self._flow,
            frame.BODY: self._body,
            frame.MESSAGE: self._message,
        }
        frames = Frames(
            self._read_some,
            self._damaged,
            file.tell() if self._disk else 0,
            unwanted=unwanted,
            pass_over=self._pass_over_usual,
        )
        following = iter(frames)
        first = list(islice(following, 1))
        self._check_version(first)
        self._flows = self._read(chain(first, following))

    def __iter__(self) -> Iterator[Flow]:
        return self._flows

    def __next__(self) -> Flow:
        return next(self._flows)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def raw(self) -> RawFlow | None:
        """How the flow that was delivered last stands in the file, for those who copy it.

        None where it does not stand there as it was delivered: cut off, damaged, or in an older version of the format.
        """
        if self._delivered is None:
            return None
        flow, final, before = self._delivered
        ids = [each.id for each in (flow.client_conn, flow.server_conn) if each is not None]
        known = tuple((each, self._connections[each][0]) for each in ids if each in self._connections)
        return RawFlow(known, before, final.content, final.offset if self._disk else None)

    @property
    def shelf(self) -> Shelf | None:
        """Where flows can be had again by their place; None if the file cannot be read at any place, or is too old."""
        return Shelf(self._disk) if self._disk and self._version == VERSION else None

    def _read_some(self, size: int) -> bytes:
        read = getattr(self._file, "read1", self._file.read)  # of a pipe, what is there
        try:
            data: bytes = read(size)
        except OSError as error:
            raise FlowFileError(f"cannot read {self.name}: {error.strerror or error}") from error
        return data

    def _check_version(self, first: list[Frame]) -> None:
        """Refuse a newer file before anything else is done with it."""
        for found in first:
            if found.code == frame.SECTION:
                with suppress(ValueError, TypeError):
                    self._section(found, unpack(found.content))

    def _read(self, frames: Iterator[Frame]) -> Iterator[Flow]:
        unwanted = self._unwanted
        for found in frames:
            handler = self._handlers.get(found.code)
            if handler is None:  # END, and what a later program may add
                continue
            try:
                if unwanted and found.code == frame.FLOW and unwanted(found.content) and self._pass_over(found.content):
                    continue
                content = unpack(found.content)
                if self._version != VERSION:
                    content = upgrade(self._version, found.code, content)
                flows = handler(found, content)
            except (ValueError, TypeError) as error:
                self._damaged(found.offset - frame.HEADER.size, frame.HEADER.size + len(found.content), str(error))
                continue
            yield from flows
        yield from self._deliver_cut_off()

    def _pass_over_usual(self, content: bytes) -> bool:
        """Count an unwanted flow instead of decoding it, if that is seen at a glance."""
        if self._under_way or self._version != VERSION or not is_usual(content):
            return False
        self.passed_over += 1
        return True

    def _pass_over(self, content: bytes) -> bool:
        """Count an unwanted flow instead of decoding it, if its keys say that no more can be known of it."""
        if self._version != VERSION:
            return False
        known = self._outline(content)
        whole = known.keys() == _OF_ALL and type(known["id"]) is int and known["done"] is True
        if not whole or known["id"] in self._under_way:
            return False
        self.passed_over += 1
        return True

    def _damaged(self, offset: int, size: int, reason: str) -> None:
        self.damage.append(Damage(offset, size, reason))

    def _section(self, _: Frame, content: Any) -> Iterable[Flow]:
        version = read_section(content)
        try:
            check(version)
        except FlowFileError as error:
            raise FlowFileError(f"cannot read {self.name}: {error}") from None
        self._version = version
        return self._deliver_cut_off()

    def _connection(self, found: Frame, content: Any) -> Iterable[Flow]:
        connection = read_connection(content)
        replaced = self._connections.pop(connection.id, None)
        self._connections[connection.id] = (found.content, connection)
        self._connection_bytes += len(found.content) - (len(replaced[0]) if replaced else 0)
        while len(self._connections) > WINDOW or self._connection_bytes > _WINDOW_BYTES:
            _, (forgotten, _) = self._connections.popitem(last=False)
            self._connection_bytes -= len(forgotten)
        return ()

    def _find_connection(self, connection_id: int, side: Any) -> Connection:
        found = self._connections.get(connection_id)
        return Connection(side, connection_id) if found is None else found[1]

    def _flow(self, found: Frame, content: Any) -> Iterable[Flow]:
        self._delivered = None
        flow, told = read_flow(content, self._find_connection)
        if not told.done:
            self._assembly(flow.id).begin(flow, found)
            return ()
        assembly = self._under_way.pop(flow.id, None)
        if assembly is not None:
            assembly.attach(flow)
        counted = told.streamed is not None or told.messages is not None
        is_whole = not (counted and _mark_lost(flow, assembly or _Assembly(Spool()), told))
        if is_whole and self._version == VERSION:
            self._delivered = flow, found, assembly.frames if assembly else ()
        return (flow,)

    def _body(self, found: Frame, content: Any) -> Iterable[Flow]:
        flow_id, part, data = read_piece(content)
        assembly = self._assembly(flow_id)
        body = assembly.bodies[part]
        if body is None:
            body = assembly.bodies[part] = KeptBody(assembly.store)
        place = assembly.frames.add(found)
        body.add(place + len(found.content) - len(data), len(data))
        return ()

    def _message(self, found: Frame, content: Any) -> Iterable[Flow]:
        flow_id, _ = read_message(content)
        assembly = self._assembly(flow_id)
        if assembly.messages is None:
            assembly.messages = KeptMessages(assembly.store)
        assembly.messages.add(assembly.frames.add(found), len(found.content))
        return ()

    def _assembly(self, flow_id: int) -> _Assembly:
        assembly = self._under_way.get(flow_id)
        if assembly is None:
            assembly = self._under_way[flow_id] = _Assembly(self._disk or Spool())
        return assembly

    def _deliver_cut_off(self) -> Iterator[Flow]:
        self._delivered = None
        cut_off, self._under_way = self._under_way, {}
        for assembly in cut_off.values():
            flow = assembly.flow
            if flow is None:  # damage took the frames that say what it was
                continue
            assembly.attach(flow)
            flow.error = flow.error or Error(_CUT_OFF, flow.timestamp_start)
            for body in _bodies(flow):
                if body is not None:
                    body.length = max(body.length, body.stored)
                    body.complete = body.complete and body.stored == body.length
            self.cut_off += 1
            yield flow


class _Assembly:
    """What has come of a flow whose final FLOW frame has not."""

    __slots__ = ("bodies", "flow", "frames", "messages", "store")

    def __init__(self, store: Store) -> None:
        self.store = store
        self.frames = KeptFrames(store)
        self.flow: Flow | None = None
        self.bodies: list[KeptBody | None] = [None, None]
        self.messages: KeptMessages | None = None

    def begin(self, flow: Flow, found: Frame) -> None:
        """A FLOW frame that is not the final one."""
        self.flow = flow
        self.frames.add(found)

    def attach(self, flow: Flow) -> None:
        """Give the flow what came in frames of its own. Content inside a FLOW frame is in place of BODY frames."""
        for body, kept in zip(_bodies(flow), self.bodies, strict=True):
            if body is not None and body.source is None:
                body.source = kept
        if self.messages is not None:
            flow.messages = self.messages


def _bodies(flow: Flow) -> tuple[Body | None, Body | None]:
    return flow.request.body if flow.request else None, flow.response.body if flow.response else None


def _mark_lost(flow: Flow, assembly: _Assembly, told: Told) -> bool:
    """Compare what came with what the final frame says was written; a hole in a body must not go unnoticed."""
    lost = told.messages is not None and told.messages != len(assembly.messages or ())
    for body, kept, size in zip(_bodies(flow), assembly.bodies, told.streamed or (0, 0), strict=True):
        if told.streamed is not None and size != len(kept or b""):
            lost = True
            if body is not None:
                body.complete = False
    if lost:
        flow.error = flow.error or Error(_LOST, flow.timestamp_start)
    return lost


def _on_disk(file: BinaryIO, name: str) -> OnDisk | None:
    """The file as a store of its own bodies, if it can be: not a pipe, nor something that is unpacked on the fly."""
    raw = getattr(file, "raw", file)
    if not isinstance(raw, FileIO) or not S_ISREG(os.fstat(raw.fileno()).st_mode):
        return None
    return OnDisk(raw, name)
