"""Undoing content codings within bounds, and turning decoded bytes into text.

A coding is undone by a generator that takes pieces of coded bytes and yields pieces of decoded ones, none larger than
about PIECE. Several codings are such generators in a row. `decode` pulls at the end of the row and stops pulling at
its limit, so a compression bomb costs the limit, a piece and a window per coding, however deep it is nested.

A body that was cut off, or kept only in part, gives what there is. Bytes after the end of the coded data are ignored,
as browsers do it; only in zstd, where they cannot be told from a broken next frame, are they an error.
"""

from __future__ import annotations

import codecs
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases
from itertools import chain

from ..errors import ContentError
from .body import PIECE

# Enough for nearly every page, script and API answer, and little enough to be held for a few flows at once.
DECODED_LIMIT = 16 * 1024 * 1024

# Real messages have one coding, by accident two. Each costs a window and a turn over all data; curl stops at 5, too.
MAX_CODINGS = 5

# What a zstd decoder must support, and a sender may not exceed, in HTTP (RFC 9659 section 3).
_ZSTD_WINDOW = 8 * 1024 * 1024

# The wbits of zlib.decompressobj.
_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15


@dataclass(frozen=True, slots=True)
class Decoded:
    """Decoded bytes; `truncated`: there were more, which the limit cut off."""

    data: bytes
    truncated: bool


def decode(data: bytes | Iterable[bytes], encoding: str, limit: int = DECODED_LIMIT) -> Decoded:
    """Undo the codings that `encoding`, a Content-Encoding field's value, lists (RFC 9110 section 8.4).

    Gives at most `limit` bytes. Raises ContentError for an unknown coding and for data that are not what their coding
    says. No data are no data under any coding: answers to HEAD name one, too.
    """
    given = (data,) if isinstance(data, bytes) else data
    pieces = (piece[at : at + PIECE] for piece in given for at in range(0, len(piece), PIECE))
    first = next(pieces, b"")
    if not first:
        return Decoded(b"", truncated=False)
    coded: Iterator[bytes] = chain([first], pieces)
    for decoder in reversed(_decoders(encoding)):
        coded = filter(None, decoder(coded))
    return _collect(coded, limit)


def _collect(pieces: Iterator[bytes], limit: int) -> Decoded:
    collected = io.BytesIO()
    for piece in pieces:
        collected.write(piece)
        if collected.tell() > limit:
            collected.truncate(limit)
            return Decoded(collected.getvalue(), truncated=True)
    return Decoded(collected.getvalue(), truncated=False)


def _decoders(encoding: str) -> list[Decoder]:
    """The decoders for a list of codings, in the order in which the codings were applied."""
    names = [name.strip().lower() for name in encoding.split(",", MAX_CODINGS)]
    if len(names) > MAX_CODINGS:
        raise ContentError(f"more than {MAX_CODINGS} content codings on one body")
    unknown = [name for name in names if name not in _DECODERS]
    if unknown:
        raise ContentError(f"unknown content coding {unknown[0][:40]!a}")
    return [decoder for name in names if (decoder := _DECODERS[name])]


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    return _inflate(pieces, _GZIP)


