"""Requests that are refused: an answer that says why, and a record that names the rule."""

import pytest
from support.peers import in_loop
from support.proxying import exchange_begins, proxying
from support.transcripts import answered_page, ask, request


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
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "the client speaks TLS"),
        (b"\x05\x01\x00", 400, "the client speaks SOCKS 5"),
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
