"""--ignore-hosts, --allow-hosts, --tcp-hosts, --fail-open: what is none of our business, or only as bytes."""

import asyncio

import pytest
from OpenSSL import SSL
from support.peers import in_loop
from support.proxying import Proxy, contexts, proxying, root, tls_server, trusting
from support.tls import make_client
from support.transcripts import CONNECT, ESTABLISHED, OK, ask, connects, request

from mitmdump.errors import TlsError
from mitmdump.proxy import policy
from mitmdump.proxy import tunnel as module

EVERYTHING_ELSE = {"allow_hosts": ("no such host",)}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Servers that speak first are given their chance at once."""
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.02)


def servers_own() -> SSL.Context:
    """A client's context that trusts the servers' CA, and not ours."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.get_cert_store().add_cert(SSL.X509.from_cryptography(root().certificate))
    context.set_verify(SSL.VERIFY_PEER)
    return context


async def tls_through(proxy, client, server, *, sni="a.test", context=None, alpn=None, offer=()):
    """TLS inside a tunnel, with whoever answers; gives the server's end."""

    async def accepts():
        peer = await server.accepts()
        await peer.starts_tls(tls_server("a.test", alpn=alpn))
        return peer

    session = make_client(context or servers_own(), sni=sni, alpn=offer)
    peer, _ = await asyncio.gather(accepts(), client.starts_tls(session))
    return peer, session


def passed(proxy: Proxy) -> tuple[int, int]:
    """What was counted: passed through, and recorded."""
    return proxy.outlet.tally.passed_through, proxy.outlet.tally.seen


@in_loop
@pytest.mark.parametrize(
    "settings",
    [
        {"ignore_hosts": (r"^127\.0\.0\.1:\d+$",)},
        {"ignore_hosts": (r"^A\.TEST$",)},
        {"ignore_hosts": (r"^a\.test:\d+$",)},
        {"allow_hosts": (r"^b\.test$",)},
        {"tcp_hosts": ("a.test",), "ignore_hosts": ("a.test",)},
    ],
    ids=["host:port", "name", "name:port", "not allowed", "ignored wins"],
)
async def test_tls_of_an_ignored_host_is_between_client_and_server(settings):
    async with proxying(**settings) as proxy:
        client, server = await connects(proxy)
        peer, _ = await tls_through(proxy, client, server)
        await client.sends(b"hello")
        await peer.receives(b"hello")
        await peer.sends(b"welcome")
        await client.receives(b"welcome")
        client.ends()
        await peer.sees_end()
        peer.ends()
        await client.sees_end()
        await proxy.ends()
        assert server.has_nobody_waiting()
        assert passed(proxy) == (1, 0)


@in_loop
async def test_the_address_that_a_name_leads_to_counts_too():
    async with proxying(ignore_hosts=(r"^127\.0\.0\.1:",)) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(CONNECT.replace(b"NAME", b"localhost:%d" % server.port))
        await client.receives(ESTABLISHED)
        await tls_through(proxy, client, server)
        assert passed(proxy) == (1, 0)


@in_loop
async def test_a_passed_connection_has_time_as_long_as_something_comes():
    async with proxying(ignore_hosts=("a.test",), timeout_quiet=77.0) as proxy:
        client, server = await connects(proxy)
        await tls_through(proxy, client, server)
        times = {(stream.peer, stream.patience, stream.forgiving) for stream in proxy.services.streams._open}
        assert times == {("client", 77.0, True), ("server", 77.0, True)}


@in_loop
@pytest.mark.parametrize("settings", [{"ignore_hosts": ("b.test",)}, {"allow_hosts": ("a.test",)}])
async def test_all_other_hosts_are_intercepted_as_ever(settings):
    async with proxying(**settings) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(CONNECT.replace(b"NAME", b"localhost:%d" % server.port))
        await client.receives(ESTABLISHED)
        peer, _ = await tls_through(proxy, client, server, context=trusting())
        await client.sends(request(b"a.test"))
        await peer.receives(request(b"a.test"))
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.server_conn.verification == "ok"
        assert passed(proxy) == (0, 1)
        assert server.has_nobody_waiting()


@in_loop
async def test_an_allowed_server_that_cannot_be_reached_is_still_a_page_inside_tls():
    async with proxying(allow_hosts=("a.test",)) as proxy:
        client, server = await proxy.client(), await proxy.server()
        server.socket.close()
        await client.sends(CONNECT.replace(b"NAME", b"localhost:%d" % server.port))
        await client.receives(ESTABLISHED)
        await client.starts_tls(make_client(trusting()))
        await client.sends(request(b"a.test"))
        assert b"connection refused" in await client.reads_all()
        assert "connection refused" in (await proxy.flow()).error


