"""A flow gets the same verdict however it came: piece by piece from the network, or from a file written in either way.

The reference is plain two-valued logic on the finished flow; see support.filter_cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from support.filter_cases import Case, cases
from support.filter_flows import flows

from mitmdump.filter import Stage, parse
from mitmdump.flowfile import FlowReader, SectionWriter
from mitmdump.model.body import Body
from mitmdump.model.flow import Flow, Part
from mitmdump.model.message import HttpMessage, Message
from mitmdump.sinks.base import Sink
from mitmdump.sinks.tap import Outlet, Tap

Write = Callable[[Flow, SectionWriter, Random], None]


class Collecting(Sink):
    """Keeps what it got of one flow."""

    def __init__(self) -> None:
        self.finished = False
        self.bodies = {Part.REQUEST: b"", Part.RESPONSE: b""}
        self.messages: list[Message] = []

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        self.bodies[part] += data

    def message(self, flow: Flow, message: Message) -> None:
        self.messages.append(message)

    def finish(self, flow: Flow) -> None:
        self.finished = True


def young(flow: Flow) -> Flow:
    """The flow as it is when it begins: nothing is known of what comes later, and no byte stays in it."""
    begun = replace(flow, response=None, error=None, messages=(), marked="")
    if flow.request:
        begun.request = replace(flow.request, body=Body(), timestamp_end=None)
        begun.server_conn, begun.is_replay = None, "request" if flow.is_replay == "request" else None
    return begun


def split(data: bytes, random: Random) -> Iterator[bytes]:
    while data:
        size = random.randint(1, len(data))
        yield data[:size]
        data = data[size:]


def pass_body(flow: Flow, tap: Tap, part: Part, whole: HttpMessage, random: Random) -> Iterator[None]:
    """A message's body comes in pieces, with a stop after each."""
    for piece in split(whole.raw_content or b"", random):
        message = flow.response if part else flow.request
        assert message
        message.body.length += len(piece)
        tap.data(part, piece)
        yield
    message = flow.response if part else flow.request
    assert message
    message.body.complete = True
    message.timestamp_end = whole.timestamp_end
    if not message.body.length:
        message.body.source = b""


def pass_request(flow: Flow, tap: Tap, whole: Flow, random: Random) -> Iterator[None]:
    assert whole.request
    yield from pass_body(flow, tap, Part.REQUEST, whole.request, random)
    tap.reached(Stage.RESPONSE_HEAD if flow.response else Stage.REQUEST)


def pass_response(flow: Flow, tap: Tap, whole: Flow, random: Random) -> Iterator[None]:
    """The response may begin, and even end, before the request has."""
    if whole.response is None:
        return
    flow.server_conn, flow.is_replay = whole.server_conn, whole.is_replay
    flow.response = replace(whole.response, body=Body(), timestamp_end=None)
    assert flow.request
    if flow.request.body.complete:
        tap.reached(Stage.RESPONSE_HEAD)
    yield
    yield from pass_body(flow, tap, Part.RESPONSE, whole.response, random)


def passed_live(whole: Flow, case: Case, random: Random) -> Collecting:
    """What came out of the flow's passing, in random pieces and order."""
    sink, flow = Collecting(), young(whole)
    tap = Outlet(parse(case.text), [sink], lambda error: None).tap(flow)
    tap.reached(Stage.REQUEST_HEAD)
    if whole.kind == "http":
        halves = [pass_request(flow, tap, whole, random), pass_response(flow, tap, whole, random)]
        turns = [0] * random.randint(1, 9) + [1] * random.randint(0, 9)
        random.shuffle(turns)
        for half in [halves[turn] for turn in turns] + halves:
            next(half, None)
        for half in halves:
            for _ in half:
                pass
    for message in whole.messages:
        tap.message(message)
    flow.server_conn, flow.error, flow.marked = whole.server_conn, whole.error, whole.marked
    flow.is_replay = whole.is_replay
    tap.finish()
    return sink


def content(message: HttpMessage | None) -> bytes:
    return (message and message.raw_content) or b""


@given(cases, flows, st.randoms(use_true_random=False))
def test_a_flow_that_passes_in_pieces_gets_the_verdict_of_the_whole(case: Case, flow: Flow, random: Random) -> None:
    sink = passed_live(flow, case, random)
    assert sink.finished is case.truth(flow)
    if sink.finished:
        assert (sink.bodies[Part.REQUEST], sink.bodies[Part.RESPONSE]) == (
            content(flow.request),
            content(flow.response),
        )
        assert sink.messages == list(flow.messages)


def at_once(flow: Flow, writer: SectionWriter, _random: Random) -> None:
    writer.add(flow)


def in_pieces(flow: Flow, writer: SectionWriter, random: Random) -> None:
    running = writer.start(flow)
    for part, message in ((Part.REQUEST, flow.request), (Part.RESPONSE, flow.response)):
        for piece in split(content(message), random):
            running.data(part, piece)
    for message in flow.messages:
        running.message(message)
    running.finish(b"", b"")


@given(cases, flows, st.sampled_from([at_once, in_pieces]), st.randoms(use_true_random=False))
def test_a_flow_from_a_file_gets_the_verdict_of_the_live_one(
    case: Case, flow: Flow, write: Write, random: Random
) -> None:
    written: list[bytes] = []
    write(flow, SectionWriter(written.append, created=0.0), random)
    filter_ = parse(case.text)
    outlet = Outlet(filter_, [], lambda error: None)
    reader = FlowReader(BytesIO(b"".join(written)), unwanted=filter_.rules_out)
    for found in reader:
        outlet.put(found)
    outlet.pass_over(reader.passed_over)
    tally = outlet.tally
    assert (tally.seen, tally.matched, tally.failed) == (1, case.truth(flow), flow.error is not None)
