"""Is a certificate for this host? service-identity says so, of what could match at all.

A module of its own, as service-identity takes long to load, and is needed no earlier than when the first server is
verified.
"""

from __future__ import annotations

from contextlib import suppress

from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, DNSPattern, IPAddress_ID, IPAddressPattern, verify_service_identity

from .names import CertificateNames


def is_for(host: str, names: CertificateNames) -> bool:
    """RFC 9525 section 6, without the common name. Host names that are none are for nobody."""
    try:
        identifier, patterns = _patterns(host, names)
        verify_service_identity(patterns, [identifier], [])
    except (ValueError, VerificationError, CertificateError):
        return False
    return True


def _patterns(
    host: str, names: CertificateNames
) -> tuple[DNS_ID | IPAddress_ID, list[DNSPattern] | list[IPAddressPattern]]:
    """The host, and what of the certificate may be for it, as service-identity wants it.

    Names that could never match are left out: turning each into a pattern takes ten microseconds, and a certificate
    can hold twenty thousand.
    """
    with suppress(ValueError):
        return IPAddress_ID(host), [IPAddressPattern(address) for address in names.addresses]
    identifier = DNS_ID(host)
    parent = identifier.hostname.partition(b".")[2]
    candidates = {identifier.hostname, b"*." + parent}
    found = candidates.intersection(name.lower().encode() for name in names.dns)
    return identifier, [DNSPattern.from_bytes(name) for name in found]
