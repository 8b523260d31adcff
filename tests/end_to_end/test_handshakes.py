"""TLS handshakes: ClientHellos in pieces and from enemies, versions and cipher suites on both sides."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing, suppress
from ssl import SSLContext

import pytest
from support.clients import Shim, ask, check_page, curl, get, open_tls, open_tunnel, trusting
from support.pki import Identity
from support.program import Start
from support.servers import HELLO, ContextOf, Nginx, Peer, Serve, answering
from support.tools import run

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
        check_page(*ask(sock, get(authority)), "TLS")
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
        check_page(*ask(sock, get(authority)), "TLS")
