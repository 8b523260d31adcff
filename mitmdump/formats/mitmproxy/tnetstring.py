"""Typed netstrings: the length of a value in digits, a colon, the value's bytes, and a tag that says what they are.

    5:hello,   2:42#   4:3.14^   4:true!   0:~   8:1:a,1:b,]   9:1:a,3:2.5^}

`,` are bytes, `;` text, `#` an integer, `^` a float, `!` a truth value, `~` nothing, `]` a list, `}` a dict whose keys
and values take turns. The tag comes last, so what a value is shows only at its end; its length is known at once, so it
can be stepped over unread. Both are used here: a value of up to SMALL bytes is parsed at once, a larger one becomes a
`Large`, which knows where it lies and is opened, read in pieces, or left alone. Nothing is allocated because of a
length that a file states.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, TypeAlias

from ...errors import FlowFileError
from ...model.body import PIECE
from ...model.headers import to_str

# Parsed at once, whatever it is. Nearly all flows are smaller, and so is all but the bodies of the others.
SMALL = 64 * 1024

# A list of empty lists takes 20 times as much memory as in the file. Real flows nest 6 deep, and what scripts put into
# their metadata is no deeper than JSON that people can read.
DEEPEST = 64

# mitmproxy reads 12 digits of a length, too: 1 TB.
PREFIX = 13
_PREFIX = re.compile(rb"(0|[1-9][0-9]{0,11}):")

# Far more than 64-bit numbers need, and some 128 bits; the time that int() takes grows with the square of the digits.
_NUMBER, _BITS = 40, 128

Value: TypeAlias = "bool | int | float | bytes | str | list[Value] | dict[str, Value] | Large | None"


class Stored:
    """A file that can be read at any place. `name` is what messages call it."""

    __slots__ = ("_file", "_name")

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    def read(self, place: int, size: int) -> bytes:
        """The bytes of a place, fewer where the file ends. Raises FlowFileError where they can no longer be had."""
        try:
            self._file.seek(place)
            return self._file.read(size)
        except ValueError:
            raise FlowFileError(f"{self._name} was closed before the bodies of its flows were read") from None
        except OSError as error:
            raise FlowFileError(f"cannot read {self._name} at byte {place}: {error.strerror or error}") from error


class Large:
    """A value of more than SMALL bytes, where it lies; of bytes or text also a `model.body.Source`."""

    __slots__ = ("_place", "_size", "_store", "tag")

    def __init__(self, store: Stored, place: int, size: int, tag: bytes) -> None:
        self._store = store
        self._place = place
        self._size = size
        self.tag = tag

    def __len__(self) -> int:
        return self._size

    def pieces(self) -> Iterator[bytes]:
        """Its bytes in order, at most 64 KiB at a time. Raises FlowFileError where the file has changed."""
        end = self._place + self._size
        for at in range(self._place, end, PIECE):
            data = self._store.read(at, min(PIECE, end - at))
            if len(data) < min(PIECE, end - at):
                raise FlowFileError(f"the capture file has become shorter while it was read, at byte {at}")
            yield data

    def load(self, limit: int) -> Value:
        """All of it as one value. Raises ValueError where it has more than `limit` bytes or is malformed."""
        if self._size > limit:
            raise ValueError(f"a value of {self._size} bytes, where {limit} are plenty")
        return parse(b"".join(self.pieces()), self.tag)

    def children(self) -> Iterator[Value]:
        """The values in a list, or the keys and values in a dict; large ones among them stay where they are.

        Raises ValueError where it is neither, or malformed.
        """
        if self.tag not in (b"]", b"}"):
            raise ValueError("a list or a dict is missing")
        place, end = self._place, self._place + self._size
        while place < end:
            start, size = prefix(self._store.read(place, min(PREFIX, end - place)))
            start += place
            place = start + size + 1
            if place > end:
                raise ValueError("a value that is longer than what it is in")
            yield value_at(self._store, start, size)


def prefix(head: bytes) -> tuple[int, int]:
    """Take a length off the front: where the value begins, and its length. Raises ValueError where there is none."""
    match = _PREFIX.match(head)
    if match is None:
        raise ValueError("no length where a value should begin")
    return match.end(), int(match[1])


def value_at(store: Stored, start: int, size: int) -> Value:
    """The value whose bytes lie there, and whose tag lies behind them. Raises ValueError where it is malformed."""
    if size > SMALL:
        tag = store.read(start + size, 1)
        if tag not in (b",", b";", b"]", b"}"):
            raise ValueError("a large value that is no bytes, text, list or dict")
        return Large(store, start, size, tag)
    data = store.read(start, size + 1)
    return parse(data[:-1], data[-1:])


def parse(data: bytes, tag: bytes, depth: int = 0) -> Value:
    """The value of these bytes under this tag. Raises ValueError where they are not what the tag says."""
    if tag == b",":
        return data
    if tag == b";":
        return to_str(data)
    if tag in (b"]", b"}"):
        if depth == DEEPEST:
            raise ValueError(f"values more than {DEEPEST} deep inside each other")
        values = list(_inside(data, depth + 1))
        return values if tag == b"]" else pairs(values)
    if tag in (b"#", b"^") and len(data) <= _NUMBER:
        return int(data) if tag == b"#" else float(data)
    try:
        return _CONSTANTS[data + tag]
    except KeyError:
        raise ValueError("a value that is not what its tag says") from None


_CONSTANTS = {b"true!": True, b"false!": False, b"~": None}


def _inside(data: bytes, depth: int) -> Iterator[Value]:
    place, end = 0, len(data)
    while place < end:
        match = _PREFIX.match(data, place)
        if match is None:
            raise ValueError("no length where a value should begin")
        start = match.end()
        place = start + int(match[1])
        if place >= end:
            raise ValueError("a value that is longer than what it is in")
        yield parse(data[start:place], data[place : place + 1], depth)
        place += 1


def pairs(values: list[Value]) -> dict[str, Value]:
    """Keys and values in turn as a dict; keys were bytes once. Raises ValueError where this is no dict."""
    if len(values) % 2:
        raise ValueError("a key without a value")
    found = {}
    for key, value in zip(values[::2], values[1::2], strict=True):
        if not isinstance(key, bytes | str):
            raise ValueError("a key that is no text")
        found[to_str(key) if isinstance(key, bytes) else key] = value
    return found


class Bulk(NamedTuple):
    """A value to be written that is not held in memory: its tag, how many bytes it has, and how to get them."""

    tag: bytes
    size: int
    pieces: Callable[[], Iterator[bytes]]


Part = bytes | Bulk


def dump(value: object) -> Iterator[bytes]:
    """A value as a typed netstring, in pieces.

    What has no tag of its own, such as a date, becomes text, and so does what is too deep inside to be read again.
    """
    pending: list[bytes] = []
    for part in _parts(value, 0)[0]:
        if isinstance(part, bytes):
            pending.append(part)
            continue
        yield b"".join(pending)
        yield from part.pieces()
        pending.clear()
    yield b"".join(pending)


def _parts(value: object, depth: int) -> tuple[list[Part], int]:
    """The pieces of a typed netstring, and how many bytes they are: the length of a value goes before the value."""
    if isinstance(value, Bulk):
        inside: list[Part] = [value]
        return _framed(inside, value.size, value.tag)
    if depth < DEEPEST and isinstance(value, list | tuple):
        return _joined(value, b"]", depth + 1)
    if depth < DEEPEST and isinstance(value, dict):
        return _joined([each for key, inner in value.items() for each in (str(key), inner)], b"}", depth + 1)
    data, tag = _scalar(value)
    return _framed([data], len(data), tag)


def _joined(values: list[object] | tuple[object, ...], tag: bytes, depth: int) -> tuple[list[Part], int]:
    inside: list[Part] = []
    total = 0
    for value in values:
        parts, size = _parts(value, depth)
        inside += parts
        total += size
    return _framed(inside, total, tag)


def _framed(inside: list[Part], size: int, tag: bytes) -> tuple[list[Part], int]:
    head = b"%d:" % size
    return [head, *inside, tag], len(head) + size + len(tag)


def _scalar(value: object) -> tuple[bytes, bytes]:
    if value is None:
        return b"", b"~"
    if isinstance(value, bool):
        return b"true" if value else b"false", b"!"
    if isinstance(value, bytes):
        return value, b","
    if isinstance(value, int) and value.bit_length() <= _BITS:
        return b"%d" % value, b"#"
    if isinstance(value, float):
        return repr(value).encode(), b"^"
    # mitmproxy gives up a whole file over text that is not UTF-8: what came as other bytes becomes question marks.
    return str(value).encode("utf-8", "replace"), b";"
