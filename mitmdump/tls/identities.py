"""Certificates that the user brings, each with its private key: to be a server with, or a client of servers that ask.

A file is PEM and holds a private key, its certificate, and the certificates between that and the root, in any order
that keeps those in theirs. All are read at the start, so what is wrong with one is said before the first connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from ..errors import SettingsError
from .names import normalize

ALL = "*"


@dataclass(frozen=True, slots=True, eq=False)
class Identity:
    """A certificate, its private key, and the certificates above it that are sent along."""

    key: Any
    certificate: x509.Certificate
    chain: Sequence[x509.Certificate]

    def install(self, context: SSL.Context) -> None:
        """Make it what a context's sessions show. Raises SSL.Error where the context's security level forbids it."""
        context.use_certificate(self.certificate)
        context.use_privatekey(self.key)
        for certificate in self.chain:
            context.add_extra_chain_cert(certificate)


def load_identity(path: Path) -> Identity:
    """Read a PEM file. Raises SettingsError."""
    try:
        pem = path.read_bytes()
        key = serialization.load_pem_private_key(pem, None)
        certificates = x509.load_pem_x509_certificates(pem)
        own = next((each for each in certificates if each.public_key() == key.public_key()), None)
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    except TypeError:
        raise SettingsError(
            f"the private key in {path} is encrypted, and there is nobody to ask for its password; "
            f"store it without one (openssl pkey -in {path}), readable by you alone"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"{path} does not hold a readable private key and its certificate, as PEM") from None
    if own is None:
        raise SettingsError(f"none of the certificates in {path} is for the private key in it")
    return Identity(key, own, [each for each in certificates if each is not own])


class OwnCertificates:
    """Certificates to be shown to clients instead of ours, by the name that the client asks for.

    A pattern is a host name or an address; `*.example.com`, for every name below example.com; or `*`, for all. The most
    specific one wins. Raises SettingsError.
    """

    def __init__(self, files: Sequence[tuple[str, Path]]) -> None:
        self.identities = {_normal_pattern(pattern): load_identity(path) for pattern, path in files}

    def pattern_for(self, asked: str) -> str | None:
        """The pattern that a name falls under, if there is one."""
        if not self.identities:
            return None
        name = str(normalize(asked) or asked)
        labels = name.split(".")
        wildcards = (".".join([ALL, *labels[at:]]) for at in range(1, len(labels)))
        return next((pattern for pattern in (name, *wildcards, ALL) if pattern in self.identities), None)


def _normal_pattern(pattern: str) -> str:
    if pattern in ("", ALL):
        return ALL
    below = pattern.removeprefix("*.")
    name = None if below.startswith(ALL) else normalize(below)
    if name is None:
        raise SettingsError(
            f"--certs: {pattern!r} is no host name, address or pattern such as *.example.com (a file whose name holds "
            "'=' has to be given with ./ in front)"
        )
    return pattern[: len(pattern) - len(below)] + str(name)


class ClientCertificates:
    """Certificates for servers that ask for one: one file for all, or a directory with a HOST.pem for each host.

    Raises SettingsError.
    """

    def __init__(self, path: Path) -> None:
        self._for_all: Identity | None = None
        self._by_host: dict[str, Identity] = {}
        if not path.is_dir():
            self._for_all = load_identity(path)
            return
        for file in sorted(path.glob("*.pem")):
            self._by_host[str(normalize(file.stem) or file.stem)] = load_identity(file)
        if not self._by_host:
            raise SettingsError(f"--client-certs: there is no HOST.pem in {path}")

    @property
    def identities(self) -> list[Identity]:
        """All of them."""
        return [self._for_all] if self._for_all else list(self._by_host.values())

    def get(self, host: str) -> Identity | None:
        """What to show a server, if it asks."""
        return self._for_all or self._by_host.get(str(normalize(host) or host))
