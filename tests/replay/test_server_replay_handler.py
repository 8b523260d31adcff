"""The handler that answers out of recordings."""

import asyncio
import threading

import pytest
from support.flowfiles import START
from support.replaying import a_request, answers_of, recorded

from mitmdump.errors import RemoteError
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow
from mitmdump.replay.server import Answering, ServerReplay
from mitmdump.settings.replay import Latency


class Replay:
    """Asks a handler, and remembers what it said."""

    def __init__(self, path, *flows, **how):
        self.said = []
        self.handler = ServerReplay(answers_of(path / "in.flows", *flows), Answering(**how), self.said.append)

    def ask(self, *arguments, **fields):
        flow = Flow("http", Connection("client"), request=a_request(*arguments, **fields))
        asyncio.run(self.handler.request(flow))
        return flow

    def content(self, *arguments, **fields):
        response = self.ask(*arguments, **fields).response
        return response.raw_content if response else None


@pytest.fixture
def replay(tmp_path):
    return lambda *flows, **how: Replay(tmp_path, *flows, **how)


def three():
    return [recorded(a_request(), content) for content in (b"1", b"2", b"3")]


def test_a_request_that_was_recorded_gets_its_response(replay):
    flow = replay(recorded(a_request("http://a.test/?a=1&b=2"), b"x", 201, x_y="z")).ask("http://a.test/?b=2&a=1")

    assert (flow.response.status_code, flow.response.raw_content, flow.response.headers["x-y"]) == (201, b"x", "z")
    assert flow.is_replay == "response"


@pytest.mark.parametrize(
    ("how", "given"),
    [
        ({}, [b"1", b"2", b"3", b"3", b"3"]),
        ({"after": "first"}, [b"1", b"2", b"3", b"1", b"1"]),
        ({"after": "cycle"}, [b"1", b"2", b"3", b"1", b"2"]),
        ({"after": "extra", "extra": "forward"}, [b"1", b"2", b"3", None, None]),
        ({"reuse": True}, [b"1", b"1", b"1", b"1", b"1"]),
    ],
)
def test_several_recordings_are_given_in_order_and_then_as_one_wishes(replay, how, given):
    running = replay(*three(), **how)

    assert [running.content() for _ in range(5)] == given


def test_a_large_body_is_read_beside_the_loop(replay):
    """So that others are served."""
    content, read_in = bytes(2 << 20), []

    class Kept:
        def __len__(self):
            return len(content)

        def pieces(self):
            read_in.append(threading.current_thread() is threading.main_thread())
            return iter([content])

    running = replay(recorded(a_request("http://a.test/", "POST", content)))
    flow = Flow("http", Connection("client"), request=a_request("http://a.test/", "POST"))
    flow.request.body = Body(len(content), complete=True, source=Kept())
    asyncio.run(running.handler.request(flow))

    assert flow.response.raw_content == b"hello"
    assert read_in == [False]


def test_what_matches_nothing_is_refused_with_the_closest_named(replay):
    running = replay(recorded(a_request("http://a.test/?page=2")))

    with pytest.raises(RemoteError, match=r"\(query: page=3, recorded page=2\)") as caught:
        running.ask("http://a.test/?page=3")

    assert caught.value.status == 502
    assert running.said == [str(caught.value)]


def test_a_used_up_recording_does_not_begin_to_leak(replay):
    running = replay(recorded(a_request()), after="extra")
    running.ask()

    with pytest.raises(RemoteError, match="it is used up"):
        running.ask()


def test_a_status_of_ones_choice_is_the_answer(replay):
    flow = replay(extra=404).ask()

    assert flow.response.status_code == 404
    assert b"No recording matches GET http://a.test/" in flow.response.raw_content
    assert flow.response.headers["content-length"] == str(flow.response.body.length)


def test_a_status_without_a_body_has_none(replay):
    response = replay(extra=204).ask().response

    assert (response.raw_content, "content-length" in response.headers) == (b"", False)


def test_what_is_forwarded_is_left_alone_and_told(replay):
    running = replay(recorded(a_request("http://a.test/x")), extra="forward")

    flow = running.ask("http://a.test/y")

    assert (flow.response, flow.is_replay) == (None, None)
    assert running.said[0].endswith("; forwarded")


def test_each_miss_is_told_once_and_counted_always(replay):
    running = replay(extra=404)

    for _ in range(3):
        running.ask()
    running.ask("http://a.test/other")

    assert len(running.said) == 2
    assert (running.handler.misses, len(running.handler.missed)) == (4, 4)


def test_of_misses_without_end_all_are_counted_and_some_are_remembered(replay, monkeypatch):
    monkeypatch.setattr("mitmdump.replay.server.MAX_MISSED", 2)
    running = replay(extra=404)

    for number in range(5):
        running.ask(f"http://a.test/{number}")

    assert (running.handler.misses, len(running.handler.missed), len(running.said)) == (5, 2, 5)


