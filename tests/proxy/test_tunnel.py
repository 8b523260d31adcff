"""CONNECT: TLS is intercepted, everything else relayed as it is."""

import asyncio

import pytest
from cryptography.x509 import SubjectAlternativeName
from OpenSSL import SSL
from support.peers import Peer, in_loop
from support.pki import Identity, make_root
from support.proxying import Server, contexts, proxying, tls_server, trusting
from support.tls import make_client, make_server
from support.transcripts import CONNECT, ESTABLISHED, OK, connects

from mitmdump.errors import TlsError
from mitmdump.proxy import tunnel as module

GET = b"GET /path HTTP/1.1\r\nHost: a.test\r\n\r\n"
HTTP_1, HTTP_2 = b"http/1.1", b"h2"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Servers that speak first are given their chance at once."""
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.02)


async def tls_peer(server: Server, session) -> Peer:
    peer = await server.accepts()
    await peer.starts_tls(session)
    return peer


async def handshakes(client: Peer, server: Server, *names: str, sni: str | None = "a.test", offer=(), alpn=None):
    """Both handshakes; gives the server's end, and the sessions."""
    session, serving = make_client(trusting(), sni=sni, alpn=offer), tls_server(*(names or ("a.test",)), alpn=alpn)
    peer, _ = await asyncio.gather(tls_peer(server, serving), client.starts_tls(session))
    return peer, session, serving


async def page(client: Peer) -> tuple[bytes, str]:
    """One of our own pages, to the client's request."""
    await client.sends(GET)
    head, _, body = (await client.reads_all()).partition(b"\r\n\r\n")
    return head[:12], body.decode()


@in_loop
async def test_tls_is_intercepted_and_its_requests_are_recorded():
    """T9"""
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer, session, serving = await handshakes(client, server, "a.test", "*.b.test")
        for path in (b"/path", b"/other"):
            await client.sends(GET.replace(b"/path", path))
            await peer.receives(GET.replace(b"/path", path))
            await peer.sends(OK)
            await client.receives(OK)
        assert server.has_nobody_waiting()
        assert serving._connection.get_servername() == b"a.test"
        first, second = (await proxy.flow()).flow, (await proxy.flow()).flow
        assert first.server_conn is second.server_conn
        assert [first.request.scheme, first.request.host, first.request.port] == ["https", server.host, server.port]
        assert (first.request.url, first.request.authority) == ("https://a.test/path", "")
        for connection in (first.client_conn, first.server_conn):
            assert (connection.sni, connection.tls_version, connection.alpn) == ("a.test", "TLSv1.3", None)
            assert connection.tls_established
        assert first.server_conn.verification == "ok"
        leaf = session._connection.get_peer_certificate().to_cryptography()
        assert leaf.issuer == contexts()[1].certificate.subject
        names = leaf.extensions.get_extension_for_class(SubjectAlternativeName).value
        assert {name.value for name in names} >= {"a.test", "*.b.test"}
        client.ends()
        await client.sees_end()
        await peer.sees_end()
        await proxy.ends()


@in_loop
@pytest.mark.parametrize(
    ("offer", "speaks", "agreed"),
    [
        ((HTTP_2, HTTP_1), HTTP_1, HTTP_1),
        ((HTTP_1,), HTTP_1, HTTP_1),
        ((HTTP_2, HTTP_1), None, None),
        ((HTTP_2, HTTP_1), HTTP_2, HTTP_2),
        ((HTTP_2,), HTTP_2, HTTP_2),
        ((), HTTP_1, None),
    ],
)
async def test_the_client_is_offered_what_the_server_speaks(offer, speaks, agreed):
    """T10"""
    async with proxying() as proxy:
        client, server = await connects(proxy)
        _, session, serving = await handshakes(client, server, offer=offer, alpn=speaks)
        assert session._connection.get_alpn_proto_negotiated() == (agreed or b"")
        assert serving._connection.get_alpn_proto_negotiated() == (agreed or b"")
        client.ends()
        await proxy.ends()


@in_loop
async def test_a_client_without_server_name_goes_by_the_address():
    """T9"""
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer, _, serving = await handshakes(client, server, "127.0.0.1", sni=None)
        assert serving._connection.get_servername() is None
        await client.sends(GET)
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.server_conn.verification == "ok"


