"""A recorded request as the client of an exchange: its events come out of a file, and the answer goes nowhere.

So a replayed request takes the way of a live one, through the same code. Of the answer is kept what a comparison with
the recorded one needs: its body up to a limit, and its digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256

from ..errors import FlowFileError, PeerError, StreamError
from ..model.body import PIECE, Body
from ..model.connection import Connection
from ..model.content import DECODED_LIMIT
from ..model.headers import to_str
from ..model.message import Request
from ..proxy.services import Services
from ..proxy.target import Origin, Target, check_host
from ..proxy.upstreams import Upstreams
from ..wire.events import Data, End, Event, RequestHead, ResponseHead

# How long a client that has sent Expect waits before it sends its body all the same, as curl does (RFC 9110 section
# 10.1.1 leaves it to the client). Seconds.
PATIENCE = 1.0


class RecordedClient:
    """A client that has one request, sees the answer, and never goes away; a `proxy.sides.ClientSide`.

    `upstreams` are the connections that it may use. With `keeps` the body of the answer is there afterwards (`body`).
    """

    broken = False
    parting: PeerError = StreamError("a recorded client does not go away")
    keeps_alive = True
    has_left = False

    def __init__(
        self, services: Services, connection: Connection, upstreams: Upstreams, origin: Origin, *, keeps: bool
    ) -> None:
        self.services = services
        self.connection = connection
        self.upstreams = upstreams
        self.answering = False
        self._origin = origin
        self._kept = _Kept() if keeps else None
        self._pieces: Iterator[bytes] = iter(())
        self._request: Request | None = None
        self._may_send: asyncio.Event | None = None

    def ask(self, head: RequestHead, request: Request) -> list[Event]:
        """The first events of a request with this head: all of them, if it is small."""
        self._request = request
        if request.body.length <= PIECE and "expect" not in request.headers:
            content = request.body.read()
            return [head, Data(content), self._end()] if content else [head, self._end()]
        self._pieces = request.body.pieces()
        self._may_send = asyncio.Event()
        if "expect" not in request.headers:
            self._may_send.set()
        return [head]

    async def receive(self) -> list[Event]:
        """The next piece of the body, or its end. Raises StreamError where it can no longer be read."""
        if self._may_send and not self._may_send.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._may_send.wait(), PATIENCE)
            self._may_send.set()
        try:
            piece = next(self._pieces, None)
        except FlowFileError as error:
            raise StreamError(str(error)) from None
        return [Data(piece)] if piece is not None else [self._end()]

    def _end(self) -> End:
        trailers = self._request.trailers if self._request else None
        return End(trailers.fields if trailers else None)

    def send(self, event: Event) -> None:
        """See an event of the answer."""
        if type(event) is Data:
            if self._kept:
                self._kept.add(event.data)
        elif type(event) is ResponseHead:
            self.answering = event.is_final
            if self._may_send:
                self._may_send.set()

    @property
    def body(self) -> Body:
        """The body of the answer that was complete."""
        assert self._kept
        return self._kept.body()

    def target_of(self, head: RequestHead) -> Target:
        """Where the request goes. Raises RemoteError."""
        if head.version == b"HTTP/2":
            return Target(self._origin, head.target, to_str(head.authority))
        check_host(head)
        return Target(self._origin, head.target)

    def write(self) -> None:
        """Nothing waits to be written."""

    def write_last(self) -> None:
        """Nothing waits to be written."""

    async def flush(self) -> None:
        """Nothing waits to be written."""

    def watch(self, on_end: Callable[[], object] | None) -> None:
        """It does not go away."""

    def abort(self, error: PeerError) -> None:
        """Nobody is there to see it."""

    def can_act_on(self, error: PeerError) -> bool:  # noqa: ARG002
        """It does nothing of itself."""
        return False

    def cut_off(self, error: PeerError) -> None:
        """Nobody is there to see it."""

    async def linger(self, seconds: float) -> None:
        """It sends nothing that could be in the way of the answer."""

    def close(self) -> None:
        """It has nothing open."""


class _Kept:
    """The body of an answer: its length and digest, and its bytes as long as they are few enough to be compared."""

    def __init__(self) -> None:
        self._length = 0
        self._digest = sha256()
        self._bytes: bytearray | None = bytearray()

    def add(self, data: bytes) -> None:
        self._length += len(data)
        self._digest.update(data)
        if self._bytes is None:
            return
        self._bytes += data
        if len(self._bytes) > DECODED_LIMIT:
            self._bytes = None

    def body(self) -> Body:
        source = None if self._bytes is None else bytes(self._bytes)
        return Body(self._length, complete=True, digest=self._digest.digest(), source=source)
