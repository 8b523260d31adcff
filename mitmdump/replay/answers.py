"""What was recorded: which requests there are an answer to, and where in which file each answer is.

Kept in memory is what it takes to find an answer: for each flow its place, and for each different request a digest of
its parts (`match`). The flows themselves are read again when they are asked for, and large bodies when they are sent.
So a file of any size takes some 200 bytes of memory a flow.

That takes a flow file on a disk. From a pipe, a compressed file or another format, flows are copied into a temporary
one first.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from tempfile import TemporaryFile
from time import time
from typing import Any, BinaryIO, NamedTuple, cast

from ..errors import FlowFileError
from ..files import Flows, open_flows
from ..filter import Filter
from ..flowfile import SectionWriter, Shelf
from ..model.body import Body, Source
from ..model.connection import Connection
from ..model.flow import Flow
from ..model.message import Message
from .match import Matching, key_of, recorded_parts

# Servers whose certificates are remembered: 2 KiB each, and a day's browsing meets some hundred.
MAX_SERVERS = 10_000

_NONE = 0xFFFFFFFF  # no number of a flow
_SKETCH = 8


class Server(NamedTuple):
    """What a recorded server showed in its TLS handshake: its certificate as DER, and the protocol that it chose."""

    certificate: bytes
    alpn: bytes | None


class _Apart(NamedTuple):
    """What stands in frames of its own: large bodies, and messages."""

    request: bytes | Source | None
    response: bytes | Source | None
    messages: Iterable[Message]


class Answers:
    """Recorded flows, each with a number, in their order; `close` lets go of the files.

    `damage` says what could not be read, `skipped` counts by the reason flows that are no use for answering, `given`
    how often each of the others was given.
    """

    def __init__(self, matching: Matching) -> None:
        self.matching = matching
        self.damage: list[str] = []
        self.skipped: Counter[str] = Counter()
        self._files = ExitStack()
        self._shelves: list[Shelf] = []
        self._shelf_of = array("I")
        self._places = array("Q")
        self._sizes = array("I")
        self._next = array("I")  # the next flow with the same key
        self._first: dict[bytes, int] = {}  # by key
        self._last: dict[int, int] = {}  # of those with the same key as this first one, where it is not the only one
        self._apart: dict[int, _Apart] = {}  # of flows that do not stand in one frame
        self._sketches = {"path": bytearray(), "host": bytearray()}
        self._servers: dict[tuple[str, int], Server] = {}
        self.given = array("I")  # how often each was given

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    # -- filling ------------------------------------------------------------------------------------------------------

    def load(self, name: str, wanted: Filter | None = None) -> None:
        """Add the flows of a capture, "-" for standard input, that the filter wants.

        Raises FlowFileError where it cannot be read.
        """
        flows = self._files.enter_context(open_flows(name, filter=wanted))
        shelf = flows.shelf
        if shelf is None:
            copied = self._files.enter_context(open_flows(_copy(flows)))
            self._note_damage(flows)
            flows, shelf = copied, copied.shelf
        assert shelf
        self._shelves.append(shelf)
        for flow in flows:
            self._add(flow, flows)
        self._note_damage(flows)

    def _add(self, flow: Flow, flows: Flows) -> None:
        raw = flows.raw
        if flow.server_conn and flow.server_conn.certificate_list:
            self._meet(flow.server_conn)
        if reason := _why_not(flow, self.matching) or ("damaged" if raw is None else ""):
            self.skipped[reason] += 1
            return
        assert flow.request
        assert flow.response
        assert raw
        assert raw.place is not None
        number = len(self)
        parts = recorded_parts(self.matching, flow.request, flow.response)
        self._file_under(key_of(parts), number)
        for name, column in self._sketches.items():
            column += _sketch(parts.get(name))
        self._shelf_of.append(len(self._shelves) - 1)
        self._places.append(raw.place)
        self._sizes.append(len(raw.final))
        self.given.append(0)
        apart = _Apart(flow.request.body.source, flow.response.body.source, flow.messages)
        if not (isinstance(apart.request, bytes) and isinstance(apart.response, bytes)) or apart.messages:
            self._apart[number] = apart

    def _file_under(self, key: bytes, number: int) -> None:
        self._next.append(_NONE)
        first = self._first.setdefault(key, number)
        if first != number:
            self._next[self.last(first)] = number
            self._last[first] = number

    def _meet(self, connection: Connection) -> None:
        """Remember what a server's certificate was like; the first that it showed counts."""
        address = connection.address or connection.peername
        if not address or len(self._servers) >= MAX_SERVERS:
            return
        server = Server(connection.certificate_list[0], connection.alpn)
        for name in {connection.sni or address[0], address[0]}:
            self._servers.setdefault((name.lower(), address[1]), server)

    def _note_damage(self, flows: Flows) -> None:
        self.damage += [
            f"{flows.name}: damaged: {each.reason}; skipped {each.size} bytes from byte {each.offset} on"
            for each in flows.damage
        ]

    # -- asking -------------------------------------------------------------------------------------------------------

    def first(self, key: bytes) -> int | None:
        """The first flow whose request has this key."""
        return self._first.get(key)

    def last(self, first: int) -> int:
        """The last flow with the same key as this first one."""
        return self._last.get(first, first)

    def after(self, number: int) -> int | None:
        """The next flow with the same key."""
        following = self._next[number]
        return None if following == _NONE else following

    def take(self, number: int) -> Flow:
        """A flow, read anew. Raises FlowFileError where it can no longer be had."""
        flow = self._shelves[self._shelf_of[number]].take(self._places[number], self._sizes[number])
        if apart := self._apart.get(number):
            assert flow.request
            assert flow.response
            flow.request.body.source, flow.response.body.source, flow.messages = apart
        return flow

    def alike(self, part: str, value: Any, limit: int) -> Iterator[int]:
        """Up to `limit` flows whose `part`, "path" or "host", is this; a few others may be among them."""
        column, sketch, at = self._sketches[part], _sketch(value), -1
        while limit and (at := column.find(sketch, at + 1)) >= 0:
            if at % _SKETCH == 0:
                limit -= 1
                yield at // _SKETCH

    def server(self, name: str, port: int) -> Server | None:
        """What the server of this name was like."""
        return self._servers.get((name.lower(), port))


