"""Sessions that are gone on with, towards clients and towards servers."""

from time import time

import pytest
from cryptography import x509
from OpenSSL import SSL
from support.pki import make_root
from support.tls import connect, make_client, transfer

from mitmdump.model.connection import Connection
from mitmdump.tls.authority import Authority
from mitmdump.tls.contexts import Contexts
from mitmdump.tls.names import LeafNames
from mitmdump.tls.resumption import MAX_EACH, Resumable, Resumptions
from mitmdump.tls.session import Session, is_resumed

NOW = time()
LATER = "20991231235959Z"
ROOT = make_root()
INTERMEDIATE = ROOT.issue(ca=True)
SERVER = INTERMEDIATE.issue("a.test", days=(-1, 30))
ADDRESS = ("a.test", 443)


@pytest.fixture(params=[SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])
def version(request) -> int:
    return request.param


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("ca"), key_type="ec", now=NOW)


@pytest.fixture
def contexts(authority, tmp_path) -> Contexts:
    return Contexts(authority, upstream_ca=ROOT.write_certificate(tmp_path / "root.pem"))


# Towards clients


def client_context(version: int) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    return context


def visit(contexts, client_context, host: str, *chain: bytes, session=None) -> tuple[Session, Session]:
    """A client, with a session of before, asks for a host; and an answer comes."""
    client = make_client(client_context, sni=host)
    if session:
        client._connection.set_session(session)
    server = contexts.session_for_client(LeafNames.from_chain(chain, host), None, NOW, host)
    connect(client, server)
    transfer(server, client, b"data")
    return client, server


def test_a_client_that_comes_back_resumes_its_session(contexts, version):
    context = client_context(version)
    first, _ = visit(contexts, context, "a.test")
    again, server = visit(contexts, context, "a.test", session=first._connection.get_session())
    recorded = Connection("client")
    server.describe(recorded)
    assert (is_resumed(first._connection), is_resumed(again._connection)) == (False, True)
    assert (recorded.session_resumed, recorded.certificate_list) == (True, ())


def test_a_ticket_of_one_host_is_worth_nothing_at_another(contexts, version):
    """T14"""
    context = client_context(version)
    first, _ = visit(contexts, context, "a.test")
    other, server = visit(contexts, context, "b.test", session=first._connection.get_session())
    shown = x509.load_der_x509_certificate(other.peer_certificates[0])
    assert not is_resumed(server._connection)
    assert "b.test" in shown.subject.rfc4514_string()


def test_a_ticket_of_before_a_leaf_was_issued_anew_is_worth_nothing(contexts, version):
    context = client_context(version)
    first, _ = visit(contexts, context, "a.test")
    contexts._leaves.clear()
    again, _ = visit(contexts, context, "a.test", session=first._connection.get_session())
    assert not is_resumed(again._connection)


def test_clients_that_are_asked_for_a_certificate_show_it_each_time(authority, version):
    contexts, context = Contexts(authority, request_client_cert=True), client_context(version)
    context.use_privatekey(SERVER.key)
    context.use_certificate(SERVER.certificate)
    first, _ = visit(contexts, context, "a.test")
    again, server = visit(contexts, context, "a.test", session=first._connection.get_session())
    assert not is_resumed(again._connection)
    assert server.peer_certificates == (SERVER.der,)


# Towards servers


class Servers:
    """The servers of one name, which know each other's tickets."""

    def __init__(self, version: int, identity=SERVER) -> None:
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self.context.set_max_proto_version(version)
        self.context.use_privatekey(identity.key)
        self.context.use_certificate(identity.certificate)
        for certificate in identity.chain[1:]:
            self.context.add_extra_chain_cert(certificate)

    def asked(self, contexts, host="a.test", *, alpn=(), now=NOW, address=ADDRESS, answer=b"data") -> Connection:
        """What is recorded of our asking it."""
        client, server = (
            contexts.session_for_server(host, host, alpn, now, address),
            Session(SSL.Connection(self.context), "client"),
        )
        connect(client, server)
        if answer:
            transfer(server, client, answer)
        recorded = Connection("server")
        client.describe(recorded)
        client.close()
        return recorded


