"""Server replay (-S): clients are answered out of recordings.

The handler answers in `request`, so an exchange goes on as with any server: filters, sinks and other handlers see it.
The proxy asks the same object what to do about servers: while it is `sealed`, no connection is made to any, whatever is
asked, and the certificate that a client gets has the names that the recorded server's had.

Several recordings of one request are given in their order. Those that are a whole answer to less than was recorded, to
HEAD or to a request for a range, do not use a recording up: clients ask for such as often as they like.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from time import time
from typing import Literal, NamedTuple

from ..errors import CertificateError, FlowFileError, RemoteError
from ..handlers.base import Handler
from ..model.body import Body
from ..model.flow import Flow
from ..model.headers import Headers
from ..model.message import Request, Response
from ..net.stream import Stream, Streams
from ..proxy import pages
from ..proxy.known import Known
from ..proxy.upstreams import HTTP_1
from ..settings.replay import AT_ONCE, Latency
from ..sinks.words import harmless
from ..tls.names import LeafNames
from ..wire.events import Data, ResponseHead
from .answers import Answers
from .derived import asks_for_part, part_of, without_body
from .match import Parts, conditions_of, key_of
from .nearest import Near, nearest
from .player import play, stream_pair
from .refresh import recorded_at, refreshed

# Of so many requests that matched nothing is remembered, for the report, what they were.
MAX_MISSED = 10_000
# Bytes of a body that take a few milliseconds to be read and compared; of a larger one it is done in a thread.
_LARGE = 1024 * 1024
BODILESS = frozenset({HTTPStatus.NO_CONTENT, HTTPStatus.RESET_CONTENT, HTTPStatus.NOT_MODIFIED})

Extra = Literal["kill", "forward"] | int
After = Literal["last", "first", "cycle", "extra"]


@dataclass(frozen=True, slots=True)
class Answering:
    """How recordings are given.

    `extra`: what becomes of a request without one; "kill" is 502, a number that status. `after`: which one is given
    when all of a request's were; `reuse`: the first one, always. `forwards_silently`: nobody wonders at what is
    forwarded. `started`: when the run began, in Unix seconds.
    """

    extra: Extra = "kill"
    after: After = "last"
    reuse: bool = False
    refresh: bool = True
    latency: Latency = AT_ONCE
    forwards_silently: bool = False
    started: float = 0.0


class Missed(NamedTuple):
    """A request that matched nothing, and the recordings that come closest."""

    method: str
    url: str
    nearest: Sequence[Near]

    def __str__(self) -> str:
        closest = f"; closest: {', or '.join(map(str, self.nearest))}" if self.nearest else ""
        return f"no recording matches {self.method} {self.url}{closest}"


class ServerReplay(Handler):
    """Answers requests out of recordings. `say` is told, once each, of requests that match none."""

    def __init__(self, answers: Answers, how: Answering, say: Callable[[str], object]) -> None:
        self.answers = answers
        self.sealed = how.extra != "forward"
        self.answered = 0
        self.missed: list[Missed] = []
        self.misses = 0
        self._how = how
        self._say = say
        self._told: dict[bytes, list[Near]] = {}  # by the key of a request that matched nothing: what comes closest
        self._parts_to_play: dict[int, Flow] = {}  # by the flow that is answered so
        self._players: set[asyncio.Task[None]] = set()
        self._next: dict[int, int | None] = {}  # by the first of a request's recordings; None: all were given

    def server(self, asked: str, port: int, offers: Sequence[bytes]) -> Known | None:
        """What the server of this name is like for a client that offers these protocols.

        None if that is for the server itself to say. Nobody is offered HTTP/2 by a server that did not speak it.
        """
        recorded = self.answers.server(asked, port)
        if recorded is None and not self.sealed:
            return None
        chain = (recorded.certificate,) if recorded else ()
        try:
            alpn = recorded.alpn if recorded and recorded.alpn in offers else HTTP_1 if HTTP_1 in offers else None
            return Known(LeafNames.from_chain(chain, asked), alpn)
        except CertificateError:
            return None

    async def request(self, flow: Flow) -> None:
        """Answer, or see to it that nobody does."""
        request = flow.request
        if request is None or flow.response is not None:
            return
        parts = await self._parts_of(request)
        number = self._find(parts, request)
        if number is None:
            self._miss(flow, request, parts)
            return
        try:
            recorded = self.answers.take(number)
        except FlowFileError as error:
            raise RemoteError(f"the recorded response cannot be read: {error}", 502) from error
        self.answered += 1
        self.answers.given[number] += 1
        flow.is_replay = "response"
        if wait := self._how.latency.after(_waited(recorded)):
            await asyncio.sleep(wait)
        if recorded.response and recorded.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            self._parts_to_play[flow.id] = recorded
        else:
            flow.response = self._response(recorded, request)

    async def stand_in(self, flow: Flow, streams: Streams) -> Stream | None:
        """A connection to who plays the server's part of a WebSocket, if that is the answer to this flow's request."""
        recorded = self._parts_to_play.pop(flow.id, None)
        if recorded is None:
            return None
        ours, theirs = await stream_pair(streams)
        task = asyncio.create_task(play(recorded, theirs, self._how.latency.share))
        self._players.add(task)
        task.add_done_callback(self._players.discard)
        return ours

    # -- which one ----------------------------------------------------------------------------------------------------

    async def _parts_of(self, request: Request) -> Parts:
        """The parts of a request that count; others are served while a large body is read."""
        parts_of = self.answers.matching.parts_of
        return parts_of(request) if request.body.length <= _LARGE else await asyncio.to_thread(parts_of, request)

    def _find(self, parts: Parts, request: Request) -> int | None:
        """The recording that answers a request."""
        conditions = conditions_of(request.headers)
        if conditions and (number := self._take(key_of(parts | conditions))) is not None:
            return number
        key = key_of(parts)
        number = self._show(key) if asks_for_part(request) else self._take(key)
        if number is None and request.method == "HEAD" and "method" in parts:
            number = self._show(key_of(parts | {"method": "GET"}))
        return number

    def _show(self, key: bytes) -> int | None:
        """The recording that is the next to be given, without giving it."""
        first = self.answers.first(key)
        if first is None or self._how.reuse:
            return first
        number = self._next.get(first, first)
        return self._over(first) if number is None else number

    def _take(self, key: bytes) -> int | None:
        """The next recording that is to be given."""
        number, first = self._show(key), self.answers.first(key)
        if (
            number is not None
            and first is not None
            and not self._how.reuse
            and self._next.get(first, first) is not None
        ):
            following = self.answers.after(number)
            self._next[first] = first if following is None and self._how.after == "cycle" else following
        return number

    def _over(self, first: int) -> int | None:
        """What is given when all were."""
        after = self._how.after
        return None if after == "extra" else self.answers.last(first) if after == "last" else first

    # -- what of it ---------------------------------------------------------------------------------------------------

    def _response(self, recorded: Flow, request: Request) -> Response:
        """The response to a request, as of now; made of the recorded one, which nobody else has."""
        asked, response = recorded.request, recorded.response
        assert asked
        assert response
        if self._how.refresh and (then := recorded_at(recorded)):
            response.headers = refreshed(response.headers, time() - then, self._how.started - then)
        if request.method == "HEAD":
            response = without_body(response)
        elif asks_for_part(request) and not asks_for_part(asked):  # if it did, that is how the server takes it
            response = part_of(response, request)
        response.timestamp_start = response.timestamp_end = None
        return response

    # -- none ---------------------------------------------------------------------------------------------------------

    def _miss(self, flow: Flow, request: Request, parts: Parts) -> None:
        extra = self._how.extra
        if extra == "forward" and self._how.forwards_silently:
            return
        key = key_of(parts)
        told = self._told.get(key)
        near = nearest(parts, self.answers) if told is None else told
        missed = Missed(harmless(request.method), harmless(request.url.partition("?")[0]), near)
        self.misses += 1
        if len(self.missed) < MAX_MISSED:
            self.missed.append(missed)
        if told is None:
            self._say(f"{missed}; forwarded" if extra == "forward" else str(missed))
            if len(self._told) < MAX_MISSED:
                self._told[key] = near
        flow.metadata["replay.missed"] = {"closest": list(map(str, near))}
        if extra == "kill":
            raise RemoteError(str(missed), 502)
        if extra != "forward":
            flow.response, flow.is_replay = _page(extra, str(missed)), "response"


def _waited(recorded: Flow) -> float:
    """How long the client waited for the first byte of the recorded response, in seconds."""
    request, response = recorded.request, recorded.response
    asked = request and (request.timestamp_end or request.timestamp_start)
    came = response and response.timestamp_start
    return max(came - asked, 0.0) if asked and came else 0.0


def _page(status: int, text: str) -> Response:
    """A page of ours that says why there is no other answer."""
    head, *rest = pages.page(status, text, time(), close=False)
    assert isinstance(head, ResponseHead)
    content = b"" if status in BODILESS else b"".join(each.data for each in rest if isinstance(each, Data))
    fields = [field for field in head.fields if content or not field[0].startswith(b"Content-")]
    return Response(
        "HTTP/1.1",
        Headers(fields),
        Body(len(content), True, None, content),
        None,
        None,
        None,
        status,
        head.reason.decode(),
    )
