"""Is the server's certificate one that a careful client would accept? The answer is recorded; the caller acts on it.

OpenSSL builds the chain and checks it against the trust store, as strictly as Python 3.13's default context does; its
findings are written down instead of ending the handshake, so that a certificate that is refused still gets into the
record. Whether the certificate is for the host is for `hostname` to say. And our own CA is no reason to trust a
server, even where the operating system trusts it for the sake of our clients: a stolen key of it would open our
connections too.
"""

from __future__ import annotations

from OpenSSL import SSL, crypto
from OpenSSL.SSL import X509VerificationCodes as Code

from .. import errors
from .names import normalize, read_names
from .session import is_resumed

OK = "ok"

# Codes and, mostly, words of OpenSSL's x509_vfy.h, for what is met in the field. Numbers have no name in pyOpenSSL.
_FINDINGS = {
    Code.ERR_UNABLE_TO_GET_ISSUER_CERT: "unable to get issuer certificate",
    Code.ERR_CERT_SIGNATURE_FAILURE: "certificate signature failure",
    Code.ERR_CERT_NOT_YET_VALID: "certificate is not yet valid",
    Code.ERR_CERT_HAS_EXPIRED: "certificate has expired",
    Code.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate",
    Code.ERR_SELF_SIGNED_CERT_IN_CHAIN: "self-signed certificate in certificate chain",
    Code.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unable to get local issuer certificate",
    Code.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "unable to verify the first certificate",
    Code.ERR_CERT_CHAIN_TOO_LONG: "certificate chain too long",
    Code.ERR_PATH_LENGTH_EXCEEDED: "path length constraint exceeded",
    Code.ERR_INVALID_PURPOSE: "unsuitable certificate purpose",
    Code.ERR_CERT_UNTRUSTED: "certificate not trusted",
    Code.ERR_CERT_REJECTED: "certificate rejected",
    Code.ERR_AKID_SKID_MISMATCH: "authority and subject key identifier mismatch",
    Code.ERR_KEYUSAGE_NO_CERTSIGN: "key usage does not include certificate signing",
    Code.ERR_UNHANDLED_CRITICAL_EXTENSION: "unhandled critical extension",
    Code.ERR_INVALID_EXTENSION: "invalid or inconsistent certificate extension",
    Code.ERR_PERMITTED_VIOLATION: "permitted subtree violation",
    Code.ERR_EXCLUDED_VIOLATION: "excluded subtree violation",
    Code.ERR_INVALID_CA: "invalid CA certificate",
    66: "certificate key too weak",
    67: "CA certificate key too weak",
    68: "CA signature digest algorithm too weak",
    80: "path length given for a certificate that is no CA",
    81: "path length given without the right to sign certificates",
    82: "right to sign certificates given to a certificate that is no CA",
    83: "issuer name empty",
    84: "subject name empty",
    85: "missing authority key identifier",
    86: "missing subject key identifier",
    87: "empty subject alternative name extension",
    88: "subject empty and subject alternative name not critical",
    89: "basic constraints of CA certificate not critical",
    90: "authority key identifier marked critical",
    91: "subject key identifier marked critical",
    92: "CA certificate without key usage",
    93: "extensions in a certificate that is not of version 3",
    94: "explicit parameters of an elliptic curve",
}

# How many of a certificate's names an error message lists.
_NAMES_SHOWN = 5


class Verification:
    """The verification of one server's certificate, for the host that we wanted to reach.

    OpenSSL's callback says what it finds to `note`, in the handshake; after it, `result` makes the verdict of it.
    `own_key` is the DER of our CA's SubjectPublicKeyInfo. `verdict` is the result, and `expires` when the first
    certificate of the chain expires, "YYYYMMDDhhmmssZ", b"" while that is not known; both are given where a session may
    be resumed, for which they were found when it began.
    """

    __slots__ = ("_finding", "_host", "_own_key", "expires", "verdict")

    def __init__(self, host: str, own_key: bytes, verdict: str = "", expires: bytes = b"") -> None:
        self._host = host.removesuffix(".")
        self._own_key = own_key
        self._finding = ""
        self.verdict = verdict
        self.expires = expires

    def note(self, code: int, depth: int) -> None:
        """Remember the first finding: those after it mostly follow from it."""
        if not self._finding:
            text = _FINDINGS.get(code, f"OpenSSL's certificate error {code}")
            self._finding = f"{text} (certificate {depth} up the chain)" if depth else text

    def result(self, connection: SSL.Connection) -> str:
        """ "ok", or the reason why the server's certificate is not to be trusted, in a few words."""
        if self.verdict and is_resumed(connection):
            return self.verdict
        chain = connection.get_verified_chain() or []  # or as much of one as there was
        self.verdict = self._finding or self._judge(chain)
        self.expires = min((certificate.get_notAfter() or b"" for certificate in chain), default=b"")
        return self.verdict

    def _judge(self, chain: list[crypto.X509]) -> str:
        """Of a chain in which OpenSSL has found nothing wrong."""
        encoded = [crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in chain]
        if not encoded:  # no suite that we offer lets a server go without one
            return "no certificate"
        # A certificate holds its public key's encoding as it stands, so there is no need to parse each.
        if any(self._own_key in certificate for certificate in encoded):
            return "issued by mitmdump's own CA, which is for its clients only"
        return _check_host(encoded[0], self._host)


def _check_host(certificate: bytes, host: str) -> str:
    from .hostname import is_for  # not loaded before the first server is verified

    try:
        names = read_names(certificate)
    except errors.CertificateError as error:
        return str(error)
    if is_for(host, names):
        return OK
    listed = [*filter(normalize, names.dns), *map(str, names.addresses)] or ["no host"]
    more = [f"{len(listed) - _NAMES_SHOWN} more"] if len(listed) > _NAMES_SHOWN else []
    return f"hostname mismatch: the certificate is for {', '.join(listed[:_NAMES_SHOWN] + more)}, not {host}"
