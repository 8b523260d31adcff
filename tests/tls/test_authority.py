"""The CA on disk and the leaves that it issues."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from pkilint import loader
from pkilint.cabf import serverauth
from pkilint.cabf.serverauth.serverauth_constants import CertificateType
from pkilint.pkix import certificate as pkix
from support.pki import Identity, make, make_root

from mitmdump.errors import ConfdirError, TlsError
from mitmdump.tls.authority import BACKDATED, CA_FILE, MITMPROXY_CA_FILE, Authority
from mitmdump.tls.names import LeafNames

NOW = time()
DAY = 86400.0
NAMES = LeafNames.from_chain((), "a.example.com")


@pytest.fixture(params=["ec", "rsa"], scope="module")
def authority(request, tmp_path_factory) -> Authority:
    return Authority.load_or_create(tmp_path_factory.mktemp("ca"), key_type=request.param, now=NOW)


def load(confdir: Path, now: float = NOW) -> Authority:
    return Authority.load_or_create(confdir, key_type="ec", now=now)


def write_ca(path: Path, *identities: Identity, key=None, encryption=None) -> Path:
    """A CA file as another program could have made it: the certificate and key of the first, certificates of more."""
    key = key or identities[0].key
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())
    public = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in identities)
    path.write_bytes(public + private)
    path.chmod(0o600)
    return path


def extension(certificate: x509.Certificate, kind: type) -> x509.Extension:
    return certificate.extensions.get_extension_for_class(kind)


# On disk


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_the_files_are_for_whom_they_should_be_under_any_umask(tmp_path, umask):
    """T1"""
    confdir = tmp_path / "confdir"
    before = os.umask(umask)
    try:
        load(confdir)
    finally:
        os.umask(before)
    assert mode(confdir) == 0o700
    assert {path.name: mode(path) for path in confdir.iterdir()} == {
        "mitmdump-ca.pem": 0o600,
        "mitmdump-ca-cert.pem": 0o644,
        "mitmdump-ca-cert.cer": 0o644,
        "mitmdump-ca-cert.p12": 0o644,
    }


def test_the_second_start_finds_the_ca_of_the_first(tmp_path):
    assert load(tmp_path).certificate == load(tmp_path).certificate


def test_the_certificate_files_hold_the_certificate_and_no_key(tmp_path):
    certificate = load(tmp_path).certificate
    pem, der, p12 = ((tmp_path / f"mitmdump-ca-cert.{suffix}").read_bytes() for suffix in ("pem", "cer", "p12"))
    assert x509.load_pem_x509_certificate(pem) == x509.load_der_x509_certificate(der) == certificate
    key, _own, trusted = pkcs12.load_key_and_certificates(p12, None)
    assert (key, trusted) == (None, [certificate])
    assert b"PRIVATE" not in pem


@pytest.mark.parametrize("lost", ["mitmdump-ca.pem", "mitmdump-ca-cert.pem", "mitmdump-ca-cert.p12"])
def test_certificate_files_that_do_not_fit_are_made_again(tmp_path, lost):
    load(tmp_path)
    (tmp_path / lost).unlink()
    certificate = load(tmp_path).certificate
    assert x509.load_pem_x509_certificate((tmp_path / "mitmdump-ca-cert.pem").read_bytes()) == certificate
    assert len(list(tmp_path.iterdir())) == 4


def test_every_installation_has_its_own_ca_with_its_own_name(tmp_path):
    """T2"""
    one, other = load(tmp_path / "1").certificate, load(tmp_path / "2").certificate
    assert one.public_key() != other.public_key()
    assert one.subject != other.subject


def test_leaves_are_not_for_the_key_of_the_ca(authority):
    """T2"""
    leaf = authority.issue(NAMES, NOW)
    assert leaf.public_key() == authority.leaf_key.public_key()
    assert leaf.public_key() != authority.certificate.public_key()


def test_programs_that_start_at_once_end_up_with_one_ca(tmp_path):
    """T1"""
    with ThreadPoolExecutor(8) as pool:
        authorities = list(pool.map(load, [tmp_path / "confdir"] * 8))
    assert len({each.certificate for each in authorities}) == 1
    assert len(list((tmp_path / "confdir").iterdir())) == 4


def test_the_ca_of_mitmproxy_is_used_and_left_as_it_is(tmp_path):
    path = write_ca(tmp_path / MITMPROXY_CA_FILE, make_root("mitmproxy"))
    content = path.read_bytes()
    assert load(tmp_path).certificate == x509.load_pem_x509_certificate(content)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [(MITMPROXY_CA_FILE, content)]


def test_our_own_ca_comes_before_mitmproxys(tmp_path):
    certificate = load(tmp_path).certificate
    write_ca(tmp_path / MITMPROXY_CA_FILE, make_root())
    assert load(tmp_path).certificate == certificate


def test_a_ca_that_cannot_be_written_to_is_used_all_the_same(tmp_path, monkeypatch):
    ca = make_root()
    write_ca(tmp_path / CA_FILE, ca)
    monkeypatch.setattr("mitmdump.tls.confdir.tempfile.mkstemp", refuse)
    assert load(tmp_path).certificate == ca.certificate
    assert len(list(tmp_path.iterdir())) == 1


def refuse(*_args, **_options):
    raise PermissionError(13, "Permission denied")


def test_an_intermediate_ca_is_sent_along_with_those_above_it(tmp_path):
    root = make_root()
    policy = root.issue(ca=True)
    issuing = policy.issue(ca=True)
    write_ca(tmp_path / CA_FILE, issuing, policy)
    assert load(tmp_path).chain == (issuing.certificate, policy.certificate)


def test_a_root_need_not_be_sent(authority):
    assert authority.chain == ()


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path, bits):
    write_ca(tmp_path / CA_FILE, make_root()).chmod(bits)
    with pytest.raises(ConfdirError, match=rf"others than its owner have access to it \(mode 0{bits:o}\)"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("make_options", "write_options", "reason"),
    [
        ({"days": (-20, -1)}, {}, "valid from .* not today"),
        ({"days": (1, 20)}, {}, "valid from .* not today"),
        ({"ca": False}, {}, "not that of a CA"),
        ({}, {"key": ec.generate_private_key(ec.SECP256R1())}, "does not fit"),
        ({}, {"key": ed25519.Ed25519PrivateKey.generate()}, "does not fit"),
        ({}, {"encryption": BestAvailableEncryption(b"secret")}, "encrypted"),
    ],
)
def test_a_ca_that_cannot_issue_is_refused_with_its_reason(tmp_path, make_options, write_options, reason):
    write_ca(tmp_path / CA_FILE, make("ca", **{"ca": True, **make_options}), **write_options)
    with pytest.raises(ConfdirError, match=reason) as error:
        load(tmp_path)
    assert str(tmp_path / CA_FILE) in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_a_file_that_is_no_ca_is_refused(tmp_path, content):
    (tmp_path / CA_FILE).write_bytes(content)
    (tmp_path / CA_FILE).chmod(0o600)
    with pytest.raises(ConfdirError, match="does not hold a readable private key and certificate"):
        load(tmp_path)


def test_a_confdir_that_is_no_directory_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for confdir in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfdirError, match=r"cannot use the CA in .*file"):
            load(confdir)


# What is issued

# What only a public CA can meet, or what this checklist wants otherwise.
ACCEPTED_FINDINGS = {
    "cabf.serverauth.ca.country_attribute_absent": "we have no country",
    "cabf.ca_certificate_no_digital_signature_bit": "it signs nothing but certificates, no OCSP answers",
    "cabf.serverauth.root_basic_constraints_pathlenconstraint_present": "T4: our root has no CAs below it",
    "cabf.serverauth.subscriber.revocation_information_absent": "nobody could be asked for it",
    "msft.end_entity.revocation_information_absent": "the same",
    "cabf.serverauth.subscriber.authority_info_access_extension_absent": "the same",
    "cabf.serverauth.subscriber.certificate_policies_extension_absent": "the policies are those of public CAs",
    "cabf.serverauth.subscriber.subject_key_identifier_extension_present": "T4; older verifiers want it",
    "cabf.serverauth.dv.common_name_attribute_present": "people and old clients look at it",
    "cabf.serverauth.subscriber_rsa_digitalsignature_and_keyencipherment_present": "clients that want RSA are old",
    "cabf.internal_ip_address": "proxies are asked for internal hosts",
    "pkix.subject_key_identifier_method_1_identified": "information, no fault",
}


def lint(certificate: x509.Certificate, kind: CertificateType) -> set[str]:
    document = loader.load_certificate(certificate.public_bytes(Encoding.DER), "certificate")
    validators = pkix.create_pkix_certificate_validator_container(
        serverauth.create_decoding_validators(), serverauth.create_validators(kind)
    )
    results = validators.validate(document.root)
    return {each.finding.code for result in results for each in result.finding_descriptions}


def test_the_ca_passes_pkilint(authority):
    """T3"""
    assert lint(authority.certificate, CertificateType.ROOT_CA) - ACCEPTED_FINDINGS.keys() == set()


@pytest.mark.parametrize("asked", ["a.example.com", "a" * 60 + ".example.com", "192.0.2.1"])
def test_leaves_pass_pkilint(authority, asked):
    """T3"""
    leaf = authority.issue(LeafNames.from_chain((), asked), NOW)
    assert lint(leaf, CertificateType.DV_FINAL_CERTIFICATE) - ACCEPTED_FINDINGS.keys() == set()


def test_the_ca_is_for_signing_leaves_only(authority):
    """T4"""
    certificate = authority.certificate
    usage = extension(certificate, x509.KeyUsage)
    assert extension(certificate, x509.BasicConstraints).value == x509.BasicConstraints(ca=True, path_length=0)
    assert (usage.critical, usage.value.key_cert_sign, usage.value.crl_sign) == (True, True, True)
    assert not usage.value.digital_signature
    assert extension(certificate, x509.SubjectKeyIdentifier)
    with pytest.raises(x509.ExtensionNotFound):
        extension(certificate, x509.ExtendedKeyUsage)


def test_a_leaf_is_what_a_careful_client_wants(authority):
    """T4"""
    leaf = authority.issue(NAMES, NOW)
    usage = extension(leaf, x509.KeyUsage).value
    own = extension(authority.certificate, x509.SubjectKeyIdentifier).value.digest
    assert extension(leaf, x509.BasicConstraints).value == x509.BasicConstraints(ca=False, path_length=None)
    assert list(extension(leaf, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    assert usage.key_encipherment == isinstance(leaf.public_key(), rsa.RSAPublicKey)
    assert extension(leaf, x509.AuthorityKeyIdentifier).value.key_identifier == own
    assert extension(leaf, x509.SubjectKeyIdentifier)
    assert leaf.signature_hash_algorithm.name == "sha256"


def test_the_names_of_a_leaf_are_where_clients_look(authority):
    """T4"""
    names = LeafNames.from_chain([make("a.test", "*.b.test", "192.0.2.1").der], "2001:db8::1")
    leaf = authority.issue(names, NOW)
    alternatives = extension(leaf, x509.SubjectAlternativeName)
    assert leaf.subject.rfc4514_string() == "CN=a.test"
    assert alternatives.value.get_values_for_type(x509.DNSName) == ["a.test", "*.b.test"]
    assert {str(each) for each in alternatives.value.get_values_for_type(x509.IPAddress)} == {
        "192.0.2.1",
        "2001:db8::1",
    }
    assert not alternatives.critical


def test_without_a_common_name_the_alternative_names_are_critical(authority):
    """T4"""
    leaf = authority.issue(LeafNames(None, ("a" * 60 + ".test",)), NOW)
    assert len(list(leaf.subject)) == 0
    assert extension(leaf, x509.SubjectAlternativeName).critical


def test_a_leaf_is_valid_for_less_than_199_days_and_back_dated(authority):
    """T4"""
    now = NOW + 300 * DAY
    leaf = authority.issue(NAMES, now)
    moment = datetime.fromtimestamp(int(now), UTC)
    assert leaf.not_valid_before_utc == moment - BACKDATED
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < timedelta(days=47)
    assert leaf.not_valid_after_utc - moment > timedelta(days=30)


def test_a_leaf_is_not_valid_when_its_ca_is_not(tmp_path):
    """T4"""
    ca = make_root(days=(-1, 20))
    write_ca(tmp_path / CA_FILE, ca)
    leaf = load(tmp_path).issue(NAMES, NOW)
    assert leaf.not_valid_before_utc == ca.certificate.not_valid_before_utc
    assert leaf.not_valid_after_utc == ca.certificate.not_valid_after_utc


def test_an_expired_ca_issues_nothing(authority):
    with pytest.raises(TlsError, match="expired"):
        authority.issue(NAMES, NOW + 4000 * DAY)


def test_serial_numbers_are_long_and_random(authority):
    """T4"""
    serials = [authority.issue(NAMES, NOW).serial_number for _ in range(20)]
    assert len(set(serials)) == 20
    assert max(each.bit_length() for each in serials) in range(140, 160)
    assert min(serials) > 0
