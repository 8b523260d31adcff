"""Writing flow files: the frames of one section, each in one call of `write`, so that what was written survives us.

A small flow that has ended is one FLOW frame with its bodies inside (`SectionWriter.write`). A flow that is large, or
not over yet, is a `RunningFlow`: a FLOW frame with what is known so far, BODY and MESSAGE frames as things pass, and
the final FLOW frame. `SectionWriter.add` chooses between the two for a flow that is all there; `copy` takes one out of
another file as it stands there.

A CONNECTION frame goes before the first flow that names the connection, and again when its facts have changed or when
4,096 other CONNECTION frames have been written since: readers need not remember more (`WINDOW`), and neither do we.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from .. import __version__
from ..model.body import Body
from ..model.connection import Connection
from ..model.flow import Flow, Part
from ..model.message import Message
from . import frame
from .packing import header_of_bytes, make_packer
from .raw import RawFlow
from .schema import FORMAT, Map, connection_map, flow_map
from .upgrade import VERSION
from .usual_bytes import UsualFlows

# A body of up to this size stands inside its FLOW frame.
INLINE: Final = 64 * 1024

# A larger piece of a body, or a larger message, is written as several, so that readers get by with little memory.
PIECE: Final = 1024 * 1024

# How many connections a reader remembers, newest last: some 16 MiB where each has a chain of four certificates.
WINDOW: Final = 4096

_NO_BYTES: Final = header_of_bytes(0)


class SectionWriter:
    """One section of a flow file.

    `write` is called with whole frames, and `write_parts`, if there is one, with a frame in two parts where it can be
    large; what they raise goes through to the caller, who must not go on writing then.
    `created` is the time in Unix seconds. The counts say how many frames of each type were written.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        write_parts: Callable[[bytes, bytes], object] | None = None,
        *,
        created: float,
        software: str = f"mitmdump {__version__}",
    ) -> None:
        self.connections = 0
        self.flows = 0
        self.pieces = 0
        self.messages = 0
        self._write = write
        self._write_parts = write_parts or (lambda front, data: write(front + data))
        self._pack = make_packer()
        self._usual = UsualFlows(self._pack)
        self._known: OrderedDict[int, int] = OrderedDict()  # id of a connection, hash of its facts as written
        head = {"format": FORMAT, "version": VERSION, "created": created, "software": software}
        write(frame.encode(frame.SECTION, self._pack(head)))

    def write(self, flow: Flow, request_content: bytes | None = None, response_content: bytes | None = None) -> None:
        """Write a flow that has ended, with bodies that fit into its frame (None: not kept)."""
        content = self._usual.pack(flow, request_content, response_content)
        if content is None:
            content = self._pack({**flow_map(flow, request_content, response_content), "done": True})
        self._put_flow(flow, content)
        self.flows += 1

    def start(self, flow: Flow) -> RunningFlow:
        """Write what is known of a flow whose bytes are still to come."""
        return RunningFlow(self, flow)

    def add(self, flow: Flow) -> None:
        """Write a flow with all that it holds: the kept bytes of its bodies, and its messages."""
        messages = iter(flow.messages)
        first = next(messages, None)
        bodies = [message.body if message else Body() for message in (flow.request, flow.response)]
        if first is None and all(body.stored <= INLINE for body in bodies):
            self.write(flow, *(body.read() for body in bodies))
            return
        running = self.start(flow)
        for part, body in zip(Part, bodies, strict=True):
            for piece in body.pieces():
                running.data(part, piece)
        if first is not None:
            running.message(first)
        for message in messages:
            running.message(message)
        running.finish(*(b"" if body.source is not None else None for body in bodies))

    def copy(self, raw: RawFlow) -> None:
        """Write a flow as it stands in another file, byte for byte, with the connections that readers need for it.

        Raises FlowFileError where that file cannot be read any more.
        """
        front = b"".join(self._introduce(*connection) for connection in raw.connections)
        for whole in raw.before:
            self._write(front + whole)
            front = b""
            code = frame.code_of(whole)
            self.pieces += code == frame.BODY
            self.messages += code == frame.MESSAGE
        self._write(front + frame.encode(frame.FLOW, raw.final))
        self.flows += 1

    def close(self) -> None:
        """Write the END frame. The writer must not be used afterwards."""
        counts = {name: getattr(self, name) for name in ("connections", "flows", "pieces", "messages")}
        self._write(frame.encode(frame.END, self._pack(counts)))

    def put_flow(self, flow: Flow, found: Map) -> None:
        """Write a FLOW frame that is not the final one, or counts what was written before it."""
        self._put_flow(flow, self._pack(found))

    def put_piece(self, flow_id: int, part: Part, data: bytes) -> None:
        """Write BODY frames."""
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            front = self._pack((flow_id, int(part), b""))[: -len(_NO_BYTES)] + header_of_bytes(len(piece))
            self._write_parts(*frame.encode_apart(frame.BODY, front, piece))
            self.pieces += 1

    def put_message(self, flow_id: int, message: Message) -> int:
        """Write a message; returns in how many MESSAGE frames, of which an empty one takes one."""
        data, kind = message.content, message.kind
        starts = range(0, len(data) or 1, PIECE)
        for start in starts:
            piece = data[start : start + PIECE]
            content = self._pack((flow_id, message.from_client, kind, message.timestamp, piece))
            kind = "raw" if kind == "raw" else "continuation"
            self._write(frame.encode(frame.MESSAGE, content))
        self.messages += len(starts)
        return len(starts)

    def _put_flow(self, flow: Flow, content: bytes) -> None:
        """Write a FLOW frame, in one piece with the connections that must go before it."""
        whole = frame.encode(frame.FLOW, content)
        front = self._introductions(flow)
        self._write(front + whole if front else whole)

    def _introductions(self, flow: Flow) -> bytes:
        """The CONNECTION frames that must stand before a flow."""
        known, client, server = self._known, flow.client_conn, flow.server_conn
        frames = b""
        if known.get(client.id) != _facts(client):
            frames = self._connection_frame(client)
        if server is not None and known.get(server.id) != _facts(server):
            frames += self._connection_frame(server)
        return frames

    def _connection_frame(self, connection: Connection) -> bytes:
        self._note(connection.id, _facts(connection))
        return frame.encode(frame.CONNECTION, self._pack(connection_map(connection)))

    def _introduce(self, connection_id: int, content: bytes) -> bytes:
        """The CONNECTION frame of a connection as it stands in another file, or nothing where readers know it."""
        facts = hash(content)
        if self._known.get(connection_id) == facts:
            return b""
        self._note(connection_id, facts)
        return frame.encode(frame.CONNECTION, content)

    def _note(self, connection_id: int, facts: int) -> None:
        """This is written now of a connection."""
        known = self._known
        known[connection_id] = facts
        known.move_to_end(connection_id)
        if len(known) > WINDOW:
            known.popitem(last=False)
        self.connections += 1


