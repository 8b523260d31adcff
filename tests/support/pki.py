"""A small public key infrastructure for tests: roots, intermediates and leaves, right ones and wrong ones.

    root = make_root()
    intermediate = root.issue(ca=True)
    server = intermediate.issue("a.test", "127.0.0.1")
    certificate_file, key_file = server.write(directory)    # the form that nginx and openssl s_server want
    root_file = root.write_certificate(directory / "root.pem")

What is made is correct (RFC 5280, and OpenSSL's X509_STRICT) unless an option says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH

_numbers = count(1)


@dataclass
class Identity:
    """A certificate with its private key, and the identity that issued it (None: itself)."""

    certificate: x509.Certificate
    key: Any = field(repr=False)
    issuer: Identity | None = None

    @property
    def chain(self) -> list[x509.Certificate]:
        """The certificates that a server sends: its own and those up to the root, without the root."""
        above = self.issuer.chain if self.issuer and self.issuer.issuer else []
        return [self.certificate, *above]

    @property
    def der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(Encoding.DER)

    def issue(self, *names: str, **options: Any) -> Identity:
        """A certificate issued by this one; `options` as of `make`."""
        return make(*names, issuer=self, **options)

    def write(self, directory: Path, name: str = "server") -> tuple[Path, Path]:
        """Write the chain and the key as PEM files; gives their paths."""
        certificates, key = directory / f"{name}.pem", directory / f"{name}.key"
        certificates.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in self.chain))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificates, key

    def write_certificate(self, path: Path) -> Path:
        """Write this certificate alone as a PEM file, for a trust store."""
        path.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return path


def make_root(common_name: str = "Test root", **options: Any) -> Identity:
    """A self-signed CA."""
    return make(common_name=common_name, ca=True, **options)


def make(
    *names: str,
    issuer: Identity | None = None,
    common_name: str | None = None,
    subject: x509.Name | None = None,
    ca: bool = False,
    path_length: int | None = None,
    days: tuple[float, float] = (-1, 30),
    now: datetime | None = None,
    purposes: tuple[x509.ObjectIdentifier, ...] = (SERVER,),
    alternatives: list[x509.GeneralName] | None = None,
    key: Any = None,
    key_identifiers: bool = True,
    digest: hashes.HashAlgorithm | None = None,
    extensions: tuple[x509.ExtensionType, ...] = (),
) -> Identity:
    """A certificate, self-signed without `issuer`.

    `names` become subject alternative names (addresses as such), and the first the common name, unless `common_name`
    (or "" for none), `subject` and `alternatives` (both complete) say otherwise. `days`: validity relative to now.
    `key`: a private key, "rsa" or "ed25519". `extensions`: others, not critical.
    """
    if key == "rsa":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if key == "ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
    key = key or ec.generate_private_key(ec.SECP256R1())
    default_name = names[0] if names else f"Test {'CA' if ca else 'leaf'} {next(_numbers)}"
    common_name = default_name if common_name is None else common_name
    if subject is None:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    now = now or datetime.now(UTC)
    start, end = (now + timedelta(days=each) for each in days)
    issuer_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(_key_usage(ca), critical=True)
    )
    if key_identifiers:
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        above = x509.SubjectKeyIdentifier.from_public_key(issuer_key.public_key())
        above_identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
        builder = builder.add_extension(own, critical=False).add_extension(above_identifier, critical=False)
    if purposes and not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    alternatives = [general_name(name) for name in names] if alternatives is None else alternatives
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=not common_name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    if isinstance(issuer_key, ed25519.Ed25519PrivateKey):  # which has a digest of its own
        return Identity(builder.sign(issuer_key, None), key, issuer)
    return Identity(builder.sign(issuer_key, digest or hashes.SHA256()), key, issuer)


def general_name(name: str) -> x509.GeneralName:
    """A subject alternative name: an address if it looks like one, else a DNS name."""
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