@in_loop
@pytest.mark.parametrize(
    ("session", "reason"),
    [
        (lambda: tls_server("b.test"), "hostname mismatch"),
        (lambda: make_server(make_root("Unknown").issue("a.test")), "unable to get local issuer certificate"),
        (lambda: make_server(own_leaf()), "unable to get local issuer certificate"),
    ],
    ids=["wrong host", "unknown root", "T7 our own CA"],
)
async def test_a_server_whose_certificate_is_not_accepted_is_a_page_that_says_so(session, reason):
    """T6"""
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer, _ = await asyncio.gather(tls_peer(server, session()), client.starts_tls(make_client(trusting())))
        status, body = await page(client)
        client.closes()
        assert await peer.reads_all() == b""
        recorded = await proxy.flow()
        assert (status, reason in body) == (b"HTTP/1.1 502", True)
        assert reason in recorded.error
        assert recorded.flow.request.url == "https://a.test/path"
        assert reason in recorded.flow.server_conn.verification
        assert recorded.flow.server_conn.certificate_list
        assert server.has_nobody_waiting()
        await proxy.ends()


def own_leaf() -> Identity:
    """A certificate that our own CA has signed."""
    authority = contexts()[1]
    return Identity(authority.certificate, authority._key).issue("a.test")


@in_loop
async def test_with_k_any_certificate_is_accepted_and_the_verdict_recorded():
    """T8"""
    async with proxying(ssl_insecure=True) as proxy:
        client, server = await connects(proxy)
        peer, _, _ = await handshakes(client, server, "b.test")
        await client.sends(GET)
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        recorded = await proxy.flow()
        assert "hostname mismatch" in recorded.flow.server_conn.verification
        assert recorded.error == ""


@in_loop
async def test_without_upstream_cert_the_server_is_asked_after_the_client():
    async with proxying(upstream_cert=False) as proxy:
        client, server = await connects(proxy)
        await client.starts_tls(make_client(trusting()))
        assert server.has_nobody_waiting()
        await client.sends(GET)
        peer = await tls_peer(server, tls_server("a.test"))
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        recorded = await proxy.flow()
        assert (recorded.error, recorded.flow.server_conn.verification) == ("", "ok")


@in_loop
async def test_a_server_that_cannot_be_reached_is_a_page_inside_tls():
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        server.socket.close()
        await client.sends(CONNECT.replace(b"NAME", server.name))
        await client.receives(ESTABLISHED)
        await client.starts_tls(make_client(trusting(), alpn=(HTTP_1,)))
        status, body = await page(client)
        client.closes()
        assert (status, "connection refused" in body) == (b"HTTP/1.1 502", True)
        assert "connection refused" in (await proxy.flow()).error
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("words", [b"SSH-2.0-x\r\n", b""])
async def test_a_server_that_does_not_speak_tls_is_a_page_inside_tls(words):
    async with proxying() as proxy:
        client, server = await connects(proxy)
        starting = asyncio.create_task(client.starts_tls(make_client(trusting())))
        peer = await server.accepts()
        await peer.sends(words)
        peer.ends()
        await starting
        status, _body = await page(client)
        client.closes()
        assert status == b"HTTP/1.1 502"
        assert "no TLS connection to 127.0.0.1" in (await proxy.flow()).error
        await proxy.ends()


@in_loop
async def test_a_server_that_is_silent_in_the_handshake_is_given_up():
    """R4"""
    async with proxying(timeout_head=5) as proxy:
        client, server = await connects(proxy)
        starting = asyncio.create_task(client.starts_tls(make_client(trusting())))
        peer = await server.accepts()
        assert (await peer.reads(1)) == b"\x16"
        upstream = next(stream for stream in proxy.services.streams._open if stream.peer == "server")
        upstream.grow_older(6)
        await starting
        status, _ = await page(client)
        client.closes()
        assert status == b"HTTP/1.1 504"
        assert "the server was not done within 5 seconds" in (await proxy.flow()).error


@in_loop
async def test_a_client_that_does_not_trust_us_is_a_warning_and_a_flow():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_PEER)
        session = make_client(context)
        serving = asyncio.create_task(tls_peer(server, tls_server("a.test")))
        with pytest.raises(TlsError):
            await client.starts_tls(session)
        await client.sends_raw(session.take())
        await serving
        await proxy.ends()
        (warning,) = proxy.warnings
        assert "as a.test: the client does not trust our certificate" in warning
        recorded = await proxy.flow()
        assert recorded.flow.kind == "tcp"
        assert "the client does not trust our certificate" in recorded.error