@in_loop
@pytest.mark.parametrize("settings", [{"ignore_hosts": ("127",)}, EVERYTHING_ELSE])
@pytest.mark.parametrize("first", ["client", "server"])
async def test_a_passed_connection_need_not_be_tls_and_either_side_may_begin(settings, first):
    async with proxying(**settings) as proxy:
        client, server = await connects(proxy)
        if first == "client":
            await client.sends(b"\0hello")
        peer = await server.accepts()
        if first == "client":
            await peer.receives(b"\0hello")
        await peer.sends(b"welcome")
        await client.receives(b"welcome")
        peer.resets()
        await client.sees_reset()
        await proxy.ends()
        assert passed(proxy) == (1, 0)


@in_loop
@pytest.mark.parametrize("settings", [{"ignore_hosts": ("127",)}, {"ignore_hosts": ("a.test",)}])
async def test_an_ignored_server_that_cannot_be_reached_is_not_recorded_either(settings):
    async with proxying(**settings) as proxy:
        client, server, session = await proxy.client(), await proxy.server(), make_client()
        server.socket.close()
        session.handshake()
        await client.sends(CONNECT.replace(b"NAME", server.name) + session.take())
        await client.receives(ESTABLISHED)
        assert await client.reads_all() == b""
        await proxy.ends()
        assert passed(proxy) == (0, 0)


@in_loop
@pytest.mark.parametrize("tls", [True, False])
async def test_nor_is_one_that_is_not_allowed(tls):
    async with proxying(**EVERYTHING_ELSE) as proxy:
        client, server = await proxy.client(), await proxy.server()
        server.socket.close()
        await client.sends(CONNECT.replace(b"NAME", b"localhost:%d" % server.port))
        await client.receives(ESTABLISHED)
        session = make_client()
        session.handshake()
        await client.sends(session.take() if tls else b"\0hello")
        assert await client.reads_all() == b""
        await proxy.ends()
        assert passed(proxy) == (0, 0)


@in_loop
@pytest.mark.parametrize("settings", [{"ignore_hosts": ("127",)}, EVERYTHING_ELSE])
async def test_a_request_in_the_clear_to_an_ignored_host_is_passed_on_and_not_recorded(settings):
    async with proxying(**settings) as proxy:
        client, server = await proxy.client(), await proxy.server()
        peer = None
        for _ in range(2):
            await client.sends(ask(server.name))
            peer = peer or await server.accepts()
            await peer.receives(request(server.name))
            await peer.sends(OK)
            await client.receives(OK)
        assert passed(proxy) == (2, 0)


@in_loop
async def test_what_follows_an_upgrade_of_an_unrecorded_request_is_not_recorded_either():
    async with proxying(**EVERYTHING_ELSE) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server.name, b"Upgrade: x", b"Connection: Upgrade"))
        peer = await server.accepts()
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nsecret")
        await client.reads_head()
        await client.receives(b"secret")
        client.closes()
        peer.closes()
        await proxy.ends()
        assert passed(proxy) == (2, 0)


@in_loop
async def test_in_transparent_mode_the_host_field_of_a_request_in_the_clear_counts():
    async with proxying(allow_hosts=(r"^a\.test:",)) as proxy:
        server = await proxy.server()
        client = await proxy.client(going_to=(server.host, server.port))
        peer = None
        for host in (b"a.test", b"b.test"):
            await client.sends(request(host))
            peer = peer or await server.accepts()
            await peer.receives(request(host))
            await peer.sends(OK)
            await client.receives(OK)
        assert (await proxy.flow()).flow.request.url == "http://a.test/"
        assert passed(proxy) == (1, 1)


# -- recorded raw -----------------------------------------------------------------------------------------------------


@in_loop
async def test_tls_of_a_tcp_host_is_intercepted_and_recorded_raw_with_any_protocol():
    async with proxying(tcp_hosts=(r"^a\.test$",)) as proxy:
        client, server = await connects(proxy)
        peer, session = await tls_through(
            proxy, client, server, context=trusting(), alpn=b"imap", offer=(b"pop3", b"imap")
        )
        assert session._connection.get_alpn_proto_negotiated() == b"imap"
        await peer.sends(b"* OK\r\n")
        await client.receives(b"* OK\r\n")
        await client.sends(b"a1 LOGOUT\r\n")
        await peer.receives(b"a1 LOGOUT\r\n")
        client.ends()
        await peer.sees_end()
        peer.ends()
        await client.sees_end()
        recorded = await proxy.flow()
        assert (recorded.flow.kind, recorded.error) == ("tcp", "")
        assert recorded.messages == [(False, b"* OK\r\n"), (True, b"a1 LOGOUT\r\n")]
        assert (recorded.flow.client_conn.sni, recorded.flow.server_conn.verification) == ("a.test", "ok")
        leaf = session._connection.get_peer_certificate().to_cryptography()
        assert leaf.issuer == contexts()[1].certificate.subject


