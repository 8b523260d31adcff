"""What of a message's fields goes on to the next hop (RFC 9110 section 7.6.1).

Everything does, in its order and spelling, but the fields that speak of one connection only. `Via` is not added, on
purpose: a recorder is to change as little as it can, although RFC 9110 section 7.6.3 asks a proxy for it.
"""

from __future__ import annotations

from collections.abc import Container

from ..model.headers import Field
from .events import DECISIVE, RequestHead, ResponseHead, Survey

# Transfer-Encoding is not here: what we accept of it is "chunked", and the codec frames by it.
_HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"upgrade", b"http2-settings"}
)
assert _HOP_BY_HOP < DECISIVE
# In HTTP/2 it can only say "trailers" (RFC 9113 section 8.2.2), which we pass on; gRPC asks for it.
_HTTP2 = _HOP_BY_HOP - {b"te"}
# What Connection cannot remove, whatever it lists: fields that say where a message goes and where it ends, and for
# whom.
_KEPT = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"expect",
        b"host",
        b"range",
        b"set-cookie",
        b"trailer",
        b"transfer-encoding",
    }
)
_SWITCHING = frozenset({b"upgrade", b"http2-settings"})


def asks_for_upgrade(head: RequestHead | ResponseHead) -> bool:
    """Does this head offer, or make, a switch to another protocol? (RFC 9110 section 7.8; not in HTTP/1.0)

    In HTTP/2 it cannot say so; where it does, it is what we have made of an extended CONNECT.
    """
    survey = head.survey()
    return b"upgrade" in survey.values and head.version != b"HTTP/1.0" and b"upgrade" in survey.options


def end_to_end(head: RequestHead | ResponseHead) -> list[Field]:
    """The fields that go on to the next hop; a Content-Length that was repeated goes on once.

    The list is shared by all heads that say the same, and is not to be changed.
    """
    survey = head.survey()
    if survey.passed is None:
        fields = _end_to_end(head.fields, survey, _HTTP2 if head.version == b"HTTP/2" else _HOP_BY_HOP)
        survey.passed = Survey(fields)
    return survey.passed.fields


def _end_to_end(fields: list[Field], survey: Survey, hop_by_hop: frozenset[bytes]) -> list[Field]:
    if hop_by_hop.isdisjoint(survey.values):
        kept = fields.copy()
    else:
        dropped = hop_by_hop | (survey.options - _KEPT)
        kept = [field for field in fields if field[0].lower() not in dropped]
    return _with_one_length(kept) if len(survey.values.get(b"content-length", ())) > 1 else kept


def with_upgrade(head: RequestHead | ResponseHead) -> list[Field]:
    """Like `end_to_end`, but what belongs to a switch of protocols goes on too, each field in its place."""
    survey = head.survey()
    options = survey.options & _SWITCHING
    passed = set(end_to_end(head))
    kept: list[Field] = []
    for name, value in head.fields:
        lower = name.lower()
        if lower == b"connection":
            if options:
                kept.append((name, b", ".join(sorted(options, reverse=True)).replace(b"upgrade", b"Upgrade")))
                options = frozenset()
        elif lower in _SWITCHING or (name, value) in passed:
            kept.append((name, value))
    return _with_one_length(kept) if len(survey.values.get(b"content-length", ())) > 1 else kept


def _with_one_length(fields: list[Field]) -> list[Field]:
    """The fields with the first Content-Length only; the others say the same, or the message was refused."""
    _, *others = (at for at, field in enumerate(fields) if field[0].lower() == b"content-length")
    return [field for at, field in enumerate(fields) if at not in others]


def without(fields: list[Field], lower_names: Container[bytes]) -> list[Field]:
    """The fields without those of these lower-case names."""
    return [field for field in fields if field[0].lower() not in lower_names]
