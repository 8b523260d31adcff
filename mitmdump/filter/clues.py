"""Clues: what must stand in the record of a flow if a filter is to match it, so that other records need not be decoded.

A record is the whole of a flow in bytes, as in a flow file: msgpack, with texts as they were on the wire or in UTF-8. A
clue is a set of patterns, of which at least one is found in the lower-cased record of every flow that an expression
matches. Of an expression we know any number of clues, or none.

A clue may let flows pass that do not match, but never stop one that does. So an operator may give a clue only for what
stands in one piece in the record; what it puts together for its search is taken apart again here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from typing import NamedTuple

from ..model.headers import to_bytes
from .arguments import BodyMatcher, Matcher, NamedMatcher
from .regex import required_literal, required_literals

# A literal, and a regular expression without repetition for what stands behind it, b"" for anything.
Pattern = tuple[bytes, bytes]


class Clue(NamedTuple):
    """Patterns, of which one has to be found. Those that are not `cased` also hold of the record as it is, which spares
    lower-casing it.
    """

    patterns: frozenset[Pattern]
    cased: bool

    @property
    def weight(self) -> int:
        """The heavier, the seldomer something is found, as far as length tells."""
        return min(len(literal) + len(rest) for literal, rest in self.patterns)


Clues = tuple[Clue, ...]

# What Python's regular expressions for text, where they ignore case, find for a letter besides the letter itself.
_COUSINS = {b"i": "\u0130\u0131", b"k": "\u212a", b"s": "\u017f"}


def none(_argument: object) -> Clues:
    """Nothing is known."""
    return ()


def of_either(clues: Iterable[Clues]) -> Clues:
    """Of expressions joined by "or": one clue, with what is hardest to find for each of them."""
    best: list[Clue] = []
    for each in clues:
        if not each:
            return ()
        best.append(max(each, key=lambda clue: clue.weight))
    return (Clue(frozenset(chain.from_iterable(clue.patterns for clue in best)), any(clue.cased for clue in best)),)


def text(argument: Matcher[str]) -> Clues:
    """A search in a text that stands in the record. The dots of a host name cut its pattern into several literals."""
    return tuple(chain.from_iterable(map(_with_cousins, required_literals(argument.text))))


def url(argument: Matcher[str]) -> Clues:
    """A URL's parts stand in different places, a host without brackets, and a port perhaps as a number."""
    parts = (re.split(r"(?:^|:)\d+(?=/|$)|[][:/,\s]", literal) for literal in required_literals(argument.text))
    return tuple(chain.from_iterable(map(_with_cousins, chain.from_iterable(parts))))


def header_lines(argument: Matcher[bytes]) -> Clues:
    """Names and values stand apart."""
    parts = re.split(r"[:\s]", required_literal(argument.text))
    return tuple(chain.from_iterable(_clue(to_bytes(part).lower()) for part in parts))


def header_value(argument: NamedMatcher[bytes]) -> Clues:
    """A name, and what is in the value."""
    return _clue(to_bytes(argument.name).lower()) + _bytes(argument.value)


def content_type(argument: Matcher[bytes]) -> Clues:
    """The same for the header field of that name."""
    return _clue(b"content-type") + _bytes(argument)


def cookie(argument: NamedMatcher[str]) -> Clues:
    """A cookie's name and value."""
    return _clue(to_bytes(argument.name).lower()) + text(argument.value)


def status(argument: Matcher[float]) -> Clues:
    """In a map of msgpack a value stands right behind its key. An integer is one byte up to 127, else a byte that tells
    its size and sign, and the most significant byte first; one in four bytes or more is let pass.

    No argument tells numbers of more than three digits from each other.
    """
    small, *pairs = [_low_bytes(argument, high) for high in range(4)]
    alone = _low_bytes(argument, 0, end=128)
    wanted = [b"[\xce\xcf\xd2\xd3]"]
    wanted += [alone] if alone else []
    wanted += [b"[\xcc\xd0]" + small] if small else []
    wanted += [b"[\xcd\xd1]" + bytes([high]) + low for high, low in enumerate((small, *pairs)) if low]
    wanted += [b"[\xcd\xd1][^\0-\3]"] if argument.matches(1024) else []
    return (Clue(frozenset([(b"status_code", b"(?:%b)" % b"|".join(wanted))]), cased=False),)


def _low_bytes(argument: Matcher[float], high: int, end: int = 256) -> bytes:
    """A pattern for the lower bytes (below `end`) of numbers with this higher byte that match, lower-cased or not."""
    low = bytes(low for low in range(end) if argument.matches(256 * high + low))
    return b"[%b]" % re.escape(low + low.lower()) if low else b""


def body(argument: BodyMatcher) -> Clues:
    """Content that is not encoded stands there as it is searched."""
    return _clue(to_bytes(required_literal(argument.text)).lower(), b"content-encoding")


def _clue(*alternatives: bytes) -> Clues:
    """A clue of texts in lower case; none where one of them is found everywhere."""
    if not all(alternatives):
        return ()
    patterns = frozenset((text, b"") for text in alternatives)
    return (Clue(patterns, cased=any(text.upper() != text for text in alternatives)),)


def _bytes(argument: Matcher[bytes]) -> Clues:
    return _clue(to_bytes(required_literal(argument.text)).lower())


def _with_cousins(literal: str) -> Clues:
    """A literal of a regular expression for text, as far as it is ASCII: other letters have cases, too."""
    lower = max(re.findall(rb"[\0-\x7f]+", to_bytes(literal)), key=len, default=b"").lower()
    cousins = "".join(cousins for letter, cousins in _COUSINS.items() if letter in lower)
    return _clue(lower, *map(to_bytes, cousins))
