"""An exchange whose messages go through handlers on their way.

To the exchange nothing changes. Handlers stand on both of its sides: what it reads of the request and of the response
has been through their hooks before, with the body collected where a hook wants it whole; and where a handler has
answered, its answer takes the place of the server (`answer`). So what is passed on is what is recorded.

A body that is collected waits in a spool, in memory while it is small, so one of any size can be. A peer that sends
without end is waited for without end, as by everybody who asks for the whole of a message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from time import time

from ..errors import PeerError, RemoteError
from ..filter import Stage
from ..model.body import Body
from ..model.connection import Connection
from ..model.flow import Error, Flow, Part
from ..model.headers import Headers, to_str
from ..model.message import HttpMessage, Response
from ..sinks.spool import Spool
from ..wire.events import Data, End, Event, RequestHead, ResponseHead
from ..wire.head import SWITCHED, UNTIL_CLOSE
from .answer import Answer
from .changed import framing_of, is_bodiless, keep_framing, next_of, pieces, request_head, response_head, target_of
from .exchange import Exchange
from .sides import ClientSide, ServerSide
from .target import Target
from .upstreams import Upstreams

Receive = Callable[[], Awaitable[list[Event]]]


def new_exchange(client: ClientSide) -> Exchange:
    """The exchange for a client's next request."""
    return Handled(client) if client.services.hooks.of_exchanges else Exchange(client)


