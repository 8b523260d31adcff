"""What a request's body says, in a form in which it is the same however it was written down.

A form is its fields in any order, JSON its values whatever the order of keys and the white space; the rest is its
bytes. Content codings are undone, and framing is none of a body's business. Content-Type alone does not decide: `curl
-d` calls everything a form, so what looks like JSON and parses as such is JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_to_bytes

from ..errors import ContentError, RedactionError
from ..model.content import DECODED_LIMIT, decode
from ..model.headers import to_str
from ..model.message import Request
from ..redaction import Redactor
from ..redaction.jsonpath import EVERYTHING, JsonPaths, States

Pairs = tuple[tuple[str, str], ...]

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"
_LIKE_JSON = re.compile(rb"[ \t\r\n]*[\[{]")
_JSON_TYPE = re.compile(r".*[/+]json")
_BOUNDARY = re.compile(r"""boundary="?([^\s";]{1,70})""", re.IGNORECASE)  # RFC 2046 section 5.1.1
_PART_NAME = re.compile(rb"""[;\s]name=(?:"([^"\r\n]*)"|([^";\s]+))""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Said:
    """What a body says. `kind` is "none", "form", "json" or "bytes"; `value` its pairs, its JSON, or its digest.

    `canonical` is the same text for bodies of a kind that say the same, another one for all others; `size` the length
    of the body as it came.
    """

    kind: str
    value: Any = field(default=None, compare=False)
    canonical: str = ""
    size: int = field(default=0, compare=False)


NOTHING = Said("none")


@dataclass(frozen=True, slots=True)
class Ignored:
    """What of a body is not looked at: fields of forms by name, values in JSON by path."""

    fields: Collection[str] = ()
    paths: JsonPaths | None = None


def pairs_of(data: bytes, ignored: Collection[str] = ()) -> Pairs:
    """The parameters of a query or a form, decoded and in one order, without those of the ignored names."""
    found = []
    for pair in data.split(b"&"):
        name, _, value = pair.partition(b"=")
        if pair and (decoded := _unquoted(name)) not in ignored:
            found.append((decoded, _unquoted(value)))
    return tuple(sorted(found))


def _unquoted(data: bytes) -> str:
    if b"+" in data or b"%" in data:
        data = unquote_to_bytes(data.replace(b"+", b" "))
    return to_str(data)


def said_by(request: Request, ignored: Ignored, redactor: Redactor | None = None) -> Said:
    """What a request's body says. Raises FlowFileError where it is in a file and cannot be read any more."""
    size = request.body.length
    if not size:
        return NOTHING
    headers = request.headers
    content_type = headers.get("content-type", "")
    try:
        decoded = decode(request.body.pieces(), headers.get("content-encoding", ""), DECODED_LIMIT)
        if decoded.truncated:
            return _bytes(request)
        data = decoded.data if redactor is None else _redacted(decoded.data, content_type, redactor)
    except (ContentError, RedactionError):
        return _bytes(request)
    return _read(data, content_type, ignored, size)


def _bytes(request: Request) -> Said:
    """A body that nobody can look into, or only at a price."""
    digest = sha256()
    for piece in request.body.pieces():
        digest.update(piece)
    return Said("bytes", None, digest.hexdigest(), request.body.length)


def _redacted(data: bytes, content_type: str, redactor: Redactor) -> bytes:
    bodies = redactor.bodies
    return bodies.rewrite(content_type, data) if bodies and bodies.concerns(content_type, data[:1024]) else data


def _read(data: bytes, content_type: str, ignored: Ignored, size: int) -> Said:
    media_type = content_type.partition(";")[0].strip().lower()
    if _LIKE_JSON.match(data) or _JSON_TYPE.fullmatch(media_type):
        try:
            value = _without(json.loads(data), ignored.paths)
            return Said("json", value, json.dumps(value, sort_keys=True), size)
        except (ValueError, RecursionError):  # it is not JSON after all, or nested as no program would
            pass
    if media_type == _FORM:
        return _form(pairs_of(data.strip(), ignored.fields), size)
    if media_type == _MULTIPART and (parts := _parts(data, content_type)):
        return _form(tuple(sorted(part for part in parts if part[0] not in ignored.fields)), size)
    return Said("bytes", None, sha256(data).hexdigest(), size)


def _form(fields: Pairs, size: int) -> Said:
    return Said("form", fields, repr(fields), size)


def _without(value: Any, paths: JsonPaths | None) -> Any:
    return _pruned(value, paths, paths.start()) if paths else value


def _pruned(value: Any, paths: JsonPaths, states: States) -> Any:
    """A JSON value without what the paths lead to."""
    if not states or not isinstance(value, dict | list):
        return None if states is EVERYTHING else value
    if isinstance(value, dict):
        steps = [(key, each, paths.step(states, key)) for key, each in value.items()]
        return {key: _pruned(each, paths, step) for key, each, step in steps if step is not EVERYTHING}
    stepped = [(each, paths.step(states, index)) for index, each in enumerate(value)]
    return [_pruned(each, paths, step) for each, step in stepped if step is not EVERYTHING]


def _parts(data: bytes, content_type: str) -> list[tuple[str, str]]:
    """The fields of a form in parts (RFC 7578), without the boundary, which is another one each time.

    Of a file's content, and of any value of some length, the digest: it is only compared.
    """
    boundary = _BOUNDARY.search(content_type)
    if not boundary:
        return []
    delimiter = b"\r\n--" + boundary[1].encode("utf-8", "surrogateescape")
    found = []
    for part in (b"\r\n" + data).split(delimiter)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = _PART_NAME.search(head)
        shown = to_str(content) if len(content) <= 256 else f"{len(content)} bytes, {sha256(content).hexdigest()}"
        found.append((to_str(name[1] if name[1] is not None else name[2]) if name else "", shown))
    return found
