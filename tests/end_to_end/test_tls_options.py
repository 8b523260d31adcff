"""The user's own certificates on both sides, versions and suites, the file of secrets; and what is never told."""

from __future__ import annotations

import base64
import os
import re
import socket
import ssl
from contextlib import closing, suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from support.clients import Shim, ask, curl, get, open_tls, open_tunnel, trusting
from support.pki import CLIENT, Identity, make_root
from support.program import Start, mitmdump
from support.servers import HELLO, ContextOf, Nginx, Peer, Serve, answering
from support.tools import run


def _pem(identity: Identity, path: Path) -> Path:
    """Key, certificate and chain in one file."""
    certificates, key = identity.write(path.parent, path.stem + "-parts")
    path.write_bytes(key.read_bytes() + certificates.read_bytes())
    return path


# Certificates of the user's


def test_the_users_own_certificate_is_shown_for_the_hosts_that_it_is_for(
    start: Start, nginx: Nginx, tmp_path: Path
) -> None:
    root = make_root("Company")
    company = root.write_certificate(tmp_path / "company.pem")
    wildcard = _pem(root.issue(ca=True).issue("*.company.test"), tmp_path / "wildcard.pem")
    exact = _pem(root.issue("a.company.test"), tmp_path / "exact.pem")
    own = ("--certs", f"*.company.test={wildcard}", "--certs", f"a.company.test={exact}")
    with start("-k", *own) as proxy:
        proxy.expected.append("server certificates are not verified")
        for name, ca in (("a.company.test", company), ("b.company.test", company), ("localhost", proxy.ca)):
            tunnel = open_tunnel(proxy, f"localhost:{nginx.https_port}")
            with trusting(ca).wrap_socket(tunnel, server_hostname=name) as sock:
                shown = x509.load_der_x509_certificate(sock.getpeercert(True) or b"")
                assert ask(sock, get(name, "/echo"))[1] == b"GET /echo \n"
            expected = {"a.company.test": "a.company.test", "b.company.test": "*.company.test"}.get(name, "localhost")
            assert f"CN={expected}" in shown.subject.rfc4514_string()
    assert len(proxy.flows()) == 3


def test_a_key_with_a_password_is_refused_at_the_start(confdir: Path, tmp_path: Path) -> None:
    new = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-passout", "pass:secret", "-subj", "/CN=a")
    key, certificate, both = (tmp_path / name for name in ("key", "certificate", "own.pem"))
    run("openssl", "req", *new, "-keyout", key, "-out", certificate)
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    for option in ("--certs", "--client-certs"):
        done = mitmdump("--confdir", confdir, "-p", "0", option, both)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch(r"mitmdump: the private key in .*own\.pem is encrypted.*openssl pkey.*\n", done.stderr)


def _asking(context_of: ContextOf, localhost: Identity, clients: Path) -> ssl.SSLContext:
    """A server that lets nobody in without a certificate of this CA."""
    context = context_of(localhost)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(clients)
    return context


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("form", ["file", "directory"])
def test_a_server_that_asks_for_a_client_certificate_gets_it(
    start: Start, serve: Serve, context_of: ContextOf, localhost: Identity, tmp_path: Path, form: str, version: str
) -> None:
    root = make_root("Clients")
    identity = root.issue(ca=True).issue("me", purposes=(CLIENT,))
    directory = tmp_path / "clients"
    directory.mkdir()
    file = _pem(identity, directory / "localhost.pem")
    (directory / "localhost-parts.pem").unlink()
    context = _asking(context_of, localhost, root.write_certificate(tmp_path / "clients.pem"))
    server = serve(answering(HELLO), context)
    with start("--client-certs", file if form == "file" else directory, "--tls-max", f"server={version}") as proxy:
        for _ in range(2):
            assert curl(proxy, server.url(host="localhost")).stdout == b"hello"
    assert [flow.server_conn and flow.server_conn.session_resumed for flow in proxy.flows()] == [False, True]


def test_a_server_that_asks_in_vain_is_a_page(
    start: Start, serve: Serve, context_of: ContextOf, localhost: Identity, tmp_path: Path
) -> None:
    clients = make_root("Clients").write_certificate(tmp_path / "clients.pem")
    server = serve(answering(HELLO), _asking(context_of, localhost, clients))
    with start("--tls-max", "server=1.2") as proxy:
        done = curl(proxy, server.url(host="localhost"))
    assert b"502 Bad Gateway" in done.stdout
    assert proxy.flow().error


