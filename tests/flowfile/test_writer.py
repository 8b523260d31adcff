from __future__ import annotations

from dataclasses import fields
from hashlib import sha256
from typing import Any

import msgpack
import pytest
from support.counting import count_objects
from support.flowfiles import START, a_flow, a_tcp_flow, frames, live

from mitmdump.flowfile import SectionWriter, frame, writer
from mitmdump.flowfile.usual_bytes import UsualFlows
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Part
from mitmdump.model.message import Message


class Written:
    """What a writer wrote: `calls` as bytes, and as (type, content) of all frames."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.writer = SectionWriter(self.calls.append, created=START, software="test")

    @property
    def frames(self) -> list[tuple[int, Any]]:
        unpacker = msgpack.Unpacker()
        unpacker.feed(b"".join(self.calls))
        return [(code, msgpack.unpackb(data[4:])) for code, data in unpacker]

    def of_type(self, code: int) -> list[Any]:
        return [content for found, content in self.frames if found == code]


def test_a_section_opens_the_file_and_says_so_in_its_first_bytes() -> None:
    written = Written()
    section = {"format": "mitmdump-flows", "version": 1, "created": START, "software": "test"}
    assert written.frames == [(frame.SECTION, section)]
    assert written.calls[0][19:33] == b"mitmdump-flows"


def test_a_small_flow_is_one_write_with_its_connections_before_it() -> None:
    written = Written()
    written.writer.write(a_flow(), b"", b"hello")
    assert len(written.calls) == 2
    assert [code for code, _ in written.frames[1:]] == [frame.CONNECTION, frame.CONNECTION, frame.FLOW]
    assert written.of_type(frame.FLOW)[0]["response"]["body"] == {"complete": True, "content": b"hello"}


def test_a_connection_is_written_once_while_its_facts_stay_the_same() -> None:
    written = Written()
    for _ in range(3):
        written.writer.write(a_flow())
    assert len(written.of_type(frame.CONNECTION)) == 2


def test_a_connection_is_written_again_when_more_is_known_of_it() -> None:
    written, flow = Written(), a_flow()
    written.writer.write(flow)
    flow.client_conn.tls_version = "TLSv1.3"
    written.writer.write(flow)
    assert [found.get("tls_version") for found in written.of_type(frame.CONNECTION)] == [None, None, "TLSv1.3"]


CHANGES = {
    "peername": ("192.0.2.1", 1),
    "sockname": ("192.0.2.1", 2),
    "address": ("a.test", 443),
    "tls_version": "TLSv1.3",
    "cipher": "x",
    "alpn_offers": (b"h2",),
    "alpn": b"h2",
    "sni": "a.test",
    "session_resumed": True,
    "certificate_list": (b"der",),
    "verification": "ok",
} | dict.fromkeys((field.name for field in fields(Connection) if field.name.startswith("timestamp_")), START)


def test_whatever_changes_of_a_connection_is_news() -> None:
    assert {*CHANGES, "id", "side", "extra"} == {field.name for field in fields(Connection)}
    for name, value in CHANGES.items():
        written, flow = Written(), a_flow(server_conn=None, client_conn=Connection("client", 1))
        written.writer.write(flow)
        setattr(flow.client_conn, name, value)
        written.writer.write(flow)
        assert len(written.of_type(frame.CONNECTION)) == 2, name


def test_a_writer_is_freed_with_its_last_user_and_not_by_the_garbage_collector() -> None:
    before = count_objects(UsualFlows)
    written = Written()
    written.writer.write(a_flow())
    assert count_objects(UsualFlows) == before + 1

    del written

    assert count_objects(UsualFlows) == before


def test_a_connection_is_written_again_when_readers_may_have_forgotten_it() -> None:
    written, others = Written(), [Connection("client", number) for number in range(1, writer.WINDOW + 1)]
    for connection in [Connection("client", 0), *others, Connection("client", 0)]:
        written.writer.write(a_flow(client_conn=connection, server_conn=None))
    assert [found["id"] for found in written.of_type(frame.CONNECTION)] == [0, *range(1, writer.WINDOW + 1), 0]


def test_what_the_writer_remembers_of_connections_does_not_grow_for_ever() -> None:
    """R3"""
    written = Written()
    for number in range(2 * writer.WINDOW):
        written.writer.write(a_flow(number, server_conn=None))
    assert len(written.writer._known) == writer.WINDOW


def test_a_running_flow_is_a_partial_flow_then_pieces_then_the_final_flow() -> None:
    written, flow = Written(), live(a_flow(content=b"abcdef"))
    running = written.writer.start(flow)
    running.data(Part.RESPONSE, b"abc")
    running.data(Part.RESPONSE, b"def")
    running.finish(b"")
    partial, final = written.of_type(frame.FLOW)
    assert "done" not in partial
    assert written.of_type(frame.BODY) == [[1, 1, b"abc"], [1, 1, b"def"]]
    assert (final["done"], final["streamed"], "body" in final["request"]) == (True, [0, 6], False)
    assert final["response"]["body"] == {"length": 6, "complete": True}


def test_what_passed_of_a_body_and_its_digest_are_told_where_less_is_stored() -> None:
    written, flow = Written(), live(a_flow(content=b"abcdef"))
    assert flow.response
    flow.response.body.digest = digest = sha256(b"abcdef").digest()
    running = written.writer.start(flow)
    running.data(Part.RESPONSE, b"abc")
    running.finish()
    body = written.of_type(frame.FLOW)[-1]["response"]["body"]
    assert body == {"length": 6, "complete": True, "sha256": digest}


def test_a_body_of_which_nobody_told_the_length_has_that_of_its_pieces() -> None:
    written, flow = Written(), live(a_flow(content=b""))
    running = written.writer.start(flow)
    running.data(Part.RESPONSE, b"abc")
    running.finish()
    assert written.of_type(frame.FLOW)[-1]["response"]["body"]["length"] == 3


def test_a_response_that_comes_later_is_told_before_its_first_byte() -> None:
    written, flow = Written(), live(a_flow())
    response, flow.response = flow.response, None
    running = written.writer.start(flow)
    flow.response = response
    running.data(Part.RESPONSE, b"abc")
    assert [code for code, _ in written.frames[3:]] == [frame.FLOW, frame.FLOW, frame.BODY]


@pytest.mark.parametrize(
    ("size", "pieces"), [(0, []), (1, [1]), (writer.PIECE, [writer.PIECE]), (writer.PIECE + 1, [writer.PIECE, 1])]
)
def test_a_large_piece_is_cut(size: int, pieces: list[int]) -> None:
    written = Written()
    written.writer.put_piece(1, Part.REQUEST, bytes(size))
    assert [len(content[2]) for content in written.of_type(frame.BODY)] == pieces


def test_a_message_is_a_frame_and_a_large_one_is_several() -> None:
    written, flow = Written(), a_tcp_flow()
    running = written.writer.start(flow)
    running.message(Message(True, "text", START, b""))
    running.message(Message(False, "binary", START, bytes(writer.PIECE + 1)))
    running.finish()
    assert [content[:4] for content in written.of_type(frame.MESSAGE)] == [
        [1, True, "text", START],
        [1, False, "binary", START],
        [1, False, "continuation", START],
    ]
    assert written.of_type(frame.FLOW)[-1]["messages"] == 3


def test_every_frame_is_one_write() -> None:
    calls = frames(a_flow(content=bytes(writer.INLINE + 1)), a_tcp_flow(2, b"a", b"b"))
    for call in calls:
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        unpacker.feed(call)
        codes = [code for code, _ in unpacker]
        assert codes[:-1] == [frame.CONNECTION] * (len(codes) - 1)


def test_the_end_counts_the_frames_of_the_section() -> None:
    written = Written()
    for flow in (a_flow(1), a_flow(2, bytes(writer.INLINE + 1)), a_tcp_flow(3, b"a", b"b")):
        written.writer.add(flow)
    written.writer.close()
    assert written.frames[-1] == (frame.END, {"connections": 5, "flows": 3, "pieces": 2, "messages": 2})


def test_what_write_raises_goes_through() -> None:
    def write(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        SectionWriter(write, created=START)


def test_lone_surrogates_and_odd_metadata_do_not_stop_a_capture() -> None:
    written, flow = (
        Written(),
        a_flow(comment="\ud800", metadata={1: {2}}, client_conn=Connection("client", 1, sni="\udcff")),
    )
    assert flow.request
    flow.request.path = "/\ud800"
    written.writer.write(flow)
    assert written.writer.flows == 1
