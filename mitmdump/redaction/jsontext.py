"""JSON texts with some values replaced, and every other character as it was.

The text is not loaded and dumped, which would lose the spelling of numbers and escapes, white space and repeated
names. It is walked token by token instead: the paths say which values are meant, and their places in the text are
replaced. What may come next is looked up in a table, and containers are on a list, so nesting cannot exhaust a stack.

Leniency is harmless where the borders of the values are beyond doubt: several texts may follow one another (JSON
Lines), strings may hold control characters, and NaN is a value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from .jsonpath import EVERYTHING, JsonPaths, States

_SPACE = r"[ \t\n\r\x1e]*+"  # the last separates texts (RFC 7464)
_TOKEN = re.compile(
    rf"""{_SPACE}(?:
        (?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*+")(?P<key>{_SPACE}:)?+
        |(?P<scalar>-?[0-9][0-9.eE+-]*+|true|false|null|NaN|-?Infinity)
        |(?P<comma>,)|(?P<object>\{{)|(?P<array>\[)|(?P<end_object>\}})|(?P<end_array>\])
    )""",
    re.DOTALL | re.VERBOSE,
)

# What may come, by the kinds of the next token. `key` is a string with its colon.
_VALUE = frozenset({"string", "scalar", "object", "array"})
_MEMBER = frozenset({"key"})
_FIRST = {"object": _MEMBER | {"end_object"}, "array": _VALUE | {"end_array"}}
_NEXT = {"object": _MEMBER, "array": _VALUE}
_REST = {"object": frozenset({"comma", "end_object"}), "array": frozenset({"comma", "end_array"}), None: _VALUE}

# A walk may take a second or so at the most, since everything else waits for it: some 16 MiB of ordinary JSON have as
# many tokens, and a few KiB of a compressed body could have a hundred times more. No sane text is nested deeper.
MAX_TOKENS = 2_000_000
MAX_DEPTH = 1000

# They hide nothing, and are worth seeing.
_EMPTY = ("null", '""')


class _Walk:
    """Where a walk is: in which containers, and what that means for the paths."""

    def __init__(self, paths: JsonPaths) -> None:
        self.paths = paths
        self.outer: list[tuple[str | None, States, int]] = []
        self.container: str | None = None
        self.states = paths.start()  # of the container; outside of all, of each text
        self.count = 0  # of elements so far
        self.member = self.states  # of the value whose name was read last

    def name(self, name: str) -> None:
        self.member = self.paths.step(self.states, name)

    def value(self) -> States:
        """The states of the value that begins here."""
        if self.container != "array":
            return self.member
        self.count += 1
        return self.paths.step(self.states, self.count - 1)

    def enter(self, container: str) -> None:
        states = self.value()
        self.outer.append((self.container, self.states, self.count))
        self.container, self.states, self.count = container, states, 0

    def leave(self) -> None:
        self.container, self.states, self.count = self.outer.pop()
        self.member = self.states


def rewrite(text: str, paths: JsonPaths, pseudonym: Callable[[str], str]) -> str:
    """The text with each string, number and boolean that the paths mean as the JSON string of its pseudonym.

    Raises ValueError, which says where, for what is no JSON.
    """
    pieces: list[str] = []
    walk = _Walk(paths)
    expected, at, copied = _VALUE, 0, 0
    for number, match in enumerate(_TOKEN.finditer(text)):
        kind = match.lastgroup
        if kind not in expected or match.start() != at:
            break
        if number == MAX_TOKENS or len(walk.outer) == MAX_DEPTH:
            raise ValueError("it has too many values, or too deep inside one another")
        at = match.end()
        if kind == "key":
            walk.name(_string(match["string"]))
            expected = _VALUE
        elif kind == "comma":
            expected = _NEXT[walk.container or ""]
        elif kind == "object" or kind == "array":
            walk.enter(kind)
            expected = _FIRST[kind]
        else:
            if kind == "string" or kind == "scalar":
                token = match[kind]
                if walk.value() is EVERYTHING and token not in _EMPTY:
                    pieces += text[copied : match.start(kind)], f'"{pseudonym(_string(token))}"'
                    copied = at
            else:
                walk.leave()
            expected = _REST[walk.container]
    if walk.container or expected is not _REST[None] or text[at:].strip(" \t\n\r\x1e"):
        raise ValueError(f"it is no JSON from character {at} on")
    pieces.append(text[copied:])
    return "".join(pieces)


def _string(token: str) -> str:
    """What a string says; of a number, or of a string that nobody can read, its spelling."""
    if "\\" not in token:
        return token.strip('"') if token[0] == '"' else token
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token
