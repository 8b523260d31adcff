"""Servers' certificates of every kind: what is recorded of each, and what the client gets to see."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from ssl import SSLContext
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID
from support.clients import ask, check_page, get, open_tunnel, trusting
from support.pki import Identity, make, make_root
from support.program import Start
from support.servers import HELLO, ContextOf, Serve, answering

MANY = tuple(f"{number}.many.test" for number in range(150))


@dataclass
class Case:
    """A certificate, the name that the client asks for, and the verdict; `shown` are names that our leaf has then."""

    names: tuple[str, ...] = ("localhost",)
    asked: str = "localhost"
    verdict: str = "ok"
    shown: tuple[str, ...] = ("localhost",)
    options: dict[str, Any] = field(default_factory=dict)
    issued_by: str = "intermediate"
    sends_chain: bool = True


CASES = {
    "ECDSA": Case(),
    "RSA": Case(options={"key": "rsa"}),
    "Ed25519": Case(options={"key": "ed25519"}),
    "wildcard": Case(("*.b.test",), "a.b.test", shown=("*.b.test",)),
    "wildcard of another level": Case(("*.b.test",), "x.a.b.test", "hostname mismatch", ("*.b.test", "x.a.b.test")),
    "address": Case(("127.0.0.1", "::1"), "127.0.0.1", shown=("127.0.0.1", "::1")),
    "another address": Case(("192.0.2.1",), "127.0.0.1", "hostname mismatch", ("192.0.2.1", "127.0.0.1")),
    "IDNA": Case(("xn--bcher-kva.test",), "xn--bcher-kva.test", shown=("xn--bcher-kva.test",)),
    "150 names": Case((*MANY, "localhost"), shown=(*MANY, "localhost")),
    "expired": Case(verdict="certificate has expired", options={"days": (-20, -1)}),
    "not yet valid": Case(verdict="certificate is not yet valid", options={"days": (2, 20)}),
    "self-signed": Case(verdict="self-signed certificate", issued_by="itself"),
    "unknown root": Case(verdict="unable to get local issuer certificate", issued_by="a stranger"),
    "wrong host": Case(("other.test",), verdict="hostname mismatch", shown=("other.test", "localhost")),
    "missing intermediate": Case(verdict="unable to get local issuer certificate", sends_chain=False),
}


def _issue(case: Case, intermediate: Identity) -> Identity:
    if case.issued_by == "itself":
        return make(*case.names, **case.options)
    issuer = intermediate if case.issued_by == "intermediate" else make_root()
    identity = issuer.issue(*case.names, **case.options)
    return identity if case.sends_chain else Identity(identity.certificate, identity.key)


def _names(der: bytes) -> set[str]:
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in names}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_certificate_is_recorded_with_its_verdict_and_its_names_are_shown(
    start: Start, serve: Serve, context_of: ContextOf, intermediate: Identity, case: Case
) -> None:
    """T6"""
    identity = _issue(case, intermediate)
    server = serve(answering(HELLO), context_of(identity))
    with start() as proxy:
        tunnel = open_tunnel(proxy, f"127.0.0.1:{server.port}")
        with trusting(proxy.ca).wrap_socket(tunnel, server_hostname=case.asked) as sock:
            shown = _names(sock.getpeercert(True) or b"")
            answer, body = ask(sock, get(case.asked))
            if case.verdict == "ok":
                assert (answer.status, body) == (200, b"hello")
            else:
                check_page(answer, body, case.verdict)
    assert shown == set(case.shown)
    server_conn = proxy.flow().server_conn
    assert server_conn
    assert (server_conn.verification or "").startswith(case.verdict)
    assert server_conn.certificate_list == tuple(each.public_bytes(Encoding.DER) for each in identity.chain)
    assert server_conn.sni == (None if _is_address(case.asked) else case.asked)


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name))
    except ValueError:
        return False


def test_nobody_is_asked_whether_a_certificate_was_revoked(
    start: Start, serve: Serve, context_of: ContextOf, intermediate: Identity
) -> None:
    """The places that a certificate names for that are the choice of who may be an enemy."""
    authority = serve(answering(HELLO))
    url = x509.UniformResourceIdentifier(authority.url("/revoked"))
    points = x509.CRLDistributionPoints([x509.DistributionPoint([url], None, None, None)])
    methods = (AuthorityInformationAccessOID.OCSP, AuthorityInformationAccessOID.CA_ISSUERS)
    access = x509.AuthorityInformationAccess([x509.AccessDescription(method, url) for method in methods])
    identity = intermediate.issue("localhost", extensions=(points, access))
    server = serve(answering(HELLO), context_of(identity))
    with start() as proxy:
        context: SSLContext = trusting(proxy.ca)
        with context.wrap_socket(open_tunnel(proxy, f"localhost:{server.port}"), server_hostname="localhost") as sock:
            leaf = x509.load_der_x509_certificate(sock.getpeercert(True) or b"")
            assert ask(sock, get("localhost"))[1] == b"hello"
    assert authority.connections == 0
    assert {ExtensionOID.CRL_DISTRIBUTION_POINTS, ExtensionOID.AUTHORITY_INFORMATION_ACCESS}.isdisjoint(
        extension.oid for extension in leaf.extensions
    )
    recorded = proxy.flow().server_conn
    assert recorded and recorded.verification == "ok"
