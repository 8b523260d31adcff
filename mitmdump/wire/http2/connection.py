"""One HTTP/2 connection: frames to events and back.

Like `Http1`, with many exchanges at once: every event carries its `stream_id`. What differs for who uses it:

- `receive` and `eof` give events of all streams in the order of their frames. A fault of one stream is a `Reset` (with
  the RemoteError in it) and the stream is over; a fault of the connection raises RemoteError, behind the events that
  came before it (`has_rest`: call `receive(b"")` again). In both cases `take` has what is to be told to the peer.
- `send` never refuses Data for want of window. What does not fit waits here and leaves, a frame of each stream in turn,
  with the `take` after the peer made room. `unsent(stream_id)` is how much that is: who reads from the other side waits
  while it is high. Sending on a stream that is over does nothing: its Reset tells, or has told.
- Nothing is written before `take`, so that a head, a body and its end that are sent together leave in as few frames as
  possible. Call it after every `receive` and after sending.
- `acknowledge(stream_id, n)` lets the peer send as much again; call it when the other side has taken a Data. A stream
  whose reader is slow so holds back itself, and nothing else until 16 of them do.
- As a client: `next_stream_id()` for a request's head, while `capacity` is not 0. A `Reset` that is `unprocessed` says
  that the server did nothing with the request, which can be asked again elsewhere, whatever its method.
- `reset(stream_id, code)` ends a stream, `close(code, text)` announces the end of the connection (GOAWAY): with
  NO_ERROR, the streams that are there go on.
"""

from __future__ import annotations

from collections.abc import Callable

from ...errors import LocalError, RemoteError
from ...model.headers import Field
from ..events import Data, End, Event, RequestHead, Reset, ResponseHead, Role, StreamEvent
from ..head import PREFACE
from . import heads
from .codes import Code, Http2Error
from .frames import (
    ACK,
    END_STREAM,
    Allowance,
    Cutter,
    Frame,
    Kind,
    check_priority,
    read_goaway,
    split_settings,
    write_goaway,
)
from .library import DataReceived, HeadReceived, Library, Setting, StreamReset, TrailersReceived
from .limits import Limits
from .streams import ALL, HEAD, NOTHING, Outbox, Stream


