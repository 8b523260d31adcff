"""Flows for the filter's tests: some made by hand, others by hypothesis; and how to ask a filter about one."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mitmdump.filter import Stage, parse
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow
from mitmdump.model.headers import Field, Headers
from mitmdump.model.message import Message, Request, Response

START = 1_764_000_000.0


def stored(data: bytes) -> Body:
    return Body(length=len(data), complete=True, source=data)


def a_request(
    method: str = "GET",
    host: str = "example.com",
    path: str = "/",
    fields: list[Field] | None = None,
    body: bytes = b"",
    **known: Any,
) -> Request:
    """A request in origin-form for `host`, which is also in the Host header."""
    return Request(
        known.pop("http_version", "HTTP/1.1"),
        Headers([(b"Host", host.encode()), *(fields or [])]),
        stored(body),
        timestamp_start=START,
        timestamp_end=START,
        method=method,
        scheme="https",
        host=known.pop("address", host),
        port=known.pop("port", 443),
        path=path,
        **known,
    )


def a_response(status: int = 200, fields: list[Field] | None = None, body: bytes = b"", **times: float) -> Response:
    return Response(
        "HTTP/1.1",
        Headers(fields or []),
        stored(body),
        timestamp_start=times.get("first", START + 1),
        timestamp_end=times.get("last", START + 2),
        status_code=status,
    )


def an_exchange(request: Request | None = None, response: Response | None = None, **known: Any) -> Flow:
    """An HTTP flow that is over; without a response, unless one is given."""
    client = known.pop("client", None) or Connection("client", 1, peername=("192.0.2.1", 50000))
    return Flow("http", client, request=request or a_request(), response=response, timestamp_start=START, id=3, **known)


def answered(**known: Any) -> Flow:
    """An HTTP flow with a response; keywords as those of `a_response`."""
    return an_exchange(response=a_response(**known))


def a_connection(*messages: tuple[bool, bytes], **known: Any) -> Flow:
    """A raw TCP flow with (from_client, content) as its messages."""
    contents = [Message(from_client, "raw", START, content) for from_client, content in messages]
    client = Connection("client", 1, peername=("192.0.2.1", 50000))
    server = Connection("server", 2, peername=("198.51.100.1", 5432), address=("db.example", 5432))
    return Flow("tcp", client, server, messages=contents, timestamp_start=START, id=3, **known)


def a_websocket(*messages: tuple[bool, bytes]) -> Flow:
    """A WebSocket flow with (from_client, content) as its messages."""
    upgrade = [(b"Connection", b"upgrade"), (b"Upgrade", b"websocket")]
    contents = [Message(from_client, "binary", START, content) for from_client, content in messages]
    return an_exchange(a_request(fields=upgrade), a_response(101, upgrade), messages=contents)


def matches(text: str, flow: Flow, **options: Any) -> bool | None:
    """The filter's last word on a flow."""
    return parse(text, **options).verdict(flow, Stage.END)


def verdicts(text: str, flow: Flow) -> list[bool | None]:
    """The filter's verdict at each stage."""
    return [parse(text).verdict(flow, stage) for stage in Stage]


# Made by hypothesis, of few and short parts, so that filters of as few parts match now and then.

_contents = st.sampled_from([b"", b"needle", b"hay", b'{"a": 1}'])
_types: st.SearchStrategy[list[Field]] = st.sampled_from([[], [(b"Content-Type", b"text/css")], [(b"X-A", b"needle")]])
_upgrades: st.SearchStrategy[list[Field]] = st.sampled_from([[], [], [(b"Upgrade", b"websocket")]])
_requests = st.builds(
    lambda method, host, path, one, two, body: a_request(method, host, path, one + two, body),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from(["example.com", "api.example.com:8443", "other.test"]),
    st.sampled_from(["/", "/needle?a=1"]),
    _types,
    _upgrades,
    _contents,
)
_responses = st.builds(
    lambda status, one, two, body: a_response(status, one + two, body),
    st.sampled_from([101, 200, 204, 404, 500]),
    _types,
    _upgrades,
    _contents,
)
_messages = st.lists(
    st.builds(Message, st.booleans(), st.sampled_from(["raw", "text", "close"]), st.just(START), _contents), max_size=3
)
_servers = st.sampled_from(
    [
        None,
        Connection("server", 2, peername=("198.51.100.1", 443), address=("example.com", 443), verification="expired"),
    ]
)
_outcomes: dict[str, st.SearchStrategy[Any]] = {
    "server_conn": _servers,
    "error": st.sampled_from([None, Error("cut off", START)]),
    "marked": st.sampled_from(["", "needle"]),
    "is_replay": st.sampled_from([None, "request", "response"]),
}


def _exchange(request: Request, response: Response | None, messages: list[Message], **known: Any) -> Flow:
    upgraded = response is not None and response.status_code == 101 and "upgrade" in request.headers
    return an_exchange(request, response, messages=messages if upgraded else (), **known)


flows = st.one_of(
    st.builds(_exchange, _requests, st.none() | _responses, _messages, **_outcomes),
    st.builds(
        lambda messages, **known: Flow("tcp", Connection("client", 1), id=3, messages=messages, **known),
        _messages,
        **_outcomes,
    ),
)
