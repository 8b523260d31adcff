"""Flows as JSON Lines on stdout."""

from __future__ import annotations

import errno
import json

import pytest
from support.filter_flows import a_websocket, answered
from support.flowfiles import live
from support.stdout import Stream

from mitmdump.errors import OutputError
from mitmdump.model.flow import Part
from mitmdump.model.message import Message
from mitmdump.sinks.lines import JsonSink


def flows_on(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def pass_through(sink, flow, *pieces):
    sink.begin(flow)
    for piece in pieces:
        sink.data(flow, Part.RESPONSE, piece)
    sink.finish(flow)


def test_a_flow_is_one_write_and_one_flush_at_its_end():
    stream = Stream()

    pass_through(JsonSink(stream, contents=True), live(answered(body=b"hello")), b"hel", b"lo")

    assert stream.calls == ["write", "flush"]
    assert flows_on(stream)[0]["response"]["text"] == "hello"


def test_flows_of_the_past_are_flushed_together_at_the_end():
    stream = Stream()
    sink = JsonSink(stream, contents=True, prompt=False)

    sink.put(answered())
    assert stream.calls == ["write"]
    sink.close()

    assert stream.calls[-1] == "flush"


def test_flows_that_run_side_by_side_keep_apart():
    stream, one, two = Stream(), live(answered(body=b"a")), live(answered(body=b"b"))
    one.id, two.id = 1, 2
    sink = JsonSink(stream, contents=True)

    sink.begin(one)
    sink.begin(two)
    sink.data(one, Part.RESPONSE, b"1")
    sink.data(two, Part.RESPONSE, b"2")
    sink.message(two, Message(True, "text", 1.0, b"x"))
    sink.finish(two)
    sink.finish(one)

    assert [flow["response"]["text"] for flow in flows_on(stream)] == ["2", "1"]
    assert ["messages" in flow for flow in flows_on(stream)] == [True, False]


def test_without_contents_nothing_is_kept():
    stream, flow = Stream(), a_websocket((True, b"x"))
    sink = JsonSink(stream, contents=False)

    assert not sink.wants_bodies
    sink.begin(flow)
    sink.message(flow, Message(True, "text", 1.0, b"x"))
    assert not sink._running
    sink.finish(flow)

    assert "messages" not in flows_on(stream)[0]


def test_a_flow_from_a_file_is_printed_with_what_it_holds():
    stream = Stream()

    JsonSink(stream, contents=True).put(answered(body=b"hello"))

    assert flows_on(stream)[0]["response"]["text"] == "hello"


def test_a_reader_who_has_gone_is_no_failure():
    with pytest.raises(BrokenPipeError):
        JsonSink(Stream(BrokenPipeError()), contents=False).put(answered())


def test_where_flows_go_elsewhere_too_only_the_printing_ends():
    stream = Stream(BrokenPipeError())
    sink = JsonSink(stream, contents=True, dispensable=True)

    for _ in range(3):
        pass_through(sink, answered())

    assert stream.calls == ["write", "flush"]


def test_a_stream_that_is_full_is_said():
    with pytest.raises(OutputError, match="No space left"):
        JsonSink(Stream(OSError(errno.ENOSPC, "No space left on device")), contents=True).put(answered())
