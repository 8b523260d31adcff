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
from time import time
from typing import TYPE_CHECKING

from ..errors import PeerError, RemoteError, StreamError
from ..filter import Stage
from ..model.body import Body
from ..model.flow import Error, Flow, Part
from ..model.headers import Headers, to_bytes, to_str
from ..model.message import HttpMessage, Request, Response
from ..sinks.tap import AnyTap, Taps
from ..wire.events import Data, End, Event, RequestHead, ResponseHead
from ..wire.head import CHUNKED, UNTIL_CLOSE
from ..wire.hop import asks_for_upgrade, end_to_end, with_upgrade, without
from . import onboarding, pages
from .policy import Treatment, names_of
from .target import Target, named_server, with_host
from .upstreams import Upstream

if TYPE_CHECKING:
    from .client import Client

# RFC 9110 section 9.2.2: what may be repeated when a connection closed before an answer came.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"})
LINGER_SECONDS = 2.0


class Exchange:
    """One exchange of a client; `run` does it all.

    Afterwards `keep_alive` says whether the client's connection can take another request, and `switched` is the
    upstream connection if both sides have left HTTP (status 101). `recorded`: it is of a host that is to be recorded.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.flow = Flow("http", client.connection, timestamp_start=time())
        self.keep_alive = False
        self.recorded = True
        self.switched: Upstream | None = None
        self._tap: AnyTap = client.services.outlet.tap(self.flow)
        self._upstream: Upstream | None = None
        self._upload: asyncio.Task[None] | None = None
        self._upgrade_asked = False
        self._request_done = False
        self._response_done = False
        self._finished = False
        self._is_for_us = False

    async def run(self, events: list[Event]) -> None:
        """Do the exchange that begins with `events`."""
        try:
            target = self._begin(events[0])
            if self._is_for_us:
                await self._answer(events)
            elif isinstance(events[-1], End):
                await self._download(await self._ask(target, events))
            else:
                await self._ask_while_uploading(target, events)
        except PeerError as error:
            await self._fail(error)
        except asyncio.CancelledError:
            self._record_end("the proxy was stopped before the exchange was complete")
            raise
        finally:
            self.client.stream.on_end = None
            self._release()

    async def refuse(self, error: PeerError, head: RequestHead | None = None) -> None:
        """End an exchange whose request could not be read, or not be taken."""
        if head:
            self._take(head)
        self._tap.reached(Stage.REQUEST_HEAD)
        await self._fail(error)

    # -- the request --------------------------------------------------------------------------------------------------

    def _begin(self, head: Event) -> Target:
        """The request's part of the flow, and where it goes. Raises RemoteError."""
        assert isinstance(head, RequestHead)
        request = self._take(head)
        try:
            target = self.client.target_of(head)
            origin = target.origin
            request.scheme, request.host, request.port = origin.scheme, origin.host, origin.port
            request.authority, request.path = target.authority, target.path
            self._choose(head, target)
            return target
        finally:
            self._tap.reached(Stage.REQUEST_HEAD)

    def _choose(self, head: RequestHead, target: Target) -> None:
        """Is this for us to answer, or to be recorded? What is inside TLS was chosen when that began."""
        services, origin = self.client.services, target.origin
        host, port = named_server(head, target)
        self._is_for_us = services.onboards(host)
        if self._is_for_us or origin.scheme != "http" or not services.policy:
            return
        names = [*names_of(host, port), *names_of(origin.host, origin.port)]
        if services.policy.treatment(names) is Treatment.UNTOUCHED:
            self.recorded, self._tap = False, Taps(())
            services.outlet.pass_through()

    def _take(self, head: RequestHead) -> Request:
        """The flow's request, as it was received."""
        self.flow.request = request = Request(
            http_version=to_str(head.version),
            headers=Headers(head.fields),
            method=to_str(head.method),
            path=to_str(head.target),
            timestamp_start=self.flow.timestamp_start,
        )
        return request

    async def _ask(self, target: Target, events: list[Event]) -> list[Event]:
        """Send a whole request, and return the first events of the response.

        A connection that was used before may just have been closed by the server; then a request that may be repeated
        is, once, on a new one (RFC 9112 section 9.3.1).
        """
        upstreams = self.client.upstreams
        while True:
            upstream = upstreams.idle(target.origin, self.flow) or await upstreams.connect(target.origin, self.flow)
            self._upstream = upstream
            try:
                self._send_request(upstream, target, events)
                upstream.write()  # however slow the server takes it, its answer may come before it has it all
                self._watch_client()
                return await upstream.receive()
            except (RemoteError, StreamError) as error:
                if not (upstream.used and upstream.codec.idle and self._repeatable(events)):
                    raise
                self.client.services.debug(f"asking again on a new connection: {error}")
                upstream.stream.close()
                self._upstream = None

    def _repeatable(self, events: list[Event]) -> bool:
        head = events[0]
        return isinstance(head, RequestHead) and head.method in IDEMPOTENT and not self.client.stream.broken

    async def _ask_while_uploading(self, target: Target, events: list[Event]) -> None:
        upstreams = self.client.upstreams
        upstream = upstreams.idle(target.origin, self.flow) or await upstreams.connect(target.origin, self.flow)
        self._upstream = upstream
        self._send_request(upstream, target, events)
        self._upload = asyncio.create_task(self._send_rest(upstream))
        try:
            self._watch_client()
            await self._download(await upstream.receive())
            if upstream.codec.keep_alive and self._is_sending:
                await self._upload  # answered early, but the server goes on reading
        finally:
            self._upload.cancel()
            await asyncio.wait({self._upload})  # until it has let go of the client's stream
        self._finish()
        if not self._request_done:  # what still comes must not destroy the answer
            self.keep_alive = False
            await self.client.stream.linger(LINGER_SECONDS)

    def _send_request(self, upstream: Upstream, target: Target, events: list[Event]) -> None:
        """Queue what is here of a request, in origin-form."""
        head = events[0]
        assert isinstance(head, RequestHead)
        self._upgrade_asked = asks_for_upgrade(head)
        fields = with_upgrade(head) if self._upgrade_asked else end_to_end(head)
        if target.authority:
            fields = with_host(fields, target.authority)
        path = head.target if head.target[:1] == b"/" else to_bytes(target.path)
        upstream.send(RequestHead(head.method, path, fields, head.version, framing=head.framing))
        if not self._request_done:
            self._pass_request(upstream, events[1:])
            return
        for event in events[1:]:  # asked again: that much is recorded already
            upstream.send(event)

    async def _send_rest(self, upstream: Upstream) -> None:
        """Pass the rest of the request on, beside waiting for the response.

        What the client does wrong here breaks the upstream connection with that error, and so ends the waiting. That
        the server takes no more is no error yet: its response says why, if it sent one.
        """
        client = self.client
        try:
            while not self._request_done:
                try:
                    await upstream.flush()
                except PeerError:
                    return
                events = await client.receive()
                self._pass_request(upstream, events)
            await upstream.flush()
        except PeerError as error:
            if self._response_done:  # so nobody waits there who would record it
                self._record_end(str(error))
            if not upstream.stream.broken:
                upstream.stream.abort(error)

    def _pass_request(self, upstream: Upstream, events: list[Event]) -> None:
        for event in events:
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
            self._tap.reached(Stage.RESPONSE_HEAD if self.flow.response else Stage.REQUEST)

    @property
    def _is_sending(self) -> bool:
        """Can the rest of the request still come, and is it wanted?

        A client that asked with Expect whether to send its body, and was refused, may send it or not: nobody can tell.
        """
        request = self.flow.request
        return not self._request_done and bool(request and (request.body.length or "expect" not in request.headers))

    # -- the response -------------------------------------------------------------------------------------------------

    def _watch_client(self) -> None:
        """From now on, a client that goes away takes the upstream with it."""
        self.client.stream.on_end = self._client_ended
        if self.client.stream.ended:
            self._client_ended()

    def _client_ended(self) -> None:
        """The client has ended its side, or is gone. The server learns it, as it would without us in between."""
        upstream, stream = self._upstream, self.client.stream
        if upstream is None:
            return
        if stream.broken:
            upstream.stream.abort(StreamError("the client broke the connection before the response was complete"))
        elif self._request_done and not self.client.codec.has_rest and not stream.has_data:
            # Mostly it has gone altogether, which TCP does not tell until something is sent to it.
            upstream.stream.patience = min(upstream.stream.patience, self.client.services.settings.timeout_head)
            upstream.stream.write_eof()

    async def _download(self, events: list[Event]) -> None:
        """Pass the response on, until its end."""
        client, upstream, tap = self.client, self._upstream, self._tap
        send = client.codec.send
        while True:
            for event in events:
                if type(event) is Data:
                    response = self.flow.response
                    assert response
                    response.body.length += len(event.data)
                    tap.data(Part.RESPONSE, event.data)
                    send(event)
                elif type(event) is End:
                    self._end_response(event)
                elif type(event) is ResponseHead:
                    self._pass_head(event)
            if self._response_done:
                client.write()
                return
            await client.flush()
            assert upstream
            events = await upstream.receive()

    def _pass_head(self, head: ResponseHead) -> None:
        """Pass a response head on, and if it is final begin the flow's response."""
        client, flow = self.client, self.flow
        assert flow.request
        if head.status == 101 and not (self._upgrade_asked and self._request_done):
            raise RemoteError("the server switched protocols without being asked to", 502)
        if not head.is_final:
            if flow.request.http_version != "HTTP/1.0":  # which knows no interim responses (RFC 9110 section 15.2)
                client.send(ResponseHead(head.status, self._bodiless(head), head.reason, head.version))
            return
        flow.response = Response(
            http_version=to_str(head.version),
            headers=Headers(head.fields),
            status_code=head.status,
            reason=to_str(head.reason),
            timestamp_start=time(),
        )
        if self._request_done:
            self._tap.reached(Stage.RESPONSE_HEAD)
        client.send(self._forwarded(head))
        if head.status == 101:
            self._switch()

    def _forwarded(self, head: ResponseHead) -> ResponseHead:
        """The response head as the client gets it; decides whether its connection stays open."""
        client, upstream = self.client, self._upstream
        assert self.flow.request
        is_http10 = self.flow.request.http_version == "HTTP/1.0"
        status = head.status
        if status == 101:
            return ResponseHead(status, with_upgrade(head), head.reason, head.version)
        if status == 426 and asks_for_upgrade(head):  # which is about Upgrade (RFC 9110 section 15.5.22)
            fields = with_upgrade(head)
        elif status == 204:
            fields = self._bodiless(head)
        else:
            fields = end_to_end(head)
        framing = head.framing
        if is_http10 and framing == CHUNKED:  # it cannot read chunks; the close ends the body instead
            fields, framing = without(fields, {b"transfer-encoding"}), UNTIL_CLOSE
        self.keep_alive = (
            client.codec.keep_alive
            and (self._request_done or (upstream is not None and upstream.codec.keep_alive and self._is_sending))
            and head.version == b"HTTP/1.1"
            and not (upstream and upstream.codec.reads_until_close)
            and not client.services.stopping
        )
        if not self.keep_alive and not is_http10:
            fields.append((b"Connection", b"close"))
        return ResponseHead(status, fields, head.reason, head.version, framing=framing)

    def _bodiless(self, head: ResponseHead) -> list[tuple[bytes, bytes]]:
        """The fields of a response that has no body, without what would announce one (RFC 9110 section 8.6)."""
        return without(end_to_end(head), {b"content-length", b"transfer-encoding"})

    def _switch(self) -> None:
        self.switched = self._upstream
        self._end_response(End())

    def _end_response(self, end: End) -> None:
        assert self.flow.response
        self._end_message(self.flow.response, end)
        self._response_done = True
        if not self.switched:
            self.client.send(end)
        if self._request_done:
            self._finish()

    async def _answer(self, events: list[Event]) -> None:
        """Be the server of the page for new clients. Raises RemoteError."""
        request = self.flow.request
        assert request
        if request.method not in ("GET", "HEAD") or not isinstance(events[-1], End):
            raise RemoteError(f"{onboarding.HOST} is this proxy itself: there are pages to GET, nothing else", 501)
        for event in events[1:]:
            self._note_request(event)
        handout, head_only = self.client.services.tls.handout, request.method == "HEAD"
        await self._download(onboarding.answer(request.path, handout, time(), head_only=head_only))

    # -- the end ------------------------------------------------------------------------------------------------------

    def _end_message(self, message: HttpMessage, end: End) -> None:
        body: Body = message.body
        body.complete = True
        if not body.length:
            body.source = b""
        if end.trailers is not None:
            message.trailers = Headers(end.trailers)
        message.timestamp_end = time()

    def _finish(self) -> None:
        """Give the flow to the sinks."""
        if not self._finished:
            self._finished = True
            self.flow.timestamp_end = time()
            self._tap.finish()

    def _record_end(self, reason: str) -> None:
        if not self._finished:
            self.flow.error = Error(reason, time())
            self._finish()

    async def _fail(self, error: PeerError) -> None:
        """Record what went wrong, and tell the client if it can still be told."""
        client, request = self.client, self.flow.request
        self._record_end(str(error))
        client.services.debug(str(error))
        if self._upstream:
            self._upstream.stream.close()
        self.keep_alive = False
        if client.stream.broken:
            return
        if client.codec.response_started:
            client.cut_off()
            return
        method = request.method if request else ""
        for event in pages.page(error.status, str(error), time(), close=True, head_only=method == "HEAD"):
            client.send(event)
        try:
            await client.flush()
        except PeerError:
            return  # it did not wait for it
        await client.stream.linger(LINGER_SECONDS)

    def _release(self) -> None:
        """The upstream connection goes back, if it is of use to the next request."""
        upstream = self._upstream
        if upstream is None or self.switched:
            return
        upstream.used += 1
        if self._request_done and self._finished and not self.flow.error:
            self.client.upstreams.give_back(upstream)
        else:
            upstream.stream.close()
