"""The parameters of URLs and forms, found by name.

Whoever percent-encodes a name, or puts a URL into a parameter of another, must not get a secret past us, so names are
looked for in each spelling that decodes to them, also one encoding deeper.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote_to_bytes

Replace = Callable[[bytes], bytes]


class Parameters:
    """Parameters with these names, in URLs and in submitted forms; `pseudonym` replaces their decoded values."""

    def __init__(self, names: Iterable[str], pseudonym: Replace) -> None:
        self._names = list(names)
        self._pseudonym = pseudonym
        spelled = b"|".join(_spellings(name) for name in self._names)
        # A parameter ends at & alone: whoever ends it earlier, as at ; or ?, leaves a part of the secret.
        self._url = re.compile(b"([?&;#](?:%b)=)([^&#]*)" % spelled)
        self._url_among_words = re.compile(rb"""([?&;#](?:%b)=)([^&#\s"'<>]*)""" % spelled)
        self._inner = re.compile(
            rb"""((?:%%3f|%%26|%%3b|%%23)(?:%b)%%3d)((?:(?!%%26|%%23)[^&#\s"'<>])*)""" % spelled, re.IGNORECASE
        )
        self._form = re.compile(rb"((?:^|&)\s*(?:%b)=)([^&]*)" % spelled)

    def __bool__(self) -> bool:
        return bool(self._names)

    def in_url(self, url: bytes) -> bytes:
        """A URL, or the path of one, without the secrets in its query and its fragment."""
        return self._inner.sub(self._replaced_twice, self._url.sub(self._replaced, url))

    def in_words(self, text: bytes) -> bytes:
        """A text that may hold URLs."""
        return self._inner.sub(self._replaced_twice, self._url_among_words.sub(self._replaced, text))

    def in_form(self, data: bytes) -> bytes:
        """A submitted form (application/x-www-form-urlencoded)."""
        return self._form.sub(self._replaced, data)

    def _replaced(self, match: re.Match[bytes]) -> bytes:
        return match[1] + self._pseudonym(_decoded(match[2]))

    def _replaced_twice(self, match: re.Match[bytes]) -> bytes:
        return match[1] + self._pseudonym(_decoded(_decoded(match[2])))


def _decoded(value: bytes) -> bytes:
    return unquote_to_bytes(value.replace(b"+", b" "))


def _spellings(name: str) -> bytes:
    """A regular expression for the name, each of its bytes as it is or percent-encoded."""
    found = []
    for byte in name.encode("utf-8", "surrogateescape"):
        high, low = (b"[%b%b]" % (digit, digit.upper()) for digit in (b"%x" % (byte >> 4), b"%x" % (byte & 15)))
        plain = rb"[+ ]" if byte == 0x20 else re.escape(bytes([byte]))
        found.append(b"(?:%b|%%%b%b)" % (plain, high, low))
    return b"".join(found)
