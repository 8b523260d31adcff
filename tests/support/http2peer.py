"""A peer that speaks HTTP/2, on the h2 library: `sends` and `receives` at a distance of whole messages.

client = await Http2Peer.client(await proxy.client())
stream = await client.asks("/path", authority="a.test")
assert await client.answer(stream) == Message(...)
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    InformationalResponseReceived,
    PingAckReceived,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.settings import Settings

from .peers import SECONDS, Peer

Fields = list[tuple[bytes, bytes]]


@dataclass
class Message:
    """What has come on a stream. `reset` is the code of RST_STREAM, if one came."""

    fields: Fields = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    trailers: Fields = field(default_factory=list)
    interim: list[bytes] = field(default_factory=list)
    complete: bool = False
    reset: int | None = None

    def __getitem__(self, name: bytes) -> bytes:
        return dict(self.fields)[name]

    @property
    def status(self) -> int:
        return int(self[b":status"])

    @property
    def over(self) -> bool:
        return self.complete or self.reset is not None


class Http2Peer:
    """One end of an HTTP/2 connection. `takes_data`: what is received is acknowledged at once."""

    def __init__(self, peer: Peer, *, is_client: bool) -> None:
        self.peer = peer
        configuration = H2Configuration(
            client_side=is_client,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            normalize_inbound_headers=False,
        )
        self.h2 = H2Connection(configuration)
        self.streams: dict[int, Message] = {}
        self.opened: list[int] = []
        self.goaway: int | None = None
        self.ended = self.settled = False
        self.takes_data = True

    @classmethod
    async def starts(cls, peer: Peer, *, is_client: bool, settings: dict[int, int] | None = None) -> Http2Peer:
        """Say the first words."""
        ours = cls(peer, is_client=is_client)
        if settings:
            ours.h2.local_settings = Settings(client=is_client, initial_values=settings)
        ours.h2.initiate_connection()
        await ours.writes()
        return ours

    async def writes(self) -> None:
        """Send what is queued."""
        await self.peer.sends(self.h2.data_to_send())

    async def asks(
        self, path: str = "/", *fields: tuple[str, str], method: str = "GET", authority: str = "a.test",
        scheme: str = "https", body: bytes | None = b"", protocol: str = "", later: bool = False,
    ) -> int:  # fmt: skip
        """Send a request, complete unless `body` is None; `later`: with what is sent next. Gives its stream."""
        stream = self.h2.get_next_available_stream_id()
        self.streams[stream] = Message()
        pseudo = [(":method", method), (":authority", authority)]
        if method != "CONNECT" or protocol:
            pseudo += [(":scheme", scheme), (":path", path)]
        if protocol:
            pseudo.append((":protocol", protocol))
        self.h2.send_headers(stream, [*pseudo, *fields], end_stream=body == b"")
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        if not later:
            await self.writes()
        return stream

    async def answers(
        self, stream: int, body: bytes = b"", *fields: tuple[str, str], status: int = 200,
        trailers: Iterable[tuple[str, str]] = (), end: bool = True,
    ) -> None:  # fmt: skip
        """Send a response, complete if it is to `end`."""
        trailing = list(trailers)
        self.h2.send_headers(stream, [(":status", str(status)), *fields], end_stream=end and not body and not trailing)
        if body:
            self.h2.send_data(stream, body, end_stream=end and not trailing)
        if trailing:
            self.h2.send_headers(stream, trailing, end_stream=True)
        await self.writes()

    async def sends(self, stream: int, data: bytes = b"", *, end: bool = False) -> None:
        """More of a body."""
        self.h2.send_data(stream, data, end_stream=end)
        await self.writes()

    async def pours(self, stream: int, most: int) -> int:
        """Send as much as the other side takes, and no more than `most`; gives how much that was."""
        sent, patience = 0, 10
        while sent < most and patience:
            if room := min(self.h2.local_flow_control_window(stream), 16384):
                await self.sends(stream, bytes(room))
                sent, patience = sent + room, 10
            else:
                patience -= 1
                await self.settles()
        return sent

    async def resets(self, stream: int, code: int) -> None:
        self.h2.reset_stream(stream, code)
        await self.writes()

    async def request(self) -> tuple[int, Message]:
        """The head of the next request that comes, and what else has come of it."""
        while not self.opened:
            await self._reads()
        stream = self.opened.pop(0)
        return stream, self.streams[stream]

    async def head(self, stream: int) -> Message:
        """What has come on a stream, once there is a head (or a reset)."""
        while not (self.streams[stream].fields or self.streams[stream].over):
            await self._reads()
        return self.streams[stream]

    async def gets(self, stream: int, size: int) -> bytearray:
        """What has come of a body, once it is so many bytes."""
        while len(self.streams[stream].body) < size and not self.streams[stream].over:
            await self._reads()
        return self.streams[stream].body

    async def all(self, stream: int) -> Message:
        """What has come on a stream, once it is over."""
        while not self.streams[stream].over:
            await self._reads()
        return self.streams[stream]

    async def sees_reset(self, stream: int) -> int:
        """The code of the RST_STREAM that comes."""
        while (code := self.streams[stream].reset) is None:
            await self._reads()
        return code

    async def sees_goaway(self) -> int:
        """The code of the GOAWAY that comes."""
        while self.goaway is None:
            await self._reads()
        return self.goaway

    async def sees_end(self) -> None:
        """The other side ends the connection."""
        while not self.ended:
            await self._reads()

    async def settles(self) -> None:
        """The other side has said its first words, and has seen ours."""
        self.settled = False
        self.h2.ping(b"settling")
        await self.writes()
        while not self.settled:
            await self._reads()

    async def _reads(self) -> None:
        assert not self.ended, "the connection has ended"
        data = await asyncio.wait_for(self.peer._receive(1 << 16), SECONDS)
        self.ended = not data
        for event in self.h2.receive_data(data):
            self._takes(event)
        await self.writes()

    def _takes(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            self.streams[event.stream_id] = Message(list(event.headers))
            self.opened.append(event.stream_id)
        elif isinstance(event, InformationalResponseReceived):
            self.streams[event.stream_id].interim.append(dict(event.headers)[b":status"])
        elif isinstance(event, ResponseReceived):
            self.streams[event.stream_id].fields = list(event.headers)
        elif isinstance(event, DataReceived):
            self.streams[event.stream_id].body += event.data
            if self.takes_data:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, TrailersReceived):
            self.streams[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, StreamEnded):
            self.streams[event.stream_id].complete = True
        elif isinstance(event, StreamReset):
            self.streams[event.stream_id].reset = event.error_code
        elif isinstance(event, ConnectionTerminated):
            self.goaway = event.error_code
        elif isinstance(event, PingAckReceived):
            self.settled = True
