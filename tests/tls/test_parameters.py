"""T11: which versions and suites are spoken, by default and where the user asks for others."""

import pytest
from OpenSSL import SSL
from OpenSSL._util import lib
from support.pki import make

from mitmdump.errors import SettingsError, TlsError
from mitmdump.tls.parameters import Parameters
from mitmdump.tls.session import Session

IDENTITY = make("a.test", key="rsa")
SHA_1 = "ECDHE-RSA-AES128-SHA"


def server(parameters: Parameters) -> SSL.Connection:
    context = parameters.make_context(SSL.TLS_SERVER_METHOD)
    context.use_privatekey(IDENTITY.key)
    context.use_certificate(IDENTITY.certificate)
    return SSL.Connection(context)


def client(minimum: int, maximum: int) -> SSL.Connection:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(minimum)
    context.set_max_proto_version(maximum)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    return SSL.Connection(context)


def agreed(parameters: Parameters, minimum: int = SSL.TLS1_VERSION, maximum: int = SSL.TLS1_3_VERSION) -> str:
    """The version that we agree on with a client that speaks these."""
    theirs, ours = Session(client(minimum, maximum), "server"), Session(server(parameters), "client")
    theirs.handshake()
    while data := theirs.take():
        ours.receive(data)
        theirs.receive(ours.take())
    return theirs._connection.get_protocol_version_name()


def suites(parameters: Parameters) -> list[str]:
    return server(parameters).get_cipher_list()


@pytest.mark.parametrize(
    ("minimum", "maximum", "version"),
    [("1.2", "1.3", "TLSv1.3"), ("1.2", "1.2", "TLSv1.2"), ("1.0", "1.1", "TLSv1.1"), ("1.0", "1.0", "TLSv1")],
)
def test_the_highest_version_that_is_allowed_is_agreed_on(minimum, maximum, version):
    """T11"""
    assert agreed(Parameters(minimum, maximum)) == version


@pytest.mark.parametrize(
    ("minimum", "theirs", "is_taken"),
    [("1.2", SSL.TLS1_1_VERSION, False), ("1.1", SSL.TLS1_VERSION, False), ("1.3", SSL.TLS1_2_VERSION, False),
     ("1.1", SSL.TLS1_1_VERSION, True), ("1.0", SSL.TLS1_VERSION, True)],
)  # fmt: skip
def test_what_is_below_the_lowest_version_is_refused(minimum, theirs, is_taken):
    """T11"""
    if is_taken:
        assert agreed(Parameters(minimum), maximum=theirs)
        return
    with pytest.raises(TlsError, match="no TLS version in common"):
        agreed(Parameters(minimum), maximum=theirs)


@pytest.mark.parametrize("minimum", ["1.0", "1.1"])
def test_old_versions_have_forward_secrecy_all_the_same(minimum):
    """T11"""
    assert SHA_1 in suites(Parameters(minimum))
    assert all(name.startswith(("TLS_", "ECDHE-", "DHE-")) for name in suites(Parameters(minimum)))
    assert SHA_1 not in suites(Parameters("1.2"))


def test_suites_of_all_versions_stand_in_one_list():
    listed = suites(Parameters(ciphers="TLS_CHACHA20_POLY1305_SHA256:AES128-SHA256:ECDHE-RSA-AES128-GCM-SHA256"))
    assert listed == ["TLS_CHACHA20_POLY1305_SHA256", "AES128-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"]


def test_what_the_list_does_not_speak_of_stays_as_it_is():
    ours = suites(Parameters())
    only_new = suites(Parameters(ciphers="TLS_AES_128_GCM_SHA256"))
    only_old = suites(Parameters(ciphers="AES128-SHA256"))
    new = [name for name in ours if name.startswith("TLS_")]
    assert only_new == ["TLS_AES_128_GCM_SHA256", *ours[len(new) :]]
    assert only_old == [*new, "AES128-SHA256"]


@pytest.mark.parametrize("ciphers", ["NONSENSE", "TLS_NONSENSE", "", "\xe4", "a\0b"])
def test_suites_that_do_not_exist_are_an_error_at_once(ciphers):
    if not ciphers:
        assert suites(Parameters(ciphers=ciphers)) == suites(Parameters())
        return
    with pytest.raises(SettingsError, match="--ciphers: OpenSSL knows no cipher suites by"):
        suites(Parameters(ciphers=ciphers))
    assert lib.ERR_peek_error() == 0


def test_limits_that_leave_no_version_are_an_error():
    with pytest.raises(SettingsError, match=r"--tls-min 1\.2 is above --tls-max 1\.1"):
        Parameters("1.2", "1.1")
