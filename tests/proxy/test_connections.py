"""Client and server connections over several requests: reuse, order, and asking again."""

import asyncio

import pytest
from support.peers import in_loop
from support.proxying import Server, exchange_begins, proxying

from mitmdump.net.stream import Stream, Streams
from mitmdump.proxy.client import is_public
from mitmdump.proxy.upstreams import MAX_IDLE

GET = b"GET http://NAME/ HTTP/1.1\r\nHost: NAME\r\n\r\n"


def ask(server: Server, path: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b http://%b/%b HTTP/1.1\r\nHost: %b\r\n%b\r\n%b" % (method, server.name, path, server.name, length, body)


def answer(body: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"Content-Length: %d" % len(body), b"", body])


# -- reuse ----------------------------------------------------------------------------------------------------------


@in_loop
async def test_requests_of_one_client_share_its_connections():
    async with proxying() as proxy:
        client, one, other = await proxy.client(), await proxy.server(), await proxy.server("::1")
        peers = {}
        for path, server in ((b"1", one), (b"2", other), (b"3", one), (b"4", other)):
            await client.sends(ask(server, path))
            peer = peers[server] = peers.get(server) or await server.accepts()
            assert (await peer.reads_head()).startswith(b"GET /" + path)
            await peer.sends(answer(path))
            await client.receives(answer(path))
        assert one.has_nobody_waiting()
        assert other.has_nobody_waiting()
        flows = [(await proxy.flow()).flow for _ in range(4)]
        assert flows[0].server_conn is flows[2].server_conn is not flows[1].server_conn
        assert len({id(flow.client_conn) for flow in flows}) == 1
        client.ends()
        await client.sees_end()
        for peer in peers.values():
            await peer.sees_end()
        await proxy.ends()
        assert len(proxy.services.streams) <= 3


@in_loop
async def test_pipelined_requests_are_answered_in_their_order():
    """H18"""
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(b"".join(ask(server, path) for path in (b"1", b"2", b"3")))
        peer = await server.accepts()
        for path in (b"1", b"2", b"3"):
            assert (await peer.reads_head()).startswith(b"GET /" + path + b" ")
            await peer.sends(answer(path))
            recorded = await proxy.flow()
            assert (recorded.flow.request.path.encode(), recorded.response_body) == (b"/" + path, path)
        await client.receives(answer(b"1") + answer(b"2") + answer(b"3"))


@in_loop
async def test_a_body_that_looks_like_a_request_is_none():
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        hidden = ask(server, b"hidden")
        await client.sends(ask(server, b"1", b"PUT", hidden) + ask(server, b"2"))
        peer = await server.accepts()
        assert (await peer.reads_head()).startswith(b"PUT /1")
        await peer.receives(hidden)
        await peer.sends(answer(b"a"))
        assert (await peer.reads_head()).startswith(b"GET /2")
        await peer.sends(answer(b"b"))
        await client.receives(answer(b"a") + answer(b"b"))
        assert [(await proxy.flow()).request_body, (await proxy.flow()).request_body] == [hidden, b""]


@in_loop
@pytest.mark.parametrize(
    "first",
    [
        answer(b"1", b"Connection: close"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1",
        answer(b"1") + b"unasked",
        answer(b"1") + answer(b"2"),
    ],
    ids=["close", "HTTP/1.0", "rubbish behind it", "H18 a second response"],
)
async def test_a_server_connection_that_is_spent_is_not_asked_again(first):
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server, b"1"))
        peer = await server.accepts()
        await peer.reads_head()
        await peer.sends(first)
        head = await client.reads_head()
        await client.receives(b"1")
        if b"close" in head:  # a client's connection is closed after HTTP/1.0
            client = await proxy.client()
        await client.sends(ask(server, b"2"))
        peer = await server.accepts()
        assert (await peer.reads_head()).startswith(b"GET /2")
        await peer.sends(answer(b"3"))
        await client.receives(answer(b"3"))
        assert [(await proxy.flow()).response_body, (await proxy.flow()).response_body] == [b"1", b"3"]


