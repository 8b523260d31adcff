"""Flows in the order in which they began."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.flowfiles import START, a_file, a_flow, a_tcp_flow, live, value, values

from mitmdump.errors import OutputError
from mitmdump.files import InOrder, by_time, open_flows
from mitmdump.files.sorting import HELD
from mitmdump.flowfile import RawFlow, SectionWriter, frame
from mitmdump.flowfile.frame import Frames
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow, Part


def in_order(*captures: bytes) -> list[Flow]:
    """The flows of these captures, by the time of their begin, whether they are held in memory or not."""
    held, copied = ([flow for flow, _ in InOrder(pairs(*captures), held=room)] for room in (HELD, 2 * len(captures[0])))
    assert values(held) == values(copied)
    return copied


def pairs(*captures: bytes) -> Iterator[tuple[Flow, RawFlow | None]]:
    inputs = [open_flows(BytesIO(each)) for each in captures]
    return ((flow, flows.raw) for flows in inputs for flow in flows)


def test_flows_of_several_captures_come_in_the_order_in_which_they_began() -> None:
    captures = a_file(a_flow(5), a_flow(1)), a_file(a_flow(4), a_flow(2)), a_file(a_flow(3))
    assert [flow.id for flow in in_order(*captures)] == [1, 2, 3, 4, 5]


def test_flows_that_began_together_stay_in_their_order() -> None:
    times = {"timestamp_start": START}
    assert [flow.id for flow in in_order(a_file(*(a_flow(number, **times) for number in (3, 1, 2))))] == [3, 1, 2]


def test_nothing_of_a_flow_is_lost_on_the_way() -> None:
    client = Connection("client", 7, peername=("::1", 1))
    flows = [a_flow(1, bytes(200_000), client_conn=client), a_tcp_flow(2, b"a", b"b"), a_flow(3, client_conn=client)]
    captured = a_file(*flows)
    sorted_ = sorted(values(open_flows(BytesIO(captured))), key=lambda flow: float(flow["timestamp_start"]))
    inputs = open_flows(BytesIO(captured))
    assert [value(flow) for flow, _ in by_time((flow, inputs.raw) for flow in inputs)] == sorted_


def test_a_flow_that_was_cut_off_is_still_one_that_was() -> None:
    written: list[bytes] = []
    SectionWriter(written.append, created=START).start(live(a_flow(1, b"whole"))).data(Part.RESPONSE, b"who")
    (flow,) = in_order(b"".join(written))
    assert flow.error
    assert "cut off" in flow.error.msg
    assert flow.response
    assert value(flow.response.body)[::3] == (5, b"who")


def test_frames_are_moved_as_they_are() -> None:
    """Here with numbers that are written in more bytes than they need."""
    *_, found = Frames(BytesIO(a_file(a_flow(2), closed=False)).read, lambda *_: None)
    strange = found.content.replace(b"\xa2id\x02", b"\xa2id\xcd\0\2")
    flows = open_flows(BytesIO(a_file() + frame.encode(frame.FLOW, strange) + a_file(a_flow(1, bytes(200_000)))))
    raws = [raw for _, raw in by_time((flow, flows.raw) for flow in flows)]
    assert [raw and len(list(raw.before)) for raw in raws[1:]] == [0]
    assert raws[1]
    assert raws[1].final == strange


@settings(max_examples=40)
@given(st.lists(st.floats(0, 2e9), max_size=6))
def test_any_times_are_sorted(times: list[float]) -> None:
    flows = in_order(a_file(*(a_flow(number, timestamp_start=time) for number, time in enumerate(times))))
    assert [flow.timestamp_start for flow in flows] == sorted(times)


def test_a_full_temporary_directory_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", partial(Path("/dev/full").open, "r+b"))
    with pytest.raises(OutputError, match="cannot keep flows to sort them: No space left on device. Set TMPDIR"):
        InOrder([(a_flow(), None)], held=0)
