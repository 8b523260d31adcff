"""http://mitm.it/: the proxy itself offers new clients its CA's certificate, in each form, with instructions.

The page is one file without scripts, pictures or anything from elsewhere, and nothing of the request is in it. A client
that does not trust us yet can ask for it in the clear; whoever stands between it and us could then change it, so it
shows the fingerprint, to be compared with that of the file in the confdir. Names and paths are those that people know
from mitmproxy.
"""

from __future__ import annotations

import plistlib
from collections.abc import Callable
from email.utils import formatdate
from functools import cache, lru_cache
from http import HTTPStatus
from importlib.resources import files
from string import Template
from typing import NamedTuple
from uuid import NAMESPACE_URL, uuid5

from ..tls.handout import Handout
from ..wire.events import Data, End, Event, ResponseHead

HOST = "mitm.it"
HTML = "text/html; charset=utf-8"
CERTIFICATE = "application/x-x509-ca-cert"  # registered by nobody, known to all systems that install certificates


@lru_cache(maxsize=1024)  # the same few again and again, with every request
def is_our_name(host: str) -> bool:
    """Is this the host of the page?"""
    return host.lower().rstrip(".") == HOST


class Download(NamedTuple):
    """A form of the certificate: its content type, what its file is called, and what is in it."""

    content_type: str
    name: Callable[[Handout], str]
    content: Callable[[Handout], bytes]


def page(handout: Handout) -> bytes:
    """The page, for a certificate."""
    return _template().substitute(sha256=handout.sha256, android=handout.android).encode()


@cache
def _template() -> Template:
    return Template(files(__package__).joinpath("onboarding.html").read_text("utf-8"))


def profile(handout: Handout) -> bytes:
    """A configuration profile for iOS and macOS with the certificate as a root: one that replaces itself when it is
    installed again, since its identifiers are made of the certificate's fingerprint.
    """
    root = {
        "PayloadType": "com.apple.security.root",
        "PayloadVersion": 1,
        "PayloadIdentifier": "mitmdump.ca.certificate",
        "PayloadUUID": _uuid(handout, "certificate"),
        "PayloadDisplayName": "mitmdump CA",
        "PayloadCertificateFileName": "mitmdump-ca-cert.cer",
        "PayloadContent": handout.der,
    }
    whole = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": "mitmdump.ca",
        "PayloadUUID": _uuid(handout, "profile"),
        "PayloadDisplayName": "mitmdump CA",
        "PayloadDescription": f"Trust in the proxy whose CA has the SHA-256 fingerprint {handout.sha256}",
        "PayloadRemovalDisallowed": False,
        "PayloadContent": [root],
    }
    return plistlib.dumps(whole)


def _uuid(handout: Handout, part: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"http://{HOST}/{handout.sha256}/{part}")).upper()


DOWNLOADS = {
    "/cert/pem": Download(CERTIFICATE, lambda _: "mitmdump-ca-cert.pem", lambda handout: handout.pem),
    "/cert/cer": Download(CERTIFICATE, lambda _: "mitmdump-ca-cert.cer", lambda handout: handout.der),
    "/cert/p12": Download("application/x-pkcs12", lambda _: "mitmdump-ca-cert.p12", lambda handout: handout.p12),
    "/cert/android": Download(CERTIFICATE, lambda handout: f"{handout.android}.0", lambda handout: handout.pem),
    "/cert/mobileconfig": Download("application/x-apple-aspen-config", lambda _: "mitmdump.mobileconfig", profile),
}


def answer(target: str, handout: Handout, now: float, *, head_only: bool = False) -> list[Event]:
    """The events of the response to a request for `target`, a path with or without a query; `now` in Unix seconds."""
    path, status = target.partition("?")[0], 200
    fields: list[tuple[bytes, bytes]] = []
    if download := DOWNLOADS.get(path):
        content_type, body = download.content_type, download.content(handout)
        fields = [(b"Content-Disposition", f'attachment; filename="{download.name(handout)}"'.encode())]
    elif path == "/":
        content_type, body = HTML, page(handout)
    else:
        status, content_type = 404, "text/plain; charset=utf-8"
        body = f"There is no such page here. Go to http://{HOST}/\n".encode()
    fields += [
        (b"Date", formatdate(now, usegmt=True).encode()),
        (b"Content-Type", content_type.encode()),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        (b"X-Content-Type-Options", b"nosniff"),
        (b"Content-Security-Policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    ]
    head = ResponseHead(status, fields, HTTPStatus(status).phrase.encode())
    return [head, End()] if head_only else [head, Data(body), End()]