@in_loop
async def test_a_server_connection_that_was_closed_while_idle_is_not_asked():
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(answer(b"1"))
        peer.closes()
        await client.receives(answer(b"1"))
        upstream = next(stream for stream in proxy.services.streams._open if stream.peer == "server")
        while not upstream.ended:
            await asyncio.sleep(0.001)
        await client.sends(ask(server, b"2", b"POST", b"hello"))
        peer = await server.accepts()
        await peer.reads_head()
        await peer.receives(b"hello")
        await peer.sends(answer(b"2"))
        await client.receives(answer(b"2"))
        assert [(await proxy.flow()).error, (await proxy.flow()).error] == ["", ""]


@in_loop
@pytest.mark.parametrize(
    ("method", "body"), [(b"GET", b""), (b"HEAD", b""), (b"PUT", b"hello"), (b"DELETE", b""), (b"OPTIONS", b"")]
)
async def test_what_may_be_repeated_is_asked_again_if_the_server_closed_its_used_connection(method, body):
    """RFC 9112 section 9.3.1"""
    async with proxying() as proxy:
        client, first, server = await exchange_begins(proxy, GET)
        await first.reads_head()
        await first.sends(answer(b"1"))
        await client.receives(answer(b"1"))
        await client.sends(ask(server, b"2", method, body))
        head = await first.reads_head()
        await first.receives(body)
        first.closes()
        second = await server.accepts()
        assert await second.reads_head() == head
        await second.receives(body)
        await second.sends(b"HTTP/1.1 204 No\r\n\r\n")
        await client.receives(b"HTTP/1.1 204 No\r\n\r\n")
        await proxy.flow()
        recorded = await proxy.flow()
        assert (recorded.error, recorded.request_body, recorded.flow.request.body.length) == ("", body, len(body))
        assert recorded.flow.server_conn.sockname == second.socket.getpeername()


@in_loop
async def test_it_is_asked_again_once_only():
    async with proxying() as proxy:
        client, first, server = await exchange_begins(proxy, GET)
        await first.reads_head()
        await first.sends(answer(b"1"))
        await client.receives(answer(b"1"))
        await client.sends(ask(server, b"2"))
        await first.reads_head()
        first.closes()
        second = await server.accepts()
        await second.reads_head()
        second.closes()
        assert (await client.reads_all()).startswith(b"HTTP/1.1 502")
        assert server.has_nobody_waiting()
        await proxy.flow()
        assert (await proxy.flow()).error == "the server closed the connection without a response"


@in_loop
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"get"])
async def test_what_may_not_be_repeated_is_not_asked_again(method):
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(answer(b"1"))
        await client.receives(answer(b"1"))
        await client.sends(ask(server, b"2", method))
        await peer.reads_head()
        peer.closes()
        assert (await client.reads_all()).startswith(b"HTTP/1.1 502")
        assert server.has_nobody_waiting()
        await proxy.flow()
        assert "without a response" in (await proxy.flow()).error


@in_loop
@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nConte", b"rubbish\r\n\r\n"])
async def test_it_is_not_asked_again_if_any_of_a_response_came(part):
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(answer(b"1"))
        await client.receives(answer(b"1"))
        await client.sends(ask(server, b"2"))
        await peer.reads_head()
        await peer.sends(part)
        peer.closes()
        assert (await client.reads_all()).startswith(b"HTTP/1.1 502")
        assert server.has_nobody_waiting()
        assert [bool((await proxy.flow()).error), bool((await proxy.flow()).error)] == [False, True]


@in_loop
async def test_a_new_connection_that_fails_is_not_tried_again():
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, GET)
        await peer.reads_head()
        peer.resets()
        assert (await client.reads_all()).startswith(b"HTTP/1.1 502")
        assert server.has_nobody_waiting()
        assert "the server broke the connection" in (await proxy.flow()).error


@in_loop
async def test_idle_server_connections_are_few():
    async with proxying() as proxy:
        client = await proxy.client()
        for _ in range(MAX_IDLE + 3):
            server = await proxy.server()
            await client.sends(ask(server, b""))
            peer = await server.accepts()
            await peer.reads_head()
            await peer.sends(answer(b"x"))
            await client.receives(answer(b"x"))
            await proxy.flow()
        client.closes()
        await proxy.ends()
        while len(proxy.services.streams):
            await asyncio.sleep(0.001)


