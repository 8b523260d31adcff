"""A body as formats made of JSON show it: with its content coding undone, as text where it is text.

Text is what can be made bytes again without loss; all else is base64.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder, getincrementalencoder
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from ..errors import ContentError
from ..model.body import Body
from ..model.content import DECODED_LIMIT, decode, stated_charset
from ..model.message import HttpMessage
from .jsontext import base64_pieces, quoted, shown, text_pieces

# What no text for people has in it. A body with such a character is shown in base64, though it may be valid UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Content:
    """The kept part of a body with its content coding undone: `size` bytes.

    `charset` is that in which they are text, None where they are not. `problem` says why a content coding could not be
    undone; then they are the bytes as sent. `pieces` gives them anew each time.
    """

    size: int
    charset: str | None
    problem: str
    pieces: Callable[[], Iterable[bytes]]

    def json(self) -> Iterator[bytes]:
        """A JSON string: the text, or the bytes in base64."""
        pieces = self.pieces()
        return quoted(base64_pieces(pieces) if self.charset is None else text_pieces(pieces, self.charset))


def is_coded(message: HttpMessage) -> bool:
    """Does the message say that its body has a content coding?"""
    names = message.headers.get("content-encoding", "").lower().split(",")
    return any(name.strip() not in ("", "identity") for name in names)


def content_of(message: HttpMessage) -> Content | None:
    """What was kept of a message's body, None if nothing was.

    A body without a content coding may have any size. One that has a coding, and more than DECODED_LIMIT without it, is
    left as it was sent: it may be a compression bomb.
    """
    body = message.body
    if body.source is None:
        return None
    content_type = message.headers.get("content-type", "")
    if not is_coded(message) or not body.stored:
        return _content(body.stored, body.pieces, content_type)
    try:
        decoded = decode(body.pieces(), message.headers["content-encoding"])
    except ContentError as error:
        return _as_sent(body, shown(str(error)))
    if decoded.truncated:
        return _as_sent(body, f"decoded, it has more than {DECODED_LIMIT} bytes")
    return _content(len(decoded.data), Body(source=decoded.data).pieces, content_type)


def encoded(text: str, content_type: str) -> bytes:
    """Text in the charset that a Content-Type names, or in UTF-8 where that cannot hold it."""
    try:
        return text.encode(_charset(content_type))
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _as_sent(body: Body, problem: str) -> Content:
    return Content(body.stored, None, problem, body.pieces)


def _content(size: int, pieces: Callable[[], Iterable[bytes]], content_type: str) -> Content:
    charset = _charset(content_type)
    return Content(size, charset if _is_text(pieces(), charset) else None, "", pieces)


def _charset(content_type: str) -> str:
    charset = stated_charset(content_type) or "utf_8"
    try:
        "".encode(charset)
    except LookupError:  # one of those aliases that are no text encodings, such as hex
        return "utf_8"
    return charset


def _is_text(pieces: Iterable[bytes], charset: str) -> bool:
    """Are the bytes text for people, from which the very same bytes can be made again?"""
    decoder, encoder = getincrementaldecoder(charset)(), getincrementalencoder(charset)()
    before, after = sha256(), sha256()
    is_exact = charset == "utf_8"  # by itself: a byte sequence that is valid has one reading, and that one sequence
    try:
        for piece, is_last in _with_end(pieces):
            text = decoder.decode(piece, is_last)
            if _CONTROL.search(text):
                return False
            if not is_exact:
                before.update(piece)
                after.update(encoder.encode(text, is_last))
    except UnicodeError:
        return False
    return before.digest() == after.digest()


def _with_end(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """The pieces, each with whether it is the last: an empty one."""
    for piece in pieces:
        yield piece, False
    yield b"", True
