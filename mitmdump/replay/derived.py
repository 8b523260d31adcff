"""Answers to HEAD and to requests for a range, made of what was recorded for a whole GET.

A server may ignore Range (RFC 9110 section 14.2), and that is what is done where it is not plain what to send: several
ranges, a unit other than bytes, a condition that cannot be told to hold, a server that said it has no ranges.
"""

from __future__ import annotations

import re
from dataclasses import replace
from http import HTTPStatus

from ..flowfile import KeptBody
from ..model.body import Body
from ..model.headers import Headers, to_bytes
from ..model.message import Request, Response

# One range of bytes (RFC 9110 section 14.1.2), of numbers that any program can count with.
_RANGE = re.compile(r"\s*bytes\s*=\s*(?:([0-9]{1,18})-([0-9]{1,18})?|-([0-9]{1,18}))\s*\Z", re.IGNORECASE)
# What tells of the whole, or of how it came.
_OF_THE_WHOLE = frozenset({b"content-length", b"transfer-encoding", b"trailer", b"content-md5", b"content-digest"})


def without_body(response: Response) -> Response:
    """The answer to HEAD: the same head (RFC 9110 section 9.3.2)."""
    return replace(response, body=Body(0, complete=True, source=b""), trailers=None)


def asks_for_part(request: Request) -> bool:
    """Does a request ask for a range, as far as RFC 9110 defines that?"""
    return request.method == "GET" and "range" in request.headers


def part_of(response: Response, request: Request) -> Response:
    """The answer to a request for a range of what this response has as a whole: 206, 416, or the whole."""
    wanted = _RANGE.match(request.headers["range"])
    if not wanted or response.status_code != 200 or not _condition_holds(request.headers, response.headers):
        return response
    if response.headers.get("accept-ranges", "").strip().lower() == "none":
        return response
    first, last, suffix = wanted[1], wanted[2], wanted[3]
    length = response.body.length
    start = int(first) if first else max(length - int(suffix), 0)
    end = min(int(last), length - 1) if last else length - 1
    if first and last and int(last) < int(first):  # no range at all (RFC 9110 section 14.1.1)
        return response
    if start > end:
        return _answer(response, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"bytes */{length}", b"")
    source = response.body.source or b""
    size = end - start + 1
    if isinstance(source, KeptBody):
        return _answer(response, HTTPStatus.PARTIAL_CONTENT, f"bytes {start}-{end}/{length}", source.part(start, size))
    assert isinstance(source, bytes)
    return _answer(response, HTTPStatus.PARTIAL_CONTENT, f"bytes {start}-{end}/{length}", source[start : end + 1])


def _condition_holds(asked: Headers, has: Headers) -> bool:
    """If-Range: an entity tag that is strong, or the very date of the last change (RFC 9110 section 13.1.5)."""
    condition = asked.get("if-range")
    if condition is None:
        return True
    if condition.startswith('"'):
        return condition == has.get("etag")
    return condition == has.get("last-modified")


def _answer(whole: Response, status: HTTPStatus, content_range: str, source: bytes | KeptBody) -> Response:
    fields = [field for field in whole.headers.fields if field[0].lower() not in _OF_THE_WHOLE]
    if status is HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # which has nothing of the representation
        fields = [field for field in fields if not field[0].lower().startswith(b"content-")]
    fields += [(b"Content-Range", to_bytes(content_range)), (b"Content-Length", b"%d" % len(source))]
    body = Body(len(source), complete=True, source=source)
    return replace(
        whole,
        status_code=status.value,
        reason=status.phrase,
        headers=Headers(fields),
        body=body,
        trailers=None,
    )
