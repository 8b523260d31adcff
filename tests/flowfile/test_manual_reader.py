"""The manual is enough to write a reader: one that was (`manual_reader`) is held against ours, damage included."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from manual_reader import read as read_by_the_manual
from support import flowfiles
from support.flowfiles import START, a_file, a_flow, a_tcp_flow, frames, live, read

from mitmdump.flowfile import SectionWriter, frame
from mitmdump.model.flow import Flow, Part
from mitmdump.model.message import HttpMessage, Message, Request, Response

READER = Path(__file__).parent / "manual_reader.py"


def a_capture() -> bytes:
    """Two sections with every kind of frame; in the first, a flow is cut off."""
    written: list[bytes] = []
    out = SectionWriter(written.append, created=START, software="test")
    cut_off, running = out.start(live(a_flow(1))), out.start(live(a_flow(2)))
    out.add(a_flow(3))
    for each in (cut_off, running):
        each.data(Part.RESPONSE, b"hel")
        each.message(Message(True, "text", START, b"ping"))
        each.data(Part.RESPONSE, b"lo")
    running.finish(b"")
    return b"".join([*written, *frames(a_flow(4, b""), a_tcp_flow(5, b"a", b"b"))])


CAPTURE = a_capture()


def by_us(data: bytes) -> tuple[list[Any], list[tuple[int, int]]]:
    def told(flow: Flow) -> Any:
        client, server = flow.client_conn, flow.server_conn
        messages = [(each.from_client, each.kind, each.timestamp, each.content) for each in flow.messages]
        addresses = client.peername, server and server.address
        return flow.id, flow.kind, bool(flow.error), addresses, of(flow.request), of(flow.response), messages

    def of(message: HttpMessage | None) -> Any:
        if message is None:
            return None
        start = message.path.encode("utf-8", "surrogateescape") if isinstance(message, Request) else None
        status = message.status_code if isinstance(message, Response) else None
        return start, status, message.headers.fields, message.raw_content

    found = read(data)
    return [told(flow) for flow in found], [damage[:2] for damage in found.damage]


def by_the_manual(data: bytes) -> tuple[list[Any], list[tuple[int, int]]]:
    def told(flow: Any) -> Any:
        messages = [tuple(each) for each in flow["messages"]]
        addresses = address(flow["client"], "peername"), address(flow["server"], "address")
        http = of(flow.get("request")), of(flow.get("response"))
        return flow["id"], flow["kind"], "error" in flow, addresses, *http, messages

    def address(connection: Any, name: str) -> Any:
        return tuple(connection[name]) if name in connection else None

    def of(message: Any) -> Any:
        if message is None:
            return None
        headers = [tuple(each) for each in message["headers"]]
        body = message.get("body", {"content": b""})
        return message.get("path"), message.get("status_code"), headers, body.get("content")

    flows, damage = read_by_the_manual(data)
    return [told(flow) for flow in flows], damage


def test_it_is_short_and_needs_nothing_but_msgpack() -> None:
    source = READER.read_text()
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import zlib", "import msgpack"]
    assert len([line for line in source.splitlines() if line.strip()]) < 60


def test_it_reads_what_we_read() -> None:
    assert by_the_manual(CAPTURE) == by_us(CAPTURE)
    assert [flow[0] for flow in by_us(CAPTURE)[0]] == [3, 2, 1, 4, 5]


def test_it_reads_what_we_read_of_a_large_body() -> None:
    data = a_file(a_flow(1, bytes(3_000_000)), a_tcp_flow(2, bytes(2_000_000)))
    assert by_the_manual(data) == by_us(data)


@settings(max_examples=50)
@given(st.lists(flowfiles.flows, max_size=3, unique_by=lambda flow: flow.id))
def test_it_reads_what_we_read_of_any_flows(flows: list[Flow]) -> None:
    assert by_the_manual(a_file(*flows)) == by_us(a_file(*flows))


def test_it_reads_what_we_read_of_a_file_that_ends_anywhere() -> None:
    for size in range(0, len(CAPTURE), 7):
        assert by_the_manual(CAPTURE[:size]) == by_us(CAPTURE[:size]), size


def test_it_reads_what_we_read_of_a_file_with_a_wrong_byte_anywhere() -> None:
    for offset in range(0, len(CAPTURE), 3):
        broken = CAPTURE[:offset] + bytes([CAPTURE[offset] ^ 0x41]) + CAPTURE[offset + 1 :]
        assert by_the_manual(broken) == by_us(broken), offset


@pytest.mark.parametrize("hole", [1, 60, 500])
def test_it_reads_what_we_read_of_a_file_with_a_hole(hole: int) -> None:
    for offset in range(0, len(CAPTURE) - hole, 11):
        broken = CAPTURE[:offset] + CAPTURE[offset + hole :]
        assert by_the_manual(broken) == by_us(broken), offset


def test_it_skips_what_a_later_version_may_add() -> None:
    data = CAPTURE + frame.encode(77, b"\xc0") + frame.encode(-3, b"\xc0") + a_file(a_flow(6))
    assert by_the_manual(data) == by_us(data)
