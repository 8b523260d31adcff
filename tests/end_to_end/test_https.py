"""HTTPS through the proxy: names, TLS sessions and their ends."""

from __future__ import annotations

import ssl
from contextlib import suppress
from ssl import SSLContext
from threading import Event

import pytest
from support.clients import ask, curl, get, open_tls, open_tunnel, trusting
from support.pki import Identity
from support.program import Proxy, Start
from support.servers import HELLO, ContextOf, Nginx, Peer, Serve, answering


def _names(sock: ssl.SSLSocket) -> set[str]:
    """The names in the certificate that we were shown."""
    certificate = sock.getpeercert()
    assert certificate
    return {value for _, value in certificate["subjectAltName"]}


# Names


def test_a_tunnel_to_an_address_without_a_server_name_gets_the_names_of_the_server(
    start: Start, serve: Serve, context_of: ContextOf, intermediate: Identity
) -> None:
    server = serve(answering(HELLO), context_of(intermediate.issue("a.test", "*.b.test", "127.0.0.1")))
    authority = f"127.0.0.1:{server.port}"
    with start() as proxy, open_tls(proxy, authority, "127.0.0.1") as sock:
        assert _names(sock) == {"a.test", "*.b.test", "127.0.0.1"}
        assert ask(sock, get(authority))[1] == b"hello"
    flow = proxy.flow()
    assert flow.client_conn.sni is None
    assert flow.server_conn
    assert (flow.server_conn.sni, flow.server_conn.verification) == (None, "ok")


def test_the_clients_server_name_decides_and_a_mismatch_with_connect_and_host_is_recorded(
    start: Start, serve: Serve, context_of: ContextOf, intermediate: Identity
) -> None:
    """T9"""
    asked: list[str | None] = []
    context = context_of(intermediate.issue("a.test"))
    context.sni_callback = lambda _sock, name, _context: asked.append(name)
    server = serve(answering(HELLO), context)
    with start() as proxy, open_tls(proxy, f"127.0.0.1:{server.port}", "a.test") as sock:
        assert "a.test" in _names(sock)
        assert ask(sock, get("b.test"))[1] == b"hello"
    assert asked == ["a.test"]
    flow = proxy.flow()
    assert flow.request and flow.server_conn
    assert (flow.client_conn.sni, flow.server_conn.sni) == ("a.test", "a.test")
    assert flow.server_conn.address == ("127.0.0.1", server.port)
    assert (flow.request.headers["host"], flow.request.host) == ("b.test", "127.0.0.1")


def test_a_server_at_an_ipv6_address_is_verified_and_shown_by_it(start: Start, serve: Serve, tls: SSLContext) -> None:
    server = serve(answering(HELLO), tls, host="::1")
    with start() as proxy:
        url = f"https://[::1]:{server.port}/"
        assert curl(proxy, "--globoff", url).stdout == b"hello"
    flow = proxy.flow()
    assert flow.request and flow.request.url == url
    assert flow.server_conn and flow.server_conn.verification == "ok"


def test_without_looking_at_the_server_the_leaf_has_the_asked_name_and_nobody_is_connected(
    start: Start, serve: Serve, tls: SSLContext
) -> None:
    server = serve(answering(HELLO), tls)
    authority = f"localhost:{server.port}"
    with start("--no-upstream-cert") as proxy, open_tls(proxy, authority) as sock:
        assert _names(sock) == {"localhost"}
        assert server.connections == 0
        assert ask(sock, get(authority))[1] == b"hello"
        assert server.connections == 1
    assert proxy.flow().response


# Sessions


def test_several_requests_share_one_connection_on_both_sides(start: Start, serve: Serve, tls: SSLContext) -> None:
    server = serve(answering(HELLO), tls)
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as sock:
        for number in range(20):
            assert ask(sock, get(authority, f"/{number}"))[1] == b"hello"
    assert server.connections == 1
    flows = proxy.flows()
    assert [flow.request.path for flow in flows if flow.request] == [f"/{number}" for number in range(20)]
    assert len({flow.client_conn.id for flow in flows}) == 1
    assert len({flow.server_conn.id for flow in flows if flow.server_conn}) == 1


