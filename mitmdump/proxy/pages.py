"""The pages that we answer ourselves: short, plain, and with nothing of the request in them unescaped."""

from __future__ import annotations

from email.utils import formatdate
from html import escape
from http import HTTPStatus

from ..wire.events import Data, End, Event, ResponseHead

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1><p>{text}</p><hr><p>mitmdump</p></body>
</html>
"""


def page(status: int, text: str, now: float, *, close: bool, head_only: bool = False) -> list[Event]:
    """The events of a whole response that says `text` to a person; `now` in Unix seconds."""
    phrase = _PHRASES.get(status, "")
    sentence = text[:1].upper() + text[1:] + "."
    body = _PAGE.format(title=f"{status} {phrase}".rstrip(), text=escape(sentence)).encode("ascii", "xmlcharrefreplace")
    fields = [
        (b"Date", formatdate(now, usegmt=True).encode()),
        (b"Content-Type", b"text/html; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
    ]
    if close:
        fields.append((b"Connection", b"close"))
    head = ResponseHead(status, fields, phrase.encode())
    return [head, End()] if head_only else [head, Data(body), End()]
