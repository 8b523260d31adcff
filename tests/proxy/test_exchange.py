"""One request and its response through the proxy: a transcript of both sides, and the flow that is recorded."""

import asyncio
import socket
from contextlib import suppress

import pytest
from support.peers import Peer, in_loop
from support.proxying import exchange_begins, proxying
from support.transcripts import GET, OK, answered_page, ask, request

from mitmdump.model.flow import Flow
from mitmdump.sinks.base import Sink

# -- what goes on, and what is recorded -----------------------------------------------------------------------------


@in_loop
async def test_a_request_goes_on_in_origin_form_and_is_recorded_as_it_came():
    """H22"""
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        fields = (
            b"b: 2",
            b"A: 1 \xe9",
            b"b: 3",
            b"Proxy-Connection: keep-alive",
            b"Connection: x-one, close",
            b"X-One: 1",
        )
        await client.sends(ask(server.name, *fields, path=b"/a%20\xff?q=1"))
        peer = await server.accepts()
        await peer.receives(request(server.name, b"b: 2", b"A: 1 \xe9", b"b: 3", path=b"/a%20\xff?q=1"))
        await peer.sends(b"HTTP/1.1 299 So  what \xe9\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\nhi")
        await client.receives(b"HTTP/1.1 299 So  what \xe9\r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 2\r\n")
        await client.receives(b"Connection: close\r\n\r\nhi")
        await client.sees_end()
        recorded = await proxy.flow()
        flow, got = recorded.flow, recorded.flow.request
        assert (got.method, got.http_version, got.path) == ("GET", "HTTP/1.1", "/a%20\udcff?q=1")
        assert (got.scheme, got.host, got.port, got.authority) == (
            "http",
            server.host,
            server.port,
            server.name.decode(),
        )
        assert b"\r\n".join(map(b": ".join, got.headers.fields)) == b"\r\n".join([b"Host: " + server.name, *fields])
        assert (flow.response.status_code, flow.response.reason) == (299, "So  what \udce9")
        assert [name for name, _ in flow.response.headers.fields] == [b"set-cookie", b"Set-Cookie", b"Content-Length"]
        assert (recorded.response_body, recorded.error) == (b"hi", "")
        assert flow.server_conn.address == flow.server_conn.peername == (server.host, server.port)
        assert flow.client_conn.peername == client.socket.getsockname()
        times = [flow.timestamp_start, got.timestamp_end, flow.response.timestamp_start, flow.response.timestamp_end]
        assert times == sorted(times)
        assert flow.timestamp_end >= times[-1]


@in_loop
@pytest.mark.parametrize(
    ("host", "sent_on"),
    [
        (b"Host: other.test", [b"Host: NAME"]),
        (b"hOST: NAME", [b"hOST: NAME"]),
        (b"A: 1\r\nhost: other.test\r\nB: 2", [b"A: 1", b"host: NAME", b"B: 2"]),
    ],
)
async def test_host_follows_the_target(host, sent_on):
    """H10"""
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, b"GET http://NAME HTTP/1.1\r\n" + host + b"\r\n\r\n")
        head = await peer.reads_head()
        expected = b"\r\n".join([b"GET / HTTP/1.1", *sent_on, b"", b""]).replace(b"NAME", server.name)
        assert head == expected
        client.resets()
        recorded = await proxy.flow()
        assert recorded.flow.request.authority == server.name.decode()
        assert recorded.flow.request.headers["host"].encode() in (server.name, b"other.test")


@in_loop
async def test_options_of_a_whole_server():
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, b"OPTIONS http://NAME HTTP/1.1\r\nHost: NAME\r\n\r\n")
        await peer.receives(request(server.name, method=b"OPTIONS", path=b"*"))
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.request.path == "*"


@in_loop
@pytest.mark.parametrize(
    ("body", "passed"),
    [
        (b"Content-Length: 5\r\n\r\nhello", b"Content-Length: 5\r\n\r\nhello"),
        (b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", b"Content-Length: 2\r\n\r\nhi"),
        (
            b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
            b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n",
        ),
    ],
)
async def test_bodies_and_trailers_go_both_ways(body, passed):
    """H15, H2"""
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, b"PUT http://NAME/ HTTP/1.1\r\nHost: NAME\r\n" + body)
        await peer.receives(b"PUT / HTTP/1.1\r\nHost: " + server.name + b"\r\n" + passed)
        await peer.sends(b"HTTP/1.1 200 OK\r\n" + body)
        await client.receives(b"HTTP/1.1 200 OK\r\n" + passed)
        recorded = await proxy.flow()
        assert recorded.request_body == recorded.response_body == passed.split(b"\r\n\r\n")[1].strip(b"2\r\n0X-Sum:7 ")
        for message in (recorded.flow.request, recorded.flow.response):
            assert message.body.complete
            assert message.body.length == len(recorded.request_body)
            assert (message.trailers is not None) == (b"X-Sum" in body)


