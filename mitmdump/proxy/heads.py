"""What becomes of a head: the record of it, as it came, and the head that goes on in its place.

What goes on is the same but for the fields of one connection (`wire.hop`), the Host that follows the target, and what
the version of the other side cannot say.
"""

from __future__ import annotations

from ..model.headers import Field, Headers, to_bytes, to_str
from ..model.message import Request, Response
from ..wire.events import RequestHead, ResponseHead
from ..wire.handshake import with_known_extensions
from ..wire.head import CHUNKED, UNTIL_CLOSE
from ..wire.hop import asks_for_upgrade, end_to_end, with_upgrade, without
from .target import Target, with_host

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


def recorded_request(head: RequestHead, now: float) -> Request:
    """The flow's request, as it was received; `now` in Unix seconds."""
    return Request(
        http_version=head.version.decode(),
        headers=Headers(head.fields),
        method=to_str(head.method),
        path=to_str(head.target),
        timestamp_start=now,
    )


def recorded_response(head: ResponseHead, now: float) -> Response:
    """The flow's response likewise."""
    return Response(
        http_version=head.version.decode(),
        headers=Headers(head.fields),
        status_code=head.status,
        reason=to_str(head.reason),
        timestamp_start=now,
    )


def sent_request(head: RequestHead, target: Target, *, upgrade: bool, websockets: bool) -> RequestHead:
    """The request head that the server gets, in origin-form.

    With `upgrade` its offer of another protocol goes on, too, and of a WebSocket that we read (`websockets`) only with
    the extensions that we know.
    """
    fields = with_upgrade(head) if upgrade else end_to_end(head)
    if upgrade and websockets:
        fields = with_known_extensions(fields)
    if target.authority and not head.authority:
        fields = with_host(fields, target.authority)
    path = head.target if head.target[:1] == b"/" else to_bytes(target.path)
    sent = RequestHead(head.method, path, fields, b"HTTP/1.1" if upgrade else head.version, framing=head.framing)
    if head.authority:
        sent.scheme, sent.authority, sent.protocol = head.scheme, head.authority, head.protocol
        sent.survey = head.survey
    return sent


def sent_response(head: ResponseHead, *, to_http10: bool) -> ResponseHead:
    """The response head that the client gets."""
    status, framing = head.status, head.framing
    if status == 101:
        return ResponseHead(status, with_upgrade(head), head.reason)
    if status == 426 and asks_for_upgrade(head):  # which is about Upgrade (RFC 9110 section 15.5.22)
        fields = with_upgrade(head)
    elif status == 204 or not head.is_final:
        fields = _bodiless(head)
    else:
        fields = end_to_end(head)
    if to_http10 and framing == CHUNKED:  # it cannot read chunks; the close ends the body instead
        fields, framing = without(fields, {b"transfer-encoding"}), UNTIL_CLOSE
    return ResponseHead(status, fields, head.reason, head.version, framing=framing)


def _bodiless(head: ResponseHead) -> list[Field]:
    """The fields of a response that has no body, without what would announce one (RFC 9110 section 8.6)."""
    return without(end_to_end(head), _FRAMING)
