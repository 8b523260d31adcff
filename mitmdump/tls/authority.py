"""The certificate authority: on disk in the confdir, made at first use, and the leaves that it issues.

    mitmdump-ca.pem        private key and certificate: whoever has this file can pose as any server to our clients
    mitmdump-ca-cert.pem   the certificate alone, in the three forms that clients want to be given;
    mitmdump-ca-cert.cer   made from the first file, and made again if they do not fit it
    mitmdump-ca-cert.p12

A confdir of mitmproxy's is used as it stands, so clients that trust that CA need nothing new. Leaves are never stored.
All are for one key that lives as long as the process: making keys costs time, and whoever holds one holds all.

Times are Unix seconds, and an argument.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import ConfdirError, TlsError
from . import confdir as files
from .handout import Handout
from .names import LeafNames

KeyType = Literal["ec", "rsa"]
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

CA_FILE = "mitmdump-ca.pem"
MITMPROXY_CA_FILE = "mitmproxy-ca.pem"
CERTIFICATE_FILE = "mitmdump-ca-cert"

# Clocks of clients go wrong, mostly backwards: after a flat battery it is last week.
BACKDATED = timedelta(days=2)
CA_VALIDITY = timedelta(days=3650)
# Below the 47 days that the CA/Browser Forum allows from 2029 on (ballot SC-081v3; until then 200, then 100).
LEAF_VALIDITY = timedelta(days=46)


class Authority:
    """A CA that is ready to issue.

    `certificate` is its own; `chain` what a client needs between a leaf and the root that it trusts, so nothing if
    we are the root; `leaf_key` the key that all leaves are for, never the CA's own; `certificate_file` is what clients
    have to trust.
    """

    def __init__(self, key: Key, certificates: list[x509.Certificate], key_type: KeyType) -> None:
        """`certificates`: that of `key`, and those above it if it is an intermediate CA."""
        self.certificate = certificates[0]
        self.chain = () if self.certificate.issuer == self.certificate.subject else tuple(certificates)
        self.leaf_key = _new_key(key_type)
        self.certificate_file = Path(f"{CERTIFICATE_FILE}.pem")
        self._key = key
        self._template = self._make_template()

    @classmethod
    def load_or_create(cls, confdir: Path, *, key_type: KeyType, now: float, keep: bool = True) -> Authority:
        """The CA of this confdir; made, with a key of `key_type`, if there is none. The leaves' key is of that type.

        Without `keep` one that is made is not written anywhere, for who has no clients to trust it. Raises ConfdirError
        where there is a CA that cannot be used, or where none can be made.
        """
        path = confdir / CA_FILE
        try:
            if not path.exists() and (confdir / MITMPROXY_CA_FILE).exists():
                path = confdir / MITMPROXY_CA_FILE
            elif not path.exists():
                if not keep:
                    return cls(*_parse_ca(_new_ca(key_type, now), path, now), key_type)
                files.make_directory(confdir)
                with suppress(FileExistsError):  # another program was faster: its CA is as good as ours
                    files.create(path, _new_ca(key_type, now))
            pem = files.read_private(path)
        except OSError as error:
            raise ConfdirError(f"cannot use the CA in {path}: {error.strerror or error}") from None
        authority = cls(*_parse_ca(pem, path, now), key_type)
        authority.certificate_file = path.with_name(f"{path.stem}-cert.pem")  # mitmproxy calls its own so, too
        if path.name == CA_FILE:
            authority._write_certificate_files(confdir)
        return authority

    def issue(self, names: LeafNames, now: float) -> x509.Certificate:
        """A certificate for a server of these names, for `leaf_key`. Raises TlsError once the CA has expired."""
        moment = _moment(now)
        if moment >= self.certificate.not_valid_after_utc:
            raise TlsError("the CA has expired, so no certificate for the client can be issued")
        start = max(moment - BACKDATED, self.certificate.not_valid_before_utc)
        end = min(start + LEAF_VALIDITY, self.certificate.not_valid_after_utc)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, names.common_name)] if names.common_name else []
        alternatives = [*map(x509.DNSName, names.dns), *map(x509.IPAddress, names.addresses)]
        return (
            self._template.subject_name(x509.Name(subject))
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            # RFC 5280 section 4.2.1.6: critical if it is all that says whose certificate this is
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=not subject)
            .sign(self._key, hashes.SHA256())
        )

    def _make_template(self) -> x509.CertificateBuilder:
        """All of a leaf that does not depend on whom it is for."""
        public_key = self.leaf_key.public_key()
        is_rsa = isinstance(public_key, rsa.RSAPublicKey)
        return (
            x509.CertificateBuilder()
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True, key_encipherment=is_rsa), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(self._key_identifier(), critical=False)
        )

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """RFC 5280 section 4.2.1.1: what the CA's certificate calls its key, if it does."""
        try:
            identifier = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)

    def _write_certificate_files(self, confdir: Path) -> None:
        """Write the certificate files, unless they are there and fit, or cannot be written: we can do without."""
        handout, path = Handout.of(self.certificate), confdir / CERTIFICATE_FILE
        contents = {".cer": handout.der, ".p12": handout.p12, ".pem": handout.pem}  # where the last fits, all do
        with suppress(OSError):
            complete = all(path.with_suffix(suffix).exists() for suffix in contents)
            if complete and path.with_suffix(".pem").read_bytes() == contents[".pem"]:
                return
            for suffix, content in contents.items():
                files.replace(path.with_suffix(suffix), content)


def _new_key(key_type: KeyType) -> Key:
    if key_type == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _new_ca(key_type: KeyType, now: float) -> bytes:
    """A new key and its self-signed certificate, as PEM."""
    key = _new_key(key_type)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Trust stores find issuers by name, so two CAs must not share one.
    common_name = f"mitmdump CA {identifier.digest[:4].hex()}"
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "mitmdump"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    start = _moment(now) - BACKDATED
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + CA_VALIDITY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return private + certificate.public_bytes(Encoding.PEM)


def _parse_ca(pem: bytes, path: Path, now: float) -> tuple[Key, list[x509.Certificate]]:
    """The key and certificates of a CA file; ConfdirError if they are not what it takes to issue."""
    try:
        key = serialization.load_pem_private_key(pem, None)
        certificates = x509.load_pem_x509_certificates(pem)
        certificate = certificates[0]
        fits = certificate.public_key() == key.public_key()
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except TypeError:
        raise ConfdirError(f"the private key in {path} is encrypted; it has to be stored without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfdirError(f"{path} does not hold a readable private key and certificate") from None
    except x509.ExtensionNotFound:
        is_ca = False
    if not is_ca:
        raise ConfdirError(f"the certificate in {path} is not that of a CA")
    if not fits or not isinstance(key, Key):
        raise ConfdirError(f"the private key in {path} does not fit the certificate, or is neither EC nor RSA")
    if not certificate.not_valid_before_utc <= _moment(now) < certificate.not_valid_after_utc:
        raise ConfdirError(
            f"the CA in {path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to"
            f" {certificate.not_valid_after_utc:%Y-%m-%d}, not today; remove the file to have a new one made"
        )
    return key, certificates


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_encipherment=key_encipherment,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