def test_the_certificate_of_a_client_is_asked_for_and_recorded(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    identity = make_root("Clients").issue(ca=True).issue("me", purposes=(CLIENT,))
    certificates, key = identity.write(tmp_path)
    with start("--request-client-cert") as proxy:
        for options in (("--cert", certificates, "--key", key), ()):
            assert curl(proxy, nginx.https + "/echo", *options).stdout == b"GET /echo \n"
    chains = [flow.client_conn.certificate_list for flow in proxy.flows()]
    assert chains == [tuple(each.public_bytes(Encoding.DER) for each in identity.chain), ()]


# Versions and suites


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_servers_are_asked_where_that_is_wanted(
    start: Start, serve: Serve, context_of: ContextOf, intermediate: Identity
) -> None:
    """T11"""
    context = context_of(intermediate.issue("localhost", key="rsa"))
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    server = serve(answering(HELLO), context)
    with start("--tls-min", "server=1.0") as proxy:
        assert curl(proxy, server.url(host="localhost")).stdout == b"hello"
    flow = proxy.flow()
    assert flow.server_conn and flow.server_conn.tls_version == "TLSv1.1"
    assert flow.client_conn.tls_version == "TLSv1.3"


@pytest.mark.parametrize(("version", "name"), [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1")])
def test_old_clients_are_served_where_that_is_wanted(start: Start, nginx: Nginx, version: str, name: str) -> None:
    """T11"""
    request = get("localhost", "/echo", "Connection: close")
    old = ("openssl", "s_client", version, "-cipher", "ALL:@SECLEVEL=0", "-ign_eof", "-connect")
    with start() as strict, Shim(strict, f"localhost:{nginx.https_port}") as shim:
        strict.expected.append("no TLS version in common")
        run(*old, f"127.0.0.1:{shim.port}", "-servername", "localhost", stdin=request, status=1)
    with start("--tls-min", "client=1.0") as proxy, Shim(proxy, f"localhost:{nginx.https_port}") as shim:
        done = run(*old, f"127.0.0.1:{shim.port}", "-servername", "localhost", stdin=request)
    assert b"GET /echo" in done.stdout
    assert proxy.flow().client_conn.tls_version == name


def test_the_suites_of_each_side_are_those_that_are_wanted(start: Start, nginx: Nginx) -> None:
    suites = ("client=TLS_CHACHA20_POLY1305_SHA256", "server=ECDHE-ECDSA-AES256-GCM-SHA384")
    with start("--ciphers", suites[0], "--ciphers", suites[1], "--tls-max", "server=1.2") as proxy:
        assert curl(proxy, nginx.https + "/echo").stdout == b"GET /echo \n"
    flow = proxy.flow()
    assert flow.client_conn.cipher == "TLS_CHACHA20_POLY1305_SHA256"
    assert flow.server_conn and flow.server_conn.cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"


# Secrets


def test_the_file_of_secrets_agrees_with_those_of_client_and_server(
    start: Start, serve: Serve, context_of: ContextOf, localhost: Identity, tmp_path: Path
) -> None:
    context = context_of(localhost)
    context.keylog_filename = str(tmp_path / "server.keys")
    server = serve(answering(HELLO), context)
    with start("--keylog", tmp_path / "ours.keys") as proxy:
        client = trusting(proxy.ca)
        client.keylog_filename = str(tmp_path / "client.keys")
        authority = f"localhost:{server.port}"
        with client.wrap_socket(open_tunnel(proxy, authority), server_hostname="localhost") as sock:
            assert ask(sock, get(authority))[1] == b"hello"
    ours, theirs = _secrets(tmp_path / "ours.keys"), _secrets(tmp_path / "client.keys", tmp_path / "server.keys")
    assert ours == theirs
    assert len(ours) >= 10
    assert (tmp_path / "ours.keys").stat().st_mode & 0o777 == 0o600


def _secrets(*files: Path) -> set[str]:
    return {line for file in files for line in file.read_text().splitlines() if not line.startswith("#")}


def test_no_secret_is_in_the_log_and_the_cas_key_stays_in_its_file(
    start: Start, serve: Serve, context_of: ContextOf, localhost: Identity, confdir: Path, tmp_path: Path
) -> None:
    """T2: not even in the log at its most talkative, nor in the capture."""
    context = context_of(localhost)
    context.keylog_filename = str(tmp_path / "server.keys")
    server = serve(answering(HELLO), context)
    own = _pem(make_root().issue("own.test"), tmp_path / "own.pem")
    with start("-v", "--debug", "--certs", f"own.test={own}") as proxy:
        proxy.expected.append("")
        assert curl(proxy, server.url(host="localhost")).stdout == b"hello"
        curl(proxy, server.url(host="localhost"), "--cacert", own, status=60)
        curl(proxy, server.url(host="own.test"), status=None)
    secrets = {line.split()[2] for line in _secrets(tmp_path / "server.keys")}
    for key in (confdir / "mitmdump-ca.pem", own):
        secrets |= _forms(key.read_bytes())
    written = [path for place in (proxy.capture.parent, confdir) for path in place.rglob("*") if path.is_file()]
    written.remove(confdir / "mitmdump-ca.pem")
    assert len(written) >= 6
    for path in written:
        content = path.read_bytes()
        assert b"PRIVATE KEY" not in content
        assert not [secret for secret in secrets if secret.encode("latin-1") in content], path


def _forms(pem: bytes) -> set[str]:
    """A private key as it could turn up: its number as bytes, in hexadecimal, decimal and base64."""
    key = load_pem_private_key(pem, None)
    number = key.private_numbers().private_value  # type: ignore[union-attr]
    raw = number.to_bytes(32, "big")
    body = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return {raw.decode("latin-1"), raw.hex(), str(number), base64.b64encode(raw).decode()[:40], body.hex()[:120]}


# Clients


@pytest.mark.parametrize("priority", ["NORMAL:-VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.3", "NORMAL:%COMPAT"])
def test_gnutls_is_served_whatever_it_prefers(start: Start, nginx: Nginx, priority: str) -> None:
    """T13"""
    with start() as proxy, Shim(proxy, f"localhost:{nginx.https_port}") as shim:
        options = ("--sni-hostname", "localhost", "--verify-hostname", "localhost", "--x509cafile", proxy.ca)
        request = get("localhost", "/echo", "Connection: close")
        done = run("gnutls-cli", *options, "--priority", priority, "-p", str(shim.port), "127.0.0.1", stdin=request)
    assert b"GET /echo" in done.stdout


@pytest.mark.parametrize("options", [("-noservername",), ("-servername", "localhost"), ("-tls1_2", "-noservername")])
def test_openssl_is_served_with_and_without_a_name(start: Start, nginx: Nginx, options: tuple[str, ...]) -> None:
    """T13"""
    with start() as proxy:
        to = ("-proxy", f"127.0.0.1:{proxy.port}", "-connect", f"localhost:{nginx.https_port}", *options)
        trust = ("-CAfile", proxy.ca, "-no-CApath", "-no-CAstore", "-ign_eof", "-verify_return_error")
        request = get("localhost", "/echo", "Connection: close")
        done = run("openssl", "s_client", *to, *trust, "-verify_hostname", "localhost", stdin=request)
    assert b"GET /echo" in done.stdout
    assert proxy.flow().client_conn.sni == (None if "-noservername" in options else "localhost")


def test_node_is_served(start: Start, nginx: Nginx) -> None:
    """T5"""
    with start() as proxy, Shim(proxy, f"localhost:{nginx.https_port}") as shim:
        script = f"""
            const server = {{port: {shim.port}, host: "127.0.0.1", servername: "localhost", path: "/echo"}};
            require("https").get(server, answer => answer.pipe(process.stdout))"""
        done = run("node", "-e", script, NODE_EXTRA_CA_CERTS=str(proxy.ca))
    assert done.stdout == b"GET /echo \n"
    assert proxy.flow().client_conn.tls_version == "TLSv1.3"


def test_random_first_bytes_after_a_hello_are_no_reason_to_fall_over(start: Start, nginx: Nginx) -> None:
    """T13: a proper hello, and then anything."""
    authority = f"localhost:{nginx.https_port}"
    with start() as proxy:
        proxy.expected.append("no TLS with ")
        for number in range(5):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
            with pytest.raises(ssl.SSLWantReadError):
                client.do_handshake()
            with closing(open_tunnel(proxy, authority)) as sock, suppress(OSError):
                sock.sendall(outgoing.read() + os.urandom(50 * number + 1))
                sock.shutdown(socket.SHUT_WR)
                Peer(sock).read_all()
        with open_tls(proxy, authority) as again:
            assert ask(again, get(authority, "/echo"))[1] == b"GET /echo \n"
