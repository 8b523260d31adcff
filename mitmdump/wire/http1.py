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
from enum import IntEnum, auto
from typing import Any, NoReturn

from ..errors import LocalError, RemoteError
from .events import Data, End, Event, RequestHead, ResponseHead, Role
from .head import (
    CHUNKED,
    SWITCHED,
    TEXT,
    UNTIL_CLOSE,
    Fields,
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


@dataclass(frozen=True, slots=True)
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


class State(IntEnum):
    """Where one direction of a connection stands."""

    HEAD = auto()
    LENGTH = auto()
    SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILERS = auto()
    UNTIL_CLOSE = auto()
    DONE = auto()
    SWITCHED = auto()


_END = End()
_STATE_OF_FRAMING = {CHUNKED: State.SIZE, UNTIL_CLOSE: State.UNTIL_CLOSE, SWITCHED: State.SWITCHED, 0: State.DONE}


class Http1:
    """One HTTP/1 connection, seen as the `role` that we play in it.

    `receive` and `eof` turn what the peer sent into events and raise RemoteError where it broke a rule; after that the
    connection can only be closed. `send` takes events to be written, `take` gives their bytes.
    """

    def __init__(self, role: Role, limits: Limits | None = None) -> None:
        self.role = role
        self.limits = limits or Limits()
        self.peer = "client" if role is Role.SERVER else "server"
        self._fault = 400 if role is Role.SERVER else 502
        self._fields = Fields(self.limits.fields)
        self._buffer = b""
        self._out: list[bytes] = []
        self._searched = 0  # how much of the buffer is known not to hold the end of a head
        self._missing = 0  # bytes still to come of a body of known length, or of a chunk
        self._length = 0
        self._method = b""
        self._reading = State.HEAD
        self._writing = State.HEAD
        self._unsent = 0
        self.keep_alive = True

    @property
    def idle(self) -> bool:
        """Between two messages, with nothing of the next one here."""
        return self._reading is State.HEAD and not self._buffer

    @property
    def has_rest(self) -> bool:
        """Are there bytes behind the message that was read: a pipelined one, or another protocol's?"""
        return bool(self._buffer)

    @property
    def cycle_done(self) -> bool:
        """Have a request and its response passed completely?"""
        return self._reading is State.DONE and self._writing is State.DONE

    def start_next_cycle(self) -> None:
        """Be ready for the next request and its response. Raises LocalError while one is still in the works."""
        if not self.cycle_done:
            raise LocalError(f"a cycle is not over: reading {self._reading.name}, writing {self._writing.name}")
        self._reading = self._writing = State.HEAD
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
            while at < end and (read := _READERS[self._reading]):
                after = read(self, data, at, events)
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
        if self._reading is State.UNTIL_CLOSE:
            self._reading = State.DONE
            return [_END]
        if _READERS[self._reading] is None:
            return []
        if self._reading is not State.HEAD:
            got = f" after {self._length - self._missing} of {self._length} bytes" if self._length else ""
            raise RemoteError(f"the {self.peer} closed the connection inside a message body{got}", self._fault)
        if self._buffer:
            raise RemoteError(f"the {self.peer} closed the connection inside a message head", self._fault)
        if self.role is Role.CLIENT and self._writing is not State.HEAD:
            raise RemoteError("the server closed the connection without a response", self._fault)
        return []

    # Readers take the bytes at hand and a place in them, and return the place behind what they read, -1 if that is not
    # all here yet.

    def _read_head(self, data: bytes, at: int, events: list[Event]) -> int:
        if self.role is Role.SERVER:
            if data.startswith(b"\r\n", at):
                return at + 2  # RFC 9112 section 2.2: an empty line before a request line is ignored
        elif self._writing is State.HEAD:
            raise RemoteError("the server sent a response that nobody asked for", 502)
        end = self._find_end(data, at)
        if end < 0:
            return -1
        if self.role is Role.SERVER:
            self._begin_request(parse_request(data[at : end + 2], self._fields), events)
        else:
            self._begin_response(parse_response(data[at : end + 2], self._fields), events)
        return end + 4

    def _begin_request(self, head: RequestHead, events: list[Event]) -> None:
        assert head.framing is not None
        self._method = head.method
        # A proxy keeps no connection to an HTTP/1.0 client open (RFC 9112 section 9.3).
        self.keep_alive = head.version == b"HTTP/1.1" and keeps_alive(head)
        events.append(head)
        self._expect(head.framing, events)

    def _begin_response(self, head: ResponseHead, events: list[Event]) -> None:
        head.framing = framing = response_framing(head, self._method)
        events.append(head)
        if head.is_final:
            self.keep_alive = framing != UNTIL_CLOSE and keeps_alive(head)
            self._expect(framing, events)

    def _expect(self, framing: int, events: list[Event]) -> None:
        """A head was read, and so much body is to follow."""
        if framing > 0:
            self._reading = State.LENGTH
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
        if self.role is Role.CLIENT:
            what, status = "message head", self._fault
        elif self._reading is State.HEAD and data.find(b"\r\n", at, at + self.limits.head) < 0:
            what, status = "request line", 414
        else:
            what, status = "message head", 431
        raise RemoteError(f"the {self.peer} sent a {what} of more than {self.limits.head} bytes", status)

    def _read_length(self, data: bytes, at: int, events: list[Event]) -> int:
        at = self._pass_on(data, at, events)
        if not self._missing:
            self._reading = State.DONE
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
        self._reading = State.CHUNK if self._missing else State.TRAILERS
        return end + 2

    def _read_chunk(self, data: bytes, at: int, events: list[Event]) -> int:
        at = self._pass_on(data, at, events)
        if not self._missing:
            self._reading = State.CHUNK_END
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
            self._reading = State.SIZE
            return at + 2
        if data.startswith(b"\r", at) and len(data) - at == 1:
            return -1
        raise RemoteError(f"the {self.peer} sent a chunk that is longer than its size", self._fault)

    def _read_trailers(self, data: bytes, at: int, events: list[Event]) -> int:
        if data.startswith(b"\r\n", at):
            self._reading = State.DONE
            events.append(_END)
            return at + 2
        if data.endswith(b"\r") and len(data) - at == 1:
            return -1
        end = self._find_end(data, at)
        if end < 0:
            return -1
        fields = parse_fields(data[at : end + 2], self.limits.fields, self.peer, self._fault)
        self._reading = State.DONE
        events.append(End(fields))
        return end + 4

    def _read_until_close(self, data: bytes, at: int, events: list[Event]) -> int:
        events.append(Data(data[at:]))
        return len(data)

    # -- writing ------------------------------------------------------------------------------------------------------

    def send(self, event: Event) -> None:
        """Queue an event's bytes. The fields of a head decide how the body behind it is framed."""
        _WRITERS[type(event)](self, event)

    def take(self) -> bytes:
        """The bytes to be written now."""
        out = self._out
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    @property
    def response_started(self) -> bool:
        """Has a final response head gone out (or in)? Then it is too late for another one."""
        return (self._writing if self.role is Role.SERVER else self._reading) is not State.HEAD

    @property
    def sends_until_close(self) -> bool:
        """Is what we are sending ended by closing the connection only?"""
        return self._writing is State.UNTIL_CLOSE

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
        if self._writing is not State.HEAD:
            raise LocalError("a second head in one cycle")
        if framing > 0:
            self._writing, self._unsent = State.LENGTH, framing
        else:
            self._writing, self._unsent = _STATE_OF_FRAMING[framing], 0

    def _send_data(self, event: Data) -> None:
        data = event.data
        if self._writing is State.LENGTH:
            self._unsent -= len(data)
            if self._unsent < 0:
                raise LocalError("a body longer than its Content-Length")
        elif self._writing is State.SIZE:
            if data:  # an empty chunk would be the last one
                self._out.append(b"%x\r\n%b\r\n" % (len(data), data))
            return
        elif self._writing is not State.UNTIL_CLOSE:
            raise LocalError(f"body bytes in state {self._writing.name}")
        self._out.append(data)

    def _send_end(self, end: End) -> None:
        if self._writing is State.SIZE:
            self._out.append(b"0\r\n" + write_fields(end.trailers or []))
        elif self._writing is State.LENGTH and self._unsent:
            raise LocalError("a body shorter than its Content-Length")
        if self._writing is not State.UNTIL_CLOSE:
            self._writing = State.DONE


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


_READERS: dict[State, Callable[[Http1, bytes, int, list[Event]], int] | None] = {
    State.HEAD: Http1._read_head,
    State.LENGTH: Http1._read_length,
    State.SIZE: Http1._read_size,
    State.CHUNK: Http1._read_chunk,
    State.CHUNK_END: Http1._read_chunk_end,
    State.TRAILERS: Http1._read_trailers,
    State.UNTIL_CLOSE: Http1._read_until_close,
    State.DONE: None,  # what comes now is of the next cycle
    State.SWITCHED: None,
}

_WRITERS: dict[type[Event], Callable[[Http1, Any], None]] = {
    RequestHead: Http1._send_request,
    ResponseHead: Http1._send_response,
    Data: Http1._send_data,
    End: Http1._send_end,
}
