"""What of an answer differs from the recorded one, as lines for a person. Pure: no network, no clock, no output.

    status: 500, recorded 200
    header content-type: text/html, recorded text/plain
    body $.items[0].price: 12, recorded 10

JSON is compared value by value, whatever its order and white space; other text line by line; the rest by length and
digest. Bodies are compared without their content codings, since no two compressors agree. A line quotes what came from
the network as it came: who prints it makes it harmless. All is bounded: lines, their length, and the time it takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from difflib import unified_diff
from hashlib import sha256
from itertools import islice
from typing import Any

from ..errors import ContentError
from ..model.body import Body
from ..model.content import decode, to_text
from ..model.headers import Headers, to_str
from ..model.message import Response
from ..redaction.jsonpath import EVERYTHING, JsonPaths, States

STATUS, HEADERS, BODY = "status", "headers", "body"

# Fields that differ between two answers that nobody would call different: those that speak of the connection or of the
# framing (RFC 9110 section 7.6.1, RFC 9112 section 6), of the time (RFC 9110 section 6.6.1, RFC 9111 section 5), and
# the name that each request is given. The length of a body is compared with the body.
IGNORED = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-connection",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "date",
        "age",
        "expires",
        "server-timing",
        "x-request-id",
        "x-runtime",
    }
)

# Of one answer: enough to see a pattern, few enough to be read.
MAX_LINES = 20
# Of a value, and of a line of text.
MAX_WIDTH = 160
# Lines between the first and the last that differ: what finding the best alignment may cost.
MAX_ALIGNED = 500
# Around the first character that differs.
CONTEXT = 40

_PLAIN_NAME = re.compile(r"[A-Za-z_][\w-]*\Z")
_ABSENT = object()


class Verifier:
    """Compares answers in the `parts` STATUS, HEADERS and BODY.

    `headers` are names of fields to leave out besides IGNORED, `paths` JSON paths (`$.id`) of values. Raises
    SettingsError for a path that it does not understand.
    """

    def __init__(self, parts: Iterable[str], *, headers: Iterable[str] = (), paths: Iterable[str] = ()) -> None:
        self._parts = frozenset(parts)
        self._ignored = IGNORED | {name.lower() for name in headers}
        self._paths = JsonPaths(paths)

    def differences(self, recorded: Response | None, replayed: Response) -> list[str]:
        """What differs, a line each; [] if nothing does. The bodies have to be readable, as far as they are kept."""
        if recorded is None:
            return ["an answer, and none was recorded"]
        found = self._all(recorded, replayed)
        lines = list(islice(found, MAX_LINES))
        more = sum(1 for _ in found)
        return [*lines, f"and {more} more"] if more else lines

    def _all(self, recorded: Response, replayed: Response) -> Iterator[str]:
        if STATUS in self._parts and recorded.status_code != replayed.status_code:
            yield f"status: {replayed.status_code}, recorded {recorded.status_code}"
        if HEADERS in self._parts:
            yield from self._fields(recorded.headers, replayed.headers)
        if BODY in self._parts:
            yield from self._bodies(recorded, replayed)

    def _fields(self, recorded: Headers, replayed: Headers) -> Iterator[str]:
        before, after = _by_name(recorded), _by_name(replayed)
        for name in dict.fromkeys([*before, *after]):
            if name in self._ignored or before.get(name) == after.get(name):
                continue
            if name not in after:
                yield f"header {_short(name)}: missing, recorded {_joined(before[name])}"
            elif name not in before:
                yield f"header {_short(name)}: {_joined(after[name])}, not recorded"
            else:
                yield f"header {_short(name)}: {_joined(after[name])}, recorded {_joined(before[name])}"

    def _bodies(self, recorded: Response, replayed: Response) -> Iterator[str]:
        before, after = recorded.body, replayed.body
        if not before.complete:
            yield "body: complete, recorded only in part"
            return
        if before.length == after.length and _is_same(before, after):
            return
        old, new = _decoded(recorded), _decoded(replayed)
        if old is None or new is None:
            yield f"body: {_digest(after)}; recorded {_digest(before)}"
            return
        if old != new:
            yield from self._contents(old, new, recorded.headers, replayed.headers)

    def _contents(self, old: bytes, new: bytes, before: Headers, after: Headers) -> Iterator[str]:
        was, is_ = _text(old, before), _text(new, after)
        if was is None or is_ is None:
            yield f"body: {len(new)} bytes, sha256 {_hex(new)}; recorded {len(old)} bytes, sha256 {_hex(old)}"
            return
        one, other = _json(was), _json(is_)
        if one is _ABSENT or other is _ABSENT:
            yield from _lines(was, is_)
        else:
            yield from self._values(one, other)

    def _values(self, recorded: Any, replayed: Any) -> Iterator[str]:
        """Value by value, in order. On a list instead of the stack, which a deep nesting could exhaust."""
        waiting: list[tuple[str, States, Any, Any]] = [
            ("$", self._paths.start() if self._paths else frozenset(), recorded, replayed)
        ]
        while waiting:
            path, states, before, after = waiting.pop()
            if states is EVERYTHING:
                continue
            if type(before) is type(after) and isinstance(before, dict | list):
                members = list(_members(before, after))
                waiting += [
                    (path + _step(key), self._paths.step(states, key), old, new) for key, old, new in reversed(members)
                ]
            elif after is _ABSENT:
                yield f"body {_tail(path)}: missing, recorded {_shown(before)}"
            elif before is _ABSENT:
                yield f"body {_tail(path)}: {_shown(after)}, not recorded"
            elif before != after or isinstance(before, bool) is not isinstance(after, bool):
                yield f"body {_tail(path)}: {_shown(after)}, recorded {_shown(before)}"


def _members(before: Any, after: Any) -> Iterator[tuple[str | int, Any, Any]]:
    """The members of two objects, or the elements of two arrays, side by side."""
    if isinstance(before, dict):
        for name in dict.fromkeys([*before, *after]):
            yield name, before.get(name, _ABSENT), after.get(name, _ABSENT)
        return
    for at in range(max(len(before), len(after))):
        yield at, before[at] if at < len(before) else _ABSENT, after[at] if at < len(after) else _ABSENT


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN_NAME.match(key) else f"[{json.dumps(key)}]"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if isinstance(value, list):
        return f"an array of {len(value)}"
    return _short(json.dumps(value, ensure_ascii=False))


def _lines(old: str, new: str) -> Iterator[str]:
    """What differs between two texts: line by line, or where lines are long, from the first character on."""
    before, after = old.splitlines(), new.splitlines()
    if before == after:
        yield "body: differs in line ends only"
        return
    first = _common(before, after)
    last = _common(before[first:][::-1], after[first:][::-1])
    was, is_ = (lines[first : len(lines) - last][:MAX_ALIGNED] for lines in (before, after))
    if any(len(line) > MAX_WIDTH for line in (*was, *is_)):
        at = _common(old, new)
        start = max(0, at - CONTEXT)
        shown = [_short(text[start : at + CONTEXT]) for text in (new, old)]
        yield f"body, character {at + 1}: ...{shown[0]}..., recorded ...{shown[1]}..."
        return
    yield f"body, line {first + 1} on:"
    yield from islice(unified_diff(was, is_, n=0, lineterm=""), 3, None)


def _common(one: Any, other: Any) -> int:
    """How many of the first items of two sequences are the same."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    low, high = 0, length  # the first `low` are the same, the first `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return low