class Http2:
    """One HTTP/2 connection, seen as the `role` that we play in it.

    `extended_connect`: as a server, take CONNECT with a protocol (RFC 8441). `now`, an argument of `receive`, is any
    clock in seconds; only limits on floods look at it.
    """

    def __init__(self, role: Role, limits: Limits | None = None, *, extended_connect: bool = False) -> None:
        self.role = role
        self.limits = limits = limits or Limits()
        self.peer = "client" if role is Role.SERVER else "server"
        self._status = 400 if role is Role.SERVER else 502
        self._extended = extended_connect
        # What is too large by far is not decoded, and so the end of the connection: the table would be unknown.
        most = 4 * limits.head
        self._frames = Cutter(with_preface=role is Role.SERVER, max_block=most)
        self._h2 = Library(role, self._settings(), most)
        self._idling = Allowance("frames that do nothing")
        self._resetting = Allowance("resets, or streams that had to be reset")
        self._streams: dict[int, Stream] = {}
        self._outbox = Outbox(self._h2, self._idling)
        self._events: list[StreamEvent] = []  # of the call of `receive` that is going on
        self._now = 0.0
        self._highest = 0  # the last stream that the peer has tried to open
        self._accepted = 0  # the last one that was not refused
        self._next_id = 1  # the next one that we may open
        self._ends_stream = False
        self._error: RemoteError | None = None
        self._last_words = b""
        self._closing = False
        self._no_more = False
        self._allowed = limits.streams
        self.settled = False
        self._h2.initiate_connection()
        if role is Role.SERVER:
            self._h2.receive_frame(PREFACE)
        self._h2.increment_flow_control_window(limits.window - 65535)

    def _settings(self) -> dict[Setting, int]:
        limits = self.limits
        settings = {
            Setting.MAX_CONCURRENT_STREAMS: limits.streams,
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            Setting.MAX_HEADER_LIST_SIZE: limits.head,
            Setting.ENABLE_PUSH: 0,
        }
        if self._extended:
            settings[Setting.ENABLE_CONNECT_PROTOCOL] = 1
        return settings

    # -- what is the matter -------------------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Is no stream open?"""
        return not self._streams

    @property
    def has_rest(self) -> bool:
        """Is there a fault that `receive(b"")` will raise, now that what came before it is known?"""
        return self._error is not None

    @property
    def capacity(self) -> int:
        """How many more streams a client may open now; none after a GOAWAY."""
        if self._no_more or self._error or self._next_id >= 2**31:
            return 0
        return max(self._allowed - len(self._streams), 0)

    @property
    def extended_connect(self) -> bool:
        """As a client: does the server take CONNECT with a protocol (RFC 8441)? Known once it has `settled`."""
        return self._h2.remote_settings.enable_connect_protocol == 1

    def offer_extended_connect(self) -> None:
        """As a server: from now on take CONNECT with a protocol."""
        if not self._extended and not self._error:
            self._extended = True
            self._h2.update_settings({Setting.ENABLE_CONNECT_PROTOCOL: 1})

    def unsent(self, stream_id: int) -> int:
        """How many bytes of body wait here for the peer to make room, or for `take`."""
        stream = self._streams.get(stream_id)
        return stream.waiting if stream else 0

    # -- reading ------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now: float = 0.0) -> list[StreamEvent]:
        """Events out of the peer's next bytes. Raises RemoteError; then `take` has what is to be told to the peer."""
        if self._error:
            raise self._error.again()
        self._frames.feed(data)
        events: list[StreamEvent] = []
        self._events = events
        self._now = now
        try:
            while found := self._frames.next():
                self._read(found)
        except Http2Error as fault:
            self._error = RemoteError(f"the {self.peer} {fault}", self._status)
            if not fault.announced:
                self._last_words = write_goaway(self._accepted, fault.code, str(fault).encode())
            if not events:
                raise self._error.again() from None
        return events

    def eof(self) -> list[StreamEvent]:
        """The peer will send no more. Raises RemoteError if that cuts a message short."""
        if self._error:
            raise self._error.again()
        count = sum(stream.received != ALL for stream in self._streams.values())
        if count or self._frames.inside:
            what = f"{count} streams open" if count else "half a frame sent"
            raise RemoteError(f"the {self.peer} closed the connection with {what}", self._status)
        return []

    def _read(self, found: Frame) -> None:
        if not self.settled:
            if found.kind != Kind.SETTINGS or found.flags & ACK:
                raise Http2Error(Code.PROTOCOL_ERROR, "did not begin with SETTINGS (RFC 9113 section 3.4)")
            self.settled = True
        reader = _READERS.get(found.kind)
        if found.kind not in _USEFUL:
            (self._resetting if found.kind == Kind.RST_STREAM else self._idling).spend(self._now)
        if reader:
            reader(self, found)

    # Readers take a frame and add to the events.

    def _read_data(self, found: Frame) -> None:
        stream_id, ends = found.stream_id, bool(found.flags & END_STREAM)
        stream = self._streams.get(stream_id)
        if stream and stream.received == NOTHING:
            self._fault(stream_id, f"the {self.peer} sent a body without a head")
        elif stream and stream.received == ALL:
            self._fault(stream_id, f"the {self.peer} sent a body behind its end", Code.STREAM_CLOSED)
        achieved = False
        for event in self._h2.receive_frame(found.whole):
            if isinstance(event, DataReceived):
                data = event.data or b""
                achieved = bool(data) or ends
                self._pass_on(stream_id, data, event.flow_controlled_length or 0)
        if achieved:
            self._idling.earn(1)
        else:
            self._idling.spend(self._now)
        if ends and (stream := self._streams.get(stream_id)):
            self._end(stream)

    def _pass_on(self, stream_id: int, data: bytes, size: int) -> None:
        """Give a piece of a body away; `size` is what it took of the windows, with its padding."""
        stream = self._streams[stream_id]
        if 0 <= stream.missing < len(data):
            self.acknowledge(stream_id, size)
            self._fault(stream_id, f"the {self.peer} sent a body longer than its Content-Length")
            return
        if stream.missing > 0:
            stream.missing -= len(data)
        if data:
            self._events.append(Data(data, stream_id))
        if size > len(data):
            self.acknowledge(stream_id, size - len(data))

    def _read_headers(self, found: Frame) -> None:
        stream_id = found.stream_id
        if self.role is Role.CLIENT and not self._was_opened(stream_id):  # h2 would take it, and keep it
            raise Http2Error(Code.PROTOCOL_ERROR, "answered what nobody asked")
        if found.kind == Kind.HEADERS:
            self._ends_stream = self._h2.decoder.ends_stream = bool(found.flags & END_STREAM)
            stream = self._streams.get(stream_id)
            if stream and stream.received == ALL:
                self._fault(stream_id, f"the {self.peer} sent a head behind its end", Code.STREAM_CLOSED)
            elif stream and stream.received == HEAD and not self._ends_stream:
                self._fault(stream_id, f"the {self.peer} sent trailers that do not end the message")
        for event in self._h2.receive_frame(found.whole):
            if isinstance(event, TrailersReceived):
                self._read_trailers(stream_id)
            elif isinstance(event, HeadReceived):
                self._idling.earn(1)
                self._read_head(stream_id)

    def _read_head(self, stream_id: int) -> None:
        try:
            if self.role is Role.CLIENT:
                self._read_response(stream_id)
            elif stream_id > self._highest:
                self._read_request(stream_id)
        except RemoteError as error:
            self._fault(stream_id, error)

    def _read_request(self, stream_id: int) -> None:
        self._highest = stream_id
        if self._closing or len(self._streams) >= self.limits.streams:
            self._resetting.spend(self._now)
            self._h2.reset_stream(stream_id, Code.REFUSED_STREAM)
            return
        self._accepted = stream_id
        head = heads.request_of(self._h2.decoder.block, stream_id, self.limits)
        if head.protocol and not self._extended:
            error = RemoteError("the client sent an extended CONNECT, which it was not offered", 400)
            error.head = head
            raise error
        stream = self._streams[stream_id] = Stream(stream_id, head.method)
        self._begin_body(stream, head)

    def _read_response(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if not stream:
            return
        head = heads.response_of(self._h2.decoder.block, stream_id, stream.method, self.limits)
        if head.is_final:
            self._begin_body(stream, head)
            return
        if self._ends_stream:
            raise RemoteError("the server ended a response with an interim head", 502)
        self._events.append(head)

    def _begin_body(self, stream: Stream, head: RequestHead | ResponseHead) -> None:
        assert head.framing is not None
        stream.received = HEAD
        stream.missing = max(head.framing, -1)
        if self._ends_stream:
            head.framing = max(head.framing, 0)
        self._events.append(head)
        if self._ends_stream:
            self._end(stream)

    def _read_trailers(self, stream_id: int) -> None:
        stream = self._streams.get(stream_id)
        if not stream:
            return
        try:
            fields = heads.read_trailers(self._h2.decoder.block.fields, self.limits, self.peer, self._status)
        except RemoteError as error:
            self._fault(stream_id, error)
            return
        self._end(stream, fields)

    def _end(self, stream: Stream, trailers: list[Field] | None = None) -> None:
        if stream.missing > 0:
            self._fault(stream.stream_id, f"the {self.peer} sent a body shorter than its Content-Length")
            return
        stream.received = ALL
        self._events.append(End(trailers, stream.stream_id))
        self._forget_if_over(stream)

    def _read_reset(self, found: Frame) -> None:
        stream_id = found.stream_id
        if not self._was_opened(stream_id):
            raise Http2Error(Code.PROTOCOL_ERROR, "reset a stream that nobody opened")
        self._h2.receive_frame(found.whole)
        if self._drop(stream_id):
            code = int.from_bytes(found.payload)
            unprocessed = self.role is Role.CLIENT and code == Code.REFUSED_STREAM
            self._events.append(Reset(code, stream_id, unprocessed=unprocessed))

    def _read_settings(self, found: Frame) -> None:
        whole, allowed = split_settings(found)
        self._h2.receive_frame(whole)
        if allowed is not None:
            self._allowed = min(allowed, self.limits.streams)
        self._outbox.unblock(0)

    def _read_window_update(self, found: Frame) -> None:
        stream_id = found.stream_id
        if stream_id and found.payload == bytes(4):
            if stream_id in self._streams:
                self._fault(stream_id, f"the {self.peer} opened a window by nothing")
            return
        for event in self._h2.receive_frame(found.whole):
            if isinstance(event, StreamReset):
                self._fault(stream_id, f"the {self.peer} opened a window beyond its limit", Code.FLOW_CONTROL_ERROR)
        self._outbox.unblock(stream_id)

    def _read_goaway(self, found: Frame) -> None:
        event = read_goaway(found)
        self._no_more = True
        self._events.append(event)
        if self.role is Role.CLIENT:
            for stream_id in [stream_id for stream_id in self._streams if stream_id > event.last_stream_id]:
                self.reset(stream_id, Code.CANCEL)
                self._events.append(Reset(Code.REFUSED_STREAM, stream_id, unprocessed=True))

    def _read_priority(self, found: Frame) -> None:
        check_priority(found)

    def _read_push(self, _: Frame) -> None:
        raise Http2Error(Code.PROTOCOL_ERROR, "sent a PUSH_PROMISE, which it was told not to")

    def _read_ping(self, found: Frame) -> None:
        self._h2.receive_frame(found.whole)

    def _was_opened(self, stream_id: int) -> bool:
        last = self._highest if self.role is Role.SERVER else self._next_id - 2
        return stream_id % 2 == 1 and stream_id <= last

    def _fault(self, stream_id: int, error: RemoteError | str, code: Code = Code.PROTOCOL_ERROR) -> None:
        """End a stream for what the peer did wrong in it (RFC 9113 sections 5.4.2 and 8.1.1)."""
        if isinstance(error, str):
            error = RemoteError(error, self._status)
        self._resetting.spend(self._now)
        self._drop(stream_id)
        if error.head:
            error.head.stream_id = stream_id
        if error.status == 431:  # which is no breach, and can be told (RFC 9113 section 10.5.1)
            self._h2.send_headers(stream_id, [(b":status", b"431")], end_stream=True)
            code = Code.NO_ERROR
        self._reset(stream_id, code)
        self._events.append(Reset(code, stream_id, error.again()))

    # -- writing ------------------------------------------------------------------------------------------------------

    def next_stream_id(self) -> int:
        """The id for the next request of a client. Raises LocalError if there is no capacity."""
        if not self.capacity:
            raise LocalError("there is no room for another stream")
        return self._next_id

    def send(self, event: Event) -> None:
        """Queue an event for its stream."""
        if type(event) is RequestHead:
            self._open(event)
        elif stream := self._streams.get(event.stream_id):
            self._outbox.put(stream, event)

    def take(self) -> bytes:
        """The bytes to be written now."""
        if self._error is None:
            for stream in self._outbox.empty():
                self._forget_if_over(stream)
        data = self._h2.data_to_send()
        if self._last_words:
            data, self._last_words = data + self._last_words, b""
        return data

    def acknowledge(self, stream_id: int, size: int) -> None:
        """So many bytes of a stream's Data are gone from here: the peer may send as many again."""
        if size and not self._error:
            self._h2.acknowledge_received_data(size, stream_id)

    def reset(self, stream_id: int, code: int = Code.CANCEL) -> None:
        """End a stream at once; does nothing if it is over."""
        if self._drop(stream_id) and not self._error:
            self._reset(stream_id, code)

    def close(self, code: int = Code.NO_ERROR, text: bytes = b"") -> None:
        """Announce the end of the connection (GOAWAY); no more streams are taken, those that are open go on."""
        if not self._error:
            self._closing = self._no_more = True
            self._last_words += write_goaway(self._accepted, code, text)

    def _open(self, head: RequestHead) -> None:
        if head.stream_id != self._next_id or not self.capacity:
            raise LocalError(f"stream {head.stream_id} is not the next one, or one too many")
        self._next_id += 2
        stream = self._streams[head.stream_id] = Stream(head.stream_id, head.method)
        self._outbox.put_head(stream, heads.write_request(head))

    def _forget_if_over(self, stream: Stream) -> None:
        if stream.over:
            self._drop(stream.stream_id)

    def _drop(self, stream_id: int) -> bool:
        """Forget a stream and all that waits for it; was it there?"""
        self._outbox.drop(stream_id)
        return self._streams.pop(stream_id, None) is not None

    def _reset(self, stream_id: int, code: int) -> None:
        stream = self._h2.streams.get(stream_id)
        if stream and not stream.closed:  # h2 does not know it yet if its head was not taken
            self._h2.reset_stream(stream_id, code)


# What is not useful for its own sake is counted. DATA can be, CONTINUATION has a limit of its own.
_USEFUL = frozenset({Kind.DATA, Kind.HEADERS, Kind.CONTINUATION})

_READERS: dict[int, Callable[[Http2, Frame], None]] = {
    Kind.DATA: Http2._read_data,
    Kind.HEADERS: Http2._read_headers,
    Kind.PRIORITY: Http2._read_priority,
    Kind.RST_STREAM: Http2._read_reset,
    Kind.SETTINGS: Http2._read_settings,
    Kind.PUSH_PROMISE: Http2._read_push,
    Kind.PING: Http2._read_ping,
    Kind.GOAWAY: Http2._read_goaway,
    Kind.WINDOW_UPDATE: Http2._read_window_update,
    Kind.CONTINUATION: Http2._read_headers,
}
