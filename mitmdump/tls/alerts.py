"""What OpenSSL says of a failed session, in words for the person who runs the program.

OpenSSL leaves a list of (library, function, reason), where reason is a text that has been stable over its versions,
apart from its first word: "tlsv1 alert unknown ca" is alert 48 from the peer. "no shared cipher" our side found out.
"""

from __future__ import annotations

import re

from OpenSSL import SSL

# RFC 8446 section 6, and what older versions had, from the IANA registry "TLS Alerts".
_ALERTS = {
    "unexpected message": 10,
    "bad record mac": 20,
    "decryption failed": 21,
    "record overflow": 22,
    "decompression failure": 30,
    "handshake failure": 40,
    "no certificate": 41,
    "bad certificate": 42,
    "unsupported certificate": 43,
    "certificate revoked": 44,
    "certificate expired": 45,
    "certificate unknown": 46,
    "illegal parameter": 47,
    "unknown ca": 48,
    "access denied": 49,
    "decode error": 50,
    "decrypt error": 51,
    "export restriction": 60,
    "protocol version": 70,
    "insufficient security": 71,
    "internal error": 80,
    "inappropriate fallback": 86,
    "user cancelled": 90,
    "no renegotiation": 100,
    "missing extension": 109,
    "unsupported extension": 110,
    "certificate unobtainable": 111,
    "unrecognized name": 112,
    "bad certificate status response": 113,
    "bad certificate hash value": 114,
    "unknown psk identity": 115,
    "certificate required": 116,
    "no application protocol": 120,
    "ech required": 121,
}
_ALERT_REASON = re.compile(r"(?:ssl|tls)\S*(?: alert)? (.+)")

# What clients send that do not know our CA, or pin the server's own certificate; each kind of client has its own.
_DISTRUST = frozenset({42, 43, 44, 45, 46, 48})

_NOT_TLS = "it does not speak TLS"
_OUR_FINDINGS = {
    "wrong version number": _NOT_TLS,
    "http request": _NOT_TLS,
    "https proxy request": _NOT_TLS,
    "packet length too long": _NOT_TLS,
    "unsupported protocol": "no TLS version in common",
    "no protocols available": "no TLS version in common",
    "no shared cipher": "no cipher suite in common",
    "no suitable key share": "no key exchange in common",
    "no suitable signature algorithm": "no signature algorithm in common",
    "unexpected eof while reading": "the connection ended in the middle of it",
}


DISTRUST = "the client does not trust our certificate"


def explain(error: SSL.Error, peer: str, *, established: bool) -> str:
    """One sentence for an exception of pyOpenSSL: who ended the session, and why."""
    reasons = _reasons(error)
    for reason in reasons:
        match = _ALERT_REASON.fullmatch(reason)
        code = _ALERTS.get(match[1]) if match else None
        if match and code:
            return f"{_what_happened(code, peer, established)}: alert {match[1]} ({code})"
    if isinstance(error, SSL.ZeroReturnError):
        return f"the {peer} closed the TLS session before its handshake was done"
    texts = [_OUR_FINDINGS.get(reason, reason) for reason in reasons] or ["OpenSSL gives no reason"]
    return f"the TLS {'session' if established else 'handshake'} with the {peer} failed: {', '.join(texts)}"


def first_reason(error: SSL.Error) -> str:
    """OpenSSL's own first words for a failure."""
    return next(iter(_reasons(error)), "OpenSSL gives no reason")


def _reasons(error: SSL.Error) -> list[str]:
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return [reason for _library, _function, reason in entries if reason]


def _what_happened(code: int, peer: str, established: bool) -> str:
    if peer == "client" and code in _DISTRUST:
        return DISTRUST
    return f"the {peer} ended the TLS session" if established else f"the {peer} refused the TLS handshake"
