"""Servers that are not to be trusted, or cannot be had: nothing from them, a page for the client, a record."""

from __future__ import annotations

import ssl
from pathlib import Path
from ssl import SSLContext

import pytest
from support.clients import ask, check_page, curl, get, open_tls
from support.pki import CLIENT, Identity, make, make_root
from support.program import Start
from support.servers import HELLO, ContextOf, Serve, answering
from support.tools import refusing_port, run


def _bad_identities(root: Identity) -> dict[str, tuple[Identity, str]]:
    """Identities that no careful client accepts for localhost, and the word that says why."""
    return {
        "expired": (root.issue("localhost", days=(-20, -1)), "expired"),
        "not yet valid": (root.issue("localhost", days=(2, 20)), "not yet valid"),
        "wrong host": (root.issue("example.com"), "hostname mismatch"),
        "common name only": (root.issue(common_name="localhost"), "hostname mismatch"),
        "self-signed": (make("localhost"), "self-signed"),
        "unknown root": (make_root().issue("localhost"), "unable to get local issuer certificate"),
        "not for servers": (root.issue("localhost", purposes=(CLIENT,)), "purpose"),
        "issued by no CA": (root.issue("example.com").issue("localhost"), "CA"),
        "no key identifiers": (root.issue("localhost", key_identifiers=False), "key identifier"),
    }


@pytest.mark.parametrize("fault", list(_bad_identities(make_root())))
def test_a_server_that_is_not_to_be_trusted_gets_no_request_and_its_client_an_explanation(
    start: Start, serve: Serve, root: Identity, context_of: ContextOf, fault: str
) -> None:
    """T6"""
    identity, reason = _bad_identities(root)[fault]
    requests: list[bytes] = []
    server = serve(lambda each: (requests.append(each.read_head()), each.send(HELLO)), context_of(identity))
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as sock:
        answer, page = ask(sock, get(authority, "/secret"))
        check_page(answer, page, authority, reason)
    assert b"".join(requests) == b""
    flow = proxy.flow()
    assert flow.request and flow.error and flow.server_conn
    assert (flow.request.path, flow.response) == ("/secret", None)
    assert reason in flow.error.msg
    assert reason in (flow.server_conn.verification or "")
    assert flow.server_conn.certificate_list[0] == identity.der


def test_our_own_ca_is_not_trusted_for_servers(start: Start, serve: Serve, confdir: Path, tmp_path: Path) -> None:
    """T7: not even where the system trusts it."""
    leaf = _leaf_of(confdir, tmp_path)
    server = serve(answering(HELLO), leaf)
    authority = f"localhost:{server.port}"
    with (
        start(trust=confdir / "mitmdump-ca-cert.pem") as proxy,
        open_tls(proxy, authority) as sock,
    ):
        check_page(*ask(sock, get(authority)), "own CA")
    flow = proxy.flow()
    assert flow.error


def _leaf_of(confdir: Path, directory: Path) -> SSLContext:
    """A server's context with a certificate for localhost that our CA's stolen key has signed."""
    (directory / "names").write_text(
        "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n"
        "keyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    )
    key, request, certificate = (directory / name for name in ("key", "request", "certificate"))
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    run("openssl", "req", *new_key, "-keyout", key, "-subj", "/CN=localhost", "-out", request)
    ca = confdir / "mitmdump-ca.pem"
    options = ("-days", "10", "-set_serial", "5", "-extfile", directory / "names", "-out", certificate)
    run("openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca, *options)
    context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_any_certificate_is_accepted_only_by_a_flag_which_is_said_at_the_start_and_recorded(
    start: Start, serve: Serve, context_of: ContextOf
) -> None:
    """T8"""
    server = serve(answering(HELLO), context_of(make("example.com")))
    with start("-k") as proxy:
        proxy.expected.append("server certificates are not verified")
        done = curl(proxy, server.url(host="localhost"))
    assert done.stdout == b"hello"
    assert "not verified (-k)" in proxy.stderr
    flow = proxy.flow()
    assert flow.server_conn
    assert "self-signed" in (flow.server_conn.verification or "")


def test_a_server_that_cannot_be_reached_is_explained_inside_tls(start: Start) -> None:
    with refusing_port() as port, start() as proxy, open_tls(proxy, authority := f"localhost:{port}") as sock:
        check_page(*ask(sock, get(authority)), f"connect to {authority}: connection refused")
    flow = proxy.flow()
    assert flow.error and flow.request and flow.request.url == f"https://{authority}/"
    assert flow.client_conn.tls_version


def test_a_server_that_does_not_speak_tls_is_explained_inside_tls(start: Start, serve: Serve) -> None:
    server = serve(lambda each: each.send(b"220 mail.test ESMTP\r\n" * 10))
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as sock:
        check_page(*ask(sock, get(authority)), "does not speak TLS")
