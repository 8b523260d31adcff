"""T6, T7: a server's certificate is accepted only where a careful client would accept it, over real handshakes."""

from ipaddress import ip_network
from time import time
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from service_identity.hazmat import DNSPattern
from support.pki import CLIENT, Identity, make, make_root
from support.tls import connect, make_server

from mitmdump.errors import TlsError
from mitmdump.tls.authority import Authority
from mitmdump.tls.contexts import Contexts
from mitmdump.tls.names import LeafNames
from mitmdump.tls.verify import Verification

ROOT = make_root()
INTERMEDIATE = ROOT.issue(ca=True, path_length=0)
STRANGER = make_root("Test root")  # of the same name, with another key
HOST = "a.test"


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("ca"), key_type="ec", now=time())


@pytest.fixture(scope="module")
def contexts(authority, tmp_path_factory) -> Contexts:
    root = ROOT.write_certificate(tmp_path_factory.mktemp("root") / "root.pem")
    return Contexts(authority, upstream_ca=root)


def verdict(contexts: Contexts, identity: Identity, host: str = HOST) -> str | None:
    """What is said of a server with this certificate, once the handshake with it is done."""
    client, server = contexts.session_for_server(host, None, (), time()), make_server(identity)
    connect(client, server)
    assert client.established
    assert server.established
    return client.verification


def tampered(identity: Identity) -> Identity:
    """The certificate with its signature broken."""
    der = bytearray(identity.der)
    der[-1] ^= 1
    return Identity(x509.load_der_x509_certificate(bytes(der)), identity.key)


def with_root(identity: Identity) -> Identity:
    """An identity whose chain goes up to and includes the root."""
    root = identity.issuer
    return Identity(identity.certificate, identity.key, Identity(root.certificate, root.key, root))


def without_chain(identity: Identity) -> Identity:
    return Identity(identity.certificate, identity.key)


ACCEPTED = {
    "from the root": (ROOT.issue(HOST), HOST),
    "from an intermediate": (INTERMEDIATE.issue(HOST), HOST),
    "host in other case and with a dot": (ROOT.issue("A.test"), "a.TEST."),
    "wildcard": (ROOT.issue("*.b.test"), "a.b.test"),
    "one of many": (ROOT.issue("b.test", HOST, "c.test"), HOST),
    "IPv4 address": (ROOT.issue("192.0.2.1"), "192.0.2.1"),
    "IPv6 address": (ROOT.issue("2001:db8::1"), "2001:DB8:0::1"),
    "A-label": (ROOT.issue("xn--bcher-kva.test"), "bücher.test"),
    "beside names of other kinds": (
        ROOT.issue(
            alternatives=[
                x509.UniformResourceIdentifier("urn:uuid:1"),
                x509.DNSName("*"),
                x509.DNSName("not a name"),
                x509.DNSName(HOST),
            ]
        ),
        HOST,
    ),
    "without extended key usage": (ROOT.issue(HOST, purposes=()), HOST),
    "RSA": (ROOT.issue(HOST, key="rsa"), HOST),
}


