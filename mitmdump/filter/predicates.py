"""What operators look at in the heads of a flow, its times and its annotations.

Each function makes a test, some of them from the operator's argument. A test gives None before the stage at which its
answer is final, and never looks at what belongs to a later one, even where a flow read from a file has it already.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qsl

from ..model.flow import Flow
from ..model.headers import to_bytes
from ..model.message import HttpMessage, Request, Response
from .arguments import Instant, Matcher, NamedMatcher
from .stages import Stage, Test, Verdict, any_of, negation


def of_request(look: Callable[[Request], bool]) -> Test:
    """A fact of the request's head; flows without a request have none."""

    def test(flow: Flow, _stage: Stage) -> Verdict:
        request = flow.request
        return request is not None and look(request)

    return test


def of_response(look: Callable[[Response], bool]) -> Test:
    """A fact of the response's head; a flow that ended without a response has none."""

    def test(flow: Flow, stage: Stage) -> Verdict:
        if flow.kind != "http":
            return False
        if stage < Stage.RESPONSE_HEAD:
            return None
        response = flow.response
        return response is not None and look(response)

    return test


def at_start(look: Callable[[Flow], bool]) -> Test:
    """A fact that is known as soon as there is a flow."""
    return lambda flow, _stage: look(flow)


def at_end(look: Callable[[Flow], bool]) -> Test:
    """A fact that can change until the flow ends."""
    return lambda flow, stage: None if stage < Stage.END else look(flow)


def either_head(look: Callable[[HttpMessage], bool]) -> Test:
    """A fact of the request's head or of the response's."""
    return any_of((of_request(look), of_response(look)))


# Requests and responses


def method(argument: Matcher[str]) -> Test:
    """The request's method."""
    matches = argument.matches
    return of_request(lambda request: matches(request.method))


def url(argument: Matcher[str]) -> Test:
    """The URL as a person would type it."""
    matches = argument.matches
    return of_request(lambda request: matches(request.url))


def domain(argument: Matcher[str]) -> Test:
    """The host that the request goes to, or the one that it names: in transparent mode the first is an address."""
    matches = argument.matches

    def look(request: Request) -> bool:
        if matches(request.host):
            return True
        named = _named_host(request)
        return named != request.host and matches(named)

    return of_request(look)


def _named_host(request: Request) -> str:
    authority = request.authority or _first(request, b"host") or request.host
    host, colon, port = authority.rpartition(":")
    return host.strip("[]") if colon and (port.isdigit() or not port) else authority.strip("[]")


def _first(message: HttpMessage, lower_name: bytes) -> str:
    size = len(lower_name)
    for name, value in message.headers.fields:
        if len(name) == size and name.lower() == lower_name:
            return value.decode("utf-8", "surrogateescape")
    return ""


def status(argument: Matcher[float]) -> Test:
    """The response's status."""
    matches = argument.matches
    return of_response(lambda response: matches(response.status_code))


def http_version(argument: Matcher[str]) -> Test:
    """ "HTTP/2" and "HTTP/2.0" are the same: HTTP/2 has no minor versions (RFC 9113 section 1)."""
    matches = argument.matches

    def look(request: Request) -> bool:
        number = request.http_version.removeprefix("HTTP/")
        return matches("2" if number == "2.0" else number)

    return of_request(look)


def header_lines(argument: Matcher[bytes]) -> Callable[[HttpMessage], bool]:
    """All header fields as lines, so that ^ and $ mean their beginning and end."""
    matches = argument.matches
    return lambda message: matches(b"\n".join([b"%b: %b" % field for field in message.headers.fields]))


def header_value(argument: NamedMatcher[bytes]) -> Callable[[HttpMessage], bool]:
    """The values of one header field, each by itself."""
    name, matches = to_bytes(argument.name), argument.value.matches
    return lambda message: any(matches(value) for value in message.headers.raw_values(name))


def content_type(argument: Matcher[bytes]) -> Callable[[HttpMessage], bool]:
    """The values of Content-Type."""
    matches = argument.matches
    return lambda message: any(matches(value) for value in message.headers.raw_values(b"content-type"))


_ASSET = re.compile(
    rb"text/css|text/javascript|application/(x-)?javascript|image/|font/|application/font", re.IGNORECASE
)


def is_asset(response: Response) -> bool:
    """Is this what pages load to look right, by its media type? The same list as mitmproxy's."""
    return any(_ASSET.search(value) for value in response.headers.raw_values(b"content-type"))