class RunningFlow:
    """A flow that is written while it runs. The bytes of its bodies go into the file as they come."""

    __slots__ = ("_flow", "_has_response", "_messages", "_streamed", "_writer")

    def __init__(self, writer: SectionWriter, flow: Flow) -> None:
        self._writer = writer
        self._flow = flow
        self._streamed = [0, 0]
        self._messages = 0
        self._tell()

    def data(self, part: Part, data: bytes) -> None:
        """Write the next piece of a body."""
        self._tell_response()
        self._streamed[part] += len(data)
        self._writer.put_piece(self._flow.id, part, data)

    def message(self, message: Message) -> None:
        """Write the next message."""
        self._tell_response()
        self._messages += self._writer.put_message(self._flow.id, message)

    def finish(self, request_content: bytes | None = None, response_content: bytes | None = None) -> None:
        """Write the final FLOW frame. A content stands for a body that had no `data`."""
        contents = (request_content, response_content)
        request, response = (None if self._streamed[part] else contents[part] for part in Part)
        found = flow_map(self._flow, request, response)
        for part, name in enumerate(("request", "response")):
            if name in found and self._streamed[part]:
                found[name]["body"].setdefault("length", self._streamed[part])
        if any(self._streamed):
            found["streamed"] = self._streamed
        if self._messages:
            found["messages"] = self._messages
        found["done"] = True
        self._writer.put_flow(self._flow, found)
        self._writer.flows += 1

    def _tell_response(self) -> None:
        """If we are cut off, what comes from the server needs a response to belong to."""
        if not self._has_response and self._flow.response is not None:
            self._tell()

    def _tell(self) -> None:
        self._has_response = self._flow.response is not None
        self._writer.put_flow(self._flow, flow_map(self._flow, None, None))


def _facts(connection: Connection) -> int:
    """The hash of what can change of a connection: of thousands, the values themselves would take megabytes."""
    values = (
        connection.peername,
        connection.sockname,
        connection.address,
        connection.timestamp_start,
        connection.timestamp_tcp_setup,
        connection.timestamp_tls_setup,
        connection.timestamp_end,
        connection.tls_version,
        connection.cipher,
        connection.alpn_offers,
        connection.alpn,
        connection.sni,
        connection.session_resumed,
        connection.certificate_list,
        connection.verification,
    )
    return hash(values)
