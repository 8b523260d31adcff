"""Bodies made readable: bytes and their media type in, lines of text out.

What has a text of its own (JSON, markup, plain text) gets line breaks and indents, and is not changed otherwise: no
number, no order, no repeated key. A view looks at one token at a time, so it needs neither the end of a body nor a
valid one, and cannot be sent into recursion. Lines come lazily; whoever shows only the first pays only for those.

The text is as the network sent it. Making it harmless for a terminal is the matter of `render`.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator
from typing import AnyStr
from urllib.parse import unquote_plus

from ..model.content import to_text
from ..model.headers import to_str

View = Callable[[bytes, str], Iterator[str]]

# Deeper than this, lines are no longer indented further: a body of opening brackets would grow with its square.
_MAX_INDENT = 40

# How much of a body of no known type is looked at to tell text from bytes.
_SNIFFED = 1024


def lines(data: bytes, content_type: str, dumped: int | None = None) -> Iterator[str]:
    """The lines of a decoded body in the view that its Content-Type asks for.

    Of what is not text, a hex dump; `dumped` limits how many bytes of it are shown.
    """
    kind = content_type.partition(";")[0].strip().lower()
    for pattern, view in _VIEWS:
        if pattern.fullmatch(kind):
            return view(data, content_type)
    return _text(data, content_type) if _is_text(data) else hex_dump(data, dumped)


def hex_dump(data: bytes, dumped: int | None = None) -> Iterator[str]:
    """Offset, sixteen bytes in hexadecimal, and those of them that are printable ASCII."""
    end = len(data) if dumped is None else min(dumped, len(data))
    for start in range(0, end, 16):
        row = data[start : min(start + 16, end)]
        yield f"{start:08x}  {row.hex(' '):<47}  {row.translate(_PRINTABLE).decode('ascii')}"
    if end < len(data):
        yield f"... and {len(data) - end} bytes more"


_PRINTABLE = bytes(byte if 0x20 <= byte < 0x7F else ord(".") for byte in range(256))


def _is_text(data: bytes) -> bool:
    """UTF-8 without control characters, as far as looked at, where a character may be cut in two."""
    try:
        text = getincrementaldecoder("utf-8")().decode(data[:_SNIFFED])
    except UnicodeDecodeError:
        return False
    return not _CONTROL.search(text)


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def _split(text: AnyStr, separator: AnyStr) -> Iterator[AnyStr]:
    """`text.split(separator)`, lazily, and without an empty last piece."""
    start = 0
    while (end := text.find(separator, start)) >= 0:
        yield text[start:end]
        start = end + len(separator)
    if start < len(text):
        yield text[start:]


def _text(data: bytes, content_type: str) -> Iterator[str]:
    for line in _split(to_text(data, content_type), "\n"):
        yield line.removesuffix("\r")


def _markup(data: bytes, content_type: str) -> Iterator[str]:
    """HTML and XML as they are, with a line break wherever two tags touch."""
    for line in _text(data, content_type):
        start = 0
        while (end := line.find("><", start)) >= 0:
            yield line[start : end + 1]
            start = end + 1
        yield line[start:]


_JSON_START = re.compile(r'\s*(?:[\[{"\d-]|true|false|null)')

# A string, closed or cut off; a structural character; a number, a literal, or whatever stands in its place.
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)


def _json(data: bytes, content_type: str) -> Iterator[str]:
    """JSON, and a series of JSON texts, token by token as sent, one member or element a line."""
    text = to_text(data, content_type)
    return _json_lines(text) if _JSON_START.match(text) else _text(data, content_type)


def _json_lines(text: str) -> Iterator[str]:
    line, last, depth = "", "", 0
    for match in _JSON_TOKEN.finditer(text):
        token = match[0]
        depth = max(depth - (token in ("}", "]")), 0)
        if _breaks(last, token):
            yield line
            line = "  " * min(depth, _MAX_INDENT)
        elif last == ":":
            line += " "
        line += token
        depth += token in ("{", "[")
        last = token
    if line:
        yield line


def _breaks(last: str, token: str) -> bool:
    """Does a new line start between these two tokens?

    Also where no JSON has them side by side, so that a line never has more than a few.
    """
    closes = token in ("}", "]")
    if last in ("{", "["):
        return not closes  # an empty object or array stays together
    if last == "," or closes:
        return True
    if token in (":", ","):
        return last == ":"
    return last not in ("", ":")  # at depth 0, the next of a series of texts


def _form(data: bytes, content_type: str) -> Iterator[str]:
    """A line per field of a submitted form (https://url.spec.whatwg.org/#urlencoded-parsing)."""
    for field in _split(to_text(data, content_type), "&"):
        name, _, value = field.partition("=")
        yield f"{unquote_plus(name)}: {unquote_plus(value)}"


_BOUNDARY = re.compile(r"""boundary="?([^\s";]{1,70})""", re.IGNORECASE)  # RFC 2046 section 5.1.1
_PART_NAME = re.compile(rb"""[;\s]name="?([^";\r\n]*)""", re.IGNORECASE)
_PART_FILE = re.compile(rb"""filename="?([^";\r\n]*)""", re.IGNORECASE)
_PART_TYPE = re.compile(rb"""content-type:\s?([^;\r\n]*)""", re.IGNORECASE)


def _multipart(data: bytes, content_type: str) -> Iterator[str]:
    """A line per part: its name, and its text or what file it is."""
    boundary = _BOUNDARY.search(content_type)
    if not boundary:
        return _text(data, content_type)
    delimiter = b"--" + boundary[1].encode("utf-8", "surrogateescape")
    return _parts(data, delimiter)


def _parts(data: bytes, delimiter: bytes) -> Iterator[str]:
    start = data.find(delimiter)
    if start < 0:
        return
    for part in _split(data[start + len(delimiter) :], b"\r\n" + delimiter):
        if part.startswith(b"--"):
            return
        head, _, value = part.partition(b"\r\n\r\n")
        name, file, kind = (pattern.search(head) for pattern in (_PART_NAME, _PART_FILE, _PART_TYPE))
        if file or not _is_text(value):
            facts = [to_str(match[1]) for match in (file, kind) if match]
            shown = ", ".join([*facts, f"{len(value)} bytes"])
        else:
            shown = to_text(value, "")
        yield f"{to_str(name[1]) if name else '(no name)'}: {shown}"


def _image(data: bytes, content_type: str) -> Iterator[str]:
    """Type, and width and height where they are easily found."""
    size = _png_size(data) or _gif_size(data) or _jpeg_size(data)
    kind = content_type.partition(";")[0].strip()
    yield f"{kind}, {size[0]}x{size[1]}" if size else kind


def _png_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 24 or not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return None
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def _gif_size(data: bytes) -> tuple[int, int] | None:
    if len(data) < 10 or not data.startswith((b"GIF87a", b"GIF89a")):
        return None
    return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walk from segment to segment up to the frame header (ITU-T T.81 section B.2.2)."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        if 0xC0 <= data[at + 1] <= 0xCF and data[at + 1] not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9]), int.from_bytes(data[at + 5 : at + 7])
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None


# The first pattern that matches the whole media type decides.
_VIEWS: tuple[tuple[re.Pattern[str], View], ...] = (
    (re.compile(r".*[/+]json|application/(x-)?ndjson|application/(x-)?jsonl(ines)?|text/json5?"), _json),
    (re.compile(r"text/html|.*[/+]xml"), _markup),
    (re.compile(r"application/x-www-form-urlencoded"), _form),
    (re.compile(r"multipart/.*"), _multipart),
    (re.compile(r"image/.*"), _image),
    (re.compile(r"text/.*|application/(x-)?(java|ecma)script"), _text),
)
