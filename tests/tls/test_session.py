"""The TLS session as a codec: both ends in one process, only bytes between them."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from OpenSSL._util import lib
from support.pki import make, make_root
from support.tls import connect, make_client, make_server, transfer

from mitmdump.errors import LocalError, TlsError
from mitmdump.model.connection import Connection
from mitmdump.tls.session import PIECE, Session

IDENTITY = make("a.test")
FRAGMENTS = [1, 5, 100, 1 << 20]
VERSIONS = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}


@pytest.fixture(autouse=True)
def clean_error_queue():
    """What one session leaves in OpenSSL's queue of errors, another one would take for its own."""
    yield
    assert lib.ERR_peek_error() == 0


def client_context(version: int = 0, *, ciphers: bytes = b"") -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    if ciphers:
        context.set_cipher_list(ciphers)
    return context


def established(version: int = 0) -> tuple[Session, Session]:
    client, server = make_client(client_context(version)), make_server(IDENTITY)
    connect(client, server)
    return client, server


def feed(session: Session, data: bytes, size: int) -> bytes:
    return b"".join(session.receive(data[at : at + size]) for at in range(0, len(data), size))


def test_a_client_speaks_first():
    client, server = make_client(), make_server(IDENTITY)
    server.handshake()
    client.handshake()
    assert (server.take(), client.take()[:3]) == (b"", b"\x16\x03\x01")


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
@pytest.mark.parametrize("size", FRAGMENTS)
def test_the_handshake_and_the_data_may_come_in_any_pieces(version, size):
    client, server = make_client(client_context(version)), make_server(IDENTITY)
    client.handshake()
    while not (client.established and server.established):
        feed(server, client.take(), size)
        feed(client, server.take(), size)
    client.send(b"request" * 700)
    server.send(b"response" * 700)
    assert feed(server, client.take(), size) == b"request" * 700
    assert feed(client, server.take(), size) == b"response" * 700


def test_data_that_comes_with_the_end_of_the_handshake_is_given():
    client, server = make_client(), make_server(IDENTITY)
    client.handshake()
    server.receive(client.take())
    client.receive(server.take())
    client.send(b"early bird")
    assert server.receive(client.take()) == b"early bird"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_large_message_is_encrypted_and_taken_whole(kind):
    client, server = established()
    data = bytes(range(256)) * 4096
    assert transfer(client, server, kind(data)) == data
    assert client.take() == b""


@settings(max_examples=20, deadline=None)
@given(st.lists(st.binary(max_size=40_000), max_size=4), st.integers(1, 70_000))
def test_what_is_sent_arrives_whatever_the_pieces(messages, size):
    client, server = established()
    for message in messages:
        client.send(message)
    assert feed(server, client.take(), size) == b"".join(messages)


def test_empty_reads_and_empty_messages_are_nothing():
    client, server = established()
    client.send(b"")
    assert (client.take(), server.receive(b""), server.take()) == (b"", b"", b"")


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_close_notify_is_a_clean_end_after_the_data_before_it(version):
    client, server = established(version)
    server.send(b"last words")
    server.close()
    server.close()
    assert not client.closed
    assert client.receive(server.take()) == b"last words"
    assert client.closed
    assert client.receive(b"whatever follows") == b""


def test_one_direction_may_end_before_the_other():
    client, server = established()
    client.close()
    server.receive(client.take())
    assert server.closed
    assert transfer(server, client, b"answer") == b"answer"


def test_a_session_that_never_began_has_nothing_to_close():
    server = make_server(IDENTITY)
    server.close()
    assert server.take() == b""


def test_sending_before_the_handshake_is_our_own_mistake():
    with pytest.raises(LocalError):
        make_client().send(b"too early")


def test_a_client_without_trust_says_so_with_an_alert():
    context = client_context()
    context.set_verify(SSL.VERIFY_PEER)
    client, server = make_client(context), make_server(IDENTITY)
    with pytest.raises(TlsError, match="handshake with the server failed: certificate verify failed"):
        connect(client, server)
    with pytest.raises(TlsError, match=r"^the client does not trust our certificate: alert unknown ca \(48\)$"):
        server.receive(client.take())


@pytest.mark.parametrize(
    ("context", "reason", "alert"),
    [
        (
            client_context(SSL.TLS1_2_VERSION, ciphers=b"ECDHE-RSA-AES128-GCM-SHA256"),
            "cipher suite",
            "handshake failure",
        ),
        (client_context(SSL.TLS1_1_VERSION, ciphers=b"ALL@SECLEVEL=0"), "TLS version", "protocol version"),
    ],
)
def test_what_the_two_have_not_in_common_is_said_on_both_sides(context, reason, alert):
    client, server = make_client(context), make_server(IDENTITY)
    client.handshake()
    with pytest.raises(TlsError, match=f"^the TLS handshake with the client failed: no {reason} in common$"):
        server.receive(client.take())
    with pytest.raises(TlsError, match=rf"^the server refused the TLS handshake: alert {alert} \(\d+\)$"):
        client.receive(server.take())


