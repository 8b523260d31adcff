"""Flows that nobody wants are counted instead of decoded; all that the file says otherwise is as if they had been."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import flowfiles
from support.flowfiles import START, a_file, a_flow, a_tcp_flow, frames, live

from mitmdump.flowfile import FlowReader, SectionWriter, frame
from mitmdump.flowfile.upgrade import STEPS
from mitmdump.flowfile.usual import is_usual
from mitmdump.model.flow import Error, Flow, Part


def passing_over(data: bytes, unwanted: Any = lambda content: True) -> tuple[list[int], FlowReader]:
    """The ids of the flows that were delivered all the same, and the reader."""
    reader = FlowReader(BytesIO(data), name="test.flows", unwanted=unwanted)
    return [flow.id for flow in reader], reader


def contents(flow: Flow) -> list[bytes]:
    """Those of the FLOW frames of a file with this flow."""
    read = BytesIO(a_file(flow)).read
    return [found.content for found in frame.Frames(read, lambda *_: None) if found.code == frame.FLOW]


def recorded(number: int, **known: Any) -> Flow:
    """A flow with such ids as a proxy gives, which are 64 random bits."""
    flow = a_flow(number, **known)
    for each in (flow, flow.client_conn, flow.server_conn):
        assert each is not None
        each.id = 2**63 + number
    return flow


def test_an_unwanted_flow_is_counted_and_not_delivered() -> None:
    wanted = re.compile(rb"\x02/[13]").search  # paths, with their length
    delivered, reader = passing_over(a_file(a_flow(1), a_flow(2), a_flow(3)), lambda records: not wanted(records))
    assert (delivered, reader.passed_over, reader.damage) == ([1, 3], 1, [])


@pytest.mark.parametrize(
    "flow",
    [a_flow(1, error=Error("cut off", START)), a_flow(1, bytes(70_000)), a_tcp_flow(1, b"a message")],
    ids=["with an error", "with pieces", "with messages"],
)
def test_a_flow_of_which_its_frame_does_not_tell_all_is_delivered(flow: Flow) -> None:
    assert passing_over(a_file(flow))[0] == [1]


@pytest.mark.parametrize("known", [{}, {"metadata": {"stream_id": 1}}, {"metadata": {"stream_id": 2**31 - 1}}])
def test_a_usual_flow_is_seen_by_its_ends(known: dict[str, Any]) -> None:
    *_, content = contents(recorded(1, **known))
    assert is_usual(content)
    assert not is_usual(content + b"\0")
    assert not is_usual(b"\x87" + content[1:])
    assert passing_over(a_file(recorded(1, **known)))[1].passed_over == 1


@pytest.mark.parametrize(
    "known",
    [
        {"error": Error("cut off", START)},
        {"response": None, "error": Error("no answer", START)},
        {"comment": "why?"},
        {"metadata": {"ticket": 17}},
        {"server_conn": None},
    ],
)
def test_a_flow_that_is_not_usual_is_looked_at(known: dict[str, Any]) -> None:
    flow = recorded(1)
    for name, value in known.items():
        setattr(flow, name, value)
    *_, content = contents(flow)
    assert not is_usual(content)


@settings(max_examples=60, deadline=None)
@given(flowfiles.flows)
def test_what_is_seen_by_its_ends_has_no_error_and_lacks_nothing(flow: Flow) -> None:
    for number, each in enumerate((flow, flow.client_conn, flow.server_conn or flow.client_conn), 2**63):
        each.id = number
    for content in contents(flow):
        if is_usual(content):
            found = msgpack.unpackb(content, strict_map_key=False, unicode_errors="surrogatepass")
            assert found["done"] is True
            assert not {"error", "streamed", "messages"} & found.keys()


def test_many_records_are_asked_about_at_once() -> None:
    asked: list[int] = []
    data = a_file(*map(recorded, range(1, 51)))
    _, reader = passing_over(data, lambda records: asked.append(len(records)) or True)
    assert (reader.passed_over, len(asked)) == (50, 1)


def test_what_is_said_of_some_records_holds_for_these_only() -> None:
    flows = [recorded(number, content=bytes(30_000)) for number in range(1, 12)]
    delivered, reader = passing_over(a_file(*flows), lambda records: b"\x03/10" not in records)
    assert (delivered, reader.passed_over) == ([flows[9].id], 10)


def test_damage_is_no_reason_to_ask_again_about_the_same_bytes() -> None:
    """S6"""
    asked: list[int] = []
    broken = bytearray(frames(recorded(1))[-2])
    broken[-1] ^= 1
    data = a_file(recorded(1)) + bytes(broken) * 500
    _, reader = passing_over(data, lambda records: asked.append(len(records)) or True)
    assert (reader.passed_over, len(reader.damage)) == (1, 500)
    assert sum(asked) < 2 * len(data)


@pytest.mark.parametrize("number", [1, 2**63])
def test_a_flow_that_began_in_an_earlier_frame_is_delivered_once(number: int) -> None:
    written: list[bytes] = []
    flow = live(recorded(1))
    flow.id = number
    SectionWriter(written.append, created=START).start(flow).finish(b"", b"hello")
    delivered, reader = passing_over(b"".join(written))
    assert (delivered, reader.passed_over, reader.cut_off) == ([number], 0, 0)


def test_a_flow_that_was_cut_off_is_delivered_as_such() -> None:
    written: list[bytes] = []
    SectionWriter(written.append, created=START).start(live(a_flow())).data(Part.RESPONSE, b"he")
    delivered, reader = passing_over(b"".join(written))
    assert (delivered, reader.cut_off) == ([1], 1)


def test_the_connections_of_later_flows_are_known_all_the_same() -> None:
    client = a_flow().client_conn
    flows = [a_flow(number, client_conn=client) for number in (1, 2)]
    reader = FlowReader(BytesIO(a_file(*flows)), unwanted=lambda content: b"/2" not in content)
    assert [flow.client_conn.peername for flow in reader] == [client.peername]


def test_an_older_version_is_decoded_before_anything_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, 0, lambda _code, content: content)
    _, *rest = frames(a_flow())
    section = frame.encode(frame.SECTION, msgpack.packb({"format": "mitmdump-flows", "version": 0}))
    assert passing_over(section + b"".join(rest))[0] == [1]


@settings(max_examples=60)
@given(st.data())
def test_damaged_bytes_are_found_all_the_same(data: st.DataObject) -> None:
    content = bytearray(a_file(a_flow(1), a_flow(2), a_flow(3)))
    content[data.draw(st.integers(64, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    whole = FlowReader(BytesIO(content))
    delivered = sum(1 for _ in whole)
    _, reader = passing_over(bytes(content))
    assert (reader.passed_over, reader.damage) == (delivered, whole.damage)


@settings(max_examples=60)
@given(st.data())
def test_damaged_bytes_are_found_also_among_usual_flows(data: st.DataObject) -> None:
    content = bytearray(a_file(recorded(1), recorded(2), recorded(3)))
    content[data.draw(st.integers(64, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    whole = FlowReader(BytesIO(content))
    delivered = sum(1 for _ in whole)
    _, reader = passing_over(bytes(content))
    assert (reader.passed_over, reader.damage) == (delivered, whole.damage)


MAP = {"id": 1, "kind": "http", "done": True}


@pytest.mark.parametrize(
    "content",
    [
        b"\xc0",
        b"\x81",
        b"\x81\xa2id",
        b"\x81\xa2id\xdd\x7f\xff\xff\xff",
        b"\x81\xa1x\xdd\x7f\xff\xff\xff",
        b"\x81\x90\xc0",
        b"\xde\xff\xff",
        msgpack.packb(MAP) + b"\xc0",
        msgpack.packb(MAP | {"id": []}),
        msgpack.packb({"kind": "http", "done": True}),
        msgpack.packb({"id": 1, "done": True}),
        msgpack.packb(MAP | {"request": {}})[:-1] + b"\x91" * 2000,
    ],
)
def test_what_is_no_flow_is_damage_also_where_it_is_unwanted(content: bytes) -> None:
    """S6"""
    delivered, reader = passing_over(a_file() + frame.encode(frame.FLOW, content))
    assert (delivered, reader.passed_over, len(reader.damage)) == ([], 0, 1)


@pytest.mark.parametrize("content", [b"\x81", msgpack.packb(MAP) + b"\x85\xc0", b"\x82\xa2id\x01", b"\xc1"])
def test_flows_are_passed_over_also_after_what_is_no_flow(content: bytes) -> None:
    data = a_file(a_flow(1)) + frame.encode(frame.FLOW, content) + a_file(a_flow(2), a_flow(3))
    delivered, reader = passing_over(data)
    assert (delivered, reader.passed_over, len(reader.damage)) == ([], 3, 1)


def test_a_flow_after_a_very_large_one_is_passed_over() -> None:
    large = frame.encode(frame.FLOW, msgpack.packb({"unknown": bytes(2**21)} | MAP))
    assert passing_over(a_file() + large + b"".join(frames(a_flow(2))[1:]))[1].passed_over == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(flowfiles.flows, max_size=3, unique_by=lambda flow: flow.id))
def test_every_flow_is_either_delivered_or_counted(flows: list[Flow]) -> None:
    delivered, reader = passing_over(a_file(*flows))
    assert len(delivered) + reader.passed_over == len(flows)
    assert {flow.id for flow in flows if flow.error} <= set(delivered)
    assert reader.damage == []