@pytest.mark.parametrize(("options", "version"), [(["--tls-max", "1.2"], "TLSv1.2"), (["--tlsv1.3"], "TLSv1.3")])
def test_clients_of_one_tls_version_are_served(start: Start, nginx: Nginx, options: list[str], version: str) -> None:
    with start() as proxy:
        curl(proxy, nginx.https + "/echo", *options)
    flow = proxy.flow()
    assert flow.server_conn
    assert (flow.client_conn.tls_version, flow.server_conn.tls_version) == (version, "TLSv1.3")
    assert flow.client_conn.cipher
    assert flow.client_conn.timestamp_tls_setup


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_servers_of_one_tls_version_are_asked(
    start: Start, serve: Serve, context_of: ContextOf, localhost: Identity, version: ssl.TLSVersion
) -> None:
    context = context_of(localhost)
    context.minimum_version = context.maximum_version = version
    server = serve(answering(HELLO), context)
    with start() as proxy:
        assert curl(proxy, server.url(host="localhost")).stdout == b"hello"
    flow = proxy.flow()
    assert flow.server_conn and flow.server_conn.tls_version == version.name.replace("_", ".")


@pytest.mark.parametrize(
    ("offered", "spoken", "agreed"),
    [
        (("h2", "http/1.1"), ("http/1.1",), "http/1.1"),
        (("h2", "http/1.1"), (), None),
        (("http/1.1",), ("h2", "http/1.1"), "http/1.1"),
        ((), ("h2", "http/1.1"), None),
    ],
)
def test_a_client_agrees_on_no_protocol_that_the_server_did_not(
    start: Start,
    serve: Serve,
    context_of: ContextOf,
    localhost: Identity,
    offered: tuple[str, ...],
    spoken: tuple[str, ...],
    agreed: str | None,
) -> None:
    """T10"""
    context = context_of(localhost)
    if spoken:
        context.set_alpn_protocols(list(spoken))
    server = serve(answering(HELLO), context)
    authority = f"localhost:{server.port}"
    with start() as proxy:
        tunnel = open_tunnel(proxy, authority)
        with trusting(proxy.ca, alpn=offered).wrap_socket(tunnel, server_hostname="localhost") as sock:
            assert sock.selected_alpn_protocol() == agreed
            assert ask(sock, get(authority))[1] == b"hello"
    flow = proxy.flow()
    assert flow.server_conn and flow.request and flow.response
    alpn = agreed.encode() if agreed else None
    assert (flow.client_conn.alpn, flow.server_conn.alpn) == (alpn, alpn)
    assert flow.client_conn.alpn_offers == tuple(name.encode() for name in offered)
    assert (flow.request.http_version, flow.response.http_version) == ("HTTP/1.1", "HTTP/1.1")


def _open(proxy: Proxy, authority: str) -> ssl.SSLSocket:
    """A client that takes an end without close_notify for an error."""
    tunnel = open_tunnel(proxy, authority)
    context = trusting(proxy.ca)
    return context.wrap_socket(tunnel, server_hostname="localhost", suppress_ragged_eofs=False)


CLOSE_DELIMITED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello"


def test_close_notify_ends_a_close_delimited_body_and_is_passed_on(start: Start, serve: Serve, tls: SSLContext) -> None:
    def script(server: Peer) -> None:
        server.read_head()
        server.send(CLOSE_DELIMITED)
        assert isinstance(server.socket, ssl.SSLSocket)
        server.socket.unwrap()

    server = serve(script, tls)
    authority = f"localhost:{server.port}"
    with start() as proxy, _open(proxy, authority) as sock:
        sock.sendall(get(authority))
        client = Peer(sock)
        client.read_head()
        assert client.read_all() == b"hello"  # and no SSLEOFError
        sock.unwrap()  # close_notify, both ways
    flow = proxy.flow()
    assert flow.error is None
    assert flow.response and flow.response.body.complete


def test_a_close_delimited_body_that_ends_without_close_notify_is_cut_off(
    start: Start, serve: Serve, tls: SSLContext
) -> None:
    def script(server: Peer) -> None:
        server.read_head()
        server.send(CLOSE_DELIMITED)
        server.close()  # a FIN on the TCP connection, and nothing in TLS: what an attacker can do

    server = serve(script, tls)
    authority = f"localhost:{server.port}"
    with start() as proxy, _open(proxy, authority) as sock:
        sock.sendall(get(authority))
        client = Peer(sock)
        client.read_head()
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            client.read_all()
    flow = proxy.flow()
    assert flow.error and "without ending TLS" in flow.error.msg
    assert flow.response and flow.response.raw_content == b"hello"
    assert not flow.response.body.complete


def test_a_client_that_ends_tls_while_it_waits_does_so_for_the_server_too(
    start: Start, serve: Serve, tls: SSLContext
) -> None:
    ended = Event()

    def script(server: Peer) -> None:
        server.read_head()
        assert server.read(1) == b""
        ended.set()

    server = serve(script, tls)
    authority = f"localhost:{server.port}"
    with start() as proxy, _open(proxy, authority) as sock:
        sock.sendall(get(authority))
        with suppress(ssl.SSLError):
            sock.unwrap()  # close_notify; back comes the proxy's page about the missing response
        assert ended.wait(20)
    assert proxy.flow().error