def _undeflate(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The zlib format, or, as some send against RFC 9110 section 8.4.1.2, the bare deflate stream."""
    start = next(pieces, b"")
    if len(start) < 2:
        start += next(pieces, b"")
    # RFC 1950 section 2.2: method 8, and a check that makes the first two bytes divisible by 31.
    is_zlib = start[:1] and start[0] & 0x0F == 8 and int.from_bytes(start[:2]) % 31 == 0
    return _inflate(chain([start], pieces), _ZLIB if is_zlib else _RAW_DEFLATE)


def _inflate(pieces: Iterator[bytes], wbits: int) -> Iterator[bytes]:
    engine = zlib.decompressobj(wbits)
    try:
        for piece in pieces:
            while piece:
                if engine.eof:
                    # RFC 1952 section 2.2: members follow one another without a mark; 0x1F begins each.
                    if wbits != _GZIP or not piece.startswith(b"\x1f"):
                        return
                    engine = zlib.decompressobj(wbits)
                yield engine.decompress(piece, PIECE)
                piece = engine.unused_data if engine.eof else engine.unconsumed_tail
        yield engine.flush()  # at most what one back-reference still owes: all input is consumed
    except zlib.error as error:
        raise _not_what_it_says("gzip" if wbits == _GZIP else "deflate", error) from error


def _unbrotli(pieces: Iterator[bytes]) -> Iterator[bytes]:
    import brotli  # type: ignore[import-untyped]  # here, as most runs never need it

    engine = brotli.Decompressor()
    try:
        for piece in pieces:
            output = engine.process(piece, output_buffer_limit=PIECE)
            while output:  # can_accept_more_data() would only tell of input not yet read, not of output not yet taken
                yield output
                output = engine.process(b"", output_buffer_limit=PIECE)
    except brotli.error as error:
        raise _not_what_it_says("br", error) from error


class _Reader:
    """Pieces as the file that zstandard's reader wants; that reader alone bounds its output."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, _size: int) -> bytes:
        return next(self._pieces, b"")


def _unzstd(pieces: Iterator[bytes]) -> Iterator[bytes]:
    from zstandard import ZstdDecompressor, ZstdError  # here, as most runs never need it

    decompressor = ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    reader = decompressor.stream_reader(_Reader(pieces), read_across_frames=True)  # type: ignore[arg-type]
    try:
        while piece := reader.read(PIECE):
            yield piece
    except ZstdError as error:
        raise _not_what_it_says("zstd", error) from error


def _not_what_it_says(coding: str, error: Exception) -> ContentError:
    return ContentError(f"the body is not valid {coding} data: {str(error).rpartition(': ')[2]}")


Decoder = Callable[[Iterator[bytes]], Iterator[bytes]]

_DECODERS: dict[str, Decoder | None] = {
    "": None,  # empty list elements are to be ignored (RFC 9110 section 5.6.1.2)
    "identity": None,
    "gzip": _gunzip,
    "x-gzip": _gunzip,  # RFC 9110 section 8.4.1.3
    "deflate": _undeflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}


# Text

_CHARSET_PARAMETER = re.compile(r""";\s*charset\s*=\s*["']?([^\s"';]{1,40})""", re.IGNORECASE)

# Where a document names its own charset. Looked for in its first KiB only, as browsers do (HTML section 13.2.3.2).
_CHARSET_INSIDE = re.compile(
    rb"""<(?:\?xml[^>]*?\sencoding|meta[^>]*?[\s;]charset)\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE
)
_SNIFFED = 1024

# Longest first: UTF-32's little-endian mark begins with UTF-16's.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf_32_le"),
    (codecs.BOM_UTF32_BE, "utf_32_be"),
    (codecs.BOM_UTF8, "utf_8"),
    (codecs.BOM_UTF16_LE, "utf_16_le"),
    (codecs.BOM_UTF16_BE, "utf_16_be"),
)

# Only these names reach the codec machinery, which would import a module for any other, keep it in a cache without
# bound, and has codecs ("punycode", "unicode_escape") that are no charsets.
_CHARSETS = {*aliases, *aliases.values(), "koi8_u", "cp874"}

# What others call the charsets of Python, or where browsers are right and the letter of the name is not
# (https://encoding.spec.whatwg.org/#names-and-labels).
_RENAMED = {
    "windows_874": "cp874",
    "x_sjis": "cp932",
    "windows_31j": "cp932",
    "ascii": "cp1252",
    "us_ascii": "cp1252",
    "iso_8859_1": "cp1252",
    "latin1": "cp1252",
}


def to_text(data: bytes, content_type: str) -> str:
    """Bytes as text: by byte order mark, else the charset of `content_type`, else what HTML or XML says of itself.

    Without any of these, or with a name nobody knows, it is UTF-8. Never raises: bytes that are wrong in their charset
    become U+FFFD.
    """
    for mark, charset in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(charset, "replace")
    charset = stated_charset(content_type) or _sniffed_charset(data, content_type) or "utf_8"
    try:
        return data.decode(charset, "replace")
    except LookupError:  # one of those aliases that are no text encodings, such as hex
        return data.decode("utf_8", "replace")


def stated_charset(content_type: str) -> str | None:
    """The charset that a Content-Type names, as Python calls it; None where it names none that we know."""
    match = _CHARSET_PARAMETER.search(content_type)
    return _known_charset(match[1]) if match else None


def _sniffed_charset(data: bytes, content_type: str) -> str | None:
    kind = content_type.partition(";")[0].lower()
    if not any(name in kind for name in ("html", "xml", "json")):
        return None
    # All three begin with an ASCII character, so the place of its zero byte tells (RFC 4627 section 3).
    if data[1:2] == b"\0":
        return "utf_16_le"
    if data[:1] == b"\0":
        return "utf_16_be"
    match = _CHARSET_INSIDE.search(data[:_SNIFFED])
    charset = _known_charset(match[1].decode("ascii", "replace")) if match else None
    # A declaration that could be read as ASCII is not in UTF-16, whatever it says.
    return None if charset and charset.startswith(("utf_16", "utf_32")) else charset


def _known_charset(name: str) -> str | None:
    normal = normalize_encoding(name.lower()).lower()
    normal = _RENAMED.get(normal, normal)
    return normal if normal in _CHARSETS else None
