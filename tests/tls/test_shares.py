"""Which key shares a ClientHello brings: all groups are offered at any time."""

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib
from support.pki import make_root
from support.tls import connect, make_server

from mitmdump.tls.clienthello import parse_client_hello
from mitmdump.tls.session import Session
from mitmdump.tls.shares import chosen_group, share_only

IDENTITY = make_root().issue("a.test")
GROUPS, SHARES = 10, 51  # extensions, RFC 8446 section 4.2
NUMBERS = {"X25519MLKEM768": 0x11EC, "x25519": 0x1D, "secp256r1": 0x17}
pytestmark = pytest.mark.skipif(SSL.OPENSSL_VERSION_NUMBER < 0x30500000, reason="OpenSSL makes one share anyway")


def client(version: int = SSL.TLS1_3_VERSION) -> Session:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(version)
    return Session(SSL.Connection(context), "server")


def offered(session: Session) -> tuple[list[int], list[int]]:
    """The groups that a client offers, and those of which it brings a share."""
    session.handshake()
    hello = session.take()
    assert parse_client_hello(hello)
    extensions = dict(split(hello[5:]))
    groups, shares = extensions[GROUPS][2:], extensions[SHARES][2:]
    numbers = []
    while shares:
        numbers.append(int.from_bytes(shares[:2]))
        shares = shares[4 + int.from_bytes(shares[2:4]) :]
    return [int.from_bytes(groups[at : at + 2]) for at in range(0, len(groups), 2)], numbers


def split(hello: bytes):
    at = 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at : at + 2])
    at += 1 + hello[at] + 2
    while at < len(hello):
        end = at + 4 + int.from_bytes(hello[at + 2 : at + 4])
        yield int.from_bytes(hello[at : at + 2]), hello[at + 4 : end]
        at = end


@pytest.mark.parametrize("group", NUMBERS)
def test_a_share_is_made_for_the_group_of_before_and_all_groups_are_offered(group):
    usual, expecting = client(), client()
    share_only(expecting._connection, group)
    groups, shares = offered(expecting)
    assert sorted(groups) == sorted(offered(usual)[0])
    assert shares == [NUMBERS[group]]


def test_a_server_that_takes_no_share_gets_the_cheapest():
    session = client()
    share_only(session._connection, "")
    assert offered(session)[1] == [NUMBERS["secp256r1"]]


def test_of_a_group_that_is_not_among_the_usual_ones_nothing_is_expected():
    usual, odd = client(), client()
    share_only(odd._connection, "brainpoolP256r1tls13")
    assert offered(odd) == offered(usual)


@pytest.mark.parametrize(("version", "group"), [(SSL.TLS1_2_VERSION, ""), (SSL.TLS1_3_VERSION, "X25519MLKEM768")])
def test_the_group_of_a_connection_is_the_one_of_its_key_share(version, group):
    session = client(version)
    connect(session, make_server(IDENTITY))
    assert chosen_group(session._connection) == group


def test_a_server_that_has_changed_its_mind_asks_for_another_share():
    session, server = client(), make_server(IDENTITY)
    share_only(session._connection, "x25519")
    lib.SSL_set1_curves_list(server._connection._ssl, b"secp384r1")
    connect(session, server)
    assert session.established
    assert chosen_group(session._connection) == "secp384r1"