def test_a_server_that_is_met_again_is_asked_in_the_session_of_before(contexts, version):
    servers = Servers(version)
    first, again, third = (servers.asked(contexts) for _ in range(3))
    assert [each.session_resumed for each in (first, again, third)] == [False, True, True]
    assert {each.verification for each in (first, again, third)} == {"ok"}
    assert {each.certificate_list for each in (first, again, third)} == {first.certificate_list}
    assert first.certificate_list == (SERVER.der, INTERMEDIATE.der)


@pytest.mark.parametrize(
    "other",
    [{"host": "b.test"}, {"alpn": (b"http/1.1",)}, {"address": ("a.test", 8443)}, {"address": ("10.0.0.1", 443)}],
    ids=["host", "offers", "port", "address"],
)
def test_a_session_is_for_the_same_server_host_and_offers_only(contexts, version, other):
    """T6: the verdict of before is about that host."""
    servers = Servers(version)
    servers.asked(contexts)
    assert not servers.asked(contexts, **other).session_resumed
    assert servers.asked(contexts).session_resumed


def test_a_session_whose_server_was_not_in_order_keeps_its_verdict(contexts, version):
    """T6: who is refused, is refused again, and who takes any certificate (-k) sees the same one."""
    servers = Servers(version, make_root("unknown").issue("a.test"))
    first, again, third = (servers.asked(contexts) for _ in range(3))
    assert [each.session_resumed for each in (first, again, third)] == [False, True, True]
    assert {each.verification for each in (first, again, third)} == {"unable to get local issuer certificate"}
    assert {each.certificate_list for each in (first, again, third)} == {first.certificate_list}


def test_a_session_whose_server_was_for_another_host_keeps_its_verdict(contexts, version):
    """T6"""
    servers = Servers(version, INTERMEDIATE.issue("b.test"))
    first, again = servers.asked(contexts), servers.asked(contexts)
    assert (first.session_resumed, again.session_resumed) == (False, True)
    assert first.verification == again.verification
    assert first.verification.startswith("hostname mismatch")


def test_a_session_whose_certificate_has_expired_is_not_kept(contexts, version):
    """T6"""
    servers = Servers(version, INTERMEDIATE.issue("a.test", days=(-30, -1)))
    first, again = servers.asked(contexts), servers.asked(contexts)
    assert (first.session_resumed, again.session_resumed) == (False, False)
    assert first.verification == again.verification == "certificate has expired"


def test_a_session_is_good_for_as_long_as_its_chain(contexts, version):
    """T6"""
    end = INTERMEDIATE.certificate.not_valid_after_utc.timestamp()
    servers = Servers(version)
    for now, resumed in ((end - 1, True), (end + 1, False)):
        servers.asked(contexts)
        assert servers.asked(contexts, now=now).session_resumed is resumed


def test_a_session_of_a_server_that_knows_it_no_more_begins_anew(contexts, version):
    """T6: and the other server is verified as any."""
    Servers(version).asked(contexts)
    other = Servers(version, make_root("unknown").issue("a.test")).asked(contexts)
    assert (other.session_resumed, other.verification) == (False, "unable to get local issuer certificate")


def resumable(session, group="x25519") -> Resumable:
    return Resumable(session, "ok", LATER.encode(), group)


def test_a_ticket_is_used_once():
    """RFC 8446 appendix C.4"""
    resumptions = Resumptions()
    resumptions.put("a", resumable("session"))
    assert resumptions.take("a", NOW) == resumable("session")
    assert resumptions.take("a", NOW) is None


def test_a_ticket_of_tls_1_2_is_used_until_there_is_a_newer_one():
    resumptions = Resumptions()
    resumptions.put("a", resumable("old", ""))
    assert [resumptions.take("a", NOW).session for _ in range(2)] == ["old", "old"]
    resumptions.put("a", resumable("new", ""))
    assert resumptions.take("a", NOW).session == "new"


def test_the_newest_session_comes_first_and_old_ones_are_dropped():
    resumptions = Resumptions()
    for number in range(MAX_EACH + 2):
        resumptions.put("a", resumable(number))
    taken = [resumptions.take("a", NOW).session for _ in range(MAX_EACH)]
    assert taken == list(range(MAX_EACH + 1, 1, -1))


def test_the_server_that_was_not_met_for_longest_is_forgotten_first():
    resumptions = Resumptions(max_servers=2)
    for server in ("a", "b", "a", "c"):
        resumptions.put(server, resumable(server))
    assert [bool(resumptions.take(server, NOW)) for server in "abc"] == [True, False, True]
