"""What operators look at in bodies and messages, within bounds.

No operator looks at more than SEARCH_LIMIT decoded bytes of a body, nor of a flow's messages together, so a compression
bomb costs no more than that. What lies beyond counts as not matching, and a warning says so. A body whose coding is
broken or unknown is searched as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import ContentError
from ..model.content import DECODED_LIMIT, decode
from ..model.flow import Flow
from ..model.message import HttpMessage, Request, Response
from .arguments import BodyMatcher, JsonMatcher, Matcher
from .stages import Stage, Test, Verdict, any_of

# What is decoded for a script or for printing can be searched, too: one limit to know.
SEARCH_LIMIT = DECODED_LIMIT

# Parsed, JSON takes up to 25 times its room: with this, some 100 MB for a moment.
JSON_LIMIT = 4 * 1024 * 1024

Warn = Callable[[str], None]


def of_request_body(look: Callable[[Request], bool]) -> Test:
    """A fact of the request's body, which can outlast the response's head."""

    def test(flow: Flow, stage: Stage) -> Verdict:
        request = flow.request
        if request is None:
            return False
        if stage < Stage.REQUEST or (stage is Stage.RESPONSE_HEAD and not request.body.complete):
            return None
        return look(request)

    return test


def of_response_body(look: Callable[[Response], bool]) -> Test:
    """A fact of the response's body."""

    def test(flow: Flow, stage: Stage) -> Verdict:
        if flow.kind != "http":
            return False
        if stage < Stage.END:
            return None
        return flow.response is not None and look(flow.response)

    return test


def request_size(argument: Matcher[float]) -> Test:
    """The request body's length, content coding included, chunked framing not."""
    matches = argument.matches
    return of_request_body(lambda request: matches(request.body.length))


def response_size(argument: Matcher[float]) -> Test:
    """The response body's length, content coding included, chunked framing not."""
    matches = argument.matches
    return of_response_body(lambda response: matches(response.body.length))


def request_content(argument: BodyMatcher) -> Test:
    """A match in the decoded request body, or in a message from the client."""
    return any_of((of_request_body(_in_body(argument)), _in_messages(argument, from_client=True)))


def response_content(argument: BodyMatcher) -> Test:
    """A match in the decoded response body, or in a message from the server."""
    return any_of((of_response_body(_in_body(argument)), _in_messages(argument, from_client=False)))


def request_json(argument: JsonMatcher) -> Test:
    """A match in the request body, if that is JSON."""
    return of_request_body(_in_json(argument))


def response_json(argument: JsonMatcher) -> Test:
    """A match in the response body, if that is JSON."""
    return of_response_body(_in_json(argument))


# Bodies


def _decoded(message: HttpMessage, limit: int, warn: Warn) -> bytes:
    try:
        decoded = decode(message.iter_raw(), message.headers.get("content-encoding", ""), limit)
    except ContentError:
        decoded = decode(message.iter_raw(), "", limit)
    if decoded.truncated:
        warn(f"a body is longer than {limit} bytes; what lies beyond was not searched and counts as not matching")
    return decoded.data


_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # RFC 6901 section 4; no list is longer


def _in_body(argument: BodyMatcher) -> Callable[[HttpMessage], bool]:
    def look(message: HttpMessage) -> bool:
        return message.body.stored > 0 and argument.matches(_decoded(message, SEARCH_LIMIT, argument.warn))

    return look


def _in_json(argument: JsonMatcher) -> Callable[[HttpMessage], bool]:
    import json  # few filters need it

    def look(message: HttpMessage) -> bool:
        try:
            document = json.loads(_decoded(message, JSON_LIMIT, argument.warn))
            return any(argument.matches(value) for value in _values_at(document, argument.path))
        except (ValueError, RecursionError):  # not JSON, or deeper than anybody means it
            return False

    return look


def _values_at(document: Any, path: tuple[str, ...]) -> Iterator[Any]:
    """The value at the path's end, if the path leads anywhere."""
    value = document
    for step in path:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return
    yield value


# Messages


def _in_messages(argument: BodyMatcher, from_client: bool) -> Test:
    def test(flow: Flow, stage: Stage) -> Verdict:
        if _cannot_have_messages(flow, stage):
            return False
        if stage < Stage.END:
            return None
        return any(argument.matches(content) for content in _contents(flow, from_client, argument.warn))

    return test


def _cannot_have_messages(flow: Flow, stage: Stage) -> bool:
    """An HTTP flow has messages only after an upgrade that was asked for and granted (RFC 9110 section 7.8).

    In HTTP/2, which has no upgrades, it is asked for with CONNECT (RFC 8441).
    """
    if flow.kind != "http":
        return False
    request = flow.request
    if request is None or ("upgrade" not in request.headers and request.method != "CONNECT"):
        return True
    if stage < Stage.RESPONSE_HEAD or flow.websocket is not None:
        return False
    return flow.response is None or flow.response.status_code != 101


def _contents(flow: Flow, from_client: bool, warn: Warn) -> Iterator[bytes]:
    left = SEARCH_LIMIT
    for message in flow.messages:
        if message.from_client is not from_client or message.kind not in ("raw", "text", "binary"):
            continue
        yield message.content[:left]
        left -= len(message.content)
        if left < 0:
            warn(f"messages are longer than {SEARCH_LIMIT} bytes; what lies beyond counts as not matching")
            return
