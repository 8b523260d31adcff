"""An answer that no server gave, in a server's place.

A handler has made it, or has found it in a recording. It goes out as it says that it went before: chunked, with a
length, or ended by the connection's close where it announces nothing; and what was HTTP/2 as if it came from such a
server. One without an HTTP version was never sent by anybody, and gets the length of its body.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import PeerError
from ..model.body import Body
from ..model.connection import Connection
from ..model.message import Response
from ..wire.events import Event
from .changed import framing_of, is_bodiless, next_of, pieces, response_head


class Answer:
    """The server's side of an exchange whose answer is there already; `sides.ServerSide` says what its methods are.

    What is sent to it is thrown away: the request has been seen by those whom it concerns. `response` stays as it is.
    Raises PeerError if that cannot be sent.
    """

    connection: Connection
    broken = False
    keeps_alive = True

    def __init__(self, response: Response, method: bytes) -> None:
        response, framing = replace(response, headers=response.headers.copy()), 0
        if is_bodiless(method, response.status_code):
            response.body, response.trailers = Body(), None
        else:
            version = response.http_version
            framing = framing_of(
                response,
                until_close=version == "HTTP/1.0" or (version == "HTTP/1.1" and response.body.stored > 0),
            )
        head = response_head(response, framing)
        if head.status == 101:
            raise PeerError("a handler has answered by switching protocols", 500)
        self._pieces = pieces(response)
        self._begin: list[Event] | None = [head, *next(self._pieces)]

    async def receive(self) -> list[Event]:
        """The next events."""
        if self._begin:
            begin, self._begin = self._begin, None
            return begin
        return await next_of(self._pieces)

    def send(self, event: Event) -> None:
        """Nobody is there."""

    def write(self) -> None:
        """Nothing is queued."""

    async def flush(self) -> None:
        """Nothing is queued."""

    def write_last(self) -> None:
        """Nothing is queued."""

    def watch(self, on_end: Callable[[], object] | None) -> None:
        """It does not go away."""

    def may_repeat(self, method: bytes) -> bool:  # noqa: ARG002
        """There is no other server to be asked."""
        return False

    def end(self, seconds: float) -> None:
        """Nobody is there."""

    def abort(self, error: PeerError) -> None:
        """Nobody is there."""

    def finish(self) -> None:
        """Nobody is there."""

    def close(self) -> None:
        """Nobody is there."""
