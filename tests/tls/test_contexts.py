"""Sessions towards clients and servers, and the cache of leaves between them."""

import ssl
import tracemalloc
from contextlib import suppress
from time import time

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from OpenSSL._util import lib
from support.pki import make, make_root
from support.tls import connect, make_client, make_server, transfer

from mitmdump.errors import SettingsError, TlsError
from mitmdump.model.connection import Connection
from mitmdump.tls import contexts as contexts_module
from mitmdump.tls.authority import BACKDATED, LEAF_VALIDITY, Authority
from mitmdump.tls.clienthello import parse_client_hello
from mitmdump.tls.contexts import Contexts
from mitmdump.tls.names import LeafNames
from mitmdump.tls.session import Session

NOW = time()
NAMES = LeafNames.from_chain((), "a.test")


@pytest.fixture(scope="module", params=["ec", "rsa"])
def any_authority(request, tmp_path_factory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("ca"), key_type=request.param, now=NOW)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("ca"), key_type="ec", now=NOW)


@pytest.fixture
def contexts(authority) -> Contexts:
    return Contexts(authority)


def leaf_shown(contexts: Contexts, names: LeafNames, now: float = NOW) -> x509.Certificate:
    """The leaf that a client gets to see."""
    client = make_client()
    connect(client, contexts.session_for_client(names, None, now))
    return x509.load_der_x509_certificate(client.peer_certificates[0])


# Towards clients


def python_client(contexts: Contexts, authority: Authority, names: LeafNames, host: str) -> ssl.SSLObject:
    """Python's own TLS, as strict as create_default_context() of 3.13, after its handshake with us."""
    context = ssl.create_default_context(cadata=authority.certificate.public_bytes(Encoding.DER))
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=host)
    server = contexts.session_for_client(names, None, NOW)
    while not server.established:
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        server.receive(outgoing.read())
        incoming.write(server.take())
    return client


@pytest.mark.parametrize("host", ["a.test", "192.0.2.1", "2001:db8::1", "a" * 62 + ".test", "xn--bcher-kva.test"])
def test_python_in_its_strictest_mode_accepts_our_leaves(any_authority, host):
    """T5"""
    client = python_client(Contexts(any_authority), any_authority, LeafNames.from_chain((), host), host)
    assert client.version() == "TLSv1.3"


def test_a_client_that_asks_for_another_name_refuses(contexts, authority):
    with pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'b\.test'"):
        python_client(contexts, authority, NAMES, "b.test")


@pytest.mark.parametrize(
    ("offers", "given", "chosen"),
    [
        ((b"h2", b"http/1.1"), b"http/1.1", b"http/1.1"),
        ((b"h2", b"http/1.1"), b"h2", b"h2"),
        ((b"h2",), b"http/1.1", None),
        ((b"h2", b"http/1.1"), None, None),
        ((), b"http/1.1", None),
    ],
)
def test_a_client_gets_the_given_protocol_or_none(contexts, offers, given, chosen):
    """T10"""
    client, server = make_client(alpn=offers), contexts.session_for_client(NAMES, given, NOW)
    connect(client, server)
    seen = Connection("client")
    server.describe(seen)
    assert (client.established, seen.alpn) == (True, chosen)