@in_loop
async def test_a_response_is_recorded_before_its_end_reaches_the_client():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(OK)
        assert proxy.sink.finished.qsize() == 1
        await proxy.flow()


@in_loop
async def test_an_event_stream_is_not_held_up():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        await peer.sends(head)
        await client.receives(head)
        for event in (b"data: 1\n\n", b"data: 2\n\n"):
            await peer.sends(b"%x\r\n%b\r\n" % (len(event), event))
            await client.receives(b"%x\r\n%b\r\n" % (len(event), event))
        await peer.sends(b"0\r\n\r\n")
        await client.receives(b"0\r\n\r\n")
        assert (await proxy.flow()).response_body == b"data: 1\n\ndata: 2\n\n"


@in_loop
@pytest.mark.parametrize(
    ("method", "head", "passed"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", None),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", None),
        (b"HEAD", b"HTTP/1.1 200 OK\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n", None),
        (b"GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_a_response_without_a_body_ends_with_its_head(method, head, passed):
    """H13: and the next response on both connections is its own."""
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, GET.replace(b"GET", method))
        for _ in range(2):
            await peer.reads_head()
            await peer.sends(head)
            await client.receives(passed or head)
            recorded = await proxy.flow()
            assert (recorded.response_body, recorded.flow.response.body.complete) == (b"", True)
            await client.sends(GET.replace(b"NAME", server.name).replace(b"GET", method))
        await peer.reads_head()
        await peer.sends(OK if method == b"GET" else head)
        await client.receives(OK if method == b"GET" else head)
        await proxy.flow()


# -- versions -------------------------------------------------------------------------------------------------------


@in_loop
@pytest.mark.parametrize("host", [b"", b"Host: NAME\r\n"])
async def test_an_http_1_0_client_gets_no_chunks_and_its_connection_is_closed(host):
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, b"GET http://NAME/ HTTP/1.0\r\n" + host + b"\r\n")
        assert await peer.reads_head() == request(server.name, version=b"1.0")
        await peer.sends(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.receives(b"HTTP/1.1 200 OK\r\n\r\n")
        await peer.sends(b"2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n")
        assert await client.reads_all() == b"hi"
        recorded = await proxy.flow()
        assert (recorded.response_body, recorded.flow.response.trailers["x-sum"]) == (b"hi", "7")
        await proxy.ends()


@in_loop
async def test_an_http_1_0_client_sees_a_broken_connection_if_the_chunks_break_off():
    """H19"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, b"GET http://NAME/ HTTP/1.0\r\n\r\n")
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n")
        await client.receives(b"HTTP/1.1 200 OK\r\n\r\nhi")
        peer.closes()
        await client.sees_reset()
        assert "closed the connection inside a message body" in (await proxy.flow()).error


@in_loop
@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_a_response_that_ends_with_its_connection_ends_the_clients(version):
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(b"HTTP/%b 200 OK\r\nServer: x\r\n\r\nun" % version)
        await client.receives(b"HTTP/%b 200 OK\r\nServer: x\r\nConnection: close\r\n\r\nun" % version)
        await peer.sends(b"til")
        peer.closes()
        assert await client.reads_all() == b"til"
        recorded = await proxy.flow()
        assert (recorded.response_body, recorded.error, recorded.flow.response.body.complete) == (b"until", "", True)
        await proxy.ends()


@in_loop
async def test_a_response_that_ends_with_its_connection_but_is_reset_is_an_error():
    """H19"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\n\r\nun")
        await client.receives(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nun")
        peer.resets()
        await client.sees_reset()
        recorded = await proxy.flow()
        assert "the server broke the connection" in recorded.error
        assert (recorded.response_body, recorded.flow.response.body.complete) == (b"un", False)


@in_loop
@pytest.mark.parametrize(
    ("framing", "part"), [(b"Content-Length: 5", b"he"), (b"Transfer-Encoding: chunked", b"2\r\nhe\r\n")]
)
@pytest.mark.parametrize("end", [Peer.closes, Peer.resets])
async def test_a_body_that_is_too_short_is_an_error_on_both_sides(framing, part, end):
    """H20"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + part)
        await client.receives(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + part)
        end(peer)
        await client.sees_end()
        recorded = await proxy.flow()
        assert "the server" in recorded.error
        assert (recorded.response_body, recorded.flow.response.body.complete) == (b"he", False)


@in_loop
async def test_bad_chunks_cut_the_response_off_after_what_was_right():
    """H6"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0x1\r\n")
        assert await client.reads_all() == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
        recorded = await proxy.flow()
        assert (recorded.error, recorded.response_body) == ("the server sent a bad chunk size", b"hi")