@in_loop
async def test_a_tcp_host_that_cannot_be_reached_ends_the_client():
    async with proxying(tcp_hosts=("127",)) as proxy:
        client, server = await proxy.client(), await proxy.server()
        server.socket.close()
        await client.sends(CONNECT.replace(b"NAME", server.name))
        await client.receives(ESTABLISHED)
        session = make_client()
        session.handshake()
        await client.sends(session.take())
        assert await client.reads_all() == b""
        assert "connection refused" in (await proxy.flow()).error


@in_loop
async def test_http_of_a_tcp_host_is_recorded_raw_in_transparent_mode():
    async with proxying(tcp_hosts=("127",)) as proxy:
        server = await proxy.server()
        client = await proxy.client(going_to=(server.host, server.port))
        await client.sends(request(b"a.test"))
        peer = await server.accepts()
        await peer.receives(request(b"a.test"))
        client.closes()
        peer.closes()
        assert (await proxy.flow()).messages == [(True, request(b"a.test"))]


# -- hosts whose clients refuse us ------------------------------------------------------------------------------------


async def refuses(client, how: str) -> None:
    """A client does not like our certificate, and says so in its own way."""
    if how == "alert":
        session = make_client(servers_own())
        with pytest.raises(TlsError):
            await client.starts_tls(session)
        await client.sends_raw(session.take())
    elif how in ("close", "reset"):
        session = make_client()
        session.handshake()
        await client.sends(session.take())
        assert await client.reads(1)
        client.ends() if how == "close" else client.resets()
    else:
        await client.starts_tls(make_client())
        client.ends()


@in_loop
@pytest.mark.parametrize("how", ["alert", "close", "reset", "close after the handshake"])
async def test_a_host_whose_client_refuses_our_certificate_is_passed_through_next_time(how):
    async with proxying(fail_open=True) as proxy:
        client, server = await connects(proxy)
        accepting = asyncio.create_task(server.accepts())
        refusing = asyncio.create_task(refuses(client, how))
        await (await accepting).starts_tls(tls_server("a.test"))
        await refusing
        await proxy.ends()
        while not proxy.sink.finished.empty():
            await proxy.flow()
        (warning,) = proxy.warnings
        assert "a.test is passed through from now on (--fail-open)" in warning
        client = await proxy.client()
        await client.sends(CONNECT.replace(b"NAME", server.name))
        await client.receives(ESTABLISHED)
        await tls_through(proxy, client, server)
        assert proxy.outlet.tally.passed_through == 1
        assert proxy.services.refusals.hosts == ["a.test"]


@in_loop
async def test_a_client_that_gave_up_before_it_saw_our_certificate_has_not_refused_it():
    async with proxying(fail_open=True) as proxy:
        client, server = await connects(proxy)
        session = make_client()
        session.handshake()
        await client.sends(session.take())
        peer = await server.accepts()
        client.ends()
        stream = next(stream for stream in proxy.services.streams._open if stream.peer == "client")
        while not stream.ended:
            await asyncio.sleep(0.001)
        await peer.starts_tls(tls_server("a.test"))
        await proxy.ends()
        assert "before its handshake" in (await proxy.flow()).error
        assert proxy.services.refusals.hosts == []


@in_loop
async def test_a_client_that_leaves_has_not_refused_what_another_has_taken():
    async with proxying(fail_open=True) as proxy:
        client, server = await connects(proxy)
        peer, _ = await tls_through(proxy, client, server, context=trusting())
        await client.sends(request(b"a.test"))
        await peer.receives(request(b"a.test"))
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()
        other = await proxy.client()
        await other.sends(CONNECT.replace(b"NAME", server.name))
        await other.receives(ESTABLISHED)
        await tls_through(proxy, other, server, context=trusting())
        for each in (client, other):
            each.ends()
        await proxy.ends()
        assert proxy.services.refusals.hosts == []


@in_loop
async def test_a_client_that_stays_a_while_before_it_leaves_has_not_refused(monkeypatch):
    monkeypatch.setattr(policy, "PINNED_SECONDS", 0.0)
    monkeypatch.setattr(module, "PINNED_SECONDS", 0.0)
    async with proxying(fail_open=True) as proxy:
        client, server = await connects(proxy)
        await tls_through(proxy, client, server, context=trusting())
        client.ends()
        await proxy.ends()
        assert proxy.services.refusals.hosts == []


@in_loop
async def test_without_fail_open_a_refused_host_is_intercepted_again():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        accepting = asyncio.create_task(server.accepts())
        refusing = asyncio.create_task(refuses(client, "alert"))
        await (await accepting).starts_tls(tls_server("a.test"))
        await refusing
        await proxy.ends()
        await proxy.flow()
        client = await proxy.client()
        await client.sends(CONNECT.replace(b"NAME", server.name))
        await client.receives(ESTABLISHED)
        await tls_through(proxy, client, server, context=trusting())
        assert proxy.outlet.tally.passed_through == 0