@pytest.mark.parametrize(("identity", "host"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_right_certificate_is_accepted(contexts, identity, host):
    """T6"""
    assert verdict(contexts, identity, host) == "ok"


MISMATCH = "hostname mismatch: the certificate is for"
REFUSED = {
    "expired": (ROOT.issue(HOST, days=(-9, -1)), "certificate has expired"),
    "not yet valid": (ROOT.issue(HOST, days=(1, 9)), "certificate is not yet valid"),
    "expired intermediate": (
        ROOT.issue(ca=True, days=(-9, -1)).issue(HOST),
        "certificate has expired (certificate 1 up the chain)",
    ),
    "self-signed": (make(HOST), "self-signed certificate"),
    "unknown root": (make_root("nobody").issue(HOST), "unable to get local issuer certificate"),
    "root of the same name": (STRANGER.issue(HOST), "unable to get local issuer certificate"),
    "unknown root sent along": (
        with_root(make_root("nobody").issue(HOST)),
        "self-signed certificate in certificate chain (certificate 1 up the chain)",
    ),
    "broken signature": (tampered(ROOT.issue(HOST)), "certificate signature failure"),
    "missing intermediate": (without_chain(INTERMEDIATE.issue(HOST)), "unable to get local issuer certificate"),
    "not for servers": (ROOT.issue(HOST, purposes=(CLIENT,)), "unsuitable certificate purpose"),
    "for code only": (
        ROOT.issue(HOST, purposes=(ExtendedKeyUsageOID.CODE_SIGNING,)),
        "unsuitable certificate purpose",
    ),
    "issued by a leaf": (ROOT.issue("b.test").issue(HOST), "invalid CA certificate (certificate 1 up the chain)"),
    "path too long": (
        INTERMEDIATE.issue(ca=True).issue(HOST),
        "path length constraint exceeded (certificate 2 up the chain)",
    ),
    "weak key": (
        ROOT.issue(HOST, key=rsa.generate_private_key(public_exponent=65537, key_size=1024)),
        "certificate key too weak",
    ),
    "no key identifiers (strict)": (ROOT.issue(HOST, key_identifiers=False), "missing authority key identifier"),
    "another host": (ROOT.issue("b.test", "c.test"), f"{MISMATCH} b.test, c.test, not a.test"),
    "common name only": (ROOT.issue(common_name=HOST), f"{MISMATCH} no host, not a.test"),
    "common name beside another name": (ROOT.issue("b.test", common_name=HOST), f"{MISMATCH} b.test, not a.test"),
    "wildcard of a top-level domain": (ROOT.issue("*.test"), f"{MISMATCH} *.test, not a.test"),
    "wildcard inside a label": (
        ROOT.issue(alternatives=[x509.DNSName("a*.test"), x509.DNSName("*")]),
        f"{MISMATCH} no host, not a.test",
    ),
    "many names": (
        ROOT.issue(*(f"{number}.test" for number in range(9))),
        f"{MISMATCH} 0.test, 1.test, 2.test, 3.test, 4.test, 4 more, not a.test",
    ),
    "NUL in a name": (ROOT.issue(alternatives=[x509.DNSName("a.test\0.b.test")]), f"{MISMATCH} no host, not a.test"),
    "escape sequence in a name": (ROOT.issue("\x1b[2J"), f"{MISMATCH} no host, not a.test"),
    "network instead of an address": (
        ROOT.issue(alternatives=[x509.IPAddress(ip_network("0.0.0.0/0"))]),
        f"{MISMATCH} no host, not a.test",
    ),
}


@pytest.mark.parametrize(("identity", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_certificate_is_refused_with_its_reason(contexts, identity, reason):
    """T6"""
    assert verdict(contexts, identity) == reason


def test_of_several_findings_the_first_is_kept(contexts):
    assert verdict(contexts, make("b.test", days=(-9, -1))) == "self-signed certificate"


def test_a_finding_without_words_of_ours_has_its_number():
    verification = Verification(HOST, b"")
    verification.note(999, 0)
    no_chain = SimpleNamespace(get_verified_chain=lambda: None)
    assert verification.result(no_chain) == "OpenSSL's certificate error 999"


@pytest.mark.parametrize("host", ["", "a b", "a\0", "*.test", "\ud800"])
def test_no_certificate_is_for_a_host_that_cannot_be(contexts, host):
    assert verdict(contexts, ROOT.issue("*.test", HOST), host).startswith(MISMATCH)


def test_our_own_ca_is_not_trusted_even_where_the_system_trusts_it(authority, tmp_path):
    """T7"""
    ours = Identity(authority.certificate, authority._key)
    everything = Contexts(authority, upstream_ca=ours.write_certificate(tmp_path / "system.pem"))
    refusal = "issued by mitmdump's own CA, which is for its clients only"
    assert verdict(everything, ours.issue(HOST)) == refusal
    assert verdict(everything, with_root(ours.issue(HOST))) == refusal


def test_our_own_key_is_not_trusted_under_another_name_either(authority, tmp_path):
    """T7"""
    cross_signed = ROOT.issue(ca=True, key=authority._key)
    trusting = Contexts(authority, upstream_ca=ROOT.write_certificate(tmp_path / "root.pem"))
    assert verdict(trusting, cross_signed.issue(HOST)).startswith("issued by mitmdump's own CA")


def test_a_trusted_intermediate_needs_no_root(authority, tmp_path):
    """As Python 3.13's VERIFY_X509_PARTIAL_CHAIN."""
    trusting = Contexts(authority, upstream_ca=INTERMEDIATE.write_certificate(tmp_path / "intermediate.pem"))
    assert verdict(trusting, without_chain(INTERMEDIATE.issue(HOST))) == "ok"


# Hostile certificates (T12)


def test_a_chain_of_a_megabyte_ends_the_handshake(contexts):
    """T12"""
    huge = ROOT.issue(HOST, alternatives=[x509.DNSName("a" * 1_000_000)])
    with pytest.raises(TlsError, match="excessive message size"):
        verdict(contexts, huge)


@pytest.mark.parametrize("name", ["{}.test", "*.{}.test", "{}", "A{}.tEst"])
def test_of_ten_thousand_names_only_those_that_may_match_are_compared(contexts, name, monkeypatch):
    """T12"""
    compared: list[bytes] = []
    make = DNSPattern.from_bytes
    monkeypatch.setattr(DNSPattern, "from_bytes", lambda pattern: compared.append(pattern) or make(pattern))
    alternatives = [x509.DNSName(name.format(number)) for number in range(5000)] + [x509.DNSName(HOST)] * 4000
    identity = ROOT.issue(HOST, alternatives=alternatives)
    assert verdict(contexts, identity) == "ok"
    assert len(compared) <= 2


def reassembled(identity: Identity, signed: bytes, algorithm: str, signature: bytes) -> Identity:
    """The certificate with these parts instead of its own (RFC 5280 section 4.1)."""
    der = tlv(0x30, signed + bytes.fromhex(algorithm) + tlv(0x03, b"\0" + signature))
    return Identity(x509.load_der_x509_certificate(der), identity.key, identity.issuer)


def tlv(tag: int, value: bytes) -> bytes:
    length = len(value)
    return bytes([tag, length] if length < 128 else [tag, 0x82, length >> 8, length & 0xFF]) + value


ECDSA_SHA256, RSA_SHA256 = "300a06082a8648ce3d040302", "300d06092a864886f70d01010b0500"
ALTERNATIVE_NAME = b"\x30\x08\x82\x06a.test"
MALFORMED = {
    "common name of a wrong type": (b"\x0c\x06a.test", b"\x03\x06\0.test"),
    "alternative names without end": (ALTERNATIVE_NAME, b"\x30\x08\x82\x7fa.test"),
    "address of six bytes": (ALTERNATIVE_NAME, b"\x30\x08\x87\x06a.test"),
    "name beyond ASCII": (ALTERNATIVE_NAME, b"\x30\x08\x82\x06\xe9.test"),
    "extension twice": (b"\x06\x03\x55\x1d\x0f", b"\x06\x03\x55\x1d\x11"),
}


@pytest.mark.parametrize(("old", "new"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_certificate_is_refused_and_the_client_still_gets_a_leaf(contexts, old, new):
    """T12"""
    right = ROOT.issue(HOST)
    signed = right.certificate.tbs_certificate_bytes.replace(old, new)
    malformed = reassembled(right, signed, ECDSA_SHA256, ROOT.key.sign(signed, ec.ECDSA(hashes.SHA256())))
    assert signed != right.certificate.tbs_certificate_bytes
    assert verdict(contexts, malformed) in ("malformed certificate", "unable to get local issuer certificate")
    assert HOST in LeafNames.from_chain([malformed.der], HOST).dns


def test_a_key_of_16384_bits_is_refused_not_waited_for(contexts):
    """T12: what a server can make us verify with; a signature of its own it would have to be able to make."""
    modulus = (1 << 16383) + 1
    huge = SimpleNamespace(public_key=rsa.RSAPublicNumbers(65537, modulus).public_key)
    between = ROOT.issue(ca=True, key=huge)
    signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    leaf = Identity(between.certificate, signer, ROOT).issue(HOST, key_identifiers=False)
    slow = reassembled(leaf, leaf.certificate.tbs_certificate_bytes, RSA_SHA256, b"\1" * 2048)
    assert verdict(contexts, slow) != "ok"