@in_loop
@pytest.mark.parametrize(
    ("answer", "rule"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "differing"),
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", "control character"),
        (b"HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "white space before the colon"),
        (b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", "switched protocols without being asked"),
        (b"HTTP/1.1 100 Go\r\n\r\nrubbish\r\n\r\n", "status line"),
        (b"rubbish\r\n\r\n", "status line"),
        (b"", "closed the connection without a response"),
        (b"HTTP/1.1 20", "inside a message head"),
    ],
)
async def test_a_response_that_breaks_a_rule_becomes_502_and_an_error_that_names_the_rule(answer, rule):
    """H1, H2, H7, H8, H16"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(answer)
        peer.closes()
        if b" 100 " in answer:
            await client.receives(b"HTTP/1.1 100 Go\r\n\r\n")
        status, body = await answered_page(client)
        client.closes()
        recorded = await proxy.flow()
        assert status == 502
        assert rule in recorded.error
        assert rule in body
        assert recorded.flow.response is None
        await proxy.ends()


@in_loop
async def test_a_response_that_the_client_does_not_read_stops_the_server():
    """R1: back-pressure from end to end"""
    async with proxying() as proxy:
        size = 16 << 20
        client, server = await proxy.client(buffers=8192), await proxy.server()
        await client.sends(ask(server.name))
        peer = await server.accepts()
        await peer.reads_head()
        sending = asyncio.create_task(peer.sends(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)))
        stream = next(stream for stream in proxy.services.streams._open if stream.peer == "client")
        while not stream.congested:
            await asyncio.sleep(0.001)
        assert not sending.done()
        await client.reads_head()
        assert len(await client.reads(size)) == size
        await sending
        assert (await proxy.flow()).flow.response.body.length == size


@in_loop
async def test_a_page_in_answer_to_head_has_no_body():
    """H13"""
    async with proxying() as proxy:
        client = await proxy.client()
        await client.sends(b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        data = await client.reads_all()
        client.closes()
        assert data.startswith(b"HTTP/1.1 400")
        assert data.endswith(b"\r\n\r\n")
        await proxy.flow()


@in_loop
@pytest.mark.parametrize(
    ("filter_", "wanted"),
    [("~m GET", True), ("~bs hi", True), ("~m POST", False), ("~c 404", False), ("~bs no", False)],
)
async def test_only_what_the_filter_wants_reaches_the_sinks(filter_, wanted):
    async with proxying(filter_) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(OK)
        if wanted:
            assert (await proxy.flow()).response_body == b"hi"
        assert proxy.sink.finished.empty()
        assert (proxy.outlet.tally.seen, proxy.outlet.tally.matched) == (1, wanted)


class Settling(Sink):
    """Notes what its client has got when flows that have ended are written."""

    def __init__(self) -> None:
        self.client: Peer | None = None
        self.ended = False
        self.got: list[bytes] = []

    def finish(self, flow: Flow) -> None:
        self.ended = True

    def settle(self) -> None:
        if self.client and self.ended:
            with suppress(BlockingIOError):
                self.got.append(self.client.socket.recv(1024, socket.MSG_PEEK))
            self.ended = False


@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
@in_loop
async def test_a_flow_is_written_before_the_end_of_its_response_leaves(connection):
    """S1"""
    sink = Settling()
    async with proxying(None, sink) as proxy:
        sink.client, server = await proxy.client(), await proxy.server()
        await sink.client.sends(ask(server.name, b"Connection: " + connection))
        peer = await server.accepts()
        await peer.reads_head()
        await peer.sends(OK)
        await sink.client.reads_head()
        assert (sink.ended, sink.got) == (False, [])
        await proxy.flow()