class Handled(Exchange):
    """One exchange with handlers."""

    _is_handled = False
    _asked: RequestHead  # by what the client has sent, it will read the response
    _whole_request: Body | None = None
    _rest_of_request: Iterator[list[Event]] | None = None
    _rest_of_response: Iterator[list[Event]] | None = None
    _answer: Answer | None = None
    _asked_for_body = False
    _has_told_error = False
    _elsewhere = False  # a handler has sent the request to another server

    def __init__(self, client: ClientSide) -> None:
        super().__init__(client)
        self._hooks = client.services.hooks
        self._spools: list[Spool] = []

    async def run(self, events: list[Event]) -> None:
        """Do the exchange that begins with `events`."""
        try:
            await super().run(events)
            if self.recorded and self.flow.error:
                await self._tell_error()
        finally:
            for spool in self._spools:
                spool.close()

    async def _serve(self, target: Target, events: list[Event]) -> None:
        self._is_handled = self.recorded and not self._is_for_us
        if self._is_handled:
            target, events = await self._handle_request(target, events)
        await super()._serve(target, events)

    # -- the request --------------------------------------------------------------------------------------------------

    async def _handle_request(self, target: Target, events: list[Event]) -> tuple[Target, list[Event]]:
        """Where a request goes and what goes there, in the place of one that begins with `events`."""
        flow, (head, *rest) = self.flow, events
        request = flow.request
        assert request
        assert isinstance(head, RequestHead)
        before = request.headers.copy()
        await self._call(self._hooks.requestheaders)
        is_message = head.framing != SWITCHED and not head.protocol  # and not the beginning of something else
        is_whole = is_message and bool(self._hooks.request) and not flow.response
        if is_whole:
            await self._ask_for_body(head, rest)
            await self._collect(request, Part.REQUEST, rest, super()._receive_request)
        if not flow.response:
            await self._call(self._hooks.request)
        with self._hooks.blaming():
            return self._handled_request(target, head, rest, before, is_whole=is_whole)

    def _handled_request(
        self, target: Target, head: RequestHead, rest: list[Event], before: Headers, *, is_whole: bool
    ) -> tuple[Target, list[Event]]:
        """The same, now that the hooks have been called. It came with the fields `before`."""
        flow, framing = self.flow, head.framing
        request = flow.request
        assert request
        request.http_version = to_str(head.version)
        if is_whole:
            framing = framing_of(request)
            self._whole_request, self._rest_of_request = request.body, pieces(request)
            rest = next(self._rest_of_request)
        else:
            keep_framing(request, before)
        request.body = Body()
        self._asked = head
        if flow.response:
            self._answer, flow.response = Answer(flow.response, head.method), None
            return target, [head, *rest]
        new_target = target_of(request, target, before)
        self._elsewhere = new_target.origin != target.origin
        return new_target, [request_head(request, head, framing), *rest]

    async def _ask_for_body(self, head: RequestHead, rest: list[Event]) -> None:
        """A client that waits to be asked for its body is asked by us: no server has seen it yet (RFC 9110 10.1.1)."""
        if not rest and b"expect" in head.survey().values and head.version != b"HTTP/1.0":
            self._asked_for_body = True
            self.client.send(ResponseHead(100, [], b"Continue"))
            await self.client.flush()

    def _at_hand(self, target: Target) -> ServerSide | None:
        if self._answer:
            return self._answer
        return None if self.client.services.recorded else super()._at_hand(target)

    async def _reach(self, target: Target) -> ServerSide:
        services = self.client.services
        if services.recorded:
            if stand_in := await services.recorded.stand_in(self.flow, services.streams):
                return Upstreams(services).adopt(stand_in, Connection("server"), target.origin)
            if idle := super()._at_hand(target):
                return idle
        if not self._elsewhere:
            return await super()._reach(target)
        # Not in the name of the server that the client has asked for in TLS.
        return await Upstreams(services).connect(target.origin, self.flow)

    def _send_request(self, upstream: ServerSide, target: Target, events: list[Event]) -> None:
        if self._answer:  # nobody is there who reads a head
            self._pass_request(upstream, events[1:])
        else:
            super()._send_request(upstream, target, events)

    async def _receive_request(self) -> list[Event]:
        return await (next_of(self._rest_of_request) if self._rest_of_request else super()._receive_request())

    # -- the response -------------------------------------------------------------------------------------------------

    async def _receive_response(self) -> list[Event]:
        if self._rest_of_response:
            return await next_of(self._rest_of_response)
        events = await super()._receive_response()
        self._now = time()
        if self._answer or self.flow.response or not self._is_handled:
            return events
        for place, event in enumerate(events):
            if isinstance(event, ResponseHead) and event.is_final:
                events = [*events[:place], *await self._handle_response(event, events[place + 1 :])]
                break
        return [event for event in events if not self._is_answered(event)]

    def _is_answered(self, event: Event) -> bool:
        """Is this what the client has been told already, that it is to send its body?"""
        return self._asked_for_body and isinstance(event, ResponseHead) and event.status == 100

    async def _handle_response(self, head: ResponseHead, rest: list[Event]) -> list[Event]:
        """What goes on in the place of a response that begins with these events."""
        self.flow.response = response = super()._response_of(head)
        before = response.headers.copy()
        with self._request_shown():
            await self._call(self._hooks.responseheaders)
            if self._hooks.response:
                if head.framing != SWITCHED:
                    await self._collect(response, Part.RESPONSE, rest, super()._receive_response)
                await self._call(self._hooks.response)
        with self._hooks.blaming():
            return self._handled_response(head, rest, before)

    def _handled_response(self, head: ResponseHead, rest: list[Event], before: Headers) -> list[Event]:
        """The same, now that the hooks have been called. It came with the fields `before`."""
        request, response, framing = self.flow.request, self.flow.response, head.framing
        assert request
        assert response
        assert framing is not None
        request.http_version, response.http_version = to_str(self._asked.version), to_str(head.version)
        if framing == SWITCHED and response.status_code == head.status:
            keep_framing(response, before)
        elif is_bodiless(self._asked.method, response.status_code):
            keep_framing(response, before)
            framing, rest = 0, [End()]
        elif self._hooks.response or framing in (0, SWITCHED):  # so the body is there, if there is one
            framing = framing_of(response, until_close=framing == UNTIL_CLOSE)
            self._rest_of_response = pieces(response)
            rest = next(self._rest_of_response)
        else:
            keep_framing(response, before)
        response.body = Body()
        return [response_head(response, framing), *rest]

    @contextmanager
    def _request_shown(self) -> Iterator[None]:
        """The request has its body again, if that was collected: handlers look back at it."""
        request = self.flow.request
        assert request
        if not self._request_done or self._whole_request is None:
            yield
            return
        passed, request.body = request.body, self._whole_request
        try:
            yield
        finally:
            request.body = passed

    def _response_of(self, head: ResponseHead) -> Response:
        return self.flow.response or super()._response_of(head)

    # -- both ---------------------------------------------------------------------------------------------------------

    async def _collect(self, message: HttpMessage, part: Part, events: list[Event], receive: Receive) -> None:
        """Give a message the whole of its body, and its trailers."""
        spool: Spool | None = None  # most requests have no body
        while True:
            for event in events:
                if isinstance(event, Data):
                    if spool is None:
                        self._spools.append(spool := Spool())
                    _keep(spool, part, event.data)
                elif isinstance(event, End):
                    source = spool.body(part) if spool else b""
                    message.body = Body(len(source), complete=True, source=source)
                    message.trailers = None if event.trailers is None else Headers(event.trailers)
                    message.timestamp_end = time()
                    return
            events = await receive()

    def _end_message(self, message: HttpMessage, end: End) -> None:
        collected = message.timestamp_end
        super()._end_message(message, end)
        message.timestamp_end = collected or message.timestamp_end

    async def _call(self, hooks: tuple[Callable[[Flow], Awaitable[None]], ...]) -> None:
        for hook in hooks:
            await hook(self.flow)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _fail(self, error: PeerError) -> None:
        if self.recorded and not self._finished:
            flow = self.flow
            flow.error = Error(str(error), time())
            if not self.client.answering:  # so nothing of a response was passed on
                flow.response = None
            await self._tell_error()
            self._note_collected()
        await super()._fail(error)

    def _note_collected(self) -> None:
        """A request that came whole, and that no server will see, is recorded as it came."""
        request = self.flow.request
        if request is None or self._request_done or not request.body.complete:
            return
        self._tap.reached(Stage.REQUEST_HEAD)
        with suppress(PeerError), self._hooks.blaming():
            body, request.body = pieces(request), Body()
            for event in chain.from_iterable(body):
                self._note_request(event)

    async def _tell_error(self) -> None:
        """Once, and before the flow is recorded, but for an upload that breaks off after its response."""
        if not self._has_told_error:
            self._has_told_error = True
            with suppress(PeerError):
                await self._call(self._hooks.error)


def _keep(spool: Spool, part: Part, data: bytes) -> None:
    try:
        spool.add(part, data)
    except OSError as error:
        raise RemoteError(
            f"there is no room to keep a body for a handler: {error.strerror}; "
            "set TMPDIR to a directory with more room",
            507,
        ) from None
