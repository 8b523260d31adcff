"""The text sink: one write and one flush per flow, bounded memory, and failures told apart."""

import errno
import io

import pytest
from support.stdout import Stream

from mitmdump.errors import OutputError
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow, Part
from mitmdump.model.headers import Headers
from mitmdump.model.message import Message, Request, Response
from mitmdump.sinks import text
from mitmdump.sinks.render import LIMITS
from mitmdump.sinks.text import TextSink


def http_flow(length: int = 0) -> Flow:
    request = Request("HTTP/1.1", Headers([(b"Host", b"example.com")]), method="GET", scheme="http", path="/\u00fc")
    response = Response("HTTP/1.1", Headers(), Body(length, complete=True), status_code=200, reason="OK")
    return Flow("http", Connection("client", peername=("127.0.0.1", 1)), request=request, response=response)


def tcp_flow() -> Flow:
    return Flow("tcp", Connection("client", peername=("127.0.0.1", 1)))


def raw(content: bytes) -> Message:
    return Message(True, "raw", 0.0, content)


def run(sink: TextSink, flow: Flow, *pieces: bytes) -> None:
    sink.begin(flow)
    for piece in pieces:
        sink.data(flow, Part.RESPONSE, piece)
    sink.finish(flow)


def test_a_flow_is_one_write_and_one_flush_at_its_end():
    stream = Stream()
    sink, flow = TextSink(stream, 3, False), http_flow(5)

    sink.begin(flow)
    sink.data(flow, Part.RESPONSE, b"hello")
    assert stream.calls == []
    sink.finish(flow)

    assert stream.calls == ["write", "flush"]


def test_flows_of_the_past_are_flushed_together_at_the_end():
    stream = Stream()
    sink = TextSink(stream, 1, False, prompt=False)

    run(sink, http_flow())
    run(sink, http_flow())
    assert stream.calls == ["write", "write"]
    sink.close()

    assert stream.calls[-1] == "flush"


@pytest.mark.parametrize(("detail", "shown"), [(0, False), (1, False), (2, False), (3, True), (4, True), (9, True)])
def test_bodies_are_shown_from_detail_3(detail, shown):
    stream = Stream()

    run(TextSink(stream, detail, False), http_flow(5), b"hel", b"lo")

    assert ("hello" in stream.getvalue()) == shown


def test_flows_that_run_side_by_side_do_not_mix():
    stream = Stream()
    sink, first, second = TextSink(stream, 3, False), http_flow(4), http_flow(4)

    for flow, piece in ((first, b"a1"), (second, b"b1"), (first, b"a2"), (second, b"b2")):
        sink.data(flow, Part.RESPONSE, piece)
    sink.finish(second)
    sink.finish(first)

    assert stream.getvalue().index("b1b2") < stream.getvalue().index("a1a2")


def test_messages_are_counted_at_detail_1_and_shown_from_3():
    for detail, shown in ((1, False), (3, True)):
        stream = Stream()
        sink, flow = TextSink(stream, detail, False), tcp_flow()

        sink.message(flow, raw(b"HELO"))
        sink.message(flow, Message(False, "raw", 0.0, b"250"))
        sink.finish(flow)

        assert "2 messages, 4b up, 3b down" in stream.getvalue()
        assert ("HELO" in stream.getvalue()) == shown


@pytest.mark.parametrize("detail", [3, 4])
def test_of_one_body_no_more_is_kept_than_is_shown(detail):
    """R1"""
    sink, flow, piece = TextSink(Stream(), detail, False), http_flow(), bytes(64 * 1024)

    for _ in range(LIMITS[detail].bytes // len(piece) + 10):
        sink.data(flow, Part.RESPONSE, piece)

    assert len(sink._running[flow.id].bodies[Part.RESPONSE]) == LIMITS[detail].bytes


def test_of_one_connection_no_more_messages_are_kept_than_a_budget_even_if_empty():
    """R1"""
    sink, flow = TextSink(Stream(), 3, False), tcp_flow()

    for _ in range(5000):
        sink.message(flow, raw(b""))

    assert sink._running[flow.id].count == 5000
    assert len(sink._running[flow.id].messages) == LIMITS[3].bytes // text.MESSAGE_COST


def test_a_message_larger_than_the_budget_is_kept_in_part():
    stream = Stream()
    sink, flow = TextSink(stream, 3, False), tcp_flow()

    sink.message(flow, raw(b"x" * 1_000_000))
    sink.message(flow, raw(b"y"))
    sink.finish(flow)

    assert f"-> raw, the first {LIMITS[3].bytes - text.MESSAGE_COST} of 1000000 bytes" in stream.getvalue()
    assert "(only the first 1 of 2 messages)" in stream.getvalue()


def test_nothing_is_kept_of_a_finished_flow():
    """R3"""
    sink = TextSink(Stream(), 3, False)

    for _ in range(3):
        flow = http_flow(5)
        sink.message(flow, raw(b"x"))
        run(sink, flow, b"hello")

    assert sink._running == {}
    assert sink._room == text.KEPT_IN_ALL


def test_many_flows_together_share_a_budget_and_what_is_kept_of_one_has_no_gap(monkeypatch):
    """R1"""
    monkeypatch.setattr(text, "KEPT_IN_ALL", 10)
    stream = Stream()
    sink, first, second = TextSink(stream, 3, False), http_flow(8), http_flow(9)

    sink.data(first, Part.RESPONSE, b"12345678")
    sink.data(second, Part.RESPONSE, b"ab")
    sink.data(second, Part.RESPONSE, b"cde")
    sink.finish(first)
    sink.data(second, Part.RESPONSE, b"fghi")
    sink.finish(second)

    assert "        ab\n        (only the first 2 of 9 bytes)\n" in stream.getvalue()


def test_a_broken_pipe_passes_through():
    with pytest.raises(BrokenPipeError):
        run(TextSink(Stream(BrokenPipeError(errno.EPIPE, "Broken pipe")), 1, False), http_flow())


def test_where_flows_go_elsewhere_too_a_broken_pipe_only_ends_the_printing():
    sink = TextSink(Stream(BrokenPipeError(errno.EPIPE, "Broken pipe")), 1, False, dispensable=True)

    run(sink, http_flow())
    run(sink, http_flow())


def test_any_other_failure_is_an_output_error():
    """S3"""
    sink = TextSink(Stream(OSError(errno.ENOSPC, "No space left on device")), 1, False)

    with pytest.raises(OutputError, match="No space left on device"):
        run(sink, http_flow())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8", "utf-16-le", "euc-jp"])
def test_no_text_is_too_strange_for_the_encoding_of_stdout(encoding):
    """L3"""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    flow = http_flow(9)
    flow.response.reason = "\u20ac \U0001f600 \udcff \ud800"

    run(TextSink(stdout, 3, False), flow, "\u65e5\u672c\u8a9e".encode())

    assert "<< 200 " in stdout.buffer.getvalue().decode(encoding)


def test_characters_that_stdout_cannot_show_are_escaped():
    stdout = io.TextIOWrapper(io.BytesIO(), "ascii")

    run(TextSink(stdout, 1, False), http_flow())

    assert b"http://example.com/\\xfc\n" in stdout.buffer.getvalue()
