"""HTTPS through the proxy: names, verification of servers, TLS sessions and their ends."""

from __future__ import annotations

import http.client
import socket
import ssl
from contextlib import closing, suppress
from pathlib import Path
from ssl import SSLContext
from threading import Event

import pytest
from support.clients import Shim, ask, curl, get, open_tls, open_tunnel, trusting
from support.pki import CLIENT, Identity, make, make_root
from support.program import Proxy, Start
from support.servers import ContextOf, Nginx, Peer, Serve, Server, answering, response
from support.tools import run

HELLO = response(b"hello")


def _names(sock: ssl.SSLSocket) -> set[str]:
    """The names in the certificate that we were shown."""
    certificate = sock.getpeercert()
    assert certificate
    return {value for _, value in certificate["subjectAltName"]}


def _check_shown_to_client(answer: http.client.HTTPResponse, page: bytes, *words: str) -> None:
    assert (answer.status, answer.getheader("content-type")) == (502, "text/html; charset=utf-8")
    for word in words:
        assert word in page.decode()


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


# Verification of servers


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
        _check_shown_to_client(answer, page, authority, reason)
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
        _check_shown_to_client(*ask(sock, get(authority)), "own CA")
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
    server = Server(answering(HELLO))
    server.close()
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as sock:
        _check_shown_to_client(*ask(sock, get(authority)), f"connect to {authority}: connection refused")
    flow = proxy.flow()
    assert flow.error and flow.request and flow.request.url == f"https://{authority}/"
    assert flow.client_conn.tls_version


def test_a_server_that_does_not_speak_tls_is_explained_inside_tls(start: Start, serve: Serve) -> None:
    server = serve(lambda each: each.send(b"220 mail.test ESMTP\r\n" * 10))
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as sock:
        _check_shown_to_client(*ask(sock, get(authority)), "does not speak TLS")


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
        (("h2", "http/1.1"), ("h2", "http/1.1"), "http/1.1"),
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


# What clients send instead of a ClientHello in one piece


