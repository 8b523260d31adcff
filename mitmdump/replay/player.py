"""The server's part of a recorded WebSocket, played: its messages again, in order, each after those of the client that
came before it.

The player sits at the far end of a pair of sockets, where a server would be, so all that relays and records a WebSocket
takes it for one. What a client says is waited for and not compared. Of the recorded response all fields are said again
but two: the proof that the handshake was read (RFC 6455 section 4.2.2) is made anew, and nothing is compressed. Pings
are answered as they come.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..errors import FlowFileError, PeerError
from ..model.flow import Flow
from ..model.headers import to_bytes
from ..model.message import Message
from ..net.stream import Stream, Streams
from ..proxy.channel import Channel
from ..wire.events import RequestHead, ResponseHead, Role
from ..wire.handshake import accept_of
from ..wire.http1 import Http1
from ..wire.websocket import LARGEST, Event, Payload, WebSocket, close_meaning

# Bytes; a message that was recorded in pieces has a first one that is larger, in captures of any format. So all others
# are said as they come out of the file, and need not wait for what follows.
_MAY_GO_ON = 32 * 1024
_LONGEST_CONTROL = 125  # bytes in a control frame (RFC 6455 section 5.5)
_ANEW = frozenset({b"sec-websocket-accept", b"sec-websocket-extensions"})


async def stream_pair(streams: Streams) -> tuple[Stream, Stream]:
    """Two streams that lead to one another: the first as to a server, the second as to a client."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
    _, ours = await loop.create_connection(lambda: Stream("server", streams), sock=near)  # type: ignore[type-var]
    _, theirs = await loop.create_connection(lambda: Stream("client", streams), sock=far)  # type: ignore[type-var]
    return ours, theirs


async def play(recorded: Flow, stream: Stream, share: float) -> None:
    """Play the server's part of a recorded WebSocket, until its end or the client's; then the stream is closed.

    Before each message it waits for this `share` of the time that it took when it was recorded.
    """
    channel = Channel(stream, Http1(Role.SERVER))
    try:
        head, *_ = await channel.receive()
        assert isinstance(head, RequestHead)
        channel.send(_response(recorded, head))
        channel.write()
        await _Player(stream, channel.codec.rest()).play(recorded.messages, share)
    except (PeerError, FlowFileError):
        pass  # the client is gone, or the file: the relay sees the stream end
    finally:
        stream.close()


def _response(recorded: Flow, head: RequestHead) -> ResponseHead:
    response = recorded.response
    assert response
    key = next((value for name, value in head.fields if name.lower() == b"sec-websocket-key"), b"")
    fields = [field for field in response.headers.fields if field[0].lower() not in _ANEW]
    fields.append((b"Sec-WebSocket-Accept", accept_of(key)))
    return ResponseHead(response.status_code, fields, to_bytes(response.reason))


class _Player:
    """A server at the end of `stream`, of which `first` was read already."""

    def __init__(self, stream: Stream, first: bytes) -> None:
        self._stream = stream
        self._codec = WebSocket(Role.SERVER, whole=True)
        self._heard: list[Event] = self._codec.receive(first) if first else []
        self._has_closed = False

    async def play(self, messages: Iterable[Message], share: float) -> None:
        """Say what was said, each after what was heard before it. Raises PeerError or FlowFileError."""
        before: float | None = None
        for message in turns(messages):
            if message.from_client:
                if not await self._hears():
                    return
            else:
                if share and before is not None:
                    await asyncio.sleep(max(message.timestamp - before, 0.0) * share)
                await self._say(_sayable(message))
            before = message.timestamp
        while await self._hears():  # it is the client's turn to end it
            pass

    async def _say(self, payload: Payload) -> None:
        if self._has_closed:
            return
        self._has_closed = payload.kind == "close"
        self._codec.send(payload)
        self._stream.write(self._codec.take())
        if self._stream.congested:
            await self._stream.drain()

    async def _hears(self) -> bool:
        """Wait for the client's next message. False: it has closed, which was answered, or is gone."""
        while True:
            while self._heard:
                event = self._heard.pop(0)
                if not isinstance(event, Payload):
                    return False
                if event.kind == "ping":
                    await self._say(Payload("pong", event.content))
                elif event.kind == "close":
                    await self._say(event)
                    return False
                elif event.kind != "pong":
                    return True
            data = await self._stream.read()
            if not data:
                return False
            self._heard = self._codec.receive(data)


def turns(messages: Iterable[Message]) -> Iterator[Message]:
    """The server's messages, which are to be said, and the client's, which are to be waited for and have no content.

    A large message of the server that was recorded in pieces is put together; what came in between comes after it.
    """
    pieces: list[Message] = []
    between: list[Message] = []
    for message in messages:
        if message.kind == "pong" or (message.from_client and message.kind in ("ping", "continuation")):
            continue
        if message.from_client:
            message = replace(message, content=b"")
        if pieces and (message.from_client or message.kind == "ping"):
            between.append(message)
        elif pieces and message.kind == "continuation" and sum(len(each.content) for each in pieces) < LARGEST:
            pieces.append(message)
        else:
            yield from (*_joined(pieces), *between)
            pieces, between = [], []
            if message.from_client or len(message.content) < _MAY_GO_ON:
                yield message
            else:
                pieces.append(message)
    yield from (*_joined(pieces), *between)


def _joined(pieces: list[Message]) -> Iterator[Message]:
    if pieces:
        yield replace(pieces[0], content=b"".join(piece.content for piece in pieces))


def _sayable(message: Message) -> Payload:
    """What of a message a frame can hold: recordings of others may have anything."""
    content = message.content
    if message.kind == "ping":
        content = content[:_LONGEST_CONTROL]
    elif message.kind == "close":
        try:
            close_meaning(content)
        except ValueError:
            content = b""
    return Payload(message.kind, content)