def has_response(flow: Flow, stage: Stage) -> Verdict:
    """Known as soon as there is one; that there is none is known only at the end."""
    if flow.kind != "http":
        return False
    if stage < Stage.RESPONSE_HEAD:
        return None
    if flow.response is not None:
        return True
    return None if stage < Stage.END else False


_lacks_response = negation(has_response)


def has_no_response(flow: Flow, stage: Stage) -> Verdict:
    """The opposite, among HTTP flows."""
    return flow.kind == "http" and _lacks_response(flow, stage)


def _grants_websocket(response: Response) -> bool:
    return response.status_code == 101 and response.headers.get("upgrade", "").lower() == "websocket"


_is_upgraded = of_response(_grants_websocket)


def is_websocket(flow: Flow, stage: Stage) -> Verdict:
    """An upgrade that was granted (RFC 6455 section 4.2.2); over HTTP/2 there is no other sign than what we noted."""
    granted = _is_upgraded(flow, stage)
    return flow.websocket is not None if granted is False else granted


def cookie(argument: NamedMatcher[str]) -> Test:
    """A cookie that the client sent or the server set (RFC 6265 sections 4.1.1 and 4.2.1)."""
    wanted, matches = argument.name, argument.value.matches

    def is_it(pair: str) -> bool:
        name, _, value = pair.partition("=")
        return name.strip() == wanted and matches(value.strip().strip('"'))

    def sent(request: Request) -> bool:
        return any(is_it(pair) for line in request.headers.get_all("cookie") for pair in line.split(";"))

    def set_(response: Response) -> bool:
        return any(is_it(line.partition(";")[0]) for line in response.headers.get_all("set-cookie"))

    return any_of((of_request(sent), of_response(set_)))


def query_parameter(argument: NamedMatcher[str]) -> Test:
    """The values of one query parameter, with percent-encoding and plus signs undone."""
    wanted, matches = argument.name, argument.value.matches

    def look(request: Request) -> bool:
        query = request.path.partition("?")[2]
        pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
        return any(name == wanted and matches(value) for name, value in pairs)

    return of_request(look)


# Times


def _start(flow: Flow) -> float:
    started = flow.request.timestamp_start if flow.request is not None else None
    return flow.timestamp_start if started is None else started


def since(argument: Instant) -> Test:
    """Started at this time or later."""
    return at_start(lambda flow: _start(flow) >= argument.timestamp)


def until(argument: Instant) -> Test:
    """Started before this time."""
    return at_start(lambda flow: _start(flow) < argument.timestamp)


def duration(argument: Matcher[float]) -> Test:
    """To the response's end; where there is none, to the flow's."""
    matches = argument.matches

    def look(flow: Flow) -> bool:
        answered = flow.response.timestamp_end if flow.response is not None else None
        end = flow.timestamp_end if answered is None else answered
        return end is not None and matches(end - _start(flow))

    return at_end(look)


def time_to_first_byte(argument: Matcher[float]) -> Test:
    """From the start to the response's first byte."""
    matches = argument.matches

    def test(flow: Flow, stage: Stage) -> Verdict:
        if flow.kind != "http":
            return False
        if stage < Stage.RESPONSE_HEAD:
            return None
        first = flow.response.timestamp_start if flow.response is not None else None
        return first is not None and matches(first - _start(flow))

    return test


# The flow as a whole


def is_done(flow: Flow) -> bool:
    """Did the flow end as it should?"""
    return flow.error is None and (flow.kind != "http" or flow.response is not None)


def replayed_request(flow: Flow, _stage: Stage) -> Verdict:
    """Known from the start: client replay is where the request comes from."""
    return flow.is_replay == "request"


def replayed_response(flow: Flow, stage: Stage) -> Verdict:
    """Server replay answers after the request was read."""
    if stage < Stage.RESPONSE_HEAD and flow.kind == "http":
        return None
    return flow.is_replay == "response"


def metadata(argument: Matcher[str]) -> Test:
    """The metadata as lines."""
    matches = argument.matches
    return at_end(lambda flow: matches("\n".join(f"{key}: {value}" for key, value in flow.metadata.items())))


def comment(argument: Matcher[str]) -> Test:
    """The comment."""
    matches = argument.matches
    return at_end(lambda flow: matches(flow.comment))


def marker(argument: Matcher[str]) -> Test:
    """The marker."""
    matches = argument.matches
    return at_end(lambda flow: matches(flow.marked))
