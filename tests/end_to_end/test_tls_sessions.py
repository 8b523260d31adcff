"""Resumed sessions, in both directions, with OpenSSL's own tools as witnesses; and handshakes that run at once."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.clients import Shim, ask, curl, get, open_tls, open_tunnel, trusting
from support.pki import Identity
from support.program import Proxy, Start
from support.servers import HELLO, ContextOf, Nginx, Serve
from support.tools import run

VERSIONS = pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])


def _s_client(
    proxy: Proxy, nginx: Nginx, name: str, *options: str | Path, status: int | None = 0
) -> subprocess.CompletedProcess[bytes]:
    """openssl s_client through a tunnel, which asks for a page and reads it."""
    to = ("-proxy", f"127.0.0.1:{proxy.port}", "-connect", f"localhost:{nginx.https_port}", "-servername", name)
    trust = ("-CAfile", proxy.ca, "-no-CApath", "-no-CAstore", "-ign_eof")
    request = get(name, "/echo", "Connection: close")
    return run("openssl", "s_client", *to, *trust, *options, stdin=request, status=status)


@VERSIONS
def test_openssl_resumes_its_session_with_us(start: Start, nginx: Nginx, tmp_path: Path, version: str) -> None:
    with start() as proxy:
        first = _s_client(proxy, nginx, "localhost", version, "-sess_out", tmp_path / "session")
        again = _s_client(proxy, nginx, "localhost", version, "-sess_in", tmp_path / "session")
    assert re.search(rb"^New, TLSv1.*GET /echo", first.stdout, re.MULTILINE | re.DOTALL)
    assert re.search(rb"^Reused, TLSv1.*GET /echo", again.stdout, re.MULTILINE | re.DOTALL)
    assert [flow.client_conn.session_resumed for flow in proxy.flows()] == [False, True]


@VERSIONS
def test_a_ticket_for_one_host_begins_nothing_at_another(
    start: Start, nginx: Nginx, tmp_path: Path, version: str
) -> None:
    """T14"""
    with start("-k") as proxy:
        proxy.expected.append("server certificates are not verified")
        _s_client(proxy, nginx, "localhost", version, "-sess_out", tmp_path / "session")
        other = _s_client(proxy, nginx, "other.test", version, "-sess_in", tmp_path / "session")
    assert re.search(rb"^New, TLSv1.*GET /echo", other.stdout, re.MULTILINE | re.DOTALL)
    assert not [flow for flow in proxy.flows() if flow.client_conn.session_resumed]


def test_openssl_reconnects_five_times_in_one_session(start: Start, nginx: Nginx) -> None:
    with start() as proxy, Shim(proxy, f"localhost:{nginx.https_port}") as shim:
        to = ("-connect", f"127.0.0.1:{shim.port}", "-servername", "localhost", "-CAfile", proxy.ca)
        done = run("openssl", "s_client", *to, "-tls1_2", "-reconnect", stdin=b"Q\n")
    assert [line.split(b",")[0] for line in re.findall(rb"^(?:New|Reused), .*", done.stdout, re.MULTILINE)] == [
        b"New",
        *[b"Reused"] * 5,
    ]


@VERSIONS
def test_nginx_is_asked_again_in_the_session_of_before(start: Start, nginx: Nginx, version: str) -> None:
    """T6: with the verdict and the chain of when it began."""
    limit = "1.2" if version == "-tls1_2" else "1.3"
    with start("--tls-max", f"server={limit}") as proxy:
        for _ in range(3):
            assert curl(proxy, nginx.https + "/echo").stdout == b"GET /echo \n"
    servers = [flow.server_conn for flow in proxy.flows() if flow.server_conn]
    assert [each.session_resumed for each in servers] == [False, True, True]
    assert {each.verification for each in servers} == {"ok"}
    assert {each.tls_version for each in servers} == {f"TLSv{limit}"}
    assert len({each.certificate_list for each in servers}) == 1
    assert len(servers[2].certificate_list) == 2


def test_a_server_that_is_replaced_by_an_impostor_is_noticed(
    start: Start, serve: Serve, context_of: ContextOf, localhost: Identity
) -> None:
    """T6: neither a known server nor a session with it makes up for a certificate."""
    right, wrong = context_of(localhost), context_of(Identity(localhost.certificate, localhost.key))
    requests: list[bytes] = []

    def script(peer) -> None:  # type: ignore[no-untyped-def]
        while head := peer.read_head():
            requests.append(head)
            peer.send(HELLO)

    server = serve(script, right)
    with start() as proxy:
        authority = f"localhost:{server.port}"
        for _ in range(2):
            with open_tls(proxy, authority) as sock:
                assert ask(sock, get(authority))[1] == b"hello"
        server._context = wrong  # without its intermediate
        with open_tls(proxy, authority) as sock:
            answer, _ = ask(sock, get(authority, "/secret"))
            assert answer.status == 502
    flows = proxy.flows()
    assert [flow.server_conn and flow.server_conn.verification for flow in flows] == [
        "ok",
        "ok",
        "unable to get local issuer certificate",
    ]
    assert len(requests) == 2
    assert b"/secret" not in b"".join(requests)


def test_python_resumes_its_session_with_us_and_sees_the_same_server(start: Start, nginx: Nginx) -> None:
    authority = f"localhost:{nginx.https_port}"
    with start() as proxy:
        context = trusting(proxy.ca)
        with context.wrap_socket(open_tunnel(proxy, authority), server_hostname="localhost") as sock:
            assert ask(sock, get("localhost", "/echo"))[1] == b"GET /echo \n"
            session, certificate = sock.session, sock.getpeercert(True)
        with context.wrap_socket(open_tunnel(proxy, authority), server_hostname="localhost", session=session) as sock:
            assert sock.session_reused
            assert sock.getpeercert(True) == certificate
            assert ask(sock, get("localhost", "/echo"))[1] == b"GET /echo \n"
    assert [flow.client_conn.session_resumed for flow in proxy.flows()] == [False, True]
