"""The messages in a flow of mitmproxy: read one by one, as a connection can have had any number of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...errors import FlowFileError
from ...model.body import PIECE
from ...model.flow import WebSocket
from ...model.headers import to_str
from ...model.message import Message, MessageKind
from .state import State, as_bytes, as_list, as_time, as_truth
from .tnetstring import Large, Value

# A larger message is delivered in pieces, as it is from our own files.
_LARGEST = 1024 * 1024

_OPCODES: dict[int, MessageKind] = {1: "text", 2: "binary"}

# RFC 6455 section 7.4.1: codes that say that there was no code in the close frame, or no close frame.
NO_CODE, NO_CLOSE = 1005, 1006

# A message whose content may still be in the file: direction, kind, time, content.
_Head = tuple[bool, MessageKind, float, bytes | Large]


class Messages:
    """The messages of a flow; each iteration reads them anew. `last` comes after those in the file.

    Raises ValueError, when it is made, where one of them is malformed.
    """

    __slots__ = ("_last", "_read", "_value")

    def __init__(self, value: Value, read: Callable[[list[Value]], _Head], last: Message | None = None) -> None:
        self._value = value
        self._read = read
        self._last = last
        for _ in self._heads():
            pass

    def __iter__(self) -> Iterator[Message]:
        try:
            for from_client, kind, timestamp, content in self._heads():
                for piece in _pieces(content):
                    yield Message(from_client, kind, timestamp, piece)
                    kind = "raw" if kind == "raw" else "continuation"
        except ValueError:  # it was sound when the flow was read
            raise FlowFileError("the capture file was changed while it was read") from None
        if self._last is not None:
            yield self._last

    def _heads(self) -> Iterator[_Head]:
        children = self._value.children() if isinstance(self._value, Large) else as_list(self._value)
        for child in children:
            yield self._read(list(child.children()) if isinstance(child, Large) else as_list(child))


def _pieces(content: bytes | Large) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    gathered = bytearray()
    for piece in content.pieces():
        gathered += piece
        if len(gathered) > _LARGEST - PIECE:
            yield bytes(gathered)
            gathered.clear()
    if gathered:
        yield bytes(gathered)


def raw_message(state: list[Value]) -> _Head:
    """One read of a raw connection. Raises ValueError where it is none."""
    from_client, content, timestamp = state
    return as_truth(from_client), "raw", as_time(timestamp), _content(content)


def websocket_message(state: list[Value]) -> _Head:
    """A message of a WebSocket; whether it was dropped, and whether mitmproxy made it up, is left out.

    Raises ValueError where it is none.
    """
    opcode, from_client, content, timestamp, *_ = state
    if type(opcode) is not int or opcode not in _OPCODES:
        raise ValueError(f"a WebSocket message of the type {opcode!a:.40}")
    return as_truth(from_client), _OPCODES[opcode], as_time(timestamp), _content(content)


def close_message(websocket: State, now: float) -> Message | None:
    """The close frame, from what is known of it. Raises ValueError where that makes no sense."""
    sender = websocket.get("closed_by_client")
    if sender is None:
        return None
    return _close(as_truth(sender), _code(websocket.get("close_code")), websocket.raw("close_reason"), now)


def ending(websocket: State) -> WebSocket:
    """How a WebSocket was closed. Raises ValueError where what is said of that makes no sense."""
    sender = websocket.get("closed_by_client")
    if sender is None:
        return WebSocket()
    reason = websocket.raw("close_reason")
    return WebSocket(as_truth(sender), _code(websocket.get("close_code")), to_str(reason or b""))


def old_close_message(websocket: State, now: float) -> Message | None:
    """The same of a WebSocket that was a flow of its own; words stood for the code and the reason of one not seen."""
    code, reason = websocket.get("close_code"), websocket.raw("close_reason")
    if reason == b"unknown status code":
        return None
    return _close(websocket.text("close_sender") == "client", _code(code), reason, now)


def old_ending(close: Message | None) -> WebSocket:
    """How it was closed, then: as that frame says."""
    if close is None:
        return WebSocket()
    code = int.from_bytes(close.content[:2]) if close.content else NO_CODE
    return WebSocket(close.from_client, code, to_str(close.content[2:]))


def _close(from_client: bool, code: int, reason: bytes | None, now: float) -> Message | None:
    if code == NO_CLOSE:
        return None
    content = b"" if code == NO_CODE else code.to_bytes(2) + (reason or b"")
    return Message(from_client, "close", now, content)


def _code(value: Value) -> int:
    return value if isinstance(value, int) and 0 <= value < 65536 else NO_CODE


def _content(value: Value) -> bytes | Large:
    return value if isinstance(value, Large) and value.tag in (b",", b";") else as_bytes(value)
