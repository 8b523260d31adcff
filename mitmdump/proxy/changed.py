"""Messages as a handler leaves them, or as a recording has them, made into what can be sent.

Their fields decide how a body is framed, and are put right where they are not true of it: a length is that of the body,
chunked stays chunked. While a body is still to come, its framing is not for anybody to change. What would break the
grammar of HTTP is refused: a recording comes from anywhere, and a line break in a field would be a message of its own.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

from ..errors import FlowFileError, PeerError, RemoteError, StreamError
from ..model.body import Body
from ..model.headers import Field, Headers, to_bytes
from ..model.message import HttpMessage, Request, Response
from ..model.url import DEFAULT_PORTS, join_host_port
from ..wire.events import Data, End, Event, RequestHead, ResponseHead
from ..wire.head import CHUNKED, NO_BODY_STATUS, TEXT, TOKEN, UNTIL_CLOSE, parse_fields
from .target import Origin, Target

# Of what HTTP/1 says in its first lines; what an answer that nobody has sent has for a version is up to us.
_HTTP1 = {"HTTP/1.0": b"HTTP/1.0", "HTTP/1.1": b"HTTP/1.1", "": b"HTTP/1.1"}
_FRAMING_FIELDS = ("Content-Length", "Transfer-Encoding")

_METHOD = re.compile(TOKEN)
_PATH = re.compile(rb"[^\x00-\x20\x7f]+")
_REASON = re.compile(TEXT)

# A body of up to this size goes on at once with its head, and that of a request can be sent again.
_SMALL = 64 * 1024


def pieces(message: HttpMessage) -> Iterator[list[Event]]:
    """The events of the body that a message has: all of a small one at once, of a large one nothing and then piece by
    piece, so that it need not be in memory. Raises StreamError where it cannot be read.
    """
    return _pieces(message.body, End(_checked(message.trailers.fields) if message.trailers else None))


def _pieces(body: Body, end: End) -> Iterator[list[Event]]:
    try:
        if body.stored <= _SMALL:
            yield [*map(Data, body.pieces()), end]
            return
        yield []
        for piece in body.pieces():
            yield [Data(piece)]
    except (OSError, FlowFileError) as error:
        raise StreamError(f"a body that was kept cannot be read: {error}") from error
    yield [end]


async def next_of(events: Iterator[list[Event]]) -> list[Event]:
    """What comes next out of `pieces`. Others have their turn before, because nothing else here waits for anything."""
    await asyncio.sleep(0)
    return next(events)


def is_bodiless(method: bytes, status: int) -> bool:
    """Has a response with this status, to this method, no body whatever its fields say? (RFC 9112 section 6.3)"""
    return method == b"HEAD" or status in NO_BODY_STATUS


def framing_of(message: HttpMessage, *, until_close: bool = False) -> int:
    """How the body that a message has is framed; `until_close` if its fields announce nothing. Puts these right."""
    headers, length = message.headers, message.body.stored
    is_http1 = message.http_version in _HTTP1
    if "transfer-encoding" in headers:
        if is_http1 and message.http_version != "HTTP/1.0":
            if [each.lower() for each in headers.get_all("transfer-encoding")] != ["chunked"]:
                headers["Transfer-Encoding"] = "chunked"
            headers.pop("content-length", None)
            return CHUNKED
        del headers["transfer-encoding"]
    if is_http1:  # where only chunks have trailers
        message.trailers = None
    if "content-length" not in headers:
        if until_close:
            return UNTIL_CLOSE
        if not is_http1:
            return CHUNKED if length or message.trailers else 0
        if not length and isinstance(message, Request):
            return 0
    if headers.get_all("content-length") != [str(length)]:
        headers["Content-Length"] = str(length)
    return length


def keep_framing(message: HttpMessage, before: Headers) -> None:
    """Undo what was changed of how the body is framed: it is still to come, or there cannot be one."""
    headers = message.headers
    for name in _FRAMING_FIELDS:
        said = before.get_all(name)
        if headers.get_all(name) != said:
            headers.set_all(name, said)


def request_head(request: Request, like: RequestHead, framing: int | None) -> RequestHead:
    """The head of a request that came with the head `like`. Raises PeerError."""
    method, path = to_bytes(request.method), to_bytes(request.path)
    if not _METHOD.fullmatch(method) or not _PATH.fullmatch(path) or request.scheme not in DEFAULT_PORTS:
        raise PeerError("a handler has made a request without a valid method, path or scheme", 500)
    if method != like.method and (like.method == b"HEAD" or b"CONNECT" in (method, like.method)):
        raise PeerError(f"a handler has changed the method from {like.method!a}: no answer would fit both", 500)
    is_http2 = bool(like.scheme)
    return RequestHead(
        method,
        path,
        _send_as(request, is_http2=is_http2),
        like.version,
        like.stream_id,
        framing,
        scheme=to_bytes(request.scheme) if is_http2 else b"",
        authority=to_bytes(request.authority) if like.authority else b"",
        protocol=like.protocol,
    )


def response_head(response: Response, framing: int) -> ResponseHead:
    """The head of a response. Raises PeerError."""
    status, reason = response.status_code, to_bytes(response.reason)
    if not (200 <= status <= 999 or status == 101) or not _REASON.fullmatch(reason):
        raise PeerError(f"a handler has made a response with the status {status} {response.reason[:60]!a}", 500)
    version = _HTTP1.get(response.http_version, b"HTTP/2")
    return ResponseHead(status, _send_as(response, is_http2=version == b"HTTP/2"), reason, version, framing=framing)


def target_of(request: Request, target: Target, before: Headers) -> Target:
    """Where a request goes that was on its way to `target` with the fields `before`.

    It can name its server in three places: host and port, authority, and Host. Those that a handler has left alone
    follow the one that it has changed.
    """
    headers = request.headers
    origin, host = Origin(request.scheme, request.host, request.port), headers.get("host")
    is_renamed = request.authority != target.authority
    if origin == target.origin and not is_renamed and host == before.get("host"):
        return Target(origin, to_bytes(request.path), target.authority)
    if is_renamed:
        authority = request.authority
    elif host and host != before.get("host"):
        authority = host
    else:
        authority = join_host_port(request.host, request.port, request.scheme)
    if host is not None:
        headers["Host"] = authority
    if target.authority:
        request.authority = authority
    return Target(origin, to_bytes(request.path), request.authority)


def _send_as(message: HttpMessage, *, is_http2: bool) -> list[Field]:
    """The fields of a message, as they go out and are recorded. Names in HTTP/2 are in lower case."""
    fields = _checked(message.headers.fields)
    if is_http2:
        fields = [(name.lower(), value) for name, value in fields]
    message.headers = Headers(fields)
    return fields


def _checked(fields: list[Field]) -> list[Field]:
    """The fields as they would be read again: so they mean on the wire what they mean here. Raises RemoteError."""
    read = parse_fields(b"".join([b"%b:%b\r\n" % field for field in fields]), len(fields), "handler", 500)
    if [name for name, _ in read] != [name for name, _ in fields]:
        raise RemoteError("the handler sent a field name that is none", 500)
    return read
