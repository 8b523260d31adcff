"""CONNECT: TLS is intercepted, everything else relayed as it is."""

import asyncio
import contextlib

import pytest
from cryptography.x509 import SubjectAlternativeName
from OpenSSL import SSL
from support.peers import Peer, in_loop
from support.pki import Identity, make_root
from support.proxying import Proxy, Server, contexts, exchange_begins, proxying, tls_server
from support.tls import make_client, make_server

from mitmdump.errors import TlsError
from mitmdump.proxy import tunnel as module

CONNECT = b"CONNECT NAME HTTP/1.1\r\nHost: NAME\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
GET = b"GET /path HTTP/1.1\r\nHost: a.test\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
HTTP_1, HTTP_2 = b"http/1.1", b"h2"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Servers that speak first are given their chance at once."""
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.02)


async def connects(proxy: Proxy) -> tuple[Peer, Server]:
    """A client is in a tunnel."""
    client, server = await proxy.client(), await proxy.server()
    await client.sends(CONNECT.replace(b"NAME", server.name))
    await client.receives(ESTABLISHED)
    return client, server


async def tls_peer(server: Server, session) -> Peer:
    peer = await server.accepts()
    await peer.starts_tls(session)
    return peer


async def handshakes(client: Peer, server: Server, *names: str, sni: str | None = "a.test", offer=(), alpn=None):
    """Both handshakes; gives the server's end, and the sessions."""
    session, serving = make_client(trusting(), sni=sni, alpn=offer), tls_server(*(names or ("a.test",)), alpn=alpn)
    peer, _ = await asyncio.gather(tls_peer(server, serving), client.starts_tls(session))
    return peer, session, serving


def trusting() -> SSL.Context:
    """A client's context that trusts our CA only."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.get_cert_store().add_cert(SSL.X509.from_cryptography(contexts()[1].certificate))
    context.set_verify(SSL.VERIFY_PEER)
    return context


async def page(client: Peer) -> tuple[bytes, str]:
    """One of our own pages, to the client's request."""
    await client.sends(GET)
    head, _, body = (await client.reads_all()).partition(b"\r\n\r\n")
    return head[:12], body.decode()


# -- intercepted TLS ------------------------------------------------------------------------------------------------


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
        ((HTTP_2,), HTTP_2, None),
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
        await client.starts_tls(make_client(trusting(), alpn=(HTTP_2, HTTP_1)))
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
async def test_a_client_that_does_not_trust_us_is_a_warning():
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


@in_loop
@pytest.mark.parametrize("end", [Peer.ends, Peer.resets])
async def test_a_server_that_ends_without_a_word_ends_the_client(end):
    async with proxying() as proxy:
        client, server = await connects(proxy)
        peer = await server.accepts()
        end(peer)
        assert await client.reads_all() == b""
        client.closes()
        assert (await proxy.flow()).flow.kind == "tcp"
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
        await client.sends(b"GET / HTTP/1.1\r\n")
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
        assert (tcp.flow.kind, tcp.flow.metadata) == ("tcp", {"upgraded_from": http.flow.id})
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
