from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from support.flowfiles import START, a_flow, value

from mitmdump.flowfile import keys
from mitmdump.flowfile.schema import connection_map, flow_map, read_connection, read_flow, read_message, read_piece
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow, WebSocket
from mitmdump.model.headers import Headers


def a_full_flow() -> Flow:
    flow = a_flow(comment="c", marked="m", metadata={"a": 1}, is_replay="request", error=Error("e", START))
    assert flow.request
    assert flow.response
    flow.request.authority = "example.com"
    flow.request.http_version = "HTTP/1.0"
    flow.timestamp_start -= 1
    flow.websocket = WebSocket(True, 1000, "bye")
    for message in (flow.request, flow.response):
        message.trailers = Headers([(b"t", b"1")])
        message.body.digest = bytes(32)
    return flow


def a_full_connection() -> Connection:
    here, binary = ("127.0.0.1", 1), (b"x",)
    return Connection(
        "server",
        5,
        here,
        here,
        here,
        START,
        START,
        START,
        START,
        "TLSv1.3",
        "C",
        binary,
        b"h2",
        "a",
        True,
        binary,
        "ok",
    )


def find(connection_id: int, side: Any) -> Connection:
    return Connection(side, connection_id)


def as_read(found: Any) -> Any:
    """As `unpack` gives it back: arrays are tuples."""
    if isinstance(found, dict):
        return {name: as_read(inner) for name, inner in found.items()}
    return tuple(map(as_read, found)) if isinstance(found, list | tuple) else found


def test_every_key_of_the_tables_is_written_and_no_other() -> None:
    found = flow_map(a_full_flow(), b"", b"x") | {"done": True, "streamed": [0, 0], "messages": 0}
    written = {
        keys.CONNECTION: connection_map(a_full_connection()),
        keys.FLOW: found,
        keys.REQUEST: found["request"],
        keys.RESPONSE: found["response"],
        keys.BODY: found["response"]["body"],
        keys.ERROR: found["error"],
        keys.WEBSOCKET: found["websocket"],
    }
    for table, map_ in written.items():
        assert {key.name for key in table.keys} == set(map_), table.name


def test_what_something_else_in_the_map_tells_is_not_written_but_read() -> None:
    flow = a_flow()
    found = as_read(flow_map(flow, b"", b"hello"))
    assert "timestamp_start" not in found
    assert "body" not in found["request"]
    assert found["response"]["body"] == {"complete": True, "content": b"hello"}
    assert "http_version" not in found["response"]
    assert value(read_flow(found, lambda *_: flow.client_conn)[0].response) == value(flow.response)
    assert value(read_flow(as_read(flow_map(flow, b"", b"hello")), find)[0].request) == value(flow.request)


@pytest.mark.parametrize(("request_start", "start"), [(None, 0.0), (5.0, 0.0), (5.0, 5.0), (None, 5.0), (0.0, 0.0)])
def test_a_flow_begins_when_it_began(request_start: float | None, start: float) -> None:
    flow = a_flow(timestamp_start=start)
    assert flow.request
    flow.request.timestamp_start = request_start
    assert read_flow(as_read(flow_map(flow, b"", b"")), find)[0].timestamp_start == start


@pytest.mark.parametrize(
    ("asked", "answered"), [("HTTP/1.1", "HTTP/1.1"), ("HTTP/1.1", ""), ("", "HTTP/1.0"), ("", "")]
)
def test_a_response_has_its_own_version(asked: str, answered: str) -> None:
    flow = a_flow()
    assert flow.request and flow.response
    flow.request.http_version, flow.response.http_version = asked, answered
    again, _ = read_flow(as_read(flow_map(flow, b"", b"")), find)
    assert again.response and again.response.http_version == answered


def test_every_field_of_the_model_has_a_key() -> None:
    names = {field.name for field in fields(Connection)} - {"extra"}
    assert names == {key.name for key in keys.CONNECTION.keys}


def test_a_connection_comes_back_as_it_was() -> None:
    connection = a_full_connection()
    assert value(read_connection(as_read(connection_map(connection)))) == value(connection)


