from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import flowfiles
from support.flowfiles import START, a_file, a_flow, a_tcp_flow, frames, live, read, value, values

from mitmdump.errors import FlowFileError
from mitmdump.flowfile import FlowReader, SectionWriter, frame, reader, recognise, writer
from mitmdump.flowfile.kept import KeptBody
from mitmdump.flowfile.upgrade import STEPS
from mitmdump.model.body import PIECE
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow, Part
from mitmdump.model.message import Message

LARGE = bytes(range(256)) * 300  # larger than what stands inside a FLOW frame


@contextmanager
def reading(path: Path) -> Iterator[FlowReader]:
    with path.open("rb") as file:
        yield FlowReader(file)


def on_disk(path: Path, *flows: Flow) -> Path:
    path.write_bytes(a_file(*flows))
    return path


@settings(max_examples=60, deadline=None)
@given(st.lists(flowfiles.flows, max_size=3, unique_by=lambda flow: flow.id))
def test_what_is_read_is_what_was_written(flows: list[Flow]) -> None:
    """S7"""
    for flow in flows:  # connections of the same id are the same
        flow.client_conn.id, flow.server_conn = flow.id, flow.server_conn and Connection("server", flow.id ^ 1)
    wanted = values(flows)
    found = read(a_file(*flows))
    assert values(found) == wanted
    assert (found.damage, found.cut_off) == ([], 0)


def test_flows_of_one_connection_share_it() -> None:
    client = Connection("client", 1)
    first, second = read(a_file(a_flow(1, client_conn=client), a_flow(2, client_conn=client)))
    assert first.client_conn is second.client_conn


def test_a_later_connection_of_the_same_id_replaces_the_earlier() -> None:
    written: list[bytes] = []
    out, flow = SectionWriter(written.append, created=START), a_flow()
    running = out.start(live(flow))
    flow.client_conn.tls_version = "TLSv1.3"
    running.finish()
    assert [flow.client_conn.tls_version for flow in read(b"".join(written))] == ["TLSv1.3"]


def test_a_flow_whose_connection_is_not_in_the_file_gets_an_empty_one() -> None:
    data = a_file(Flow("tcp", Connection("client", 7), id=1))
    connection = data.index(b"\xc9", 1)
    size = 6 + int.from_bytes(data[connection + 1 : connection + 5], "big")
    (flow,) = read(data[:connection] + data[connection + size :])
    assert value(flow.client_conn) == value(Connection("client", 7))


def interleaved(flows: list[Flow]) -> bytes:
    """Large flows and their pieces, all at the same time."""
    written: list[bytes] = []
    out = SectionWriter(written.append, created=START, software="test")
    running = [out.start(flow) for flow in flows]
    for place in range(3):
        for flow, each in zip(flows, running, strict=True):
            each.data(Part.RESPONSE, b"%d-%d " % (flow.id, place))
            each.message(Message(True, "text", START, b"%d" % place))
    for each in reversed(running):
        each.finish(b"")
    out.close()
    return b"".join(written)


def test_interleaved_flows_are_taken_apart_and_come_in_the_order_of_their_ends() -> None:
    found = list(read(interleaved([live(a_flow(number, b"1-0 1-1 1-2 ")) for number in (1, 2, 3)])))
    assert [flow.id for flow in found] == [3, 2, 1]
    assert [flow.response and flow.response.raw_content for flow in found][2] == b"1-0 1-1 1-2 "
    assert [message.content for message in found[0].messages] == [b"0", b"1", b"2"]
    assert [message.content for message in found[0].messages] == [b"0", b"1", b"2"]


def test_a_pipe_gives_what_a_file_gives(tmp_path: Path) -> None:
    path = tmp_path / "a.flows"
    path.write_bytes(interleaved([live(a_flow(n)) for n in (1, 2)]) + a_file(a_flow(3, LARGE), a_tcp_flow(4, b"a")))
    source, sink = os.pipe()
    with os.fdopen(source, "rb") as pipe, os.fdopen(sink, "wb") as into:
        feeder = threading.Thread(target=lambda: (into.write(path.read_bytes()), into.close()))
        feeder.start()
        piped = values(FlowReader(pipe))
        feeder.join()
    with reading(path) as flows:
        assert piped == values(flows)
    assert len(piped) == 4


def test_large_bodies_stay_in_the_file(tmp_path: Path) -> None:
    with reading(on_disk(tmp_path / "a.flows", a_flow(1, LARGE))) as flows:
        (flow,) = flows
        assert flow.response
        assert isinstance(flow.response.body.source, KeptBody)
        assert max(map(len, flow.response.iter_raw())) == PIECE
        assert flow.response.raw_content == LARGE


def test_a_body_asked_for_after_the_file_was_closed_says_so(tmp_path: Path) -> None:
    with reading(on_disk(tmp_path / "a.flows", a_flow(1, LARGE))) as flows:
        (flow,) = flows
    assert flow.response
    with pytest.raises(FlowFileError, match="closed"):
        flow.response.body.read()


def test_a_file_that_shrinks_while_it_is_read_says_so(tmp_path: Path) -> None:
    path = on_disk(tmp_path / "a.flows", a_flow(1, LARGE))
    with reading(path) as flows:
        (flow,) = flows
        os.truncate(path, 1000)
        assert flow.response
        with pytest.raises(FlowFileError, match="shorter"):
            flow.response.body.read()