class _Handshake:
    """A client's TLS handshake by hand, so that each flight's bytes can be sent in any pieces."""

    def __init__(self, context: SSLContext, name: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)

    def step(self) -> bytes:
        """What to send next."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()


def _in_records_of_one_byte(flight: bytes) -> bytes:
    """A handshake message spread over as many TLS records as it has bytes (RFC 8446 section 5.1 allows it)."""
    return b"".join(flight[:3] + b"\0\1" + bytes([byte]) for byte in flight[5:])


@pytest.mark.parametrize("in_records", [False, True])
def test_a_client_hello_may_come_byte_by_byte(start: Start, serve: Serve, tls: SSLContext, in_records: bool) -> None:
    """T13"""
    server = serve(answering(HELLO), tls)
    authority = f"localhost:{server.port}"
    with start() as proxy, closing(open_tunnel(proxy, authority)) as sock:
        handshake = _Handshake(trusting(proxy.ca), "localhost")
        hello = handshake.step()
        for byte in _in_records_of_one_byte(hello) if in_records else hello:
            sock.sendall(bytes([byte]))
        while handshake.tls.version() is None or not _is_done(handshake):
            handshake.incoming.write(sock.recv(65536))
            sock.sendall(handshake.step())
        handshake.tls.write(get(authority))
        sock.sendall(handshake.outgoing.read())
        assert _read_plaintext(sock, handshake).endswith(b"hello")
    assert proxy.flow().client_conn.sni == "localhost"


def _is_done(handshake: _Handshake) -> bool:
    try:
        handshake.tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _read_plaintext(sock: socket.socket, handshake: _Handshake) -> bytes:
    plaintext = b""
    while not plaintext.endswith(b"hello"):
        try:
            plaintext += handshake.tls.read(65536)
        except ssl.SSLWantReadError:
            data = sock.recv(65536)
            assert data, "the connection ended"
            handshake.incoming.write(data)
    return plaintext


HOSTILE_HELLOS = [
    b"\x16\x03\x01",  # nothing more
    b"\x16\x03\x01\xff\xff" + bytes(70_000),  # a record larger than there are
    b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",  # an empty ClientHello
    b"\x16\x03\x01\x00\x04\x01\xff\xff\xff" + (b"\x16\x03\x01\x40\x00" + bytes(0x4000)) * 200,  # one of 16 MB
    b"\x16\x03\x01\x00\x2c\x01\x00\x00\x28\x03\x03" + b"\xff" * 38,  # lengths that lead outside
    b"\x16\x03\x03\x00\x02\x01\x00\x15\x03\x03\x00\x02\x02\x28",  # an alert in the middle
    b"\x16\x03\x01\x00\x00" * 5000,  # empty records
    b"\x80\x2e\x01\x00\x02" + bytes(60),  # SSL 2
]


def test_hostile_client_hellos_harm_nobody(start: Start, serve: Serve, tls: SSLContext) -> None:
    """T13"""
    server = serve(answering(HELLO), tls)
    with start() as proxy:
        proxy.expected.append("no TLS with ")
        for hello in HOSTILE_HELLOS:
            with closing(open_tunnel(proxy, f"localhost:{server.port}")) as sock, suppress(OSError):
                sock.sendall(hello)  # which may well be cut off
                sock.shutdown(socket.SHUT_WR)
                Peer(sock).read_all()
            assert curl(proxy, server.url(host="localhost")).stdout == b"hello"
        assert proxy.memory("VmHWM") < 120 << 20


# Versions and cipher suites


def test_clients_are_offered_nothing_that_is_weak(start: Start, nginx: Nginx) -> None:
    """T11"""
    with start() as proxy, Shim(proxy, f"localhost:{nginx.https_port}") as shim:
        proxy.expected.append("no TLS with ")
        report = run("sslscan", "--no-colour", "--sni-name=localhost", f"127.0.0.1:{shim.port}").stdout.decode()
    enabled = {line.split()[0] for line in report.splitlines() if line.endswith("   enabled")}
    assert enabled == {"TLSv1.2", "TLSv1.3"}
    accepted = [line.split() for line in report.splitlines() if line.startswith(("Accepted", "Preferred"))]
    assert {words[1] for words in accepted} == {"TLSv1.2", "TLSv1.3"}
    for words in accepted:
        assert int(words[2]) >= 128
        assert words[4].startswith(("TLS_", "ECDHE-", "DHE-"))
        assert not any(weak in words[4] for weak in ("RC4", "DES", "NULL", "EXP", "MD5", "anon"))
    assert "Session renegotiation not supported" in report
    assert " vulnerable" not in report.replace("not vulnerable", "")


@pytest.mark.parametrize(
    "cipher", ["AES128-SHA256", "AES128-GCM-SHA256", "AES256-SHA", "ADH-AES128-SHA256", "NULL-SHA256"]
)
def test_servers_with_nothing_but_weak_ciphers_are_refused(
    start: Start, serve: Serve, context_of: ContextOf, intermediate: Identity, cipher: str
) -> None:
    """T11: no forward secrecy, no authentication, no encryption."""
    context = context_of(intermediate.issue("localhost", key="rsa"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    server = serve(answering(HELLO), context)
    authority = f"localhost:{server.port}"
    with start("-k") as proxy, open_tls(proxy, authority) as sock:
        proxy.expected.append("server certificates are not verified")
        _check_shown_to_client(*ask(sock, get(authority)), "TLS")
    assert proxy.flow().error


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_servers_that_speak_only_tls_1_1_are_refused(
    start: Start, serve: Serve, context_of: ContextOf, localhost: Identity
) -> None:
    """T11"""
    context = context_of(localhost)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    server = serve(answering(HELLO), context)
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as sock:
        _check_shown_to_client(*ask(sock, get(authority)), "TLS")