@in_loop
@pytest.mark.parametrize(
    "hello", [b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\xff\xff\x01\x00\x00\x10"]
)
async def test_a_broken_client_hello_ends_the_connection_and_nothing_else(hello):
    """T13"""
    async with proxying() as proxy:
        client, _server = await connects(proxy)
        await client.sends(hello)
        client.ends()
        await client.reads_all()
        await proxy.ends()
        while not proxy.sink.finished.empty():
            await proxy.flow()


@in_loop
async def test_a_client_hello_may_come_with_the_connect_and_byte_by_byte():
    """T13"""
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        session = make_client(trusting())
        session.handshake()
        hello = session.take()
        head = CONNECT.replace(b"NAME", server.name)
        serving = asyncio.create_task(tls_peer(server, tls_server("a.test")))
        await client.sends(head + hello[:4])
        await client.receives(ESTABLISHED)
        for byte in hello[4:]:
            await client.sends(bytes([byte]))
            await asyncio.sleep(0)
        await client.starts_tls(session)
        peer = await serving
        await client.sends(GET)
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()


@in_loop
async def test_a_connection_that_the_server_closed_meanwhile_is_made_anew():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer, _, _ = await handshakes(client, server)
        peer.ends()
        upstream = next(stream for stream in proxy.services.streams._open if stream.peer == "server")
        while not upstream.ended:
            await asyncio.sleep(0.001)
        serving = asyncio.create_task(tls_peer(server, tls_server("a.test")))
        await client.sends(GET)
        peer = await serving
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).error == ""


@in_loop
async def test_a_response_that_is_cut_off_inside_tls_is_an_error_and_looks_cut_off():
    """H19"""
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer, _, _ = await handshakes(client, server)
        await client.sends(GET)
        await peer.receives(GET)
        await peer.sends(b"HTTP/1.1 200 OK\r\n\r\nun")
        await client.receives(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nun")
        peer.ends(notify=False)
        with pytest.raises(ConnectionResetError):
            while await client.reads(1):
                pass
        recorded = await proxy.flow()
        assert recorded.error == "the server cut the connection off without ending TLS"
        assert not recorded.flow.response.body.complete


@in_loop
@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n", b"400"),
        (b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET * HTTP/1.1\r\nHost: a.test\r\n\r\n", b"400"),
    ],
)
async def test_inside_a_tunnel_there_is_one_server(request_, status):
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer, _, _ = await handshakes(client, server)
        await client.sends(request_)
        assert (await client.reads_all()).startswith(b"HTTP/1.1 " + status)
        client.closes()
        await peer.sees_end()
        assert (await proxy.flow()).flow.error
        await proxy.ends()


@in_loop
async def test_inside_a_tunnel_an_absolute_target_names_the_host_and_not_the_server():
    """T9, H10"""
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer, _, _ = await handshakes(client, server)
        await client.sends(b"GET https://b.test/x HTTP/1.1\r\nHost: c.test\r\n\r\n")
        await peer.receives(b"GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n")
        await peer.sends(OK)
        await client.receives(OK)
        request = (await proxy.flow()).flow.request
        assert (request.host, request.authority, request.headers["host"]) == (server.host, "b.test", "c.test")


@in_loop
async def test_a_target_of_https_is_asked_over_tls():
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(b"GET https://" + server.name + b"/ HTTP/1.1\r\nHost: x\r\n\r\n")
        peer = await tls_peer(server, tls_server("127.0.0.1"))
        await peer.receives(b"GET / HTTP/1.1\r\nHost: " + server.name + b"\r\n\r\n")
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.server_conn.verification == "ok"


@in_loop
async def test_a_client_that_takes_its_time_may_still_speak_tls():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer = await server.accepts()
        session = make_client(trusting())
        await asyncio.gather(peer.starts_tls(tls_server("a.test")), client.starts_tls(session))
        await client.sends(GET)
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        recorded = await proxy.flow()
        assert (recorded.flow.kind, recorded.flow.server_conn.verification) == ("http", "ok")
        assert server.has_nobody_waiting()