def test_messages_of_a_file_that_was_changed_say_so(tmp_path: Path) -> None:
    path = on_disk(tmp_path / "a.flows", a_tcp_flow(1, b"abc"))
    with reading(path) as flows:
        (flow,) = flows
        path.write_bytes(b"\xc1" * path.stat().st_size)
        with pytest.raises(FlowFileError, match="changed"):
            list(flow.messages)


def test_a_capture_that_was_cut_off_gives_all_that_arrived() -> None:
    written: list[bytes] = []
    running = SectionWriter(written.append, created=START).start(live(a_flow(content=b"whole body")))
    running.data(Part.RESPONSE, b"whole")
    found = read(b"".join(written))
    (flow,) = found
    assert flow.error
    assert "cut off" in flow.error.msg
    assert flow.response
    assert value(flow.response.body) == (10, False, None, b"whole")
    assert (found.damage, found.cut_off) == ([], 1)


def test_a_flow_that_was_cut_off_keeps_the_error_it_has() -> None:
    written: list[bytes] = []
    flow = a_tcp_flow()
    flow.error = flowfiles.Error("the client went away", START)
    SectionWriter(written.append, created=START).start(flow)
    assert [flow.error and flow.error.msg for flow in read(b"".join(written))] == ["the client went away"]


def test_a_section_ends_what_was_under_way_in_the_one_before() -> None:
    written: list[bytes] = []
    SectionWriter(written.append, created=START).start(live(a_flow(1))).data(Part.RESPONSE, b"he")
    found = read(b"".join(written) + a_file(a_flow(1), a_flow(2)))
    assert [flow.response and flow.response.raw_content for flow in found] == [b"he", b"hello", b"hello"]
    assert found.cut_off == 1


def test_concatenated_files_are_a_file() -> None:
    assert [flow.id for flow in read(a_file(a_flow(1)) + a_file(a_flow(2), closed=False) + a_file(a_flow(1)))] == [
        1,
        2,
        1,
    ]


def test_unknown_frame_types_are_skipped() -> None:
    first, *rest = frames(a_flow())
    found = read(first + frame.encode(99, b"\xc0") + frame.encode(-5, msgpack.packb("x")) + b"".join(rest))
    assert len(list(found)) == 1
    assert found.damage == []


def test_a_piece_of_a_body_that_was_lost_does_not_go_unnoticed() -> None:
    written = frames(a_flow(content=bytes(2 * PIECE)))
    lost = next(place for place, call in enumerate(written) if call[5] == frame.BODY)
    (flow,) = read(b"".join(written[:lost] + written[lost + 1 :]))
    assert flow.error
    assert "lost" in flow.error.msg
    assert flow.response
    assert not flow.response.body.complete


def test_a_message_that_was_lost_does_not_go_unnoticed() -> None:
    written = frames(a_tcp_flow(1, b"a", b"b"))
    (flow,) = read(b"".join(call for call in written if b"\xc4\x01a" not in call))
    assert flow.error
    assert "lost" in flow.error.msg


def test_pieces_of_a_flow_that_nothing_else_is_known_of_are_passed_over() -> None:
    section, *_ = frames()
    found = read(section + frame.encode(frame.BODY, msgpack.packb([9, 1, b"x"])))
    assert (list(found), found.cut_off) == ([], 0)


def test_an_empty_file_holds_no_flows() -> None:
    found = read(b"")
    assert (list(found), found.damage) == ([], [])


def test_a_file_is_recognised_by_its_first_bytes() -> None:
    assert recognise(a_file()[:64])
    assert not recognise(a_file()[1:])


def test_a_newer_version_is_refused_with_both_numbers_before_anything_is_read() -> None:
    """S7"""
    section = {"format": "mitmdump-flows", "version": 7}
    with pytest.raises(FlowFileError, match=r"test\.flows.*version 7.*version 1"):
        read(frame.encode(frame.SECTION, msgpack.packb(section)))


def test_an_older_version_is_read_through_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    step = lambda code, content: content | {"comment": "upgraded"} if code == frame.FLOW else content  # noqa: E731
    monkeypatch.setitem(STEPS, 0, step)
    _, *rest = frames(a_flow())
    section = frame.encode(frame.SECTION, msgpack.packb({"format": "mitmdump-flows", "version": 0}))
    assert [flow.comment for flow in read(section + b"".join(rest))] == ["upgraded"]


def test_memory_does_not_grow_with_the_connections_that_were_seen(tmp_path: Path) -> None:
    """R3"""

    def peak(connections: int) -> int:
        with (tmp_path / "a.flows").open("wb") as file:
            out = SectionWriter(file.write, created=START)
            for number in range(connections):
                client = Connection("client", number, certificate_list=(b"%d" % number,))
                out.write(a_flow(number, client_conn=client, server_conn=None), b"", b"")
        tracemalloc.start()
        try:
            with reading(tmp_path / "a.flows") as flows:
                assert sum(1 for _ in flows) == connections
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(2 * writer.WINDOW) < 1.2 * peak(writer.WINDOW)


def test_large_certificates_are_forgotten_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_WINDOW_BYTES", 10_000)
    chains = [Connection("client", number, certificate_list=(bytes(4096),)) for number in range(9)]
    found = read(a_file(*(a_flow(each.id, client_conn=each, server_conn=None) for each in chains)))
    assert len(list(found)) == 9
    assert len(found._connections) == 2


def test_a_spool_goes_to_disk_when_it_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    body = bytes(3 * 1024 * 1024)
    (flow,) = read(a_file(a_flow(1, body)))
    assert flow.response
    assert flow.response.raw_content == body