def _sketch(value: Any) -> bytes:
    """Some bytes that tell a value from most others, in this run of the program."""
    return hash(value).to_bytes(_SKETCH, "little", signed=True)


def _why_not(flow: Flow, matching: Matching) -> str:
    """Why a recorded flow is no answer to anything, "" if it is one."""
    request, response = flow.request, flow.response
    if flow.kind != "http" or request is None or request.method == "CONNECT":
        return "no HTTP exchange"
    if response is None:
        return "no response"
    if response.status_code < 200 and not (flow.websocket or flow.messages):
        return "a switch to another protocol"
    if not _is_whole(response.body):
        return "the response was cut off or not stored"
    if "body" in matching.parts and not _is_whole(request.body):
        return "the request was cut off or not stored"
    return ""


def _is_whole(body: Body) -> bool:
    return body.complete and (body.stored == body.length)


def _copy(flows: Flows) -> BinaryIO:
    """A temporary flow file with all these flows; it is gone when it is closed."""
    try:
        file = cast(BinaryIO, TemporaryFile())  # noqa: SIM115  # who reads it closes it
        try:
            writer = SectionWriter(file.write, created=time())
            for flow in flows:
                if flows.raw is None:
                    writer.add(flow)
                else:
                    writer.copy(flows.raw)
            file.seek(0)
        except BaseException:
            file.close()
            raise
    except OSError as error:
        raise FlowFileError(
            f"cannot copy {flows.name} to where it can be read at any place: {error.strerror}. Set TMPDIR to a "
            "directory with more room"
        ) from error
    return file