def _by_name(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers.fields:
        found.setdefault(to_str(name).lower(), []).append(to_str(value))
    return found


def _joined(values: list[str]) -> str:
    return _short(", ".join(values)) or "(empty)"


def _short(text: str) -> str:
    return text if len(text) <= MAX_WIDTH else f"{text[:MAX_WIDTH]}... ({len(text)} characters)"


def _tail(path: str) -> str:
    return path if len(path) <= MAX_WIDTH else f"...{path[-MAX_WIDTH:]}"


def _is_same(one: Body, other: Body) -> bool:
    """Are two bodies of one length the same? Of a body of which nothing is known but that, yes."""
    digests = [body.sha256 for body in (one, other)]
    return None in digests or digests[0] == digests[1]


def _digest(body: Body) -> str:
    return f"{body.length} bytes" + (f", sha256 {digest.hex()}" if (digest := body.sha256) else "")


def _hex(data: bytes) -> str:
    return sha256(data).hexdigest()


def _decoded(response: Response) -> bytes | None:
    """The body without its content codings; None if it was not kept whole, is broken, or too large."""
    if response.body.stored != response.body.length:
        return None
    try:
        decoded = decode(response.body.pieces(), response.headers.get("content-encoding", ""))
    except ContentError:
        return None
    return None if decoded.truncated else decoded.data


def _text(data: bytes, headers: Headers) -> str | None:
    """The bytes as text; None where they are none."""
    text = to_text(data, headers.get("content-type", ""))
    return None if "\ufffd" in text or "\0" in text else text


def _json(text: str) -> Any:
    """What a text says as JSON, _ABSENT if it is none."""
    if text.lstrip()[:1] not in ("{", "["):
        return _ABSENT
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return _ABSENT
