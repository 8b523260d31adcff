"""Flow files for tests: flows made by hand and by hypothesis, files of them, and what is in them as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from io import BytesIO
from typing import Any

from hypothesis import strategies as st

from mitmdump.flowfile import FlowReader, SectionWriter
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow, WebSocket
from mitmdump.model.headers import Headers
from mitmdump.model.message import Message, Request, Response

START = 1_764_000_000.0


def stored(data: bytes) -> Body:
    return Body(len(data), complete=True, source=data)


def a_flow(number: int = 1, content: bytes = b"hello", **known: Any) -> Flow:
    """A small flow, the same for the same number."""
    request = Request(
        "HTTP/1.1",
        Headers([(b"Host", b"example.com"), (b"X-Number", b"%d" % number)]),
        stored(b""),
        timestamp_start=START + number,
        timestamp_end=START + number,
        method="GET",
        scheme="https",
        host="example.com",
        port=443,
        path=f"/{number}",
    )
    response = Response(
        "HTTP/1.1",
        Headers([(b"Content-Type", b"text/plain")]),
        stored(content),
        timestamp_start=START + number + 0.25,
        timestamp_end=START + number + 0.5,
        status_code=200,
        reason="OK",
    )
    known.setdefault("client_conn", Connection("client", 2 * number + 1000, peername=("127.0.0.1", 50000 + number)))
    known.setdefault("server_conn", Connection("server", 2 * number + 1001, address=("example.com", 443)))
    known.setdefault("timestamp_start", START + number)
    known.setdefault("timestamp_end", START + number + 0.5)
    return Flow("http", request=request, response=response, id=number, **known)


def a_tcp_flow(number: int = 1, *contents: bytes) -> Flow:
    messages = [Message(True, "raw", START + place, content) for place, content in enumerate(contents)]
    return Flow("tcp", Connection("client", 2 * number + 1000), messages=messages, timestamp_start=START, id=number)


def live(flow: Flow) -> Flow:
    """The flow as a proxy knows it: what passes is counted and not kept."""
    for message in (flow.request, flow.response):
        if message is not None:
            message.body.source = None
    return flow


def a_file(*flows: Flow, closed: bool = True) -> bytes:
    """A section with these flows."""
    return b"".join(frames(*flows, closed=closed))


def frames(*flows: Flow, closed: bool = True) -> list[bytes]:
    """What the writer wrote, call by call."""
    written: list[bytes] = []
    writer = SectionWriter(written.append, created=START, software="test")
    for flow in flows:
        writer.add(flow)
    if closed:
        writer.close()
    return written


def read(data: bytes) -> FlowReader:
    return FlowReader(BytesIO(data), name="test.flows")


def values(flows: Iterable[Flow]) -> list[Any]:
    return [value(flow) for flow in flows]


def value(thing: Any) -> Any:
    """Something of the model as plain values that can be compared, bodies and messages read."""
    if isinstance(thing, Body):
        return (thing.length, thing.complete, thing.digest, thing.read())
    if isinstance(thing, Headers):
        return thing.fields
    if is_dataclass(thing):
        known = {field.name: value(getattr(thing, field.name)) for field in fields(thing)}
        if isinstance(thing, Flow):
            known["messages"] = [value(message) for message in thing.messages]
        known.pop("dropped", None)  # by a handler, and so not recorded
        return known
    return thing


_times = st.floats(0, 2e9, width=32)
_maybe_time = st.none() | _times
_texts = st.text(max_size=10)  # with lone surrogates: st.text leaves them out, so they have a test of their own
_wire = st.binary(max_size=10).map(lambda data: data.decode("utf-8", "surrogateescape"))
_fields = st.lists(st.tuples(st.binary(max_size=10), st.binary(max_size=10)), max_size=4)
_headers = _fields.map(lambda found: Headers(list(found)))
_ids = st.integers(0, 2**64 - 1)
_addresses = st.none() | st.tuples(_texts, st.integers(0, 65535))
_binaries = st.lists(st.binary(max_size=10), max_size=3).map(tuple)
_jsonlike = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | _texts
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=5,
)
_http: dict[str, Any] = {
    "http_version": _texts,
    "headers": _headers,
    "trailers": st.none() | _headers,
    "timestamp_start": _maybe_time,
    "timestamp_end": _maybe_time,
}


@st.composite
def bodies(draw: st.DrawFn) -> Body:
    """Kept, kept in part, or not kept; ended or not; some too large for a FLOW frame."""
    source = draw(st.none() | st.binary(max_size=20) | st.integers(65_530, 65_550).map(bytes))
    more = draw(st.integers(0, 5))
    digest = draw(st.none() | st.binary(max_size=32))
    return Body(len(source or b"") + more, draw(st.booleans()), digest, source)


def connections(side: str) -> st.SearchStrategy[Connection]:
    return st.builds(
        Connection,
        side=st.just(side),
        id=_ids,
        peername=_addresses,
        sockname=_addresses,
        address=_addresses,
        timestamp_start=_maybe_time,
        timestamp_tcp_setup=_maybe_time,
        timestamp_tls_setup=_maybe_time,
        timestamp_end=_maybe_time,
        tls_version=st.none() | _texts,
        cipher=st.none() | _texts,
        alpn_offers=_binaries,
        alpn=st.none() | st.binary(max_size=8),
        sni=st.none() | _texts,
        session_resumed=st.booleans(),
        certificate_list=_binaries,
        verification=st.none() | _texts,
    )


_requests = st.builds(
    Request,
    body=bodies(),
    method=_wire,
    scheme=_texts,
    host=_texts,
    port=st.integers(0, 65535),
    authority=_wire,
    path=_wire,
    **_http,
)
_responses = st.builds(Response, body=bodies(), status_code=st.integers(0, 999), reason=_wire, **_http)
_messages = st.builds(
    Message,
    from_client=st.booleans(),
    kind=st.sampled_from(["raw", "text", "binary", "close", "ping", "pong", "continuation"]),
    timestamp=_times,
    content=st.binary(max_size=20),
)
_websockets = st.builds(
    WebSocket,
    closed_by_client=st.none() | st.booleans(),
    close_code=st.none() | st.integers(0, 65535),
    close_reason=_texts,
)
flows = st.builds(
    Flow,
    kind=st.sampled_from(["http", "tcp", "udp", "dns"]),
    client_conn=connections("client"),
    server_conn=st.none() | connections("server"),
    request=st.none() | _requests,
    response=st.none() | _responses,
    error=st.none() | st.builds(Error, msg=_texts, timestamp=_times),
    messages=st.lists(_messages, max_size=3),
    websocket=st.none() | _websockets,
    metadata=st.dictionaries(_texts, _jsonlike, max_size=3),
    comment=_texts,
    marked=_texts,
    is_replay=st.sampled_from([None, "request", "response"]),
    timestamp_start=_times,
    timestamp_end=_maybe_time,
    id=_ids,
)
