"""A server that was seen a moment ago is expected to be the same: the client's handshake does not wait for it."""

import asyncio

import pytest
from OpenSSL import SSL
from support.peers import Peer, in_loop
from support.pki import make_root
from support.proxying import Proxy, Server, contexts, proxying, tls_server
from support.tls import make_client, make_server
from support.transcripts import CONNECT, ESTABLISHED, OK

from mitmdump.errors import TlsError
from mitmdump.proxy.known import MAX_AGE, Known, KnownServers
from mitmdump.tls.names import LeafNames

GET = b"GET /path HTTP/1.1\r\nHost: a.test\r\n\r\n"
HTTP_1 = b"http/1.1"
KNOWN = Known(LeafNames(None, ("a.test",)), HTTP_1)


def test_a_server_is_known_for_some_minutes_after_it_was_seen():
    servers = KnownServers()
    servers.put("a", KNOWN, 1000.0)
    assert [servers.get("a", 1000.0 + age) for age in (0, MAX_AGE - 1, MAX_AGE, -1)] == [KNOWN, KNOWN, None, None]


def test_a_server_is_known_until_it_is_another():
    servers = KnownServers()
    servers.put("a", KNOWN, 1000.0)
    servers.forget("a")
    servers.forget("b")
    assert servers.get("a", 1000.0) is None


def test_the_server_that_was_not_seen_for_longest_is_forgotten_first():
    servers = KnownServers(max_servers=2)
    for server in "abac":
        servers.put(server, KNOWN, 1000.0)
    assert [bool(servers.get(server, 1000.0)) for server in "abc"] == [True, False, True]


# In tunnels


def trusting() -> SSL.Context:
    """A client's context that trusts our CA only."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.get_cert_store().add_cert(SSL.X509.from_cryptography(contexts()[1].certificate))
    context.set_verify(SSL.VERIFY_PEER)
    return context


async def connects(proxy: Proxy, server: Server) -> Peer:
    client = await proxy.client()
    await client.sends(CONNECT.replace(b"NAME", server.name))
    await client.receives(ESTABLISHED)
    return client


async def serves(server: Server, session) -> Peer:
    peer = await server.accepts()
    await peer.starts_tls(session)
    return peer


async def visits(proxy: Proxy, server: Server, session) -> None:
    """A client asks, and is answered."""
    client = await connects(proxy, server)
    peer, _ = await asyncio.gather(serves(server, session), client.starts_tls(make_client(trusting(), alpn=(HTTP_1,))))
    await client.sends(GET)
    await answers(proxy, client, peer)
    client.closes()
    peer.closes()


async def answers(proxy: Proxy, client: Peer, peer: Peer) -> None:
    """A request that was sent is answered."""
    await peer.receives(GET)
    await peer.sends(OK)
    await client.receives(OK)
    assert (await proxy.flow()).error == ""


@in_loop
async def test_the_client_does_not_wait_for_a_server_that_is_known_but_its_request_does():
    async with proxying() as proxy:
        server = await proxy.server()
        await visits(proxy, server, tls_server("a.test", "*.b.test", alpn=HTTP_1))
        client, session = await connects(proxy, server), make_client(trusting(), alpn=(HTTP_1,))
        await client.starts_tls(session)
        peer = await server.accepts()
        assert session._connection.get_alpn_proto_negotiated() == HTTP_1
        assert b"*.b.test" in session.peer_certificates[0]
        await client.sends(GET)
        await peer.starts_tls(tls_server("a.test", "*.b.test", alpn=HTTP_1))
        await answers(proxy, client, peer)


@in_loop
async def test_a_known_server_that_is_another_now_gets_no_request():
    """T6"""
    async with proxying() as proxy:
        server = await proxy.server()
        await visits(proxy, server, tls_server("a.test"))
        client = await connects(proxy, server)
        await client.starts_tls(make_client(trusting(), alpn=(HTTP_1,)))
        await client.sends(GET)
        peer = await serves(server, make_server(make_root("unknown").issue("a.test")))
        assert await peer.reads_all() == b""
        assert (await client.reads_all()).startswith(b"HTTP/1.1 502")
        assert "unable to get local issuer certificate" in (await proxy.flow()).error
        assert not proxy.services.known._servers


@in_loop
async def test_a_known_server_that_is_gone_is_a_page_inside_tls():
    async with proxying() as proxy:
        server = await proxy.server()
        await visits(proxy, server, tls_server("a.test"))
        client = await connects(proxy, server)
        server.socket.close()
        await client.starts_tls(make_client(trusting(), alpn=(HTTP_1,)))
        await client.sends(GET)
        assert (await client.reads_all()).startswith(b"HTTP/1.1 502")
        recorded = await proxy.flow()
        assert "connection refused" in recorded.error or "no TLS connection" in recorded.error
        assert not proxy.services.known._servers


@in_loop
@pytest.mark.parametrize("alpn", [HTTP_1, None])
@pytest.mark.parametrize("names", [("a.test", "c.test"), ("a.test", "*.b.test")])
async def test_other_names_or_another_protocol_do_no_harm_and_are_learnt_anew(names, alpn):
    """T10: HTTP/1.1 is spoken either way, and each side's record says what was agreed on there."""
    async with proxying() as proxy:
        server = await proxy.server()
        await visits(proxy, server, tls_server("a.test", "*.b.test", alpn=HTTP_1))
        await visits(proxy, server, tls_server(*names, alpn=alpn))
        is_same = names == ("a.test", "*.b.test") and alpn == HTTP_1
        assert bool(proxy.services.known._servers) is is_same


@in_loop
async def test_a_server_with_a_certificate_that_is_merely_put_up_with_is_not_known():
    async with proxying(ssl_insecure=True) as proxy:
        server = await proxy.server()
        await visits(proxy, server, tls_server("c.test"))
        assert not proxy.services.known._servers


@in_loop
async def test_a_client_that_refuses_takes_the_connection_to_a_known_server_with_it():
    async with proxying() as proxy:
        server = await proxy.server()
        await visits(proxy, server, tls_server("a.test"))
        client = await connects(proxy, server)
        distrusting = SSL.Context(SSL.TLS_CLIENT_METHOD)
        distrusting.set_verify(SSL.VERIFY_PEER)
        session = make_client(distrusting, alpn=(HTTP_1,))
        with pytest.raises(TlsError):
            await client.starts_tls(session)
        peer = await server.accepts()
        await client.sends_raw(session.take())
        await peer.reads_all()  # as far as our hello had come
        await proxy.ends()
        assert "does not trust" in (await proxy.flow()).error
