"""Bytes that are relayed as they are: tunnels without TLS, and what follows an upgrade."""

import asyncio
import contextlib

import pytest
from support.peers import in_loop
from support.proxying import exchange_begins, proxying
from support.transcripts import CONNECT, ESTABLISHED, OK, connects

from mitmdump.proxy import tunnel as module


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Servers that speak first are given their chance at once."""
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.02)


# -- relayed bytes --------------------------------------------------------------------------------------------------


@in_loop
async def test_what_is_not_tls_is_relayed_and_recorded_as_a_raw_connection():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        await client.sends(b"\0hello")
        peer = await server.accepts()
        await peer.receives(b"\0hello")
        await peer.sends(b"welcome")
        await client.receives(b"welcome")
        client.ends()
        await peer.sees_end()
        await peer.sends(b"and goodbye")
        await client.receives(b"and goodbye")
        peer.ends()
        await client.sees_end()
        recorded = await proxy.flow()
        assert (recorded.flow.kind, recorded.error, recorded.flow.request) == ("tcp", "", None)
        assert recorded.messages == [(True, b"\0hello"), (False, b"welcome"), (False, b"and goodbye")]
        assert recorded.flow.server_conn.address == (server.host, server.port)
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("together", [True, False])
async def test_a_first_byte_like_that_of_tls_is_not_enough(together):
    async with proxying() as proxy:
        client, server = await connects(proxy)
        await client.sends(b"\x16\x04" if together else b"\x16")
        if not together:
            client.ends()
        peer = await server.accepts()
        await peer.receives(b"\x16\x04" if together else b"\x16")
        client.closes()
        peer.closes()
        await proxy.ends()
        assert (await proxy.flow()).flow.kind == "tcp"


@in_loop
async def test_a_server_may_speak_first():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer = await server.accepts()
        await peer.sends(b"220 hello\r\n")
        await client.receives(b"220 hello\r\n")
        await client.sends(b"\x16\x03 whatever")
        await peer.receives(b"\x16\x03 whatever")
        peer.ends()
        await client.sees_end()
        client.ends()
        await peer.sees_end()
        assert (await proxy.flow()).messages == [(False, b"220 hello\r\n"), (True, b"\x16\x03 whatever")]
        assert server.has_nobody_waiting()


@in_loop
async def test_a_server_that_ends_without_a_word_ends_the_client():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer = await server.accepts()
        peer.ends()
        assert await client.reads_all() == b""
        client.closes()
        assert (await proxy.flow()).flow.kind == "tcp"
        await proxy.ends()


@in_loop
async def test_a_server_that_resets_without_a_word_resets_the_client():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer = await server.accepts()
        peer.resets()
        await client.sees_reset()
        assert "the server broke the connection" in (await proxy.flow()).error
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("breaks", ["client", "server"])
async def test_a_relay_that_breaks_is_an_error_that_names_the_side(breaks):
    async with proxying() as proxy:
        client, server = await connects(proxy)
        await client.sends(b"hello")
        peer = await server.accepts()
        await peer.receives(b"hello")
        (client if breaks == "client" else peer).resets()
        with contextlib.suppress(ConnectionResetError):
            assert await (peer if breaks == "client" else client).reads_all() == b""
        assert f"the {breaks} broke the connection" in (await proxy.flow()).error
        await proxy.ends()


@in_loop
async def test_a_relay_that_is_stopped_says_so_and_is_cancelled():
    """R7"""
    async with proxying() as proxy:
        client, server = await connects(proxy)
        await client.sends(b"hello")
        peer = await server.accepts()
        await peer.receives(b"hello")
        proxy.tasks[0].cancel()
        assert (await proxy.flow()).error == "the proxy was stopped before the connection was closed"
        await asyncio.wait(proxy.tasks)
        assert proxy.tasks[0].cancelled()


@in_loop
async def test_a_raw_connection_that_never_came_to_be_is_recorded():
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        server.socket.close()
        await client.sends(CONNECT.replace(b"NAME", server.name) + b"hello")
        await client.receives(ESTABLISHED)
        recorded = await proxy.flow()
        assert (recorded.flow.kind, "connection refused" in recorded.error) == ("tcp", True)
        await proxy.ends()


@in_loop
async def test_no_tunnel_leads_back_to_ourselves():
    """A3"""
    async with proxying() as proxy:
        client, server = await connects(proxy)
        proxy.services.own_addresses = [("127.0.0.1", server.port)]
        await client.sends(b"HELO a.test\r\n")
        assert "this proxy itself" in (await proxy.flow()).error
        await proxy.ends()


@in_loop
async def test_a_client_that_leaves_its_tunnel_without_a_word_leaves_nothing_behind():
    async with proxying() as proxy:
        client, _server = await connects(proxy)
        client.resets()
        await proxy.ends()
        assert not proxy.warnings


# -- protocols that follow HTTP -------------------------------------------------------------------------------------

UPGRADE = b"GET http://NAME/chat HTTP/1.1\r\nHost: NAME\r\nUpgrade: websocket\r\nConnection: Upgrade, x\r\nX: 1\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


@in_loop
async def test_after_101_all_bytes_are_opaque_and_a_flow_of_their_own():
    """H16"""
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, UPGRADE + b"early client")
        head = await peer.reads_head()
        assert (
            head
            == b"GET /chat HTTP/1.1\r\nHost: " + server.name + b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        await peer.sends(SWITCHING + b"early server")
        await client.receives(SWITCHING + b"early server")
        await peer.receives(b"early client")
        await client.sends(b"GET / HTTP/1.1\r\n\r\n\0")
        await peer.receives(b"GET / HTTP/1.1\r\n\r\n\0")
        peer.ends()
        await client.sees_end()
        client.ends()
        await peer.sees_end()
        http, tcp = await proxy.flow(), await proxy.flow()
        assert (http.flow.response.status_code, http.error) == (101, "")
        assert (tcp.flow.kind, tcp.flow.metadata) == ("tcp", {"upgraded_from": f"{http.flow.id:016x}"})
        assert sorted(tcp.messages) == [
            (False, b"early server"),
            (True, b"GET / HTTP/1.1\r\n\r\n\0"),
            (True, b"early client"),
        ]
        await proxy.ends()


@in_loop
@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno",
    ],
)
async def test_a_refused_upgrade_stays_http(answer):
    """H16"""
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, UPGRADE)
        await peer.reads_head()
        await peer.sends(answer)
        await client.receives(answer)
        await client.sends(b"GET http://" + server.name + b"/ HTTP/1.1\r\nHost: x\r\n\r\n")
        await peer.receives(b"GET / HTTP/1.1\r\nHost: " + server.name + b"\r\n\r\n")
        await peer.sends(OK)
        await client.receives(OK)
        assert [(await proxy.flow()).error, (await proxy.flow()).error] == ["", ""]


@in_loop
async def test_an_upgrade_is_not_made_before_the_request_is_complete():
    """H16"""
    async with proxying() as proxy:
        with_body = UPGRADE[:-2] + b"Content-Length: 5\r\n\r\nhe"
        client, peer, _ = await exchange_begins(proxy, with_body)
        await peer.reads_head()
        await peer.sends(SWITCHING)
        assert (await client.reads_all()).startswith(b"HTTP/1.1 502")
        client.closes()
        assert "switched protocols" in (await proxy.flow()).error
        await proxy.ends()
