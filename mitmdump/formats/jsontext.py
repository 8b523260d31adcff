"""JSON in pieces, so that a body of any size takes little memory; and how bytes become text that JSON can hold.

All that is written is ASCII, with everything else escaped: no control character, no bidirectional mark and nothing that
is not well-formed Unicode gets to a terminal or to a strict parser. A number is finite.

What was on the wire is text in the model, with surrogate escapes for bytes outside UTF-8 (see `model.headers`). JSON
shows those as U+FFFD; where that loses something, the exact bytes stand beside it in base64.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from codecs import getincrementaldecoder
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")

# Metadata may be nested as deep as the flow file's may.
_DEPTH = 32

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any) -> bytes:
    """A value as JSON."""
    return _encode(value).encode("ascii")


def members(found: Mapping[str, Any]) -> bytes:
    """The inside of a JSON object, to which more members can be added."""
    return dumps(found)[1:-1]


def quoted(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A JSON string out of the pieces of its inside."""
    yield b'"'
    yield from pieces
    yield b'"'


def shown(text: str) -> str:
    """Text as JSON can hold it: U+FFFD for each byte that is not UTF-8."""
    return _SURROGATE.sub("\ufffd", text)


def base64(data: bytes) -> str:
    """Bytes in base64."""
    return b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Bytes from base64. Raises ValueError."""
    return b64decode(text)


def base64_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Bytes in base64, which takes them by threes."""
    rest = b""
    for piece in pieces:
        rest += piece
        whole = len(rest) // 3 * 3
        yield b64encode(rest[:whole])
        rest = rest[whole:]
    yield b64encode(rest)


def text_pieces(pieces: Iterable[bytes], charset: str) -> Iterator[bytes]:
    """Text as the inside of a JSON string."""
    decoder = getincrementaldecoder(charset)()
    for piece in pieces:
        yield dumps(decoder.decode(piece))[1:-1]
    yield dumps(decoder.decode(b"", final=True))[1:-1]


def wire_bytes(text: str) -> bytes:
    """The bytes that `headers.to_str` decoded; of text that no wire ever carried, something that can be kept."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON can hold it: bytes as an object with their base64, what is nothing of the kind as text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else hex(value)
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, bytes):
        return {"base64": base64(value)}
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        return shown(str(value))
    if depth == _DEPTH:
        return f"({type(value).__name__}, nested too deeply)"
    if isinstance(value, Mapping):
        return {shown(str(key)): plain(item, depth + 1) for key, item in value.items()}
    return [plain(item, depth + 1) for item in value]
