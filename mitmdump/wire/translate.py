"""Heads of one HTTP version in the words of the other (RFC 9113 section 8, RFC 8441).

A message means the same in both; what differs is how it says where it goes and where it ends, and that HTTP/2 has no
fields of a connection. A head that is already in the wanted version stays as it is, but for what `hop` takes away: in
HTTP/2, Cookie crumbs stay crumbs, and a Host beside :authority stays, too.

What goes into HTTP/1 here has been checked against its grammar by `http2.heads`, so that it says there what it said.
"""

from __future__ import annotations

from http import HTTPStatus

from ..errors import RemoteError
from ..model.headers import Field
from .events import End, RequestHead, ResponseHead
from .handshake import accept_of
from .head import CHUNKED, NO_BODY_STATUS, SWITCHED
from .hop import end_to_end, without

_HTTP2 = b"HTTP/2"
_HTTP1 = b"HTTP/1.1"

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}

# RFC 9113 section 8.2.2, and what would contradict it in trailers.
_OF_HTTP1 = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})

# Servers may want to be told that a request of these has no body (RFC 9110 section 8.6).
_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})

# RFC 8441 section 5: what proves in HTTP/1.1 that a switch was meant, and :protocol says in HTTP/2.
_HANDSHAKE = frozenset({b"sec-websocket-key", b"sec-websocket-accept"})
_WEBSOCKET = b"websocket"


def request_to_http2(head: RequestHead, stream_id: int, scheme: bytes, authority: bytes = b"") -> RequestHead:
    """A request as HTTP/2 says it. `scheme` and `authority` are of the server, for a head that names none.

    Its Host is what :authority is made of (RFC 9113 section 8.3.1).
    """
    fields = end_to_end(head)
    named = head.authority
    if head.version != _HTTP2:
        hosts = head.survey().values.get(b"host")
        named = hosts[0] if hosts else authority
        fields = _lower(without(fields, {b"host", b"transfer-encoding"}))
    elif not named and b"host" not in head.survey().values:
        named = authority
    return RequestHead(
        head.method,
        head.target,
        fields,
        _HTTP2,
        stream_id,
        head.framing,
        head.scheme or scheme,
        named,
        head.protocol,
    )


def response_to_http2(head: ResponseHead, stream_id: int) -> ResponseHead:
    """A response as HTTP/2 says it: without reason phrase, and without framing."""
    fields = end_to_end(head)
    if head.version != _HTTP2:
        fields = _lower(without(fields, {b"transfer-encoding"}))
    return ResponseHead(head.status, fields, b"", _HTTP2, stream_id, head.framing)


def end_to_http2(end: End, stream_id: int) -> End:
    """An end as HTTP/2 says it: its trailers without those of HTTP/1 connections."""
    trailers = end.trailers and _lower(without(end.trailers, _OF_HTTP1))
    return End(trailers or None, stream_id)


def request_to_http1(head: RequestHead) -> RequestHead:
    """A request as HTTP/1.1 says it, in origin-form (authority-form for CONNECT)."""
    if head.version != _HTTP2:
        return head
    fields = _joined_cookies(without(end_to_end(head), {b"te"}))
    if head.authority:
        fields = [(b"Host", head.authority), *without(fields, {b"host"})]
    if head.framing == CHUNKED:
        fields.append((b"Transfer-Encoding", b"chunked"))
    elif not head.framing and head.method in _WITH_BODY and b"content-length" not in head.survey().values:
        fields.append((b"Content-Length", b"0"))
    if b"te" in head.survey().values:  # which can only say "trailers"
        fields += [(b"TE", b"trailers"), (b"Connection", b"TE")]  # RFC 9110 section 10.1.4
    return RequestHead(head.method, head.target, fields, _HTTP1, framing=head.framing)


