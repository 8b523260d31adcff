"""HTTP/1.0 and 1.1 as a codec: bytes to events and back, the same class for both roles.

Each direction of a connection has a state, and `_READERS` says what to do with bytes in each state of reading. A cycle
is one request and its response(s); it begins with `start_next_cycle`, and until then the bytes of the next (pipelined)
message wait in the buffer. So one message is in the works at a time, and a response can never be paired with the wrong
request.

      HEAD -> LENGTH ----------------------------> DONE     a head; a body of known length, or chunked, or until close
           -> SIZE -> CHUNK -> CHUNK_END -> SIZE
              SIZE -> TRAILERS ------------------> DONE
           -> UNTIL_CLOSE -----------------------> DONE     by `eof` only
           -> SWITCHED                                      after 101, or CONNECT accepted: `rest` has what came after
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from ..errors import LocalError, RemoteError
from .events import Data, End, Event, RequestHead, ResponseHead, Role
from .head import (
    CHUNKED,
    SWITCHED,
    TEXT,
    UNTIL_CLOSE,
    has_bare_lf,
    keeps_alive,
    parse_fields,
    parse_request,
    parse_response,
    request_framing,
    response_framing,
    write_fields,
    write_request,
    write_response,
)
from .translate import request_to_http1, response_to_http1

_HTTP2 = b"HTTP/2"
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;" + TEXT + rb")?\Z")


@dataclass(frozen=True)
class Limits:
    """How much a peer may make us hold before its message makes sense.

    `head`: bytes of a request line and its fields together, likewise of a response's and of trailers (64 KiB: browsers
    send up to 16 KiB of cookies a domain, Apache and nginx stop at 8 to 32 KiB, so nobody honest comes near). `fields`:
    their number (Apache 100, Node.js 2,000). `chunk_line`: a chunk's size with its extensions, which nobody uses and
    which we drop (RFC 9112 section 7.1.1 asks for a limit).
    """

    head: int = 64 * 1024
    fields: int = 1000
    chunk_line: int = 4096


# Where one direction of a connection stands. Plain numbers: to look up a member of an Enum takes CPython 3.11 longer
# than to compare a whole head with the last one.
_HEAD: Final = 0
_LENGTH: Final = 1
_SIZE: Final = 2
_CHUNK: Final = 3
_CHUNK_END: Final = 4
_TRAILERS: Final = 5
_UNTIL_CLOSE: Final = 6
_DONE: Final = 7  # what comes now is of the next cycle
_SWITCHED: Final = 8
_NAMES = ("HEAD", "LENGTH", "SIZE", "CHUNK", "CHUNK_END", "TRAILERS", "UNTIL_CLOSE", "DONE", "SWITCHED")

_STATE_OF_FRAMING = {CHUNKED: _SIZE, UNTIL_CLOSE: _UNTIL_CLOSE, SWITCHED: _SWITCHED, 0: _DONE}
_END = End()
_CR: Final = 13


class Http1:
    """One HTTP/1 connection, seen as the `role` that we play in it.

    `receive` and `eof` turn what the peer sent into events and raise RemoteError where it broke a rule; after that the
    connection can only be closed. `send` takes events to be written, `take` gives their bytes.
    """

    def __init__(self, role: Role, limits: Limits | None = None) -> None:
        self.role = role
        self.limits = limits or Limits()
        self._is_server = role is Role.SERVER
        self.peer = "client" if self._is_server else "server"
        self._fault = 400 if self._is_server else 502
        self._last: RequestHead | ResponseHead | None = None  # the peer's last head, if that is remembered
        self._buffer = b""
        self._out: list[bytes] = []
        self._searched = 0  # how much of the buffer is known not to hold the end of a head
        self._missing = 0  # bytes still to come of a body of known length, or of a chunk
        self._length = 0
        self._method = b""
        self._reading = _HEAD
        self._writing = _HEAD
        self._unsent = 0
        self.keep_alive = True

    @property
    def idle(self) -> bool:
        """Between two messages, with nothing of the next one here."""
        return self._reading == _HEAD and not self._buffer

    @property
    def has_rest(self) -> bool:
        """Are there bytes behind the message that was read: a pipelined one, or another protocol's?"""
        return bool(self._buffer)

    @property
    def cycle_done(self) -> bool:
        """Have a request and its response passed completely?"""
        return self._reading == _DONE and self._writing == _DONE

    def start_next_cycle(self) -> None:
        """Be ready for the next request and its response. Raises LocalError while one is still in the works."""
        if self._reading != _DONE or self._writing != _DONE:
            reading, writing = _NAMES[self._reading], _NAMES[self._writing]
            raise LocalError(f"a cycle is not over: reading {reading}, writing {writing}")
        self._reading = self._writing = _HEAD
        self._method = b""

    def rest(self) -> bytes:
        """Take the bytes that came after the switch to another protocol, or whatever else is not yet read."""
        data, self._buffer = self._buffer, b""
        return data

    # -- reading ------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> list[Event]:
        """Events out of the peer's next bytes; with b"", out of those that a past cycle left behind."""
        if self._buffer:
            data = self._buffer + data
        events: list[Event] = []
        at, end = 0, len(data)
        try:
            while at < end and self._reading < _DONE:
                after = _READERS[self._reading](self, data, at, events)
                if after < 0:
                    break
                at = after
        except RemoteError:
            if not events:
                raise
            # What came before the fault is intact and goes first; the fault is met again with the next call.
        finally:
            self._buffer = data[at:]
        return events if len(events) < 4 else _coalesce(events)

    def eof(self) -> list[Event]:
        """The peer will send no more. Raises RemoteError if that cuts a message short."""
        if self._reading == _UNTIL_CLOSE:
            self._reading = _DONE
            return [_END]
        if self._reading >= _DONE:
            return []
        if self._reading != _HEAD:
            got = f" after {self._length - self._missing} of {self._length} bytes" if self._length else ""
            raise RemoteError(f"the {self.peer} closed the connection inside a message body{got}", self._fault)
        if self._buffer:
            raise RemoteError(f"the {self.peer} closed the connection inside a message head", self._fault)
        if not self._is_server and self._writing != _HEAD:
            raise RemoteError("the server closed the connection without a response", self._fault)
        return []

    # Readers take the bytes at hand and a place in them, and return the place behind what they read, -1 if that is not
    # all here yet.

    def _read_head(self, data: bytes, at: int, events: list[Event]) -> int:
        if self._is_server:
            if data[at] == _CR and data.startswith(b"\r\n", at):
                return at + 2  # RFC 9112 section 2.2: an empty line before a request line is ignored
        elif self._writing == _HEAD:
            raise RemoteError("the server sent a response that nobody asked for", 502)
        head = self._last
        if head is not None and data.startswith(head.block, at):  # nothing need be looked for
            self._searched = 0
            after = at + len(head.block)
        else:
            end = self._find_end(data, at)
            if end < 0:
                return -1
            after = end + 4
            head = self._parse_head(data[at:after])
        if isinstance(head, RequestHead):
            self._begin_request(head.again(), events)
        else:
            self._begin_response(head.again(), events)
        return after

    def _parse_head(self, block: bytes) -> RequestHead | ResponseHead:
        limit = self.limits.fields
        head = parse_request(block, limit) if self._is_server else parse_response(block, limit)
        self._last = head if head.block else None
        return head

    def _begin_request(self, head: RequestHead, events: list[Event]) -> None:
        framing = head.framing
        assert framing is not None
        self._method = head.method
        # A proxy keeps no connection to an HTTP/1.0 client open (RFC 9112 section 9.3).
        self.keep_alive = head.version == b"HTTP/1.1" and keeps_alive(head)
        events.append(head)
        self._expect(framing, events)

    def _begin_response(self, head: ResponseHead, events: list[Event]) -> None:
        head.framing = framing = response_framing(head, self._method)
        events.append(head)
        if head.is_final:
            self.keep_alive = framing != UNTIL_CLOSE and keeps_alive(head)
            self._expect(framing, events)

    def _expect(self, framing: int, events: list[Event]) -> None:
        """A head was read, and so much body is to follow."""
        if framing > 0:
            self._reading = _LENGTH
            self._length = self._missing = framing
            return
        self._reading = _STATE_OF_FRAMING[framing]
        self._length = 0
        if not framing:
            events.append(_END)

    def _find_end(self, data: bytes, at: int) -> int:
        """Where the CRLF CRLF is that ends the head (or the trailers) at `at`, -1 if it is still to come."""
        end = data.find(b"\r\n\r\n", at + self._searched)
        if end < 0:
            return self._look_at_part(data, at)
        if end - at > self.limits.head:
            self._refuse_head(data, at)
        self._searched = 0
        return end

    def _look_at_part(self, data: bytes, at: int) -> int:
        """A head has begun to come: is there any sense in waiting for the rest?"""
        if has_bare_lf(data, at + self._searched):
            raise RemoteError(f"the {self.peer} sent a bare LF in a message head (RFC 9112 section 2.2)", self._fault)
        if len(data) - 3 - at > self.limits.head:  # 3: the end itself may be here but for its LF
            self._refuse_head(data, at)
        self._searched = max(len(data) - at - 3, 0)
        return -1

    def _refuse_head(self, data: bytes, at: int) -> NoReturn:
        if not self._is_server:
            what, status = "message head", self._fault
        elif self._reading == _HEAD and data.find(b"\r\n", at, at + self.limits.head) < 0:
            what, status = "request line", 414
        else:
            what, status = "message head", 431
        raise RemoteError(f"the {self.peer} sent a {what} of more than {self.limits.head} bytes", status)

    def _read_length(self, data: bytes, at: int, events: list[Event]) -> int:
        at = self._pass_on(data, at, events)
        if not self._missing:
            self._reading = _DONE
            events.append(_END)
        return at

    def _read_size(self, data: bytes, at: int, _: list[Event]) -> int:
        end = data.find(b"\r\n", at, at + self.limits.chunk_line)
        if end < 0 and len(data) - at < self.limits.chunk_line and data.find(b"\n", at) < 0:
            return -1
        match = _CHUNK_LINE.match(data, at, max(end, at))
        if not match:
            raise RemoteError(f"the {self.peer} sent a bad chunk size", self._fault)
        self._missing = int(match[1], 16)
        self._reading = _CHUNK if self._missing else _TRAILERS
        return end + 2

    def _read_chunk(self, data: bytes, at: int, events: list[Event]) -> int:
        at = self._pass_on(data, at, events)
        if not self._missing:
            self._reading = _CHUNK_END
        return at

    def _pass_on(self, data: bytes, at: int, events: list[Event]) -> int:
        """Pass on what is here of the bytes that are announced."""
        end = at + self._missing
        if end > len(data):
            end = len(data)
        self._missing -= end - at
        events.append(Data(data[at:end]))
        return end

    def _read_chunk_end(self, data: bytes, at: int, _: list[Event]) -> int:
        if data.startswith(b"\r\n", at):
            self._reading = _SIZE
            return at + 2
        if data.startswith(b"\r", at) and len(data) - at == 1:
            return -1
        raise RemoteError(f"the {self.peer} sent a chunk that is longer than its size", self._fault)

    def _read_trailers(self, data: bytes, at: int, events: list[Event]) -> int:
        if data.startswith(b"\r\n", at):
            self._reading = _DONE
            events.append(_END)
            return at + 2
        if data.endswith(b"\r") and len(data) - at == 1:
            return -1
        end = self._find_end(data, at)
        if end < 0:
            return -1
        fields = parse_fields(data[at : end + 2], self.limits.fields, self.peer, self._fault)
        self._reading = _DONE
        events.append(End(fields))
        return end + 4

    def _read_until_close(self, data: bytes, at: int, events: list[Event]) -> int:
        events.append(Data(data[at:]))
        return len(data)

    # -- writing ------------------------------------------------------------------------------------------------------

    def send(self, event: Event) -> None:
        """Queue an event's bytes. The fields of a head decide how the body behind it is framed."""
        if isinstance(event, Data):
            self._send_data(event.data)
        elif isinstance(event, End):
            self._send_end(event)
        elif isinstance(event, ResponseHead):
            self._send_response(event)
        else:
            self._send_request(event)

    def take(self) -> bytes:
        """The bytes to be written now."""
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    @property
    def response_started(self) -> bool:
        """Has a final response head gone out (or in)? Then it is too late for another one."""
        return (self._writing if self._is_server else self._reading) != _HEAD

    @property
    def sends_until_close(self) -> bool:
        """Is what we are sending ended by closing the connection only?"""
        return self._writing == _UNTIL_CLOSE

    def _send_request(self, head: RequestHead) -> None:
        if head.version == _HTTP2:
            head = request_to_http1(head)
        self._method = head.method
        self._announce(request_framing(head) if head.framing is None else head.framing)
        self._out.append(write_request(head))

    def _send_response(self, head: ResponseHead) -> None:
        if head.version == _HTTP2:
            head = response_to_http1(head, self._method)
        if head.is_final:
            self._announce(response_framing(head, self._method) if head.framing is None else head.framing)
        self._out.append(write_response(head))

    def _announce(self, framing: int) -> None:
        if self._writing != _HEAD:
            raise LocalError("a second head in one cycle")
        if framing > 0:
            self._writing, self._unsent = _LENGTH, framing
        else:
            self._writing, self._unsent = _STATE_OF_FRAMING[framing], 0

    def _send_data(self, data: bytes) -> None:
        if self._writing == _LENGTH:
            self._unsent -= len(data)
            if self._unsent < 0:
                raise LocalError("a body longer than its Content-Length")
        elif self._writing == _SIZE:
            if data:  # an empty chunk would be the last one
                self._out.append(b"%x\r\n%b\r\n" % (len(data), data))
            return
        elif self._writing != _UNTIL_CLOSE:
            raise LocalError(f"body bytes in state {_NAMES[self._writing]}")
        self._out.append(data)

    def _send_end(self, end: End) -> None:
        if self._writing == _SIZE:
            self._out.append(b"0\r\n" + write_fields(end.trailers or []))
        elif self._writing == _LENGTH and self._unsent:
            raise LocalError("a body shorter than its Content-Length")
        if self._writing != _UNTIL_CLOSE:
            self._writing = _DONE


def _coalesce(events: list[Event]) -> list[Event]:
    """Join neighbouring pieces of a body, so that many small chunks cost no more downstream than one large one."""
    joined: list[Event] = []
    pieces: list[bytes] = []
    for event in [*events, None]:
        if isinstance(event, Data):
            pieces.append(event.data)
            continue
        if pieces:
            joined.append(Data(b"".join(pieces)))
            pieces.clear()
        if event:
            joined.append(event)
    return joined


_READERS: tuple[Callable[[Http1, bytes, int, list[Event]], int], ...] = (
    Http1._read_head,
    Http1._read_length,
    Http1._read_size,
    Http1._read_chunk,
    Http1._read_chunk_end,
    Http1._read_trailers,
    Http1._read_until_close,
)
