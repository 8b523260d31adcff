"""WebSocket frames (RFC 6455) as bytes in, events out, and back.

A proxy reads along. What a peer sends goes on as it stands on the wire, with its masks, its fragments and its
compression, as soon as it has come (`Frames`); beside that each message is told, as it is when unmasked, put together
and decompressed, for the record (`Payload`). Nothing goes on that breaks the rules: what is wrong is the end of what a
peer has said (`Fault`), and was never passed on.

Only where somebody may change messages are they collected (`whole`): then nothing but `Payload` comes out, and
`send` makes frames anew, because a message that was changed or dropped changes what those after it refer to when they
are compressed.

What frames mean together is said here: fragments, UTF-8, close codes. `frames` takes them apart, `deflate` undoes their
compression, and wsproto makes new ones. To read with it would not do: its connection forgets where frames began and
ended, answers pings itself, and inflates without a bound.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from dataclasses import dataclass

from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.frame_protocol import FrameProtocol

from ..model.content import DECODED_LIMIT
from ..model.message import MessageKind
from .deflate import Bomb, Inflater
from .events import Role
from .frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, FrameError, FrameReader, Piece
from .handshake import Deflate

# A larger message is told in pieces: the memory of 2,000 connections, and a file's reader, can bear so much of each.
PIECE = 1024 * 1024
# A larger one cannot be collected; as with bodies, that much is as good as everything that is meant to be looked at.
LARGEST = DECODED_LIMIT
# Nor is it remembered how it was cut if there are more fragments: empty ones are free, and would fill the memory.
MOST_FRAGMENTS = 1000

# RFC 6455 section 7.4.1: codes that say that there was no code in the close frame, or no close frame.
NO_CODE, NO_CLOSE = 1005, 1006
_INVALID_PAYLOAD, _TOO_BIG = 1007, 1009
# What may stand in a close frame: what IANA's registry has, and what is for libraries and applications.
_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
_LONGEST_REASON = 123

_KINDS: dict[int, MessageKind] = {TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}
_Utf8 = getincrementaldecoder("utf-8")


@dataclass(slots=True)
class Frames:
    """What the peer sent, as it stands on the wire; it may begin and end within a frame."""

    data: bytes


@dataclass(slots=True)
class Payload:
    """A message that is complete, or 1 MiB of a large one, of which all but the first are of kind "continuation".

    Kind "raw" is what could not be decompressed. `sizes`: the lengths of its fragments, where messages are collected.
    """

    kind: MessageKind
    content: bytes
    sizes: tuple[int, ...] = ()


@dataclass(slots=True)
class Fault:
    """What the peer did wrong, as a sentence; nothing that it sent after that is told or passed on.

    `code` is for a close frame (RFC 6455 section 7.4.1); NO_CLOSE: the connection is over, and there was none. None:
    only the record suffers, all goes on.
    """

    code: int | None
    message: str


Event = Frames | Payload | Fault


def close_payload(code: int, reason: str = "") -> Payload:
    """A close frame; a reason that is too long is cut."""
    text = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
    return Payload("close", code.to_bytes(2) + text.encode())


def close_meaning(content: bytes) -> tuple[int, str]:
    """Code and reason of a close frame, RFC 6455 section 7.1.5 and 7.1.6. Raises ValueError where it has no sense."""
    if not content:
        return NO_CODE, ""
    code = int.from_bytes(content[:2])
    if len(content) == 1 or code not in _CODES:
        raise ValueError("a close frame with half a code" if len(content) == 1 else f"the close code {code}")
    return code, content[2:].decode()


class WebSocket:
    """One peer of a WebSocket. `role` is ours towards it; `deflate` what both ends have agreed on."""

    def __init__(self, role: Role, deflate: Deflate | None = None, *, whole: bool = False) -> None:
        is_client = role is Role.CLIENT
        self.closed = False  # has the peer sent a close frame?
        self.inside_frame = False  # has it begun a frame, of which some was passed on and the rest is to come?
        self._peer = "server" if is_client else "client"
        self._whole = whole
        self._over = False
        self._held = b""  # what has come and was not passed on: never more than a control frame, and a header
        self._reader = FrameReader(is_masked=not is_client, takes_compressed=deflate is not None)
        self._encoder = FrameProtocol(is_client, _compressing(deflate, is_client=is_client) if whole else [])
        self._queue: list[bytes] = []
        self._inflater: Inflater | None = None
        if deflate:
            forgets = deflate.server_no_context_takeover if is_client else deflate.client_no_context_takeover
            self._inflater = Inflater(takes_over=not forgets)
        # The message that is under way.
        self._kind: MessageKind | None = None
        self._content = bytearray()
        self._sizes: list[int] = []
        self._counted = 0  # of the content, in fragments that are complete
        self._is_text = False
        self._is_compressed = False
        self._utf8 = _Utf8()

    # -- from the peer ------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """What comes of bytes from the peer: first what is to be told, then what is to be passed on, then a fault."""
        events: list[Event] = []
        if self._over:  # RFC 6455 section 5.5.1: there is nothing after a close frame
            return events
        reader, fault = self._reader, None
        held = self._held + data if self._held else data
        passed = 0
        reader.receive(data)
        try:
            while (piece := reader.read()) is not None:
                self._take(piece, events)
                passed = len(held) - reader.unread
                self.inside_frame = not piece.ends_frame
                if self._over:
                    break
        except FrameError as error:
            self._over = True
            fault = Fault(error.code, f"the {self._peer} broke the rules of WebSocket: {error}")
        self._held = b"" if self._over else held[passed:]
        if passed and not self._whole:
            events.append(Frames(held if passed == len(held) else held[:passed]))
        if fault:
            events.append(fault)
        return events

    def eof(self) -> list[Event]:
        """The connection is over: what had come of a message, and that this is no way to go, if it is not."""
        events: list[Event] = []
        if self._content and not self._whole:
            events.append(self._piece(len(self._content)))
        if not self._over:
            where = "" if self._kind is None and not self._held else " in the middle of a message"
            message = f"the {self._peer} ended the connection{where} without closing the WebSocket"
            events.append(Fault(NO_CLOSE, message))
        self._over = True
        return events

    def _take(self, piece: Piece, events: list[Event]) -> None:
        """A control frame, or what has come of a data frame. Raises FrameError."""
        if piece.opcode in (CLOSE, PING, PONG):
            events.append(self._control(piece.opcode, piece.data))
            return
        if not self.inside_frame:
            self._begin(piece)
        is_last = piece.ends_frame and piece.ends_message
        if self._is_compressed:
            self._inflate(piece.data, events, is_last=is_last)
        else:
            self._add(piece.data, events, is_last=is_last)
        if self._whole and piece.ends_frame and len(self._sizes) < MOST_FRAGMENTS:
            self._sizes.append(len(self._content) - self._counted)
            self._counted = len(self._content)
        if is_last:
            events.append(self._piece(len(self._content)))
            self._kind = None

    def _control(self, opcode: int, content: bytes) -> Payload:
        if opcode == CLOSE:
            try:
                close_meaning(content)
            except UnicodeDecodeError:
                raise FrameError("a close reason that is not UTF-8", _INVALID_PAYLOAD) from None
            except ValueError as error:
                raise FrameError(str(error)) from None
            self.closed = self._over = True
        return Payload(_KINDS[opcode], content)

    def _begin(self, piece: Piece) -> None:
        """A frame begins: see to it that a message is under way (RFC 6455 section 5.4). Raises FrameError."""
        opcode = piece.opcode
        if self._kind is not None:
            if opcode != CONTINUATION:
                raise FrameError("a new message before the end of another")
            return
        if opcode == CONTINUATION:
            raise FrameError("a continuation of no message")
        self._kind = _KINDS[opcode]
        self._is_text = opcode == TEXT
        self._is_compressed = False
        if self._inflater and piece.is_compressed:
            self._inflater.begin()
            self._is_compressed = not self._inflater.lost
            if self._inflater.lost:
                self._kind, self._is_text = "raw", False

    def _inflate(self, data: bytes, events: list[Event], *, is_last: bool) -> None:
        assert self._inflater
        try:
            for piece in self._inflater.inflate(data, is_last=is_last):
                self._add(piece, events, is_last=False)
            if is_last:
                self._check_text(b"", is_last=True)
        except ValueError as error:
            raise FrameError(f"a bad compression ({error})", _INVALID_PAYLOAD) from None
        except Bomb as bomb:
            if self._whole:
                raise FrameError(str(bomb), _TOO_BIG) from None
            events.append(self._piece(len(self._content)))
            self._kind, self._is_compressed, self._is_text = "raw", False, False
            self._utf8.reset()
            message = f"the {self._peer} sent {bomb}: that of it is recorded, and what follows as it came"
            events.append(Fault(None, message))

    def _add(self, data: bytes, events: list[Event], *, is_last: bool) -> None:
        content = self._content
        self._check_text(data, is_last=is_last)
        content += data
        if not self._whole:
            while len(content) > PIECE:
                events.append(self._piece(self._border(PIECE)))
        elif len(content) > LARGEST:
            message = f"a message of more than {LARGEST} bytes, which is more than handlers are given"
            raise FrameError(message, _TOO_BIG)

    def _check_text(self, data: bytes, *, is_last: bool) -> None:
        """RFC 6455 section 8.1. A character may begin in one fragment and end in the next. Raises FrameError."""
        if not self._is_text:
            return
        try:
            self._utf8.decode(data, is_last)
        except UnicodeDecodeError:
            raise FrameError("a text that is not UTF-8", _INVALID_PAYLOAD) from None

    def _border(self, size: int) -> int:
        """Where text can be cut without cutting a character."""
        while self._is_text and self._content[size] & 0xC0 == 0x80:
            size -= 1
        return size

    def _piece(self, size: int) -> Payload:
        content, kind = self._content, self._kind
        assert kind
        event = Payload(kind, bytes(content[:size]), tuple(self._sizes))
        del content[:size]
        self._kind = "raw" if kind == "raw" else "continuation"
        self._sizes.clear()
        self._counted = 0
        return event

    # -- to the peer --------------------------------------------------------------------------------------------------

    def send(self, event: Frames | Payload) -> None:
        """Queue what the other peer sent, or a message of any kind.

        Its fragments stay what they were, unless its length has changed: then it is one.
        """
        if isinstance(event, Frames):
            self._queue.append(event.data)
        elif event.kind == "close":
            code, reason = close_meaning(event.content)
            self._queue.append(bytes(self._encoder.close(*((code, reason) if event.content else ()))))
        elif event.kind in ("ping", "pong"):
            self._queue.append(bytes(getattr(self._encoder, event.kind)(event.content)))
        else:
            self._send_message(event)

    def take(self) -> bytes:
        """The bytes to be written."""
        data = b"".join(self._queue)
        self._queue.clear()
        return data

    def _send_message(self, message: Payload) -> None:
        content, sizes = message.content, message.sizes
        if not sizes or sum(sizes) != len(content):
            sizes = (len(content),)
        utf8 = _Utf8("replace")  # what a handler has made of it goes out as text, whatever it is
        at = 0
        for left, size in zip(range(len(sizes) - 1, -1, -1), sizes, strict=True):
            part, is_last = content[at : at + size], left == 0
            data = utf8.decode(part, is_last) if message.kind == "text" else part
            self._queue.append(bytes(self._encoder.send_data(data, is_last)))
            at += size


def _compressing(deflate: Deflate | None, *, is_client: bool) -> list[Extension]:
    """What compresses the messages that we make. zlib has no window of 8 bits; without one they may be as they are."""
    bits = deflate and (deflate.client_max_window_bits if is_client else deflate.server_max_window_bits)
    if deflate is None or bits == 8:
        return []
    extension = PerMessageDeflate(
        client_no_context_takeover=deflate.client_no_context_takeover,
        client_max_window_bits=max(deflate.client_max_window_bits, 9),
        server_no_context_takeover=deflate.server_no_context_takeover,
        server_max_window_bits=max(deflate.server_max_window_bits, 9),
    )
    extension.finalize("")  # which is how it is switched on
    return [extension]
