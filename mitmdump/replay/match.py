"""What of a request is compared with recorded ones: each part in the one form that all its spellings have.

The parts are those of PARTS, and the header fields that the user names. Two requests match if all parts that count are
equal. The order of query parameters, of the fields of a form and of the keys of JSON does not matter; neither do
percent-encoding where it changes nothing (RFC 3986 section 6.2.2), content codings, and how a body was framed.

A response that is an answer to a condition (304, 412), to a range (206, 416) or to an upgrade (101) is no answer to a
request without it, so of requests with such a response the fields that made it are a part as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from ..model import url
from ..model.headers import Headers, to_bytes, to_str
from ..model.message import Request, Response
from ..redaction import Redactor
from .bodies import Ignored, Said, pairs_of, said_by

PARTS = ("scheme", "host", "port", "method", "path", "query", "body")

# Fields that ask for less than the whole, or for something else than HTTP (RFC 9110 sections 13.1, 14.2 and 7.8), and
# what they may bring.
CONDITIONS = frozenset(
    {b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"range", b"upgrade"}
)
CONDITIONAL = frozenset({101, 206, 304, 412, 416})

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_KEY_SIZE = 16

Parts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Matching:
    """Which parts count, and what of them is left out.

    `parts`: names out of PARTS; `params`: of query parameters that are ignored; `ignored`: of the body; `headers`:
    lower-case names of fields that are compared, too. With a `redactor`, both sides are compared as it leaves them.
    """

    parts: frozenset[str] = frozenset(PARTS)
    params: frozenset[str] = frozenset()
    ignored: Ignored = field(default_factory=Ignored)
    headers: tuple[str, ...] = ()
    redactor: Redactor | None = None

    def parts_of(self, request: Request) -> Parts:
        """The parts of a request that count. Raises FlowFileError where its body cannot be read any more."""
        parts, wanted = _addressed(request), self.parts
        path, _, query = (self.redactor.target(request.path) if self.redactor else request.path).partition("?")
        parts["path"] = _normalized(path)
        parts["query"] = pairs_of(to_bytes(query), self.params) if query else ()
        parts = {name: parts[name] for name in parts if name in wanted}
        if "body" in wanted:
            parts["body"] = said_by(request, self.ignored, self.redactor)
        if self.headers:
            headers = self.redactor.headers(request.headers) if self.redactor else request.headers
            parts.update((f"header {name}", tuple(headers.get_all(name))) for name in self.headers)
        return parts


def conditions_of(headers: Headers) -> Parts:
    """The fields of a request that ask for something else than the whole."""
    found = {}
    for name, value in headers.fields:
        if len(name) < 20 and (lower := name.lower()) in CONDITIONS:
            found[f"header {lower.decode()}"] = (to_str(value.lower() if lower == b"upgrade" else value),)
    return found


def recorded_parts(matching: Matching, request: Request, response: Response) -> Parts:
    """The parts by which a recorded request is found again. Raises what `Matching.parts_of` raises."""
    parts = matching.parts_of(request)
    return parts | conditions_of(request.headers) if response.status_code in CONDITIONAL else parts


def key_of(parts: Mapping[str, Any]) -> bytes:
    """A digest that requests share if, and only if, all these parts of theirs are equal."""
    shown = repr(
        [
            (name, (each.kind, each.canonical) if isinstance(each, Said) else each)
            for name, each in sorted(parts.items())
        ]
    )
    return blake2b(shown.encode("utf-8", "surrogatepass"), digest_size=_KEY_SIZE).digest()


def _addressed(request: Request) -> Parts:
    """Where a request goes, as a person would say it: the host that the client named, not the address behind it."""
    host, port = request.host, request.port
    authority = request.authority or request.headers.get("host", "")
    if authority:
        with suppress(ValueError):  # in a file of others there is anything
            host, port = url.split_host_port(authority, url.DEFAULT_PORTS.get(request.scheme, port))
    host = host.lower().removesuffix(".")
    return {"scheme": request.scheme, "host": host, "port": port, "method": request.method}


def _normalized(path: str) -> str:
    return _ESCAPE.sub(_reduced, path) if "%" in path else path


def _reduced(escape: re.Match[str]) -> str:
    character = chr(int(escape[0][1:], 16))
    return character if character in _UNRESERVED else escape[0].upper()