def test_what_comes_closest_is_looked_for_once(replay, tmp_path):
    """A client that asks again and again costs little."""
    running = replay(recorded(a_request()), extra=404)
    first = running.ask(method="POST")
    (tmp_path / "in.flows").write_bytes(b"")

    assert running.ask(method="POST").metadata == first.metadata
    assert first.metadata["replay.missed"]["closest"]


def test_a_miss_is_noted_in_the_flow(replay):
    flow = replay(recorded(a_request()), extra=404).ask(method="POST")

    assert flow.metadata == {"replay.missed": {"closest": ["GET http://a.test/ (method: POST, recorded GET)"]}}


def test_head_is_answered_from_a_get_and_does_not_use_it_up(replay):
    running = replay(*three())

    assert [running.content(method="HEAD") for _ in range(4)] == [b""] * 4
    assert running.ask(method="HEAD").response.headers["content-length"] == "1"
    assert running.content() == b"1"


def test_a_recorded_head_goes_before_the_get(replay):
    running = replay(recorded(a_request()), recorded(a_request(method="HEAD"), b"", 204))

    assert running.ask(method="HEAD").response.status_code == 204


def test_ranges_are_answered_from_a_get_and_do_not_use_it_up(replay):
    running = replay(recorded(a_request(), b"0123456789"), recorded(a_request(), b"next"))

    assert [running.content(range=f"bytes={at}-{at}") for at in range(3)] == [b"0", b"1", b"2"]
    assert running.content() == b"0123456789"


def test_a_server_that_ignored_a_range_does_so_again(replay):
    running = replay(recorded(a_request(range="bytes=1-2"), b"whole"))

    assert running.content(range="bytes=1-2") == b"whole"
    assert running.content() == b"whole"


def test_a_recorded_part_answers_the_same_range_only(replay):
    running = replay(recorded(a_request(range="bytes=1-2"), b"12", 206), extra="forward")

    assert running.content(range="bytes=1-2") == b"12"
    assert running.content(range="bytes=1-3") is None
    assert running.content() is None


def test_a_recorded_304_answers_the_same_condition_only(replay):
    kept = recorded(a_request(if_none_match='"x"'), b"", 304)
    running = replay(kept, recorded(a_request(), b"whole"))

    assert running.ask(if_none_match='"x"').response.status_code == 304
    assert running.content(if_none_match='"y"') == b"whole"
    assert running.content() == b"whole"


def test_dates_are_moved_unless_that_is_not_wanted(replay):
    date = "Wed, 21 Oct 2015 07:28:00 GMT"
    moved, kept = (replay(recorded(a_request(), date=date), refresh=refresh).ask() for refresh in (True, False))

    assert moved.response.headers["date"] != date
    assert kept.response.headers["date"] == date


@pytest.mark.parametrize(
    ("latency", "waited"),
    [(Latency(), None), (Latency(0.2), 0.2), (Latency(share=1.0), 0.5), (Latency(share=0.5), 0.25)],
)
def test_an_answer_is_held_back_as_long_as_is_wanted(replay, monkeypatch, latency, waited):
    naps = []

    async def sleep(seconds):
        naps.append(seconds)

    monkeypatch.setattr("mitmdump.replay.server.asyncio.sleep", sleep)

    replay(recorded(a_request()), latency=latency).ask()

    assert naps == ([waited] if waited else [])


def test_a_response_has_the_times_of_now(replay):
    response = replay(recorded(a_request())).ask().response

    assert response.timestamp_start != START + 0.5


def test_what_another_handler_has_answered_is_not_answered_again(replay):
    running = replay(recorded(a_request()))
    flow = recorded(a_request(), b"from another")

    asyncio.run(running.handler.request(flow))

    assert flow.response.raw_content == b"from another"


def test_a_recording_that_is_gone_is_an_error_that_says_so(replay, tmp_path):
    running = replay(recorded(a_request()))
    (tmp_path / "in.flows").write_bytes(b"")

    with pytest.raises(RemoteError, match="the recorded response cannot be read"):
        running.ask()


@pytest.mark.parametrize(("extra", "sealed"), [("kill", True), (404, True), ("forward", False)])
def test_only_forwarding_breaks_the_seal(replay, extra, sealed):
    running = replay(extra=extra)

    assert running.handler.sealed is sealed
    assert (running.handler.server("new.test", 443, ()) is not None) is sealed


@pytest.mark.parametrize(
    ("spoken", "offers", "chosen"),
    [
        (b"h2", (b"h2", b"http/1.1"), b"h2"),
        (b"h2", (b"http/1.1",), b"http/1.1"),
        (b"http/1.1", (b"h2", b"http/1.1"), b"http/1.1"),
        (None, (b"h2", b"http/1.1"), b"http/1.1"),
        (None, (), None),
    ],
)
def test_a_client_is_offered_the_protocol_that_the_server_spoke(replay, spoken, offers, chosen):
    """T10"""
    flow = recorded(a_request("https://a.test/"))
    flow.server_conn = Connection("server", address=("a.test", 443), certificate_list=(b"no DER",), alpn=spoken)

    assert replay(flow).handler.server("a.test", 443, offers).alpn == chosen