def test_absent_is_absent_and_not_null() -> None:
    flow = Flow("tcp", Connection("client", 1), id=2, timestamp_start=0.0)
    assert flow_map(flow, None, None) == {"id": 2, "kind": "tcp", "client": 1, "timestamp_start": 0.0}
    assert connection_map(flow.client_conn) == {"id": 1, "side": "client"}


def test_unknown_keys_are_kept_and_written_again_where_they_were() -> None:
    found = as_read(flow_map(a_full_flow(), b"", b"x"))
    for place in (found, found["request"], found["response"]["body"], found["error"]):
        place["later"] = {"x": [1, b"2"]}
    flow, _ = read_flow(as_read(found), find)
    assert as_read(flow_map(flow, b"", b"x")) == as_read(found)


def test_unknown_keys_of_a_connection_are_kept_too() -> None:
    found = {"id": 1, "side": "client", "later": 1}
    assert connection_map(read_connection({**found})) == found


def test_unknown_keys_go_with_the_map_that_they_were_in() -> None:
    found = as_read(flow_map(a_full_flow(), b"", b"x"))
    found["error"]["later"] = 1
    flow, _ = read_flow(found, find)
    flow.error = None
    assert "error" not in flow_map(flow, b"", b"x")


def with_value(name: str, wrong: Any) -> dict[str, Any]:
    found: dict[str, Any] = as_read(flow_map(a_full_flow(), b"", b"x"))
    *path, last = name.split(".")
    place = found
    for step in path:
        place = place[step]
    place[last] = as_read(wrong)
    return found


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("id", -1),
        ("id", True),
        ("id", "1"),
        ("kind", "smtp"),
        ("kind", ["http"]),
        ("done", 1),
        ("request", []),
        ("request.method", "GET"),
        ("request.host", b"a"),
        ("request.port", 1.5),
        ("request.headers", {}),
        ("request.headers", [[b"a"]]),
        ("request.headers", [[b"a", "b"]]),
        ("request.headers", [1]),
        ("request.headers", [[b"a", b"b", b"c"]]),
        ("request.headers", [{b"a": 1, b"b": 2}]),
        ("request.timestamp_start", float("nan")),
        ("request.timestamp_start", 1e300),
        ("request.timestamp_start", -1.0),
        ("request.timestamp_start", None),
        ("response.body", b""),
        ("response.body.length", -1),
        ("response.body.content", "text"),
        ("metadata", []),
        ("is_replay", "both"),
        ("streamed", [1]),
        ("streamed", [1, -1]),
        ("error", {"msg": "no time"}),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_flow(with_value(name, wrong), find)


@pytest.mark.parametrize("found", [None, [], {}, {"id": 1}, {"kind": "http"}])
def test_a_flow_needs_its_required_keys(found: Any) -> None:
    with pytest.raises(ValueError, match="FLOW"):
        read_flow(found, find)


@pytest.mark.parametrize(
    "found", [{}, {"id": 1}, {"id": 1, "side": "left"}, {"id": 1, "side": "client", "peername": ["a", 65536]}]
)
def test_a_connection_that_is_none_is_refused(found: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        read_connection(as_read(found))


@pytest.mark.parametrize("found", [{}, [], [1, 2, b""], [1, 0, ""], [-1, 0, b""], [1, 0, b"", 1], ["", 0, b""]])
def test_a_piece_that_is_none_is_refused(found: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_piece(as_read(found))


@pytest.mark.parametrize(
    "found", [{}, [], [1, 1, "raw", 1.0, b""], [1, True, "odd", 1.0, b""], [1, True, "raw", -1.0, b""]]
)
def test_a_message_that_is_none_is_refused(found: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        read_message(as_read(found))


def test_whole_seconds_that_came_as_an_integer_are_a_time() -> None:
    flow, _ = read_flow(with_value("request.timestamp_start", 5), find)
    assert flow.request
    assert repr(flow.request.timestamp_start) == "5.0"


def test_metadata_from_a_file_is_never_nested_deeper_than_anybody_can_walk() -> None:
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    flow, _ = read_flow(with_value("metadata", {"deep": deep}) | {"later": deep}, find)
    assert "nested too deeply" in repr(flow.metadata)
    assert "nested too deeply" in repr(flow.extra)
