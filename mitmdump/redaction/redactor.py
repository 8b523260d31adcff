"""Everything that --redact asks for, applied to the parts of a flow."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable

from ..model.headers import Headers, to_bytes, to_str
from .bodies import Bodies
from .jsonpath import JsonPaths
from .names import Parameters, Replace
from .rules import Rule

_PSEUDONYM = re.compile(rb"redacted-[0-9a-f]{16}")

# What stands before the credentials, and says nothing about them. Only schemes that are known to be ones
# (https://www.iana.org/assignments/http-authschemes, and what is in use besides) are left: who sends a bare key may
# send one with a space in it.
_CREDENTIALS = (b"authorization", b"proxy-authorization")
_SCHEMES = frozenset(
    b"basic bearer concealed digest dpop gnap hoba mutual negotiate ntlm oauth privatetoken scram-sha-1 scram-sha-256 "
    b"vapid apikey api-key aws4-hmac-sha256 jwt key sharedkey token".split()
)

# Digests of the body: a short secret in it could be found from them, by trying.
_DIGESTS = frozenset({b"content-md5", b"digest", b"content-digest", b"repr-digest"})

# Fields that are a URL and nothing else, so that not even a wrong character ends it.
_URLS = frozenset({b"referer", b"location", b"content-location"})


class Redactor:
    """Replaces what the rules name by pseudonyms under `key`, any bytes that others cannot guess."""

    def __init__(self, rules: Iterable[Rule], key: bytes) -> None:
        names: dict[str, set[str]] = {"header": set(), "cookie": set(), "query": set(), "form": set(), "json": set()}
        for rule in rules:
            names[rule.kind].add(rule.name)
        self._key = key
        self._cookies = {to_bytes(name) for name in names["cookie"]}
        self._all_cookies = "" in names["cookie"]
        self._query = Parameters(sorted(names["query"]), self.pseudonym)
        forms = Parameters(sorted(names["form"]), self.pseudonym)
        self.bodies = Bodies(JsonPaths(sorted(names["json"])), forms, set(map(to_bytes, names["form"])), self.pseudonym)
        self._headers = frozenset(to_bytes(name).lower() for name in names["header"])
        if self.bodies:
            self._headers |= _DIGESTS

    def pseudonym(self, secret: bytes) -> bytes:
        """What stands for a secret."""
        if not secret or _PSEUDONYM.fullmatch(secret):
            return secret
        return b"redacted-" + hmac.digest(self._key, secret, "sha256")[:8].hex().encode()

    def headers(self, headers: Headers) -> Headers:
        """Header or trailer fields without their secrets."""
        return Headers([(name, self._value(name.lower(), value)) for name, value in headers.fields])

    def target(self, path: str) -> str:
        """A request's path and query, or its whole target."""
        return _as_bytes(path, self._query.in_url) if self._query else path

    def remark(self, text: str) -> str:
        """What somebody has said about a flow, which may quote a URL."""
        return _as_bytes(text, self._query.in_words) if self._query else text

    def _value(self, name: bytes, value: bytes) -> bytes:
        if name in self._headers:
            return self._whole(name, value)
        if self._cookies and name == b"cookie":
            return b";".join(map(self._cookie, value.split(b";")))
        if self._cookies and name == b"set-cookie":
            cookie, semicolon, attributes = value.partition(b";")
            return self._cookie(cookie) + semicolon + attributes
        if self._query:
            return self._query.in_url(value) if name in _URLS else self._query.in_words(value)
        return value

    def _whole(self, name: bytes, value: bytes) -> bytes:
        scheme, space, credentials = value.partition(b" ")
        if space and name in _CREDENTIALS and scheme.lower() in _SCHEMES:
            return scheme + space + self.pseudonym(credentials.strip(b" \t"))
        return self.pseudonym(value)

    def _cookie(self, pair: bytes) -> bytes:
        """A cookie as it is sent. One without a name is all value (RFC 6265bis section 5.6)."""
        name, equals, value = pair.partition(b"=") if b"=" in pair else (b"", b"", pair)
        if not self._all_cookies and name.strip() not in self._cookies:
            return pair
        space = value[: len(value) - len(value.lstrip())]
        return name + equals + space + self.pseudonym(value.strip().strip(b'"'))


def _as_bytes(text: str, change: Replace) -> str:
    try:
        return to_str(change(to_bytes(text)))
    except UnicodeEncodeError:  # text that no wire ever carried
        return change(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")
