"""Flows that move from file to file as they are: no frame is decoded and encoded anew."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import flowfiles
from support.flowfiles import START, a_file, a_flow, a_tcp_flow, frames, live, read, values

from mitmdump.errors import FlowFileError
from mitmdump.flowfile import FlowReader, SectionWriter, frame, writer
from mitmdump.flowfile.frame import Frame, Frames
from mitmdump.flowfile.upgrade import STEPS
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow, Part
from mitmdump.model.message import Message

LARGE = bytes(200_000)


def frames_of(data: bytes) -> list[Frame]:
    return list(Frames(BytesIO(data).read, lambda *_: pytest.fail("damaged")))


def contents(data: bytes, *codes: int) -> list[bytes]:
    return [found.content for found in frames_of(data) if found.code in codes]


def copied(source: FlowReader) -> bytes:
    """All flows of a file that can be copied, in a section of their own."""
    written: list[bytes] = []
    out = SectionWriter(written.append, created=START, software="test")
    for _ in source:
        if source.raw is not None:
            out.copy(source.raw)
    out.close()
    return b"".join(written)


def running(flow: Flow) -> bytes:
    """A file in which a flow, which ended well, was written as it ran."""
    written: list[bytes] = []
    out = SectionWriter(written.append, created=START, software="test")
    each = out.start(live(flow))
    each.data(Part.RESPONSE, b"hel")
    each.message(Message(True, "text", START, b"ping"))
    each.data(Part.RESPONSE, b"lo")
    each.finish(b"")
    out.close()
    return b"".join(written)


def test_frames_are_moved_as_they_are() -> None:
    """Unknown keys, the order of keys, numbers of another width, and what is written twice."""
    before = running(a_flow(1))
    *front, flow, _ = frames_of(before)
    strange = msgpack.unpackb(flow.content)
    strange = dict(reversed(list(strange.items()))) | {"unknown": [1, {"a": b"b"}], "comment": ""}
    whole = [frame.encode(found.code, found.content) for found in front]
    found = copied(read(b"".join(whole) + frame.encode(frame.FLOW, msgpack.packb(strange, use_single_float=True))))

    assert contents(found, frame.FLOW)[-1] == msgpack.packb(strange, use_single_float=True)
    assert contents(found, frame.BODY, frame.MESSAGE) == contents(before, frame.BODY, frame.MESSAGE)


@settings(max_examples=60, deadline=None)
@given(st.lists(flowfiles.flows, max_size=4, unique_by=lambda flow: flow.id))
def test_a_copy_holds_what_the_original_holds(flows: list[Flow]) -> None:
    for flow in flows:  # connections of the same id are the same
        flow.client_conn.id, flow.server_conn = flow.id, flow.server_conn and Connection("server", flow.id ^ 1)
    original = a_file(*flows)
    assert values(read(copied(read(original)))) == values(read(original))
    assert copied(read(copied(read(original)))) == copied(read(original))


def test_a_file_and_a_pipe_are_copied_alike(tmp_path: Path) -> None:
    path = tmp_path / "a.flows"
    path.write_bytes(running(a_flow(1)) + a_file(a_flow(2, LARGE), a_tcp_flow(3, b"a")))
    with path.open("rb") as file:
        assert copied(FlowReader(file)) == copied(read(path.read_bytes()))


def test_the_end_frame_counts_what_was_copied() -> None:
    data = copied(read(running(a_flow(1)) + a_file(a_flow(2, LARGE), a_tcp_flow(3, b"a"))))
    counts = msgpack.unpackb(frames_of(data)[-1].content)
    assert counts == {
        "connections": len(contents(data, frame.CONNECTION)),
        "flows": 3,
        "pieces": len(contents(data, frame.BODY)),
        "messages": 2,
    }


def test_a_connection_is_copied_once_until_it_changes() -> None:
    client = Connection("client", 1)
    before, after = (
        a_file(*(a_flow(number, client_conn=client, server_conn=None) for number in numbers), closed=False)
        for numbers in [(1, 2), (3,)]
    )
    client.tls_version = "TLSv1.3"
    changed = a_file(a_flow(4, client_conn=client, server_conn=None))
    data = copied(read(before + after + changed))
    assert len(contents(data, frame.CONNECTION)) == 2
    assert [flow.client_conn.tls_version for flow in read(data)] == [None, None, None, "TLSv1.3"]


def test_a_connection_that_readers_may_have_forgotten_is_copied_again() -> None:
    numbers = [*range(writer.WINDOW + 1), 0]
    connections = [Connection("client", number) for number in numbers]
    flows = [a_flow(place, client_conn=each, server_conn=None) for place, each in enumerate(connections)]
    assert len(contents(copied(read(a_file(*flows))), frame.CONNECTION)) == len(numbers)


def test_copied_and_encoded_flows_can_be_mixed() -> None:
    source = read(a_file(a_flow(1), a_flow(2, LARGE)))
    written: list[bytes] = []
    out = SectionWriter(written.append, created=START)
    for flow in source:
        assert source.raw
        out.copy(source.raw)
        out.add(flow)
    assert [flow.id for flow in read(b"".join(written))] == [1, 1, 2, 2]


def test_a_flow_that_was_cut_off_cannot_be_copied() -> None:
    written: list[bytes] = []
    out = SectionWriter(written.append, created=START)
    out.start(live(a_flow(1)))
    out.add(a_flow(2))
    source = read(b"".join(written))
    assert [(flow.id, source.raw is not None) for flow in source] == [(2, True), (1, False)]


def test_a_flow_of_which_a_part_was_lost_cannot_be_copied() -> None:
    calls = frames(a_flow(1, LARGE))
    calls.remove(next(call for call in calls if call[5] == frame.BODY))
    source = read(b"".join(calls))
    assert [(flow.id, source.raw) for flow in source] == [(1, None)]


def test_a_flow_of_an_older_version_cannot_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STEPS, 0, lambda _, content: content)
    section = frame.encode(frame.SECTION, msgpack.packb({"format": "mitmdump-flows", "version": 0}))
    source = read(section + b"".join(frames(a_flow())[1:]))
    assert [source.raw for _ in source] == [None]


def test_before_the_first_flow_there_is_nothing_to_copy() -> None:
    assert read(a_file(a_flow(1))).raw is None


def test_a_file_that_shrinks_while_it_is_copied_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.flows"
    path.write_bytes(a_file(a_flow(1, LARGE)))
    with path.open("rb") as file:
        source = FlowReader(file)
        next(source)
        os.truncate(path, 1000)
        assert source.raw
        with pytest.raises(FlowFileError, match="shorter"):
            SectionWriter(lambda data: None, created=START).copy(source.raw)
