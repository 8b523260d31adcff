"""Certificates that the user brings: which is shown to whom, and what is wrong with those that cannot be used."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from OpenSSL._util import lib
from support.pki import Identity, make, make_root
from support.tls import connect, make_client

from mitmdump.errors import SettingsError
from mitmdump.model.connection import Connection
from mitmdump.tls.authority import Authority
from mitmdump.tls.contexts import Contexts
from mitmdump.tls.identities import ClientCertificates, OwnCertificates, load_identity
from mitmdump.tls.names import LeafNames
from mitmdump.tls.parameters import Parameters
from mitmdump.tls.session import Session

NOW = 1_800_000_000.0
INTERMEDIATE = make_root().issue(ca=True)
OURS = INTERMEDIATE.issue("own.test", "*.own.test")


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("ca"), key_type="ec", now=NOW)


def pem(identity: Identity, directory: Path, name: str = "own", *, key_first: bool = False) -> Path:
    """Key and chain in one file."""
    parts = [path.read_bytes() for path in identity.write(directory, "parts")]
    file = directory / f"{name}.pem"
    file.write_bytes(b"".join(reversed(parts) if key_first else parts))
    return file


# Reading them


@pytest.mark.parametrize("key_first", [True, False])
def test_a_file_holds_key_certificate_and_chain_in_any_order(tmp_path, key_first):
    identity = load_identity(pem(OURS, tmp_path, key_first=key_first))
    assert identity.certificate == OURS.certificate
    assert identity.chain == [INTERMEDIATE.certificate]


def test_an_encrypted_key_is_refused_with_a_hint(tmp_path):
    file = pem(OURS, tmp_path)
    file.write_bytes(OURS.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    with pytest.raises(SettingsError, match=r"own\.pem is encrypted.*without one \(openssl pkey -in "):
        load_identity(file)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_holds_something_else_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SettingsError, match="does not hold a readable private key and its certificate"):
        load_identity(tmp_path / "file")


def test_a_certificate_of_another_key_is_refused(tmp_path):
    mixed = Identity(OURS.certificate, make("b.test").key)
    with pytest.raises(SettingsError, match="none of the certificates in .* is for the private key"):
        load_identity(pem(mixed, tmp_path))


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot read .*absent\.pem: no such file or directory"):
        load_identity(tmp_path / "absent.pem")


def test_a_key_that_is_too_weak_is_refused_at_once(authority, tmp_path):
    """T11"""
    weak = make("a.test", key=rsa.generate_private_key(public_exponent=65537, key_size=1024))
    file = pem(weak, tmp_path)
    for options in ({"own": OwnCertificates([("*", file)])}, {"client_certificates": ClientCertificates(file)}):
        with pytest.raises(SettingsError, match="does not take the certificate of 'CN=a.test': ee key too small"):
            Contexts(authority, **options)
    assert lib.ERR_peek_error() == 0
    Contexts(authority, own=OwnCertificates([("*", file)]), towards_clients=Parameters(ciphers="ALL:@SECLEVEL=0"))


# To be a server with

PATTERNS = ["*", "*.test", "*.b.test", "a.b.test", "192.0.2.1", "bücher.test"]


@pytest.mark.parametrize(
    ("asked", "pattern"),
    [
        ("example.com", "*"),
        ("test", "*"),
        ("a.test", "*.test"),
        ("b.test", "*.test"),
        ("A.B.Test.", "a.b.test"),
        ("x.b.test", "*.b.test"),
        ("y.x.b.test", "*.b.test"),
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.2", "*"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("", "*"),
    ],
)
def test_the_most_specific_pattern_wins(tmp_path, asked, pattern):
    file = pem(OURS, tmp_path)
    assert OwnCertificates([(each, file) for each in PATTERNS]).pattern_for(asked) == pattern


@settings(max_examples=100)
@given(st.text(max_size=300))
def test_any_name_that_is_asked_for_falls_under_a_pattern_or_none(asked):
    nothing, some = OwnCertificates([]), OwnCertificates([])
    some.identities["*.a.test"] = None
    assert nothing.pattern_for(asked) is None
    assert some.pattern_for(asked) in (None, "*.a.test")


@pytest.mark.parametrize("pattern", ["**", "a*.test", "*.*.test", "a..b", "a b", "*."])
def test_a_pattern_that_no_name_falls_under_is_refused(tmp_path, pattern):
    with pytest.raises(SettingsError, match="is no host name, address or pattern"):
        OwnCertificates([(pattern, pem(OURS, tmp_path))])


def shown(contexts: Contexts, asked: str) -> Session:
    client = make_client(sni=asked)
    connect(client, contexts.session_for_client(LeafNames.from_chain((), asked), None, NOW, asked))
    return client


def test_clients_are_shown_the_users_certificate_with_its_chain_where_it_is_for_the_name(authority, tmp_path):
    contexts = Contexts(authority, own=OwnCertificates([("*.own.test", pem(OURS, tmp_path))]))
    assert shown(contexts, "a.own.test").peer_certificates == (OURS.der, INTERMEDIATE.der)
    other = shown(contexts, "own.test").peer_certificates
    assert len(other) == 1 and other[0] != OURS.der


@pytest.mark.parametrize("key", [None, "rsa", "ed25519"])
def test_the_users_key_may_be_of_any_kind(authority, tmp_path, key):
    identity = INTERMEDIATE.issue("own.test", key=key)
    contexts = Contexts(authority, own=OwnCertificates([("", pem(identity, tmp_path))]))
    assert shown(contexts, "own.test").peer_certificates == (identity.der, INTERMEDIATE.der)


# To be a client with


class AskingServer:
    """A server that asks for a certificate, and takes any."""

    def __init__(self) -> None:
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.set_session_id(b"server")
        identity = make("a.test")
        self.context.use_privatekey(identity.key)
        self.context.use_certificate(identity.certificate)
        self.context.set_verify(SSL.VERIFY_PEER, lambda *_: True)

    def sees(self, contexts: Contexts, host: str) -> tuple[bytes, ...]:
        """What we show it."""
        server = Session(SSL.Connection(self.context), "client")
        connect(contexts.session_for_server(host, host, (), NOW), server)
        assert server.established
        return server.peer_certificates


def test_a_server_that_asks_is_shown_the_certificate_with_its_chain(authority, tmp_path):
    contexts = Contexts(authority, client_certificates=ClientCertificates(pem(OURS, tmp_path)))
    assert AskingServer().sees(contexts, "a.test") == (OURS.der, INTERMEDIATE.der)
    assert AskingServer().sees(Contexts(authority), "a.test") == ()


def test_a_directory_has_a_certificate_for_each_host(authority, tmp_path):
    directory = tmp_path / "clients"
    directory.mkdir()
    one, other = make("one"), make("other")
    pem(one, tmp_path, "clients/one.test")
    pem(other, tmp_path, "clients/xn--bcher-kva.test")
    contexts = Contexts(authority, client_certificates=ClientCertificates(directory))
    server = AskingServer()
    assert server.sees(contexts, "One.test") == (one.der,)
    assert server.sees(contexts, "xn--bcher-kva.test") == (other.der,)
    assert server.sees(contexts, "a.one.test") == ()


def test_a_directory_without_certificates_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"there is no HOST\.pem in"):
        ClientCertificates(tmp_path)


# Clients that have one


def asked(authority: Authority, identity: Identity | None, **options) -> Connection:
    """What is recorded of a client with this certificate."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if identity:
        context.use_privatekey(identity.key)
        context.use_certificate(identity.certificate)
        for certificate in identity.chain[1:]:
            context.add_extra_chain_cert(certificate)
    server = Contexts(authority, **options).session_for_client(LeafNames.from_chain((), "a.test"), None, NOW)
    connect(make_client(context), server)
    recorded = Connection("client")
    server.describe(recorded)
    assert recorded.tls_version
    return recorded


@pytest.mark.parametrize("identity", [OURS, make("me"), make("me", days=(-9, -1)), None])
def test_a_client_that_is_asked_may_show_any_certificate_or_none(authority, identity):
    recorded = asked(authority, identity, request_client_cert=True)
    chain = [each.der for each in (identity, identity.issuer) if each] if identity else []
    assert recorded.certificate_list == tuple(chain)
    assert recorded.verification is None


def test_clients_are_not_asked_unless_told_to(authority):
    assert asked(authority, OURS).certificate_list == ()
