"""Making TLS sessions towards clients and servers. What is the same for many of them is made once.

There is one OpenSSL context for all clients and one for all servers; making a context takes longer than all that we do
for a connection but its handshake. The context for clients holds the private key of all leaves, so that a session only
needs its leaf, and those are kept in a cache. The context for servers holds the trust store.

What goes into a leaf is decided by its names alone, and these are its key in the cache: whoever makes us issue a
thousand leaves pushes others out, to be issued again, and never changes one.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from ssl import get_default_verify_paths
from typing import Any

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

from ..errors import SettingsError, TlsError
from .authority import BACKDATED, Authority
from .names import LeafNames
from .session import Session
from .verify import Verification

# What CPython's ssl module has offered by default since 3.10, in both directions: forward secrecy always, AEAD first,
# CBC with SHA-2 for what was sane in 2012; keys of 112 bits of security and more. TLS 1.3 suites are OpenSSL's own.
CIPHERS = b"@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"

# A person's browser meets some hundred hosts in a day. A leaf takes some 3 KiB, 40 KiB at most (`names`), and one that
# was pushed out takes a fifth of a millisecond to be issued again.
MAX_LEAVES = 1000

# A leaf is not used any more when a client whose clock is ahead by as much as we allow it to be behind would refuse it.
_REISSUE_BEFORE = BACKDATED

# Where pyOpenSSL looks for the system's roots, if neither the environment nor how OpenSSL was built says so.
_SYSTEM_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/certs",
)


class Contexts:
    """The source of TLS sessions. `ca_file` is what clients have to trust.

    `upstream_ca`: PEM file, or directory made by c_rehash, of roots that are trusted besides the system's. Raises
    SettingsError if there are none in it.
    """

    def __init__(self, authority: Authority, *, upstream_ca: Path | None = None, max_leaves: int = MAX_LEAVES) -> None:
        self.ca_file = authority.certificate_file
        self._authority = authority
        self._max_leaves = max_leaves
        self._leaves: OrderedDict[LeafNames, x509.Certificate] = OrderedDict()
        self._for_clients = _context_for_clients(authority)
        self._for_servers = _context_for_servers(upstream_ca)
        public_key = authority.certificate.public_key()
        self._own_key = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def session_for_client(self, names: LeafNames, alpn: bytes | None, now: float) -> Session:
        """The server's end of a session with a client: with a leaf for `names`, and `alpn` if the client offers it.

        Raises TlsError if no leaf can be issued. `now` is in Unix seconds.
        """
        connection = SSL.Connection(self._for_clients)
        connection.use_certificate(self._leaf(names, now))
        connection.set_app_data(alpn)
        return Session(connection, "client")

    def session_for_server(self, host: str, sni: str | None, alpn: Sequence[bytes]) -> Session:
        """The client's end of a session with a server whose certificate should be for `host`, a name or an address.

        `sni` is sent as it stands (no address: RFC 6066 section 3), `alpn` is offered, best first. Whether the
        certificate is in order is said by the session's `verification`; it does not end the handshake.
        """
        connection = SSL.Connection(self._for_servers)
        if sni is not None:
            connection.set_tlsext_host_name(_server_name(sni))
        if alpn:
            connection.set_alpn_protos(list(alpn))
        verification = Verification(host, self._own_key)
        connection.set_app_data(verification)
        return Session(connection, "server", verification.result, tuple(alpn))

    def _leaf(self, names: LeafNames, now: float) -> x509.Certificate:
        leaf = self._leaves.get(names)
        if leaf is None or now > (leaf.not_valid_after_utc - _REISSUE_BEFORE).timestamp():
            leaf = self._leaves[names] = self._authority.issue(names, now)
        self._leaves.move_to_end(names)
        if len(self._leaves) > self._max_leaves:
            self._leaves.popitem(last=False)
        return leaf


def _context(method: int) -> SSL.Context:
    """What holds in both directions: nothing before TLS 1.2, no renegotiation, no memory for idle connections."""
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS)
    context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    return context


def _context_for_clients(authority: Authority) -> SSL.Context:
    context = _context(SSL.TLS_SERVER_METHOD)
    context.use_privatekey(authority.leaf_key)
    for certificate in authority.chain:
        context.add_extra_chain_cert(certificate)
    context.set_alpn_select_callback(_select_alpn)
    return context


def _select_alpn(connection: SSL.Connection, offers: list[bytes]) -> Any:
    """One of the offers, or pyOpenSSL's marker for none (RFC 7301 section 3.2: the handshake then goes on without)."""
    wanted = connection.get_app_data()
    return wanted if wanted in offers else SSL.NO_OVERLAPPING_PROTOCOLS


def _context_for_servers(upstream_ca: Path | None) -> SSL.Context:
    context = _context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_PEER, _note_finding)
    context.set_default_verify_paths()
    if not _system_has_roots():
        context.load_verify_locations(certifi.where())
    if upstream_ca:
        _trust(context, upstream_ca)
    store = context.get_cert_store()
    assert store is not None
    # As ssl.create_default_context() of Python 3.13; checking that it is for servers is OpenSSL's own default.
    store.set_flags(X509StoreFlags.X509_STRICT | X509StoreFlags.PARTIAL_CHAIN)
    return context


def _note_finding(connection: SSL.Connection, _certificate: X509, code: int, depth: int, ok: int) -> bool:
    if not ok:
        connection.get_app_data().note(code, depth)
    return True


def _system_has_roots() -> bool:
    """Has set_default_verify_paths() found anything? What the environment names is the user's choice, even if not."""
    if "SSL_CERT_FILE" in os.environ or "SSL_CERT_DIR" in os.environ:
        return True
    paths = get_default_verify_paths()
    places = [Path(path) for path in (*_SYSTEM_ROOTS, paths.cafile, paths.capath) if path]
    return any(place.is_file() or (place.is_dir() and any(place.iterdir())) for place in places)


def _trust(context: SSL.Context, roots: Path) -> None:
    try:
        context.load_verify_locations(*((None, roots) if roots.is_dir() else (roots, None)))
    except SSL.Error:
        raise SettingsError(f"no certificates of upstream CAs can be read from {roots}") from None


def _server_name(sni: str) -> bytes:
    """RFC 6066 section 3. Refused here, since OpenSSL would say nothing and send nothing."""
    if not sni.isascii() or "\0" in sni or not 0 < len(sni) < 256:
        raise TlsError(f"{sni!r} cannot be sent as a server name")
    return sni.encode()
