"""The client of a recorded WebSocket: what a relay takes for its connection, while nobody is there.

It says what the recorded client said, message by message, each after as many messages of the server as had come before
it in the recording (`hearing`), and closes when that is over. It does what clients do by themselves, too: it answers
pings, so recorded answers are left out, and the server's close frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ..errors import PeerError
from ..model.flow import Flow
from ..wire.events import Role
from ..wire.handshake import Deflate
from ..wire.websocket import Payload, WebSocket, close_meaning, close_payload
from .hearing import Hearing

# How long a server may take over its close frame and the end of the connection (RFC 6455 section 7.1.1). Seconds.
PATIENCE = 2.0

# RFC 6455 section 7.4.1: what it was opened for has been fulfilled.
_NORMAL = 1000


@dataclass(slots=True)
class Words:
    """What a client said: after so many messages of the server, and `pause` seconds after the last message at all.

    None: nothing, as it was the server that closed.
    """

    payload: Payload | None
    heard: int
    pause: float


class RecordedWebSocket:
    """A recorded client as bytes on a connection; a `proxy.websocket.ByteStream`.

    `deflate` is what was agreed on now; what the client says is not compressed all the same, as RFC 7692 allows. With
    `speed` it also waits as long before it speaks as it did, divided by that.
    """

    patience = float("inf")
    forgiving = True
    resting = False
    congested = False
    left = False

    def __init__(self, recorded: Flow, deflate: Deflate | None, *, speed: float | None) -> None:
        self._ear = WebSocket(Role.CLIENT, deflate)
        self._mouth = WebSocket(Role.CLIENT, whole=True)
        self._hearing = Hearing()
        self._said = b""
        self._has_closed = False
        self._over = asyncio.Event()  # nothing comes from the server any more, or nothing is to be said to it
        self._changed = asyncio.Event()
        self._error: PeerError | None = None
        self._task = asyncio.create_task(self._speak(recorded, speed))

    async def read(self) -> bytes:
        """What the client says next, b"" when it has ended. Raises what `abort` was told."""
        while not self._said:
            if self._error:
                raise self._error
            if self._over.is_set():
                return b""
            self._changed.clear()
            await self._changed.wait()
        said, self._said = self._said, b""
        return said

    def write(self, data: bytes) -> None:
        """The server says something."""
        for event in self._ear.receive(data):
            if not isinstance(event, Payload):
                continue  # bytes as they stand on the wire, or what the relay will stumble over itself
            if event.kind in ("text", "binary"):
                self._hearing.add(1)
            elif event.kind == "ping":
                self._say(Payload("pong", event.content))
            elif event.kind == "close":
                self._say(Payload("close", event.content))
                self._hearing.end()

    async def drain(self) -> None:
        """It takes everything."""

    def write_eof(self) -> None:
        """The server has ended its side."""
        self._end()

    def abort(self, error: PeerError) -> None:
        """The connection is broken."""
        self._error = self._error or error
        self._end()

    def close(self) -> None:
        """It is over."""
        self._task.cancel()
        self._end()

    async def linger(self, seconds: float) -> None:  # noqa: ARG002  # nobody has to be waited for
        """It is over."""
        self.close()

    async def _speak(self, recorded: Flow, speed: float | None) -> None:
        for words in script(recorded):
            await self._hearing.until(words.heard)
            if speed:
                await asyncio.sleep(words.pause / speed)
            if words.payload:
                self._say(words.payload)
        await self._rest()
        if not self._has_closed:
            self._say(close_payload(_NORMAL))
            await self._rest()
        self._end()

    async def _rest(self) -> None:
        """Wait for what the server does now, though not for long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), PATIENCE)

    def _say(self, payload: Payload) -> None:
        """Nothing is said after a close frame (RFC 6455 section 5.5.1)."""
        if self._has_closed or self._over.is_set():
            return
        self._has_closed = payload.kind == "close"
        self._mouth.send(payload)
        self._said += self._mouth.take()
        self._changed.set()

    def _end(self) -> None:
        self._over.set()
        self._hearing.end()
        self._changed.set()


def script(recorded: Flow) -> Iterator[Words]:
    """What the client of a WebSocket said, in order. Last of all it waits for what else the server had said, and says
    goodbye as it did, if it did, unless that was an answer.
    """
    heard, last = 0, recorded.timestamp_start
    words, goodbye = None, None
    for message in recorded.messages:
        pause, last = max(0.0, message.timestamp - last), message.timestamp
        if message.kind == "close":
            goodbye = goodbye or Words(_goodbye(message.content) if message.from_client else None, heard, pause)
        elif not message.from_client:
            heard += message.kind in ("text", "binary")
        elif message.kind == "continuation" and words and words.payload:
            words.payload = Payload(words.payload.kind, words.payload.content + message.content)
        elif message.kind in ("text", "binary", "ping"):
            if words:
                yield words
            words = Words(Payload(message.kind, message.content), heard, pause)
    if words:
        yield words
    yield goodbye or Words(close_payload(_NORMAL), heard, 0.0)


def _goodbye(content: bytes) -> Payload:
    """A recorded close frame, if it is one that may be sent."""
    try:
        close_meaning(content)
    except ValueError:
        return close_payload(_NORMAL)
    return Payload("close", content)
