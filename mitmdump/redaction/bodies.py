"""Which bodies may hold a secret, and how they read without it. Bodies are decoded here: no content coding is left.

Content-Type alone does not decide: `curl -d` calls everything a form, and JSON comes as text/html. So what looks like
JSON is taken for JSON and what looks like a form for a form, whatever it is called.
"""

from __future__ import annotations

import json
import re

from ..errors import RedactionError
from . import jsontext
from .jsonpath import JsonPaths
from .names import Parameters, Replace

# How much of a body is looked at to tell what it is.
SNIFFED = 1024

_JSON_TYPE = re.compile(r".*[/+]json(?:-seq)?|application/(?:x-)?ndjson|application/(?:x-)?jsonl(?:ines)?")
_FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")

# White space, byte order marks, and the zeros between ASCII characters in UTF-16.
_BEFORE = b" \t\r\n\x1e\xef\xbb\xbf\xfe\xff\0"
_LIKE_JSON = re.compile(rb'\{\s*(?:["}]|\Z)|\[\s*(?:["\[{\]\d-]|true|false|null|\Z)')
_LIKE_FORM = re.compile(rb"[\w.+%*~\[\]-]+(?:=|\Z)")

_BOUNDARY = re.compile(r"""boundary="?([^\s";]{1,70})""", re.IGNORECASE)  # RFC 2046 section 5.1.1
_PART_NAME = re.compile(rb"""[;\s]name=(?:"([^"\r\n]*)|([^";\s]+))""", re.IGNORECASE)
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class Bodies:
    """Bodies with JSON values at these paths, or form fields of these names, each replaced by its `pseudonym`."""

    def __init__(self, paths: JsonPaths, forms: Parameters, fields: set[bytes], pseudonym: Replace):
        self._paths = paths
        self._forms = forms
        self._fields = fields
        self.pseudonym = pseudonym

    def __bool__(self) -> bool:
        return bool(self._paths or self._forms)

    def concerns(self, content_type: str, start: bytes) -> bool | None:
        """May a body that begins so hold a secret? None: that cannot be told before more of it is here."""
        kind = _media_type(content_type)
        if (self._paths and _JSON_TYPE.fullmatch(kind)) or (self._forms and kind in _FORM_TYPES):
            return True
        shown = _shown(start)
        if not shown:
            return None
        return bool((self._paths and _LIKE_JSON.match(shown)) or (self._forms and _LIKE_FORM.match(shown)))

    def rewrite(self, content_type: str, data: bytes) -> bytes:
        """The body without its secrets; where it has none, as it was. Raises RedactionError where nobody can tell."""
        kind = _media_type(content_type)
        if self._paths and (_JSON_TYPE.fullmatch(kind) or _LIKE_JSON.match(_shown(data[:SNIFFED]))):
            return self._json(data)
        if not self._forms:
            return data
        return self._multipart(content_type, data) if kind == "multipart/form-data" else self._forms.in_form(data)

    def looks_into(self, content: bytes) -> bool:
        """Is a message of a WebSocket that begins so of a kind that can hold a secret?"""
        return bool(self._paths and _LIKE_JSON.match(_shown(content[:SNIFFED])))

    def message(self, content: bytes) -> bytes:
        """A message of a WebSocket; one that should be JSON and is not, as a whole."""
        if not self.looks_into(content):
            return content
        try:
            return self._json(content)
        except RedactionError:
            return self.pseudonym(content)

    def _json(self, data: bytes) -> bytes:
        encoding = json.detect_encoding(data)
        if encoding.startswith("utf-8") and not self._paths.may_occur(data):
            return data
        try:
            text = data.decode(encoding)
            changed = jsontext.rewrite(text, self._paths, self._pseudonym_of)
        except UnicodeDecodeError:
            raise RedactionError("it is JSON, but not in Unicode") from None
        except ValueError as error:
            raise RedactionError(f"it should be JSON, but {error}") from None
        return data if changed == text else changed.encode(encoding)

    def _pseudonym_of(self, text: str) -> str:
        return self.pseudonym(text.encode("utf-8", "surrogatepass")).decode("ascii")

    def _multipart(self, content_type: str, data: bytes) -> bytes:
        """A form in parts (RFC 7578)."""
        if not any(field in data for field in self._fields):
            return data
        boundary = _BOUNDARY.search(content_type)
        delimiter = re.escape(boundary[1].encode("utf-8", "surrogateescape")) if boundary else b""
        pieces = re.split(rb"((?:\A|\r?\n)--%b(?:--)?[ \t]*(?:\r?\n|\Z))" % delimiter, data)
        if not delimiter or len(pieces) == 1:
            raise RedactionError("it should be a form in parts, but their boundary is not there")
        pieces[::2] = map(self._part, pieces[::2])
        return b"".join(pieces)

    def _part(self, part: bytes) -> bytes:
        head_end = _END_OF_HEAD.search(part)
        if not head_end:
            return part
        start = head_end.end()
        names = {name[1] if name[1] is not None else name[2] for name in _PART_NAME.finditer(part, 0, start)}
        return part[:start] + self.pseudonym(part[start:]) if names & self._fields else part


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _shown(start: bytes) -> bytes:
    """The start of a text from its first character on, as far as it is ASCII."""
    return start.lstrip(_BEFORE).replace(b"\0", b"")