def test_plain_http_is_no_tls():
    for session, plain in (
        (make_server(IDENTITY), b"GET / HTTP/1.1\r\n\r\n"),
        (make_client(), b"HTTP/1.1 400\r\n\r\n"),
    ):
        session.handshake()
        with pytest.raises(TlsError, match=f"with the {session.peer} failed: it does not speak TLS"):
            session.receive(plain)


def test_a_failed_session_stays_failed_and_still_gives_its_alert():
    client, server = established()
    with pytest.raises(TlsError, match="bad record mac") as first:
        server.receive(b"\x17\x03\x03\x00\x20" + bytes(32))
    for attempt in (lambda: server.receive(b"more"), lambda: server.send(b"more")):
        with pytest.raises(TlsError) as again:
            attempt()
        assert str(again.value) == str(first.value)
    server.close()
    with pytest.raises(TlsError, match=r"the server ended the TLS session: alert bad record mac \(20\)"):
        client.receive(server.take())


def test_data_before_a_fault_is_given_and_the_fault_comes_after_it():
    client, server = established()
    client.send(b"intact")
    assert server.receive(client.take() + b"\x17\x03\x03\x00\x20" + bytes(32)) == b"intact"
    with pytest.raises(TlsError, match="bad record mac"):
        server.receive(b"\x17")


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.booleans())
def test_any_bytes_are_swallowed_or_refused(noise, as_record):
    for session in (make_server(IDENTITY), make_client(), established()[0]):
        session.handshake()
        with suppress(TlsError):
            session.receive(b"\x16\x03\x03" + len(noise).to_bytes(2, "big") + noise if as_record else noise)
        session.take()
        assert lib.ERR_peek_error() == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_both_ends_describe_the_same_session(version):
    server = make_server(IDENTITY, alpn=b"http/1.1")
    client = make_client(client_context(VERSIONS[version]), sni="www.a.test", alpn=(b"h2", b"http/1.1"))
    connect(client, server)
    seen = {}
    for session, side in ((client, "server"), (server, "client")):
        session.describe(seen.setdefault(side, Connection(side)))
    for connection in seen.values():
        assert (connection.tls_version, connection.alpn, connection.sni) == (version, b"http/1.1", "www.a.test")
    assert seen["client"].cipher == seen["server"].cipher
    assert (seen["client"].certificate_list, seen["server"].certificate_list) == ((), (IDENTITY.der,))


def test_a_session_before_its_handshake_has_nothing_to_describe():
    connection = Connection("client")
    make_server(IDENTITY).describe(connection)
    assert (connection.tls_version, connection.cipher, connection.alpn, connection.sni) == (None, None, None, None)


def test_a_certificate_of_the_client_is_recorded_first_of_its_chain():
    root = make_root()
    own = root.issue(ca=True).issue("client")
    context = client_context()
    context.use_privatekey(own.key)
    context.use_certificate(own.certificate)
    context.add_extra_chain_cert(own.chain[1])
    asking = SSL.Context(SSL.TLS_SERVER_METHOD)
    asking.use_privatekey(IDENTITY.key)
    asking.use_certificate(IDENTITY.certificate)
    asking.set_verify(SSL.VERIFY_PEER, lambda *_: True)
    server = Session(SSL.Connection(asking), "client")
    connect(make_client(context), server)
    assert server.peer_certificates == (own.der, own.issuer.der)


def test_what_passes_at_a_time_is_bounded_because_a_session_keeps_the_room_for_it(monkeypatch: pytest.MonkeyPatch):
    client, server = established()
    data = bytes(200_000)
    client.send(data)
    written = []
    monkeypatch.setattr("mitmdump.tls.session.lib", Watched(written))
    assert server.receive(client.take()) == data
    assert max(written) == PIECE


class Watched:
    """OpenSSL, and how much was given to it at a time."""

    def __init__(self, written: list[int]) -> None:
        self._written = written

    def __getattr__(self, name: str) -> Any:
        if name == "BIO_write":
            return self._write
        return getattr(lib, name)

    def _write(self, bio: Any, data: bytes, size: int) -> Any:
        self._written.append(size)
        return lib.BIO_write(bio, data, size)


def test_a_fault_late_in_a_large_read_leaves_what_was_before_it():
    client, server = established()
    data = bytes(150_000)
    client.send(data)
    assert server.receive(client.take() + b"rubbish" * 20_000) == data
    with pytest.raises(TlsError):
        server.receive(b"")
