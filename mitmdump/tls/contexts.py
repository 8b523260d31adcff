"""Making TLS sessions towards clients and servers. What is the same for many of them is made once.

Towards clients there is one OpenSSL context for each leaf, and a cache of those. Clients resume sessions with tickets,
and a ticket can be read only by the context that gave it: so one that a client got from one host is worth nothing at
another, which OpenSSL by itself would not see to (it takes a ticket under any server name). What goes into a leaf is
decided by its names alone, and these are its key in the cache: whoever makes us issue a thousand leaves pushes others
out, to be issued again, and never changes one. Certificates that the user brings have contexts of their own.

Towards servers there is one context, which holds the trust store, and one more for each client certificate that was
needed. Their sessions are resumed as `resumption` says.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from functools import partial
from pathlib import Path
from ssl import get_default_verify_paths
from typing import Any, NamedTuple

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

from ..errors import SettingsError, TlsError
from ..model.connection import Address
from .alerts import first_reason
from .authority import BACKDATED, Authority
from .handout import Handout
from .identities import ClientCertificates, Identity, OwnCertificates
from .keylog import KeyLog
from .names import LeafNames
from .parameters import Parameters
from .resumption import Resumable, Resumptions
from .session import Session
from .shares import chosen_group, share_only
from .verify import Verification

# A person's browser meets some hundred hosts in a day. A leaf with its context takes some 20 KiB, 60 KiB at most
# (`names`), and one that was pushed out takes half a millisecond to be made again.
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


class Leaf(NamedTuple):
    """A leaf, and the context of all sessions that show it."""

    certificate: x509.Certificate
    context: SSL.Context


class Contexts:
    """The source of TLS sessions. `ca_file` is what clients have to trust, `handout` the same in other forms.

    `upstream_ca`: PEM file, or directory made by c_rehash, of roots that are trusted besides the system's. `own` are
    shown to clients instead of leaves; `client_certificates` to servers that ask. `request_client_cert`: ask clients
    for a certificate, and take any, or none. `towards_clients`, `towards_servers`: what may be negotiated. Raises
    SettingsError.
    """

    def __init__(
        self,
        authority: Authority,
        *,
        upstream_ca: Path | None = None,
        own: OwnCertificates | None = None,
        client_certificates: ClientCertificates | None = None,
        request_client_cert: bool = False,
        towards_clients: Parameters | None = None,
        towards_servers: Parameters | None = None,
        keylog: KeyLog | None = None,
        max_leaves: int = MAX_LEAVES,
    ) -> None:
        self.ca_file = authority.certificate_file
        self.handout = Handout.of(authority.certificate)
        self._authority = authority
        self._upstream_ca = upstream_ca
        self._own = own or OwnCertificates(())
        self._client_certificates = client_certificates
        self._request_client_cert = request_client_cert
        self._towards_clients = towards_clients or Parameters()
        self._towards_servers = towards_servers or Parameters()
        self._keylog = keylog
        self._max_leaves = max_leaves
        self._leaves: OrderedDict[LeafNames, Leaf] = OrderedDict()
        self._resumptions = Resumptions()
        self._own_contexts = {
            pattern: self._context_for_clients(identity) for pattern, identity in self._own.identities.items()
        }
        self._contexts_for_servers: dict[Identity | None, SSL.Context] = {None: self._context_for_servers(None)}
        # What is wrong with parameters and certificates is to be said now, not at the first connection.
        self._towards_clients.make_context(SSL.TLS_SERVER_METHOD)
        for identity in client_certificates.identities if client_certificates else ():
            _install(identity, self._towards_servers.make_context(SSL.TLS_CLIENT_METHOD))
        public_key = authority.certificate.public_key()
        self._own_key = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def session_for_client(self, names: LeafNames, alpn: bytes | None, now: float, asked: str = "") -> Session:
        """The server's end of a session with a client: with a leaf for `names`, and `alpn` if the client offers it.

        `asked`: the name that the client asked for, by which a certificate of the user's is found. Raises TlsError if
        no leaf can be issued. `now` is in Unix seconds.
        """
        pattern = self._own.pattern_for(asked)
        context = self._leaf(names, now).context if pattern is None else self._own_contexts[pattern]
        connection = SSL.Connection(context)
        connection.set_app_data(alpn)
        return Session(connection, "client")

    def session_for_server(
        self, host: str, sni: str | None, alpn: Sequence[bytes], now: float, address: Address | None = None
    ) -> Session:
        """The client's end of a session with a server whose certificate should be for `host`, a name or an address.

        `sni` is sent as it stands (no address: RFC 6066 section 3), `alpn` is offered, best first. Whether the
        certificate is in order is said by the session's `verification`; it does not end the handshake. A session with
        the same server, that is at `address`, is resumed.
        """
        connection = SSL.Connection(self._context_for(host))
        if sni is not None:
            connection.set_tlsext_host_name(_server_name(sni))
        if alpn:
            connection.set_alpn_protos(list(alpn))
        server = (address, host, sni, tuple(alpn))
        resumable = self._resumptions.take(server, now)
        verification = Verification(host, self._own_key)
        if resumable:
            connection.set_session(resumable.session)
            share_only(connection, resumable.group)
            verification = Verification(host, self._own_key, resumable.verdict, resumable.expires)
        connection.set_app_data(verification)
        keep = partial(self._keep, server, verification)
        return Session(connection, "server", verification.result, tuple(alpn), keep)

    def _keep(self, server: Hashable, verification: Verification, connection: SSL.Connection) -> None:
        """Keep a session for the next connection to this server."""
        session = connection.get_session()
        if session is not None:
            resumable = Resumable(session, verification.verdict, verification.expires, chosen_group(connection))
            self._resumptions.put(server, resumable)

    def _leaf(self, names: LeafNames, now: float) -> Leaf:
        leaf = self._leaves.get(names)
        if leaf is None or now > (leaf.certificate.not_valid_after_utc - _REISSUE_BEFORE).timestamp():
            issued = Identity(self._authority.leaf_key, self._authority.issue(names, now), self._authority.chain)
            leaf = self._leaves[names] = Leaf(issued.certificate, self._context_for_clients(issued))
        self._leaves.move_to_end(names)
        if len(self._leaves) > self._max_leaves:
            self._leaves.popitem(last=False)
        return leaf

    def _context_for_clients(self, identity: Identity) -> SSL.Context:
        context = self._towards_clients.make_context(SSL.TLS_SERVER_METHOD)
        _install(identity, context)
        context.set_alpn_select_callback(_select_alpn)
        if self._request_client_cert:
            context.set_verify(SSL.VERIFY_PEER, lambda *_: True)
            context.set_options(SSL.OP_NO_TICKET)  # a ticket holds the client's certificate without its chain
        if self._keylog:
            self._keylog.attach(context)
        return context

    def _context_for(self, host: str) -> SSL.Context:
        identity = self._client_certificates.get(host) if self._client_certificates else None
        context = self._contexts_for_servers.get(identity)
        if context is None:
            context = self._contexts_for_servers[identity] = self._context_for_servers(identity)
        return context

    def _context_for_servers(self, identity: Identity | None) -> SSL.Context:
        context = self._towards_servers.make_context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_PEER, _note_finding)
        context.set_default_verify_paths()
        if not _system_has_roots():
            context.load_verify_locations(certifi.where())
        if self._upstream_ca:
            _trust(context, self._upstream_ca)
        store = context.get_cert_store()
        assert store is not None
        # As ssl.create_default_context() of Python 3.13; checking that it is for servers is OpenSSL's own default.
        store.set_flags(X509StoreFlags.X509_STRICT | X509StoreFlags.PARTIAL_CHAIN)
        if identity:
            _install(identity, context)
        if self._keylog:
            self._keylog.attach(context)
        return context


def _install(identity: Identity, context: SSL.Context) -> None:
    try:
        identity.install(context)
    except SSL.Error as error:
        name = identity.certificate.subject.rfc4514_string()
        raise SettingsError(f"OpenSSL does not take the certificate of {name!r}: {first_reason(error)}") from None


def _select_alpn(connection: SSL.Connection, offers: list[bytes]) -> Any:
    """One of the offers, or pyOpenSSL's marker for none (RFC 7301 section 3.2: the handshake then goes on without)."""
    wanted = connection.get_app_data()
    return wanted if wanted in offers else SSL.NO_OVERLAPPING_PROTOCOLS


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