def test_an_intermediate_ca_is_sent_to_clients(tmp_path):
    issuing = make_root().issue(ca=True)
    certificate, key = issuing.write(tmp_path)
    (tmp_path / "mitmproxy-ca.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
    (tmp_path / "mitmproxy-ca.pem").chmod(0o600)
    contexts = Contexts(Authority.load_or_create(tmp_path, key_type="ec", now=NOW))
    client = make_client()
    connect(client, contexts.session_for_client(NAMES, None, NOW))
    assert client.peer_certificates[1:] == (issuing.der,)


# What is offered and taken, on both sides (T11)

WEAK = [
    b"RC4-SHA", b"DES-CBC3-SHA", b"ECDHE-ECDSA-DES-CBC3-SHA", b"NULL-SHA256", b"ECDHE-ECDSA-NULL-SHA", b"EXP-RC4-MD5",
    b"AES128-GCM-SHA256", b"AES256-SHA", b"AECDH-AES128-SHA", b"ADH-AES128-GCM-SHA256", b"ECDHE-ECDSA-AES128-CCM8",
    b"PSK-AES128-GCM-SHA256", b"CAMELLIA128-SHA", b"SEED-SHA", b"IDEA-CBC-SHA",
]  # fmt: skip


def test_no_weak_suite_is_offered_or_taken(contexts):
    """T11"""
    sessions = contexts.session_for_client(NAMES, None, NOW), contexts.session_for_server("a.test", None, (), NOW)
    for session in sessions:
        offered = session._connection.get_cipher_list()
        assert all(name.startswith(("TLS_", "ECDHE-", "DHE-")) for name in offered)
        assert not {name.decode() for name in WEAK} & set(offered)
        assert not [name for name in offered if name.endswith("SHA") or "CCM" in name]


@pytest.mark.parametrize(("version", "is_taken"), [(SSL.TLS1_1_VERSION, False), (SSL.TLS1_2_VERSION, True)])
def test_nothing_older_than_tls_1_2_is_spoken(contexts, version, is_taken):
    """T11"""
    old = SSL.Context(SSL.TLS_METHOD)
    old.set_max_proto_version(version)
    old.set_cipher_list(b"ALL:@SECLEVEL=0")
    old.use_privatekey((identity := make("a.test")).key)
    old.use_certificate(identity.certificate)
    towards_client = (make_client(old), contexts.session_for_client(NAMES, None, NOW))
    towards_server = (contexts.session_for_server("a.test", None, (), NOW), Session(SSL.Connection(old), "client"))
    for client, server in (towards_client, towards_server):
        if not is_taken:
            with pytest.raises(TlsError, match=r"no TLS version in common|protocol version"):
                connect(client, server)
        else:
            connect(client, server)
        assert (client.established, server.established) == (is_taken, is_taken)


def test_renegotiation_is_refused_on_both_sides(contexts):
    identity, context = make("a.test"), SSL.Context(SSL.TLS_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.use_privatekey(identity.key)
    context.use_certificate(identity.certificate)
    client, server = make_client(context), Session(SSL.Connection(context), "client")
    connect(client, ours_as_server := contexts.session_for_client(NAMES, None, NOW))
    connect(ours_as_client := contexts.session_for_server("a.test", None, (), NOW), server)
    for asking, ours in ((client, ours_as_server), (server, ours_as_client)):
        asking._connection.renegotiate()
        asking.handshake()
        assert ours.receive(asking.take()) == b""
        with pytest.raises(TlsError, match="no renegotiation"):
            asking.receive(ours.take())


# The cache of leaves (T14)


def test_the_same_names_get_the_same_leaf(contexts):
    assert leaf_shown(contexts, NAMES) == leaf_shown(contexts, LeafNames.from_chain((), "A.test."))


def test_other_names_get_another_leaf(contexts):
    """T14: no name can get into another's leaf."""
    seen = leaf_shown(contexts, NAMES)
    shared = LeafNames.from_chain([make("a.test", "evil.test").der], "a.test")
    assert leaf_shown(contexts, shared) != seen
    assert leaf_shown(contexts, NAMES) == seen


def test_the_leaf_that_was_not_used_for_longest_goes_first(authority):
    """T14"""
    contexts = Contexts(authority, max_leaves=2)
    a, b, c = (LeafNames.from_chain((), f"{name}.test") for name in "abc")
    first = {names: contexts._leaf(names, NOW) for names in (a, b)}
    assert contexts._leaf(a, NOW) == first[a]
    contexts._leaf(c, NOW)
    assert contexts._leaf(a, NOW) == first[a]
    assert contexts._leaf(b, NOW) != first[b]


def test_a_hundred_thousand_names_take_no_more_memory_than_a_thousand(authority, monkeypatch):
    """T14; with one leaf for all, as making each would take a minute."""
    contexts = Contexts(authority, max_leaves=1000)
    leaf = contexts._leaf(NAMES, NOW)
    monkeypatch.setattr(authority, "issue", lambda *_: leaf.certificate)
    monkeypatch.setattr(contexts, "_context_for_clients", lambda _: leaf.context)
    tracemalloc.start()
    sizes = []
    for number in range(100_000):
        contexts._leaf(LeafNames.from_chain((), f"{number:06}.test"), NOW)
        if number in (1_999, 99_999):
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert len(contexts._leaves) == 1000
    assert sizes[1] - sizes[0] < 64 * 1024


def test_a_leaf_is_issued_anew_before_it_expires(contexts):
    first = contexts._leaf(NAMES, NOW)
    late = NOW + (LEAF_VALIDITY - 2 * BACKDATED).total_seconds()
    assert contexts._leaf(NAMES, late - 60) == first
    again = contexts._leaf(NAMES, late + 60)
    assert again.certificate.not_valid_after_utc > first.certificate.not_valid_after_utc
    assert contexts._leaf(NAMES, late + 61) == again


# Towards servers


def hello_sent(session: Session):
    session.handshake()
    return parse_client_hello(session.take())


@pytest.mark.parametrize("sni", ["A.Test", "a.test.", None])
def test_the_server_name_is_sent_as_it_stands(contexts, sni):
    """T9"""
    assert hello_sent(contexts.session_for_server("a.test", sni, (), NOW)).sni == sni


@pytest.mark.parametrize("sni", ["", "a\0b", "b\xfccher.test", "a" * 256])
def test_a_server_name_that_cannot_be_sent_is_refused(contexts, sni):
    with pytest.raises(TlsError, match="cannot be sent"):
        contexts.session_for_server("a.test", sni, (), NOW)
    assert lib.ERR_peek_error() == 0


@pytest.mark.parametrize("alpn", [(), (b"http/1.1",), (b"h2", b"http/1.1")])
def test_the_protocols_are_offered_as_given_and_recorded(contexts, alpn):
    """T9"""
    session = contexts.session_for_server("a.test", None, alpn, NOW)
    seen = Connection("server")
    session.describe(seen)
    assert (hello_sent(session).alpn, seen.alpn_offers) == (alpn, alpn)


def test_sessions_of_one_context_do_not_mix(contexts):
    one = contexts.session_for_server("a.test", "one.test", (b"h2",), NOW)
    other = contexts.session_for_server("a.test", "other.test", (b"http/1.1",), NOW)
    assert (hello_sent(other).sni, hello_sent(one).sni) == ("other.test", "one.test")


def test_a_session_that_is_not_verified_says_so_and_works(contexts):
    client, server = contexts.session_for_server("a.test", "a.test", (), NOW), make_server(make("a.test"))
    assert client.verification is None
    connect(client, server)
    assert client.verification == "self-signed certificate"
    assert transfer(client, server, b"data") == b"data"


def verdict(contexts: Contexts, root) -> str | None:
    client = contexts.session_for_server("a.test", None, (), NOW)
    connect(client, make_server(root.issue("a.test")))
    return client.verification


def test_the_roots_of_the_system_are_trusted_and_those_given_besides(authority, tmp_path, monkeypatch):
    system, given = make_root("system"), make_root("given")
    monkeypatch.setenv("SSL_CERT_FILE", str(system.write_certificate(tmp_path / "system.pem")))
    trusting = Contexts(authority, upstream_ca=given.write_certificate(tmp_path / "given.pem"))
    assert (verdict(trusting, system), verdict(trusting, given)) == ("ok", "ok")
    assert verdict(Contexts(authority), given) == "unable to get local issuer certificate"


def test_without_roots_of_the_system_those_of_certifi_are_trusted(authority, tmp_path, monkeypatch):
    root = make_root()
    monkeypatch.setattr(contexts_module, "_system_has_roots", lambda: False)
    monkeypatch.setattr(certifi, "where", lambda: str(root.write_certificate(tmp_path / "certifi.pem")))
    assert verdict(Contexts(authority), root) == "ok"


def test_a_system_without_roots_is_noticed(tmp_path, monkeypatch):
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "empty").mkdir()
    nothing = ssl.DefaultVerifyPaths(None, str(tmp_path / "empty"), "", "", "", "")
    monkeypatch.setattr(contexts_module, "get_default_verify_paths", lambda: nothing)
    monkeypatch.setattr(contexts_module, "_SYSTEM_ROOTS", (tmp_path / "absent.pem", tmp_path / "empty"))
    assert not contexts_module._system_has_roots()
    (tmp_path / "empty" / "root.pem").touch()
    assert contexts_module._system_has_roots()


@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_roots_that_cannot_be_read_are_an_error_at_once(authority, tmp_path, content):
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"no certificates of upstream CAs can be read from .*roots\.pem"):
        Contexts(authority, upstream_ca=path)
    assert lib.ERR_peek_error() == 0