def response_to_http1(head: ResponseHead, method: bytes) -> ResponseHead:
    """A response to a request of this method as HTTP/1.1 says it, with the usual reason phrase."""
    if head.version != _HTTP2:
        return head
    fields = end_to_end(head).copy()
    if head.framing == CHUNKED:
        fields.append((b"Transfer-Encoding", b"chunked"))
    elif head.framing == 0 and _wants_length(head, method):
        fields.append((b"Content-Length", b"0"))
    return ResponseHead(head.status, fields, _REASONS.get(head.status, b""), _HTTP1, framing=head.framing)


def _wants_length(head: ResponseHead, method: bytes) -> bool:
    """Would the client wait for a body that does not come?"""
    is_bodiless = head.status < 200 or head.status in NO_BODY_STATUS or method == b"HEAD"
    return not is_bodiless and b"content-length" not in head.survey().values


# -- WebSocket (RFC 8441) ---------------------------------------------------------------------------------------------


def upgrade_to_connect(head: RequestHead, stream_id: int, scheme: bytes, authority: bytes = b"") -> RequestHead:
    """A request for a WebSocket in HTTP/1.1 (GET, Upgrade) as HTTP/2 says it: an extended CONNECT."""
    asked = request_to_http2(head, stream_id, scheme, authority)
    asked.method, asked.protocol, asked.framing = b"CONNECT", _WEBSOCKET, SWITCHED
    asked.fields = without(asked.fields, _HANDSHAKE)
    return asked


def connect_to_upgrade(head: RequestHead, key: bytes) -> RequestHead:
    """An extended CONNECT for a WebSocket as HTTP/1.1 says it. `key`: 16 random bytes in base64 (RFC 6455 4.1)."""
    fields = _joined_cookies(without(end_to_end(head), {b"te", b"host"} | _HANDSHAKE))
    host = head.authority or head.survey().values[b"host"][0]
    upgrade = [(b"Connection", b"Upgrade"), (b"Upgrade", _WEBSOCKET), (b"Sec-WebSocket-Key", key)]
    return RequestHead(b"GET", head.target, [(b"Host", host), *fields, *upgrade], _HTTP1, framing=0)


def switched_to_connected(head: ResponseHead, stream_id: int, key: bytes) -> ResponseHead:
    """101, the answer of an HTTP/1.1 server that speaks WebSocket from now on, as HTTP/2 says it.

    `key` is the Sec-WebSocket-Key that it was sent, which the client does not know. Raises RemoteError (502) if this is
    no answer to that (RFC 6455 section 4.1).
    """
    if (b"sec-websocket-accept", accept_of(key)) not in _lower(head.fields):
        raise RemoteError("the server switched to WebSocket with a wrong Sec-WebSocket-Accept", 502)
    answer = response_to_http2(head, stream_id)
    return ResponseHead(200, without(answer.fields, _HANDSHAKE), b"", _HTTP2, stream_id, SWITCHED)


def connected_to_switched(head: ResponseHead, key: bytes) -> ResponseHead:
    """An answer of 2xx to an extended CONNECT as HTTP/1.1 says it. `key` is the Sec-WebSocket-Key of the client."""
    upgrade = [(b"Connection", b"Upgrade"), (b"Upgrade", _WEBSOCKET), (b"Sec-WebSocket-Accept", accept_of(key))]
    fields = without(end_to_end(head), _HANDSHAKE)
    return ResponseHead(101, [*fields, *upgrade], _REASONS[101], _HTTP1, framing=SWITCHED)


# -- fields -----------------------------------------------------------------------------------------------------------


def _lower(fields: list[Field]) -> list[Field]:
    return [(name.lower(), value) for name, value in fields]


def _joined_cookies(fields: list[Field]) -> list[Field]:
    """HTTP/2 may send each cookie in a field of its own; HTTP/1 has one field (RFC 9113 section 8.2.3)."""
    crumbs = [value for name, value in fields if name == b"cookie"]
    if len(crumbs) < 2:
        return fields
    joined: list[Field] = []
    for name, value in fields:
        if name != b"cookie":
            joined.append((name, value))
        elif crumbs:
            joined.append((name, b"; ".join(filter(None, crumbs))))
            crumbs.clear()
    return joined
