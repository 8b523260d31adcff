"""Paths into JSON, a part of RFC 9535: `$.user.password`, `$.items[0].key`, `$.items[*].key`, `$..password`.

Values are visited from the outside in, so paths are followed as a set of states: a state is how far along which path
a value lies. A value at the end of a path is meant with all that is inside it, which is the state EVERYTHING.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from ..errors import SettingsError

_SEGMENT = re.compile(r"""(?P<dots>\.\.?)(?:\*|(?P<name>[^.*\[\]'"\s,]+))|\[(?:\*|(?P<index>[0-9]{1,9}))\]""")

# Names that JSON has no second spelling for, other than with \u.
_PLAIN = re.compile(r"[\w.-]+")

State = tuple[int, int]
States = frozenset[State]

EVERYTHING: States = frozenset([(-1, -1)])

# Names repeat themselves, so most steps have been made before; what no path names leads to the same place.
_REMEMBERED = 512
_OTHER = -1


class Segment(NamedTuple):
    """One step of a path: to the member or element `key` (None: to any), `anywhere` below."""

    key: str | int | None
    anywhere: bool


class JsonPath:
    """One path. Raises SettingsError, with a caret, for what it does not understand."""

    def __init__(self, text: str) -> None:
        if not text.startswith("$"):
            raise _bad(text, 0, "it begins with $, the whole text")
        self.segments: list[Segment] = []
        at = 1
        while at < len(text):
            match = _SEGMENT.match(text, at)
            if not match:
                raise _bad(text, at, "expected .name, ..name, [0], [*] or .*")
            index, name = match["index"], match["name"]
            self.segments.append(Segment(int(index) if index else name, match["dots"] == ".."))
            at = match.end()
        names = [segment.key for segment in self.segments if isinstance(segment.key, str)]
        self._clues = [name.encode("utf-8", "surrogatepass") for name in names if _PLAIN.fullmatch(name)]

    def may_occur(self, data: bytes) -> bool:
        """Can a JSON text in UTF-8 hold such a value? A quick look, which spares most texts the slow one."""
        return all(clue in data for clue in self._clues)


class JsonPaths:
    """Several paths, followed at the same time."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._paths = [JsonPath(text) for text in texts]
        self._keys = {segment.key for path in self._paths for segment in path.segments}
        self._step = lru_cache(_REMEMBERED)(self._find)

    def __bool__(self) -> bool:
        return bool(self._paths)

    def may_occur(self, data: bytes) -> bool:
        """Can a JSON text in UTF-8 hold a value that is meant?"""
        return b"\\u" in data or any(path.may_occur(data) for path in self._paths)

    def start(self) -> States:
        """The state of a whole text."""
        if not all(path.segments for path in self._paths):
            return EVERYTHING
        return frozenset((number, 0) for number in range(len(self._paths)))

    def step(self, states: States, key: str | int) -> States:
        """The states of the member (str) or element (int) `key` of a value with these states."""
        if not states or states is EVERYTHING:
            return states
        return self._step(states, key if key in self._keys else _OTHER)

    def _find(self, states: States, key: str | int) -> States:
        found: set[State] = set()
        for number, at in states:
            segments = self._paths[number].segments
            if segments[at].anywhere:
                found.add((number, at))
            if segments[at].key in (None, key):
                if at + 1 == len(segments):
                    return EVERYTHING
                found.add((number, at + 1))
        return frozenset(found)


def _bad(text: str, position: int, reason: str) -> SettingsError:
    shown = "".join(character if character.isprintable() else " " for character in text)
    return SettingsError(f"bad JSON path: {reason}\n    {shown}\n    {' ' * position}^")
