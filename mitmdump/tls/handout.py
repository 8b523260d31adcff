"""The CA's certificate in the forms that clients want to be given. None of them holds a private key."""

from __future__ import annotations

from hashlib import md5
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs12


class Handout(NamedTuple):
    """A certificate in several forms.

    `p12` is of the kind that Java takes for a trust store as it is, without a password; others take it too. `sha256` is
    the fingerprint that systems show, in pairs of digits. `android` is the name, without the ".0", that the file has in
    Android's system store: OpenSSL's old hash of the subject.
    """

    pem: bytes
    der: bytes
    p12: bytes
    sha256: str
    android: str

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Handout:
        """All forms of a certificate."""
        subject = md5(certificate.subject.public_bytes(), usedforsecurity=False).digest()
        return cls(
            certificate.public_bytes(Encoding.PEM),
            certificate.public_bytes(Encoding.DER),
            pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(certificate, b"mitmdump")], NoEncryption()),
            certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
            subject[3::-1].hex(),
        )
