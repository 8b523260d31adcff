"""One request and its response through the proxy: a transcript of both sides, and the flow that is recorded."""

import asyncio
import socket

import pytest
from support.peers import Peer, in_loop
from support.proxying import exchange_begins, proxying

from mitmdump.proxy import exchange as module

GET = b"GET http://NAME/path?q HTTP/1.1\r\nHost: NAME\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def request(name: bytes, *lines: bytes, method: bytes = b"GET", path: bytes = b"/", version: bytes = b"1.1") -> bytes:
    """What a server gets, in origin-form."""
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, path, version), b"Host: " + name, *lines, b"", b""])


def ask(name: bytes, *lines: bytes, method: bytes = b"GET", path: bytes = b"/", version: bytes = b"1.1") -> bytes:
    """What a client sends, in absolute-form."""
    return request(name, *lines, method=method, path=b"http://" + name + path, version=version)


async def answered_page(client: Peer) -> tuple[int, str]:
    """One of our own pages, which is the last that comes."""
    data = (await client.reads_all()).decode()
    head, _, body = data.partition("\r\n\r\n")
    assert "Connection: close" in head
    assert f"Content-Length: {len(body)}" in head
    return int(head[9:12]), body


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


# -- requests that are refused --------------------------------------------------------------------------------------


@in_loop
@pytest.mark.parametrize(
    ("data", "status", "rule"),
    [
        (b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "without a host in its target"),
        (b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "without a host in its target"),
        (b"GET http://a.test/ HTTP/1.1\r\n\r\n", 400, "no Host field"),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", 400, "more than one Host"),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n", 400, "bad Host"),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: u@a.test\r\n\r\n", 400, "bad Host"),
        (b"GET http://u:p@a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "userinfo"),
        (b"GET http:///x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "empty host"),
        (b"GET http://a.test:0/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "port"),
        (b"GET http://a.test:99999/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "port"),
        (b"GET http://[::1/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "brackets"),
        (b"GET http://a.test/#f HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "fragment"),
        (b"GET ftp://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "scheme"),
        (b"GET a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "no scheme"),
        (b"GET http://a\xff.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "cannot stand in a host"),
        (b"CONNECT a.test HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "no port"),
        (b"CONNECT a.test:0 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "port"),
        (b"CONNECT a.test:x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "port"),
        (b"CONNECT u@a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "userinfo"),
        (b"CONNECT https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "port"),
        (b"CONNECT ::1:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, "empty host"),
        (b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx", 400, "with a body"),
        (b"CONNECT a.test:443 HTTP/1.1\r\n\r\n", 400, "no Host field"),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nContent-Length: +1\r\n\r\nx", 400, "plain number"),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX : 1\r\n\r\n", 400, "white space before the colon"),
        (b"GET http://a.test/ HTTP/1.1\nHost: a.test\n\n", 400, "bare LF"),
        (b"GET http://a.test/" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a.test\r\n\r\n", 414, "request line"),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + b"X: y\r\n" * 1001 + b"\r\n", 431, "1000 header fields"),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431, "65536 bytes"),
        (b"GET http://a.test/ HTTP/2.0\r\nHost: a.test\r\n\r\n", 505, "version"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "request line"),
        (b"GET http://a.te", 400, "inside a message head"),
    ],
)
async def test_a_request_that_breaks_a_rule_is_answered_and_recorded_as_an_error(data, status, rule):
    """H3, H7, H8, H11, H12, H17, H21"""
    async with proxying() as proxy:
        client = await proxy.client()
        await client.sends(data)
        client.ends()
        got, _body = await answered_page(client)
        client.closes()
        recorded = await proxy.flow()
        assert (got, rule in recorded.error) == (status, True), recorded.error
        assert recorded.flow.response is None
        await proxy.ends()
        assert proxy.warnings == []


@in_loop
async def test_after_a_refusal_nothing_more_is_read_from_the_client():
    """H1: what follows could be anything."""
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        both = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        await client.sends(b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\n" + both + ask(server.name))
        status, _ = await answered_page(client)
        client.closes()
        await proxy.ends()
        assert status == 400
        assert server.has_nobody_waiting()
        assert "both" in (await proxy.flow()).error


@in_loop
async def test_a_request_whose_body_breaks_a_rule_is_refused_wherever_it_stands():
    """H6"""
    async with proxying() as proxy:
        head = b"POST http://NAME/ HTTP/1.1\r\nHost: NAME\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"
        client, peer, server = await exchange_begins(proxy, head)
        await peer.receives(request(server.name, b"Transfer-Encoding: chunked", method=b"POST") + b"2\r\nhi\r\n")
        await client.sends(b"0x0\r\n\r\n")
        status, _ = await answered_page(client)
        await peer.sees_reset()
        client.closes()
        recorded = await proxy.flow()
        assert (status, recorded.error) == (400, "the client sent a bad chunk size")
        assert (recorded.request_body, recorded.flow.request.body.complete) == (b"hi", False)


@in_loop
async def test_a_server_that_cannot_be_reached_is_a_page_and_an_error():
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        server.socket.close()
        await client.sends(ask(server.name))
        status, body = await answered_page(client)
        client.closes()
        recorded = await proxy.flow()
        assert status == 502
        assert recorded.error == f"cannot connect to {server.name.decode()}: connection refused"
        assert "connection refused" in body
        assert recorded.flow.server_conn.address == (server.host, server.port)


@in_loop
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_our_own_listener_cannot_be_reached_through_us(host):
    """A3"""
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        proxy.services.own_addresses = [("127.0.0.1", server.port)]
        await client.sends(ask(f"{host}:{server.port}".encode()))
        status, body = await answered_page(client)
        client.closes()
        assert (status, "in circles" in body) == (502, True)
        assert "this proxy itself" in (await proxy.flow()).error


@in_loop
async def test_a_name_that_no_resolver_takes_is_a_page_and_an_error():
    async with proxying() as proxy:
        client = await proxy.client()
        await client.sends(ask(b"a..test"))
        status, _ = await answered_page(client)
        client.closes()
        assert (status, (await proxy.flow()).error) == (502, "cannot connect to a..test:80: no such host")


# -- interim responses, early responses, uploads --------------------------------------------------------------------

UPLOAD = b"POST http://NAME/ HTTP/1.1\r\nHost: NAME\r\nContent-Length: 5\r\n"


@in_loop
async def test_100_continue_passes_through():
    """H14"""
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, UPLOAD + b"Expect: 100-continue\r\n\r\n")
        await peer.receives(request(server.name, b"Content-Length: 5", b"Expect: 100-continue", method=b"POST"))
        await peer.sends(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.receives(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.sends(b"hello")
        await peer.receives(b"hello")
        await peer.sends(OK)
        await client.receives(OK)
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.flow.response.status_code, recorded.error) == (b"hello", 200, "")


@in_loop
async def test_a_final_status_without_100_continue_works():
    """H14"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"Expect: 100-continue\r\n\r\n")
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nhi")
        await client.receives(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await client.sees_end()
        client.closes()
        recorded = await proxy.flow()
        assert (recorded.flow.response.status_code, recorded.request_body) == (401, b"")
        assert not recorded.flow.request.body.complete
        await proxy.ends()


@in_loop
async def test_103_is_passed_on_and_is_not_final():
    """H14"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        for _ in range(2):
            await peer.sends(hints)
            await client.receives(hints)
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.response.status_code == 200


@in_loop
async def test_an_upload_is_not_held_up():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.receives(b"he")
        await client.sends(b"llo")
        await peer.receives(b"llo")
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).request_body == b"hello"


@in_loop
@pytest.mark.parametrize("end", [b"Connection: close\r\n", b""])
async def test_an_early_response_reaches_a_client_that_is_still_sending(end, monkeypatch):
    """413: what still comes must not destroy the answer (RFC 9112 section 9.6)."""
    async with proxying() as proxy:
        head = b"POST http://NAME/ HTTP/1.1\r\nHost: NAME\r\nContent-Length: 400000\r\n\r\n"
        client, peer, _ = await exchange_begins(proxy, head + bytes(1000))
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 413 Too Large\r\n" + end + b"Content-Length: 2\r\n\r\nhi")
        if end:
            peer.closes()
        await client.receives(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
        await client.sends(bytes(399_000))
        if not end:
            await peer.reads(400_000)
        await client.receives(b"hi")
        await client.sees_end()
        client.closes()
        recorded = await proxy.flow()
        assert (recorded.flow.response.status_code, recorded.error) == (413, "")
        await proxy.ends()


@in_loop
async def test_both_bodies_may_flow_at_once():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(
            proxy, GET[:-2].replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.reads_head()
        for word in (b"ping", b"pong"):
            await client.sends(b"4\r\n" + word + b"\r\n")
            await peer.receives(b"4\r\n" + word + b"\r\n")
            await peer.sends(b"4\r\n" + word + b"\r\n")
            await client.receives(b"4\r\n" + word + b"\r\n")
        await client.sends(b"0\r\n\r\n")
        await peer.receives(b"0\r\n\r\n")
        await peer.sends(b"0\r\n\r\n")
        await client.receives(b"0\r\n\r\n")
        recorded = await proxy.flow()
        assert recorded.request_body == recorded.response_body == b"pingpong"
        assert recorded.error == ""


@in_loop
async def test_a_response_that_is_over_before_the_upload_still_gets_all_of_the_upload():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.sends(OK)
        await client.reads_head()
        await client.sends(b"llo")
        await peer.receives(b"hello")
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.flow.request.body.complete) == (b"hello", True)
        client.closes()
        await proxy.ends()


@in_loop
async def test_an_upload_that_breaks_off_breaks_the_upstream_connection():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        client.resets()
        await peer.sees_reset()
        recorded = await proxy.flow()
        assert "the client broke the connection" in recorded.error
        assert (recorded.request_body, recorded.flow.request.body.complete) == (b"he", False)


@in_loop
async def test_an_upload_that_ends_too_soon_is_refused():
    """H20"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        client.ends()
        status, _ = await answered_page(client)
        await peer.sees_reset()
        assert status == 400
        assert (await proxy.flow()).error == "the client closed the connection inside a message body after 2 of 5 bytes"


@in_loop
async def test_an_upload_that_the_server_does_not_read_stops_the_client():
    """R1: back-pressure from end to end"""
    async with proxying() as proxy:
        size = 16 << 20
        client, server = await proxy.client(buffers=8192), await proxy.server()
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        await client.sends(ask(server.name, b"Content-Length: %d" % size, method=b"POST"))
        peer = await server.accepts()
        await peer.reads_head()
        sending = asyncio.create_task(client.sends(bytes(size)))
        upstream = next(stream for stream in proxy.services.streams._open if stream.peer == "server")
        while not upstream.congested:
            await asyncio.sleep(0.001)
        assert not sending.done()
        assert len(await peer.reads(size)) == size
        await sending
        await peer.sends(OK)
        await client.receives(OK)
        assert len((await proxy.flow()).request_body) == size


# -- clients that go away -------------------------------------------------------------------------------------------


@in_loop
async def test_a_client_that_goes_away_before_the_response_takes_the_upstream_with_it():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        client.resets()
        await peer.sees_reset()
        assert (await proxy.flow()).error == "the client broke the connection before the response was complete"
        await proxy.ends()


@in_loop
async def test_a_client_that_goes_away_within_the_response_takes_the_upstream_with_it():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhi")
        await client.reads_head()
        client.resets()
        await peer.sees_reset()
        recorded = await proxy.flow()
        assert "the client broke the connection" in recorded.error
        assert (recorded.flow.response.body.length, recorded.flow.response.body.complete) == (2, False)


@in_loop
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_client_that_ends_its_side_still_gets_its_answer(at_once):
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server.name))
        if at_once:
            client.ends()
        peer = await server.accepts()
        await peer.reads_head()
        if not at_once:
            client.ends()
        await peer.sees_end()
        await peer.sends(OK)
        await client.receives(OK)
        await client.sees_end()
        assert (await proxy.flow()).error == ""
        await proxy.ends()


@in_loop
async def test_a_server_that_says_nothing_is_given_up():
    async with proxying(timeout_quiet=5) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        for stream in list(proxy.services.streams._open):
            stream.grow_older(6)
        status, _ = await answered_page(client)
        client.closes()
        assert status == 504
        assert (await proxy.flow()).error == "the server sent nothing for 5 seconds"


@in_loop
async def test_a_client_that_sends_its_head_drop_by_drop_is_given_up():
    """R4"""
    async with proxying(timeout_head=5) as proxy:
        client = await proxy.client()
        await client.sends(b"GET ")
        while (
            not proxy.services.streams._open
            or proxy.services.idle
            or not next(iter(proxy.services.streams._open))._reader
        ):
            await asyncio.sleep(0.001)
        next(iter(proxy.services.streams._open)).grow_older(6)
        await client.sees_reset()
        await proxy.ends()


@in_loop
async def test_stopping_records_what_was_cut_off():
    """R7"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        proxy.tasks[0].cancel()
        assert (await proxy.flow()).error == "the proxy was stopped before the exchange was complete"
        assert await client.reads_all() == b""
        assert await peer.reads_all() == b""


def test_what_may_be_repeated_is_what_is_idempotent():
    assert b"POST" not in module.IDEMPOTENT
    assert b"PATCH" not in module.IDEMPOTENT
