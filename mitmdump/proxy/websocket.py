"""A WebSocket between its two ends: relayed as it comes, and recorded message by message in the flow that opened it.

Each direction is a loop of its own, so each has its own back-pressure. What a peer sends is recorded before it is
passed on. The ends close the WebSocket between themselves; only a peer that breaks the rules makes us speak, or a proxy
that stops: both get a close frame with the code for that, unless they are inside a frame of the other, which then stays
cut off.

Handlers are given whole messages. Where there is one, nothing of a message is passed on before it is complete.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Protocol

from ..errors import PeerError, StreamError
from ..model.flow import Error, Flow, WebSocket
from ..model.message import Message
from ..sinks.tap import AnyTap
from ..wire import websocket as wire
from ..wire.events import Role
from ..wire.handshake import agreed
from ..wire.websocket import NO_CLOSE, Fault, Frames, Payload, close_meaning, close_payload
from .services import Services

# How long a peer may take over reading our close frame.
LINGER_SECONDS = 2.0

# RFC 6455 section 7.4.1: the code of an endpoint that goes down.
GOING_AWAY = 1001


class ByteStream(Protocol):
    """What an end has to be able to do: some of what a `net.stream.Stream` can, which says what each means."""

    patience: float
    forgiving: bool
    resting: bool

    @property
    def congested(self) -> bool: ...
    @property
    def left(self) -> bool: ...
    async def read(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def write_eof(self) -> None: ...
    def close(self) -> None: ...
    def abort(self, error: PeerError) -> None: ...
    async def linger(self, seconds: float) -> None: ...


@dataclass(slots=True)
class _End:
    """One of the two."""

    is_client: bool
    stream: ByteStream
    codec: wire.WebSocket
    is_dismissed: bool = False  # was it told that nothing more comes?


class _BrokenRuleError(PeerError):
    """A peer broke a rule of the protocol, or sent more than can be taken; `code` is for the close frame."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class WebSocketRelay:
    """One WebSocket, opened by the request and the response of `flow`, which ends here; `tap` is that of the flow."""

    def __init__(self, services: Services, flow: Flow, tap: AnyTap, client: ByteStream, server: ByteStream) -> None:
        self._services = services
        self._flow = flow
        self._tap = tap
        self._hooks = services.hooks.websocket_message
        self._websocket = flow.websocket = WebSocket()
        deflate = agreed(flow.response.headers.fields) if flow.response else None
        is_whole = bool(self._hooks)
        self._client = _End(True, client, wire.WebSocket(Role.SERVER, deflate, whole=is_whole))
        self._server = _End(False, server, wire.WebSocket(Role.CLIENT, deflate, whole=is_whole))
        self._ends = (self._client, self._server)

    async def run(self, first: bytes, reply: bytes) -> None:
        """Relay until both ends have ended; `first` and `reply` were read of them already."""
        flow, streams = self._flow, [end.stream for end in self._ends]
        for stream in streams:
            stream.patience, stream.forgiving, stream.resting = self._services.settings.timeout_quiet, True, False
        try:
            await self._both_ways(first, reply)
            if flow.error:
                for hook in self._services.hooks.error:
                    await hook(flow)
        except asyncio.CancelledError as reason:
            message = str(reason) or "the proxy was stopped before the WebSocket was closed"
            self._fail(message)
            self._say_close(GOING_AWAY, message)
            raise
        finally:
            for stream in streams:
                stream.close()
            for end in self._ends:
                self._note_all(end, end.codec.eof())
            flow.timestamp_end = time()
            self._tap.finish()

    async def _both_ways(self, first: bytes, reply: bytes) -> None:
        broken: PeerError | None = None
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(self._pass(self._client, self._server, first))
                directions.create_task(self._pass(self._server, self._client, reply))
        except* PeerError as errors:
            error = errors.exceptions[0]
            assert isinstance(error, PeerError)
            broken = error
        if isinstance(broken, _BrokenRuleError):
            await self._close(broken)
        elif broken and not any(end.stream.resting for end in self._ends):  # else it does not matter how they end
            if self._websocket.close_code is None:
                culprit = next((end for end in self._ends if end.stream.left), None)
                self._note_close(culprit, NO_CLOSE, "")
                self._fail(str(broken))
            for end in self._ends:  # what broke on one side breaks on the other, too
                end.stream.abort(StreamError(str(broken)))

    async def _pass(self, source: _End, sink: _End, data: bytes) -> None:
        """One direction, until its end, which is passed on as well."""
        receive, stream = source.codec.receive, sink.stream
        data = data or await source.stream.read()
        while data:
            for event in receive(data):
                if type(event) is Frames:
                    stream.write(event.data)
                elif type(event) is Fault:
                    self._fault(event)
                elif type(event) is Payload:
                    if self._hooks:
                        await self._offer(source, sink, event)
                    else:
                        self._note(source, event)
            if stream.congested:
                await stream.drain()
            data = await source.stream.read()
        self._note_end(source)
        self._hurry(sink)  # mostly the source has gone altogether
        sink.is_dismissed = True
        stream.write_eof()

    def _note(self, source: _End, payload: Payload) -> None:
        """A message for the record."""
        if payload.kind == "close":
            self._note_close(source, *close_meaning(payload.content))
            if self._client.codec.closed and self._server.codec.closed:
                for end in self._ends:
                    self._hurry(end)
        self._tap.message(Message(source.is_client, payload.kind, time(), payload.content))

    async def _offer(self, source: _End, sink: _End, payload: Payload) -> None:
        """Show a message to the handlers, and pass on what they leave of it."""
        if payload.kind in ("text", "binary"):
            message = Message(source.is_client, payload.kind, time(), payload.content)
            for hook in self._hooks:
                await hook(self._flow, message)
                if message.dropped:
                    return
            payload = Payload(payload.kind, message.content, payload.sizes)
        self._note(source, payload)
        sink.codec.send(payload)
        sink.stream.write(sink.codec.take())

    def _note_end(self, end: _End) -> None:
        """Nothing more comes from there: record what has come of a message, and whether that was a proper end."""
        events = end.codec.eof()
        self._note_all(end, events)
        for event in events:
            if isinstance(event, Fault) and self._websocket.close_code is None:
                self._note_close(end, NO_CLOSE, "")
                self._fail(event.message)

    def _note_all(self, end: _End, events: list[wire.Event]) -> None:
        for event in events:
            if isinstance(event, Payload):
                self._note(end, event)

    def _note_close(self, closer: _End | None, code: int, reason: str) -> None:
        """Only the first counts."""
        websocket = self._websocket
        if websocket.close_code is None:
            websocket.closed_by_client = None if closer is None else closer.is_client
            websocket.close_code, websocket.close_reason = code, reason

    def _hurry(self, end: _End) -> None:
        """There is little left to say to this end, or for it to say, so it need not be waited for as long as before."""
        end.stream.patience, end.stream.resting = min(end.stream.patience, self._services.settings.timeout_head), True

    def _fault(self, fault: Fault) -> None:
        """Raises _BrokenRuleError, unless it is a matter of the record only."""
        if fault.code is not None:
            raise _BrokenRuleError(fault.message, fault.code)
        self._fail(fault.message)

    def _fail(self, message: str) -> None:
        if self._flow.error is None:
            self._flow.error = Error(message, time())
            self._services.debug(message)

    async def _close(self, error: _BrokenRuleError) -> None:
        """Close both sides because of what one did (RFC 6455 section 7.1.7)."""
        self._fail(str(error))
        self._say_close(error.code, str(error))
        await asyncio.gather(*(end.stream.linger(LINGER_SECONDS) for end in self._ends))

    def _say_close(self, code: int, reason: str) -> None:
        """Send a close frame to who can still read one."""
        self._note_close(None, code, reason)
        for end, other in ((self._client, self._server), (self._server, self._client)):
            if end.is_dismissed or other.codec.inside_frame or other.codec.closed:
                continue
            end.is_dismissed = True
            end.codec.send(close_payload(code, reason))
            with suppress(PeerError):  # it has gone
                end.stream.write(end.codec.take())
