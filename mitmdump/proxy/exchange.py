"""One request and its response.

Read aloud: take the request's head, make the flow, find out where it goes. Get an upstream connection. Send the request
on as it comes; a request that did not come whole is sent on by a task beside the one that waits for the response,
because a server may answer before it has read everything (RFC 9110 section 10.1.1, and every upload that is refused).
Pass the response on as it comes. Whatever goes wrong goes wrong in one place, `_fail`, which tells the client if it can
still be told.

The flow is given to the sinks before the last bytes of the response leave: a client that has seen the end of a response
can rely on its being recorded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from time import time
from typing import TYPE_CHECKING

from ..errors import PeerError, RemoteError, StreamError
from ..filter import Stage
from ..model.body import Body
from ..model.flow import Error, Flow, Part, WebSocket
from ..model.headers import Headers, to_str
from ..model.message import HttpMessage, Request, Response
from ..sinks.tap import AnyTap, Taps
from ..wire.events import Data, End, Event, RequestHead, ResponseHead
from ..wire.handshake import grants_websocket
from ..wire.head import UNTIL_CLOSE
from ..wire.hop import asks_for_upgrade
from . import onboarding, pages
from .heads import recorded_request, recorded_response, sent_request, sent_response
from .policy import Treatment, names_of
from .target import Target, named_server

if TYPE_CHECKING:
    from .sides import ClientSide, ServerSide

LINGER_SECONDS = 2.0


class Exchange:
    """One exchange of a client; `run` does it all.

    Afterwards `keep_alive` says whether the client's connection can take another request, and `switched` is the
    upstream connection if both sides have left HTTP (status 101). `recorded`: it is of a host that is to be recorded.
    """

    keep_alive = False
    recorded = True
    switched: ServerSide | None = None
    _upstream: ServerSide | None = None
    _upload: asyncio.Task[None] | None = None
    _upgrade_asked = False
    _is_repeated = False
    _request_done = False
    _response_done = False
    _finished = False
    _is_for_us = False

    def __init__(self, client: ClientSide) -> None:
        self.client = client
        self._now = now = time()  # when the last events came, of whoever they were
        self.flow = Flow("http", client.connection, timestamp_start=now)
        self._tap: AnyTap = client.services.outlet.tap(self.flow)

    async def run(self, events: list[Event]) -> None:
        """Do the exchange that begins with `events`."""
        try:
            if error := await self._try(events):
                await self._fail(error)
                error = None  # its traceback leads back here
        except asyncio.CancelledError as reason:
            self._record_end(str(reason) or "the proxy was stopped before the exchange was complete")
            raise
        finally:
            self.client.watch(None)
            self._release()

    async def _try(self, events: list[Event]) -> PeerError | None:
        """Serve a request. What went wrong is returned: compiled, nothing may wait while an exception is handled."""
        try:
            target = self._begin(events[0])
            await self._serve(target, events)
        except PeerError as error:
            return error
        return None

    async def refuse(self, error: PeerError, head: RequestHead | None = None) -> None:
        """End an exchange whose request could not be read, or not be taken."""
        if head:
            self._take(head)
        self._tap.reached(Stage.REQUEST_HEAD)
        await self._fail(error)

    @property
    def tap(self) -> AnyTap:
        """The sinks' hold on the flow, for who goes on with it."""
        return self._tap

    # -- what `handled` changes ---------------------------------------------------------------------------------------

    def _serve(self, target: Target, events: list[Event]) -> Awaitable[None]:
        """Answer a request that begins with `events`, and do not end before its end."""
        self._tap.reached(Stage.REQUEST_HEAD)
        if self._is_for_us:
            return self._give_page(events)
        if type(events[-1]) is End:
            return self._ask(target, events)
        return self._ask_while_uploading(target, events)

    def _at_hand(self, target: Target) -> ServerSide | None:
        """Who is to be asked, if we are connected."""
        return self.client.upstreams.idle(target.origin, self.flow)

    async def _reach(self, target: Target) -> ServerSide:
        """Who is to be asked, if nobody is at hand. Raises ConnectError."""
        return await self.client.upstreams.connect(target.origin, self.flow)

    def _receive_request(self) -> Awaitable[list[Event]]:
        """More of the request. Raises PeerError."""
        return self.client.receive()

    def _receive_response(self) -> Awaitable[list[Event]]:
        """More of the response. Raises PeerError."""
        assert self._upstream
        return self._upstream.receive()

    def _response_of(self, head: ResponseHead) -> Response:
        """The flow's response, as it was received."""
        return recorded_response(head, self._now)

    # -- the request --------------------------------------------------------------------------------------------------

    def _begin(self, head: Event) -> Target:
        """The request's part of the flow, and where it goes. Raises RemoteError."""
        assert isinstance(head, RequestHead)
        request = self._take(head)
        target = self.client.target_of(head)
        origin = target.origin
        request.scheme, request.host, request.port = origin.scheme, origin.host, origin.port
        request.authority, request.path = target.authority, to_str(target.path)
        self._choose(head, target)
        return target

    def _choose(self, head: RequestHead, target: Target) -> None:
        """Is this for us to answer, or to be recorded? What is inside TLS was chosen when that began."""
        services, origin = self.client.services, target.origin
        if services.settings.onboarding:
            self._is_for_us = onboarding.is_our_name(named_server(head, target)[0])
        if self._is_for_us or origin.scheme != "http" or not services.policy:
            return
        host, port = named_server(head, target)
        names = [*names_of(host, port), *names_of(origin.host, origin.port)]
        if services.policy.treatment(names) is Treatment.UNTOUCHED:
            self.recorded, self._tap = False, Taps(())
            services.outlet.pass_through()

    def _take(self, head: RequestHead) -> Request:
        """The flow's request, as it was received."""
        self.flow.request = request = recorded_request(head, self.flow.timestamp_start)
        if head.version == b"HTTP/2" and head.stream_id:
            self.flow.metadata["stream_id"] = head.stream_id
        return request

    async def _ask(self, target: Target, events: list[Event]) -> None:
        """Send a whole request, and pass the response on. What may be repeated is, once."""
        client, head = self.client, events[0]
        while True:
            self._upstream = upstream = self._at_hand(target) or await self._reach(target)
            try:
                self._send_request(upstream, target, events)
                upstream.write()  # however slow the server takes it, its answer may come before it has it all
                client.watch(self._client_ended)
                events = await self._receive_response()
                break
            except (RemoteError, StreamError) as error:
                assert isinstance(head, RequestHead)
                if client.broken or self._is_repeated or not upstream.may_repeat(head.method):
                    raise
                self._is_repeated = True
                client.services.debug(f"asking again on a new connection: {error}")
                upstream.close()
                self._upstream = None
        self._now = time()
        if not self._pass_response(events):
            await client.flush()
            await self._download()

    async def _ask_while_uploading(self, target: Target, events: list[Event]) -> None:
        self._upstream = upstream = self._at_hand(target) or await self._reach(target)
        self._send_request(upstream, target, events)
        self._upload = asyncio.create_task(self._send_rest(upstream))
        self.client.watch(self._client_ended)
        await self._download()
        if upstream.keeps_alive and self._is_sending:  # answered early, but the server goes on reading
            upstream.watch(self._server_ended)
            await asyncio.wait({self._upload})
            upstream.watch(None)
        await self._end_upload()
        if not self.flow.websocket:
            self._finish()
        if not self._request_done:  # what still comes must not destroy the answer
            self.keep_alive = False
            await self.client.linger(LINGER_SECONDS)

    def _send_request(self, upstream: ServerSide, target: Target, events: list[Event]) -> None:
        """Queue what is here of a request, in origin-form."""
        head = events[0]
        assert isinstance(head, RequestHead)
        self._upgrade_asked = upgrade = asks_for_upgrade(head)
        websockets = upgrade and self._reads_websockets
        upstream.send(sent_request(head, target, upgrade=upgrade, websockets=websockets))
        self._pass_request(upstream, events[1:])

    async def _send_rest(self, upstream: ServerSide) -> None:
        """Pass the rest of the request on, beside waiting for the response.

        What the client does wrong here breaks the upstream connection with that error, and so ends the waiting. That
        the server takes no more is no error yet: its response says why, if it sent one.
        """
        try:
            while not self._request_done:
                try:
                    await upstream.flush()
                except PeerError:
                    return
                events = await self._receive_request()
                if type(events[-1]) is End:
                    self._now = time()
                self._pass_request(upstream, events)
            await upstream.flush()
        except PeerError as error:
            if self._response_done:  # so nobody waits there who would record it
                self._record_end(str(error))
            if not upstream.broken:
                upstream.abort(error)

    async def _end_upload(self) -> None:
        """Let go of the client's stream."""
        if upload := self._upload:
            upload.cancel()
            await asyncio.wait({upload})
            self._upload = None  # which holds us, too

    def _server_ended(self) -> None:
        """The server has answered, and takes no more of the request."""
        if self._upload and not self.client.broken:
            self._upload.cancel()

    def _pass_request(self, upstream: ServerSide, events: list[Event]) -> None:
        is_repeated = self._request_done  # so all of it is recorded already
        for event in events:
            if not is_repeated:
                self._note_request(event)
            upstream.send(event)

    def _note_request(self, event: Event) -> None:
        request = self.flow.request
        assert request
        if type(event) is Data:
            request.body.length += len(event.data)
            self._tap.data(Part.REQUEST, event.data)
        elif type(event) is End:
            self._request_done = True
            self._end_message(request, event)
            if self._tap.wanted is None:
                self._tap.reached(Stage.RESPONSE_HEAD if self.client.answering else Stage.REQUEST)

    @property
    def _is_sending(self) -> bool:
        """Can the rest of the request still come, and is it wanted?

        A client that asked with Expect whether to send its body, and was refused, may send it or not: nobody can tell.
        """
        request = self.flow.request
        return not self._request_done and bool(request and (request.body.length or "expect" not in request.headers))

    # -- the response -------------------------------------------------------------------------------------------------

    def _client_ended(self) -> None:
        """The client has ended its side, or is gone. The server learns it, as it would without us in between."""
        upstream, client = self._upstream, self.client
        if upstream is None:
            return
        if client.broken:
            upstream.abort(client.parting)
        elif self._request_done and client.has_left:
            # Mostly it has gone altogether, which TCP does not tell until something is sent to it.
            upstream.end(client.services.settings.timeout_head)

    async def _download(self) -> None:
        """Pass on what is still to come of the response, until its end."""
        while True:
            events = await self._receive_response()
            if type(events[-1]) is not Data:
                self._now = time()
            if self._pass_response(events):
                return
            await self.client.flush()

    def _pass_response(self, events: list[Event]) -> bool:
        """Pass a part of the response on. Was it the last?"""
        send = self.client.send
        for event in events:
            if type(event) is Data:
                response = self.flow.response
                assert response
                response.body.length += len(event.data)
                self._tap.data(Part.RESPONSE, event.data)
                send(event)
            elif type(event) is End:
                self._end_response(event)
            elif type(event) is ResponseHead:
                self._pass_head(event)
        if self._response_done:
            self._write_end()
        return self._response_done

    def _write_end(self) -> None:
        """Let the last bytes leave, once what was recorded is written."""
        client = self.client
        turn = client.services.turn
        if self.keep_alive:
            turn.put_off(client.write_last)
        else:  # the connection will be closed, or be used for something else
            turn.settle()
            client.write()

    def _pass_head(self, head: ResponseHead) -> None:
        """Pass a response head on, and if it is final begin the flow's response."""
        client, flow = self.client, self.flow
        assert flow.request
        if head.status == 101 and not (self._upgrade_asked and self._request_done):
            raise RemoteError("the server switched protocols without being asked to", 502)
        if not head.is_final:
            if flow.request.http_version != "HTTP/1.0":  # which knows no interim responses (RFC 9110 section 15.2)
                client.send(sent_response(head, to_http10=False))
            return
        flow.response = self._response_of(head)
        if self._request_done and self._tap.wanted is None:
            self._tap.reached(Stage.RESPONSE_HEAD)
        client.send(self._forwarded(head))
        if head.status == 101:
            self._switch(head)

    def _forwarded(self, head: ResponseHead) -> ResponseHead:
        """The response head as the client gets it; decides whether its connection stays open."""
        client, upstream = self.client, self._upstream
        assert self.flow.request
        to_http10 = self.flow.request.http_version == "HTTP/1.0"
        sent = sent_response(head, to_http10=to_http10)
        if head.status == 101:
            return sent
        self.keep_alive = (
            client.keeps_alive
            and (self._request_done or (upstream is not None and upstream.keeps_alive and self._is_sending))
            and head.version != b"HTTP/1.0"
            and sent.framing != UNTIL_CLOSE
            and not client.services.stopping
        )
        if not self.keep_alive and not to_http10:
            sent.fields, sent.known = [*sent.fields, (b"Connection", b"close")], None
        return sent

    @property
    def _reads_websockets(self) -> bool:
        return self.recorded and self.client.services.settings.websocket

    def _switch(self, head: ResponseHead) -> None:
        """Leave HTTP. The flow goes on if that is for a WebSocket: who relays that ends it."""
        self.switched = self._upstream
        assert self.flow.request
        if self._reads_websockets and grants_websocket(self.flow.request.headers.fields, head.fields):
            self.flow.websocket = WebSocket()
        self._end_response(End())

    def _end_response(self, end: End) -> None:
        assert self.flow.response
        self._end_message(self.flow.response, end)
        self._response_done = True
        if not self.switched:
            self.client.send(end)
        if self._request_done and not self.flow.websocket:
            self._finish()

    async def _give_page(self, events: list[Event]) -> None:
        """Be the server of the page for new clients. Raises RemoteError."""
        request = self.flow.request
        assert request
        if request.method not in ("GET", "HEAD") or not isinstance(events[-1], End):
            raise RemoteError(f"{onboarding.HOST} is this proxy itself: there are pages to GET, nothing else", 501)
        for event in events[1:]:
            self._note_request(event)
        handout, head_only = self.client.services.tls.handout, request.method == "HEAD"
        self._pass_response(onboarding.answer(request.path, handout, time(), head_only=head_only))

    # -- the end ------------------------------------------------------------------------------------------------------

    def _end_message(self, message: HttpMessage, end: End) -> None:
        body: Body = message.body
        body.complete = True
        if not body.length:
            body.source = b""
        if end.trailers is not None:
            message.trailers = Headers(end.trailers)
        message.timestamp_end = self._now

    def _finish(self) -> None:
        """Give the flow to the sinks."""
        if not self._finished:
            self._finished = True
            self.flow.timestamp_end = self._now
            self._tap.finish()

    def _record_end(self, reason: str) -> None:
        if not self._finished:
            self._now = time()
            self.flow.error = Error(reason, self._now)
            self._finish()

    async def _fail(self, error: PeerError) -> None:
        """Record what went wrong, and tell the client if it can still be told."""
        client, request = self.client, self.flow.request
        await self._end_upload()
        self._record_end(str(error))
        client.services.turn.settle()
        client.services.debug(str(error))
        if self._upstream:
            self._upstream.close()
        self.keep_alive = False
        if client.broken:
            return
        if client.answering or client.can_act_on(error):
            client.cut_off(error)
            return
        method = request.method if request else ""
        for event in pages.page(error.status, str(error), time(), close=True, head_only=method == "HEAD"):
            client.send(event)
        try:
            await client.flush()
        except PeerError:
            return  # it did not wait for it
        await client.linger(LINGER_SECONDS)

    def _release(self) -> None:
        """The upstream connection goes back, if it is of use to the next request."""
        if self._upload:  # we were cancelled
            self._upload.cancel()
        upstream = self._upstream
        if upstream is None or self.switched:
            return
        if self._request_done and self._finished and not self.flow.error:
            self.client.upstreams.give_back(upstream)
        else:
            upstream.close()