# -- the client's connection ----------------------------------------------------------------------------------------


@in_loop
@pytest.mark.parametrize("says", [b"Connection: close", b"connection: x,  CLOSE"])
async def test_a_client_that_wants_its_connection_closed_has_it_closed(says):
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET[:-2] + says + b"\r\n\r\n")
        await peer.reads_head()
        await peer.sends(answer(b"1"))
        assert b"Connection: close\r\n" in await client.reads_all()
        await proxy.flow()
        await proxy.ends()


@in_loop
async def test_a_client_may_come_and_go_without_a_word():
    async with proxying() as proxy:
        client = await proxy.client()
        client.ends()
        await client.sees_end()
        (await proxy.client()).resets()
        await proxy.ends()
        assert (proxy.warnings, proxy.sink.begun) == ([], [])


@in_loop
async def test_an_idle_client_is_closed_to_make_room():
    """R5"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        proxy.services.close_idle(1)
        await peer.reads_head()
        await peer.sends(answer(b"1"))
        await client.receives(answer(b"1"))  # it was not idle
        while not proxy.services.idle:
            await asyncio.sleep(0.001)
        proxy.services.close_idle(1)
        await client.sees_end()
        await proxy.flow()
        await proxy.ends()


@in_loop
async def test_an_idle_client_is_closed_in_the_end():
    """R4"""
    async with proxying(timeout_idle=5) as proxy:
        client = await proxy.client()
        while not proxy.services.idle:
            await asyncio.sleep(0.001)
        next(iter(proxy.services.streams._open)).grow_older(6)
        await client.sees_end()  # a reset would take an answer away that it has not read yet
        await proxy.ends()


@in_loop
async def test_while_stopping_what_is_in_flight_finishes_and_nothing_more_begins():
    """R7"""
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, GET)
        proxy.services.stop()
        await client.sends(ask(server, b"2"))
        await peer.reads_head()
        await peer.sends(answer(b"1"))
        assert b"Connection: close\r\n" in await client.reads_head()
        await client.receives(b"1")
        await proxy.flow()
        await proxy.ends()


@in_loop
async def test_clients_from_the_internet_are_refused_and_that_is_said_once(monkeypatch):
    """A1"""
    monkeypatch.setattr("mitmdump.proxy.client._is_global", lambda _host: True)
    async with proxying() as proxy:
        for _ in range(2):
            client = await proxy.client()
            assert await client.reads_all() == b""
        await proxy.ends()
        (warning,) = proxy.warnings
        assert warning.startswith("refused a client from 127.0.0.1")
    async with proxying(block_global=False) as proxy:
        client = await proxy.client()
        await client.sends(b"GET / HTTP/1.1\r\n\r\n")
        await client.reads_head()
        await proxy.flow()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("1.1.1.1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.1.1", False),
        ("100.64.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("fe80::1", False),
    ],
)
def test_who_is_from_the_internet(address, public):
    """A1"""
    stream = Stream("client", Streams())
    stream.peername = (address, 1)
    assert is_public(stream) is public


@pytest.mark.parametrize(("address", "public"), [("::ffff:8.8.8.8", True), ("::ffff:10.0.0.1", False)])
@in_loop
async def test_who_is_from_the_internet_through_a_mapped_address(address, public):
    """A1"""

    class Transport:
        def get_extra_info(self, name):
            return (address, 1, 0, 0)

        def set_write_buffer_limits(self, high):
            pass

    stream = Stream("client", Streams())
    stream.connection_made(Transport())
    assert is_public(stream) is public


def test_who_has_no_address_is_not_from_the_internet():
    assert not is_public(Stream("client", Streams()))


@in_loop
async def test_a_client_that_has_ended_is_not_waited_for_longer_than_for_a_head():
    """R5: mostly it has gone altogether, and its exchange would hold two connections until the server speaks."""
    async with proxying(timeout_head=5) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        client.ends()
        assert await peer.reads_all() == b""
        upstream = next(stream for stream in proxy.services.streams._open if stream.peer == "server")
        upstream.grow_older(6)
        assert "the server sent nothing for 5 seconds" in (await proxy.flow()).error
        client.closes()
