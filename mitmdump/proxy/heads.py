"""What becomes of a head: the record of it, as it came, and the head that goes on in its place.

What goes on is the same but for the fields of one connection (`wire.hop`), the Host that follows the target, and what
the version of the other side cannot say.
"""

from __future__ import annotations

from http import HTTPStatus

from ..model.headers import Field, Headers, to_str
from ..model.message import Request, Response
from ..wire.events import RequestHead, ResponseHead
from ..wire.handshake import with_known_extensions
from ..wire.head import CHUNKED, UNTIL_CLOSE
from ..wire.hop import asks_for_upgrade, end_to_end, with_upgrade, without
from .target import Target, with_host

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

# What the first lines of heads consist of, as text: to find it here takes a quarter of decoding it, and no memory.
_WORDS = {
    word.encode(): word
    for word in (
        *("HTTP/1.0", "HTTP/1.1", "HTTP/2"),
        *("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"),
        *(status.phrase for status in HTTPStatus),
    )
}


def recorded_request(head: RequestHead, now: float) -> Request:
    """The flow's request, as it was received; `now` in Unix seconds."""
    request = Request(_word(head.version), Headers(head.fields))
    request.method = _word(head.method)
    request.path = to_str(head.target)
    request.timestamp_start = now
    return request


def recorded_response(head: ResponseHead, now: float) -> Response:
    """The flow's response likewise."""
    response = Response(_word(head.version), Headers(head.fields))
    response.status_code = head.status
    response.reason = _word(head.reason)
    response.timestamp_start = now
    return response


def _word(data: bytes) -> str:
    return _WORDS.get(data) or to_str(data)


def sent_request(head: RequestHead, target: Target, *, upgrade: bool, websockets: bool) -> RequestHead:
    """The request head that the server gets, in origin-form.

    With `upgrade` its offer of another protocol goes on, too, and of a WebSocket that we read (`websockets`) only with
    the extensions that we know.
    """
    fields = with_upgrade(head) if upgrade else end_to_end(head)
    if upgrade and websockets:
        fields = with_known_extensions(fields)
    if target.authority and not head.authority and target.authority != head.survey().host:
        fields = with_host(fields, target.authority)
    version = b"HTTP/1.1" if upgrade else head.version
    sent = RequestHead(head.method, target.path, fields, version, 1, head.framing)
    if head.authority:
        sent.scheme, sent.authority, sent.protocol = head.scheme, head.authority, head.protocol
        sent.known = head.known
    else:
        _keep_survey(head, sent)
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
    sent = ResponseHead(status, fields, head.reason, head.version, 1, framing)
    _keep_survey(head, sent)
    return sent


def _keep_survey(head: RequestHead | ResponseHead, sent: RequestHead | ResponseHead) -> None:
    """Where the fields that go on are those of all heads that say the same, so are their lines."""
    passed = head.survey().passed
    if passed is not None and passed.fields is sent.fields:
        sent.known = passed


def _bodiless(head: ResponseHead) -> list[Field]:
    """The fields of a response that has no body, without what would announce one (RFC 9110 section 8.6)."""
    return without(end_to_end(head), _FRAMING)
