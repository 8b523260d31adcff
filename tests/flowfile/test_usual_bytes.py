"""The short way from a flow to bytes and the map say the same; nearly all flows take the short one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from support.flowfiles import START, a_flow, flows

from mitmdump.flowfile import usual_bytes
from mitmdump.flowfile.packing import make_packer, unpack
from mitmdump.flowfile.schema import flow_map
from mitmdump.flowfile.usual_bytes import UsualFlows
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow, WebSocket
from mitmdump.model.headers import Headers

pack = make_packer()


def ordered(value: Any) -> Any:
    """A map as its items, in their order."""
    return [(name, ordered(inner)) for name, inner in value.items()] if isinstance(value, dict) else value


def by_map(flow: Flow, request: bytes | None, response: bytes | None) -> Any:
    return ordered(unpack(pack(flow_map(flow, request, response) | {"done": True})))


def changed(part: str, **values: Any) -> Flow:
    flow = a_flow()
    for name, value in values.items():
        setattr(getattr(flow, part), name, value)
    return flow


def made_usual(flow: Flow) -> Flow:
    """What hypothesis made, with little left that is not usual."""
    flow.kind, flow.error, flow.websocket, flow.is_replay, flow.comment, flow.marked = "http", None, None, None, "", ""
    flow.server_conn = flow.server_conn or Connection("server")
    flow.timestamp_end = START
    for message in (flow.request, flow.response):
        if message is not None:
            message.trailers, message.timestamp_end = None, START
            message.body.digest, message.body.complete = None, True
            message.body.length = message.body.stored
    if flow.request is not None:
        flow.request.timestamp_start = flow.timestamp_start
    return flow


@given(flows)
def test_what_the_short_way_packs_is_what_the_map_says(flow: Flow) -> None:
    packer = UsualFlows(pack)
    for each in (flow, made_usual(flow)):
        bodies = [message.body.read() if message else None for message in (each.request, each.response)]
        content = packer.pack(each, bodies[0], bodies[1])
        assert content is None or ordered(unpack(content)) == by_map(each, bodies[0], bodies[1])


@pytest.mark.parametrize(
    "flow",
    [
        a_flow(),
        a_flow(2**64 - 1, client_conn=Connection("client", 0), server_conn=Connection("server", 1)),
        changed("request", authority="a.test:80", path="/\udcff" * 200),
        changed("request", headers=Headers([(b"a", bytes(size)) for size in (0, 1, 255, 256, 70_000)] * 4)),
        changed("response", http_version="HTTP/1.0"),
        changed("response", http_version=""),
        changed("response", reason="", status_code=101),
        a_flow(metadata={"stream_id": 7}),
    ],
    ids=["plain", "large id", "odd target", "many fields", "another version", "no version", "no reason", "HTTP/2"],
)
def test_an_exchange_that_ended_well_takes_the_short_way(flow: Flow) -> None:
    content = UsualFlows(pack).pack(flow, b"", b"hello")
    assert content
    assert ordered(unpack(content)) == by_map(flow, b"", b"hello")


@pytest.mark.parametrize(
    "flow",
    [
        a_flow(server_conn=None),
        a_flow(error=Error("cut", START)),
        a_flow(websocket=WebSocket()),
        a_flow(is_replay="request"),
        a_flow(comment="odd"),
        a_flow(marked="x"),
        a_flow(extra={"later": 1}),
        a_flow(timestamp_end=None),
        a_flow(timestamp_start=0.0),
        changed("request", trailers=Headers()),
        changed("response", trailers=Headers()),
        changed("response", timestamp_end=None),
        changed("response", body=Body(5, complete=True, digest=b"noted")),
        changed("request", headers=Headers([("text", b"x")])),  # type: ignore[list-item]
        changed("request", headers=Headers([[b"a", b"b"]])),  # type: ignore[list-item]
        changed("client_conn", id=2**64),
    ],
)
def test_what_is_not_usual_is_left_to_the_map(flow: Flow) -> None:
    assert UsualFlows(pack).pack(flow, b"", b"hello") is None


@pytest.mark.parametrize("content", [None, b"", b"hell"])
def test_so_is_a_body_of_which_not_all_is_here(content: bytes | None) -> None:
    assert UsualFlows(pack).pack(a_flow(), b"", content) is None


def test_a_list_of_fields_that_was_changed_is_not_taken_for_what_it_was() -> None:
    packer, flow = UsualFlows(pack), a_flow()
    assert flow.request
    packer.pack(flow, b"", b"hello")
    flow.request.headers.add("X-More", "1")
    content = packer.pack(flow, b"", b"hello")
    assert content
    assert ordered(unpack(content)) == by_map(flow, b"", b"hello")


def test_what_is_remembered_is_bounded() -> None:
    """R3"""
    packer = UsualFlows(pack)
    for number in range(usual_bytes._ENTRIES + 2):
        flow = a_flow(number)
        assert flow.request
        flow.request.host = f"{number}.test"
        flow.request.headers.add("Cookie", "x" * usual_bytes._LONGEST)
        assert packer.pack(flow, b"", b"hello")
    fields = packer._request_fields._remembered
    assert max(map(len, (fields, packer._targets))) <= usual_bytes._ENTRIES
    assert max(map(len, fields.values())) <= usual_bytes._LONGEST
