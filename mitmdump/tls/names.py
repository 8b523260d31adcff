"""The names in a leaf certificate: what the server's own certificate is for, and what the client asked for.

A client that sees our leaf instead of the server's should find in it what it would have found there, so all names of
the server's certificate are taken over. The name that the client asked for is in it in any case: if the server's
certificate is for something else, that is for us to notice (`verify`), not for a leaf that no client would take.

Both sources are hostile. What is no name that a client would match is left out, and of the rest only so many are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

import idna
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from ..errors import CertificateError

Address = IPv4Address | IPv6Address

# Public CAs put 100 names into a certificate (Let's Encrypt), some 250 and, rarely, more. Bytes are bounded because
# some clients read no certificate message above 32 KiB (Java), and because leaves are kept in a cache. Whatever is cut
# off, the name that the client asked for never is.
MAX_NAMES = 250
MAX_NAMES_SIZE = 16 * 1024

MAX_COMMON_NAME = 64  # characters, RFC 5280 appendix A.1, ub-common-name

# A DNS name in a certificate (RFC 5280 section 4.2.1.6, RFC 9525 section 6.3): a wildcard is a whole left-most label.
# Underscores are against the rules and exist. What looks like an IPv4 address would never be matched as a DNS name.
_DNS_NAME_LENGTH = 253
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)(?:\*\.)?(?:[a-z0-9_-]{1,63}\.)*(?!\d+\Z)[a-z0-9_-]{1,63}\Z")

# What cryptography raises for what it does not like about a certificate.
_MALFORMED = (
    ValueError,
    TypeError,
    KeyError,  # before its version 50: a string of a type that does not exist
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """The names in a certificate, as they stand there; `dns` and `addresses` are subject alternative names."""

    common: tuple[str, ...]
    dns: tuple[str, ...] = ()
    addresses: tuple[Address, ...] = ()


@dataclass(frozen=True, slots=True)
class LeafNames:
    """The names that a leaf is issued for: lower case, A-labels, each once, at least one in all.

    `common_name` is one of the others (a client that checks only common names is not served by a different one), or
    None where all are too long for it.
    """

    common_name: str | None
    dns: tuple[str, ...]
    addresses: tuple[Address, ...] = ()

    @staticmethod
    def from_chain(chain: Sequence[bytes], asked: str | None) -> LeafNames:
        """All names of the server's certificate, and the host name or address that was asked for.

        `chain` is the server's as DER, its own certificate first, or empty if no server was seen. Raises
        CertificateError where that makes not one name.
        """
        return _leaf_names(chain[0] if chain else None, asked)


# Most servers are met again. What one sends is at most 100 KiB (OpenSSL's limit), so this never takes more than a few
# MiB, and the same holds for the names in it, which are asked for to verify it as well.
@lru_cache(maxsize=32)
def _leaf_names(certificate: bytes | None, asked: str | None) -> LeafNames:
    names = _usable_names(certificate) if certificate is not None else []
    wanted = normalize(asked) if asked else None
    if wanted and not _is_covered(wanted, names):
        names.append(wanted)
    if not names:
        raise CertificateError("no certificate for the client: neither it nor the server gave a usable name")
    return LeafNames(
        next((str(name) for name in names if len(str(name)) <= MAX_COMMON_NAME), None),
        tuple(name for name in names if isinstance(name, str)),
        tuple(name for name in names if not isinstance(name, str)),
    )


@lru_cache(maxsize=32)
def read_names(certificate: bytes) -> CertificateNames:
    """The names in a certificate (DER) that a stranger sent; CertificateError where it is malformed.

    OpenSSL, which had it first, puts up with more than cryptography does.
    """
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        common = tuple(str(each.value) for each in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
        alternatives = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return CertificateNames(common)
    except _MALFORMED:
        raise CertificateError("malformed certificate") from None
    addresses = alternatives.get_values_for_type(x509.IPAddress)
    return CertificateNames(
        common,
        tuple(alternatives.get_values_for_type(x509.DNSName)),
        # Networks belong into name constraints (RFC 5280 section 4.2.1.10); here they are for no host.
        tuple(each for each in addresses if isinstance(each, Address)),
    )


def _usable_names(certificate: bytes) -> list[str | Address]:
    """The usable names among the first MAX_NAMES of a certificate, the common name first if it is one."""
    try:
        names = read_names(certificate)
    except CertificateError:
        return []  # the client then gets the name that it asked for
    found: dict[str | Address, None] = {}  # a set that keeps the order
    size = 0
    for text in [*names.common, *map(str, names.addresses), *names.dns][:MAX_NAMES]:
        name = normalize(text)
        size += len(text)
        if size > MAX_NAMES_SIZE:
            break
        if name:
            found[name] = None
    return list(found)


def normalize(text: str) -> str | Address | None:
    """A name as it stands in a leaf; None if it is neither a DNS name nor an address."""
    if len(text) > _DNS_NAME_LENGTH + 1:
        return None
    name = text.lower().removesuffix(".")
    if _DNS_NAME.match(name):
        return name
    try:
        if text.isascii():
            return ip_address(ip_address(text).packed)  # without the zone, which means nothing elsewhere
        return normalize(idna.encode(text, uts46=True).decode())
    except ValueError:  # idna.IDNAError is one
        return None


def _is_covered(wanted: str | Address, names: list[str | Address]) -> bool:
    """Would every client match `wanted` against one of `names`?

    Not all clients take wildcards directly below a top-level domain, or for an A-label (RFC 6125 section 6.4.3).
    """
    if wanted in names:
        return True
    if not isinstance(wanted, str) or wanted.startswith("xn--"):
        return False
    parent = wanted.partition(".")[2]
    return "." in parent and f"*.{parent}" in names
