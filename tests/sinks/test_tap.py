"""Between flows and sinks: verdicts as early as they can be had, nothing kept that nobody wants, and the counts."""

import errno

import pytest
from support.filter_flows import a_request, a_response, an_exchange

from mitmdump.errors import OutputError
from mitmdump.filter import Stage, parse
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow, Part
from mitmdump.model.message import Message
from mitmdump.sinks import spool as module
from mitmdump.sinks.base import Sink
from mitmdump.sinks.tap import Outlet, Outlets


class Listing(Sink):
    """Keeps the calls that it got, bodies joined."""

    def __init__(self, *, bodies: bool = True) -> None:
        self.calls: list = []
        self.wants_bodies = bodies

    def begin(self, flow: Flow) -> None:
        self.calls.append("begin")

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        self.calls.append((part, data))

    def message(self, flow: Flow, message: Message) -> None:
        self.calls.append(message.content)

    def finish(self, flow: Flow) -> None:
        self.calls.append("finish")

    def tick(self, now: float) -> None:
        self.calls.append(now)

    def close(self) -> None:
        self.calls.append("close")


class Failing(Listing):
    """A sink that fails in one of its methods."""

    def __init__(self, method: str, error: Exception) -> None:
        super().__init__()

        def fail(*_arguments: object) -> None:
            self.calls.append(method)
            raise error

        setattr(self, method, fail)


def outlet(text: str | None, *sinks: Sink, failures: list | None = None) -> Outlet:
    return Outlet(parse(text) if text else None, sinks, (failures if failures is not None else []).append)


def live() -> Flow:
    """A flow whose bytes do not stay in it."""
    flow = an_exchange(a_request("POST", path="/x"), a_response(200))
    for message in (flow.request, flow.response):
        message.body.source = None
    return flow


def run(tap, flow: Flow, *, request: bytes = b"question", response: bytes = b"answer", until: int = 7) -> None:
    """The life of an exchange, or the first steps of it."""
    whole, flow.response = flow.response, None
    steps = [
        lambda: tap.reached(Stage.REQUEST_HEAD),
        lambda: request and tap.data(Part.REQUEST, request),
        lambda: tap.reached(Stage.REQUEST),
        lambda: setattr(flow, "response", whole),
        lambda: tap.reached(Stage.RESPONSE_HEAD),
        lambda: response and tap.data(Part.RESPONSE, response),
        tap.finish,
    ]
    for step in steps[:until]:
        step()


ALL = ["begin", (Part.REQUEST, b"question"), (Part.RESPONSE, b"answer"), "finish"]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "~all",
        "~m POST",
        "~c 200",
        "~bq question",
        "~bs answer",
        "~b answer",
        "!~e",
        "~bq question & ~bs answer",
        "~dur >0s | ~all",
    ],
)
def test_a_flow_that_is_wanted_comes_whole_and_in_order_whenever_that_is_known(text):
    sink, flow = Listing(), live()
    run(outlet(text, sink).tap(flow), flow)
    assert sink.calls == ALL


@pytest.mark.parametrize("text", ["~m GET", "~c 404", "~bq other", "~bs other", "~b other", "~e", "~tcp"])
def test_of_a_flow_that_is_not_wanted_nothing_comes(text):
    sink, flow = Listing(), live()
    run(outlet(text, sink).tap(flow), flow)
    assert sink.calls == []


@pytest.mark.parametrize(
    ("text", "steps"), [("~m GET", 1), ("~m POST", 1), ("~bq x", 3), ("~bq question", 3), ("~c 404", 5), ("~c 200", 5)]
)
def test_the_verdict_comes_as_early_as_it_can_and_from_then_on_nothing_is_kept(text, steps):
    flow = live()
    tap = outlet(text, Listing()).tap(flow)
    run(tap, flow, until=steps - 1)
    assert tap.wanted is None
    flow = live()
    tap = outlet(text, Listing()).tap(flow)
    run(tap, flow, until=steps)
    assert tap.wanted is not None
    run(tap, flow)
    assert tap._spool is None


@pytest.mark.parametrize("text", ["~bs answer", "~bs other"])
def test_what_was_spooled_does_not_stay_in_the_flow(text):
    flow = live()
    run(outlet(text, Listing()).tap(flow), flow)
    assert (flow.request.body.source, flow.response.body.source, flow.messages) == (None, None, ())


@pytest.mark.parametrize("text", ["~bs answer", "~bs other", "~c 200"])
def test_an_empty_body_is_still_known_to_be_empty(text):
    flow = live()
    flow.request.body.source = b""
    run(outlet(text, Listing()).tap(flow), flow, request=b"")
    assert flow.request.raw_content == b""


def test_messages_are_spooled_and_fed_as_well():
    sink = Listing()
    flow = Flow("tcp", Connection("client"), Connection("server"))
    tap = outlet("~b two", sink).tap(flow)
    tap.reached(Stage.REQUEST_HEAD)
    for text in (b"one", b"two"):
        tap.message(Message(True, "raw", 1.0, text))
    assert sink.calls == []
    tap.finish()
    assert sink.calls == ["begin", b"one", b"two", "finish"]


def test_a_sink_that_looks_at_no_bodies_gets_none():
    bodies, none, flow = Listing(), Listing(bodies=False), live()
    run(outlet("~c 200", none, bodies).tap(flow), flow)
    assert (bodies.calls, none.calls) == (ALL, ["begin", "finish"])


def test_bodies_that_nobody_looks_at_are_not_spooled():
    sink, flow = Listing(bodies=False), live()
    tap = outlet("~c 200", sink).tap(flow)
    run(tap, flow, until=4)
    assert tap._spool is None
    run(tap, flow)
    assert sink.calls == ["begin", "finish"]


def test_bodies_that_only_the_filter_looks_at_are_spooled():
    sink, flow = Listing(bodies=False), live()
    run(outlet("~bs answer", sink).tap(flow), flow)
    assert sink.calls == ["begin", "finish"]


def test_a_whole_flow_is_put_as_if_it_had_been_live():
    sink = Listing()
    stored = an_exchange(a_request("POST", body=b"question"), a_response(200, body=b"answer"))
    for text in (None, "~b answer", "~b other"):
        outlet(text, sink).put(stored)
    assert sink.calls == ALL * 2
    assert stored.request.raw_content == b"question"


# -- counts ---------------------------------------------------------------------------------------------------------


def test_flows_are_counted_when_they_end():
    """R8"""
    one = outlet("~c 200", Listing())
    for status, error in ((200, None), (404, None), (200, Error("why", 1.0)), (404, Error("why", 1.0))):
        flow = live()
        flow.response.status_code, flow.error = status, error
        run(one.tap(flow), flow)
    run(one.tap(live()), live(), until=6)
    assert (one.tally.seen, one.tally.matched, one.tally.failed) == (4, 2, 2)


def test_outlets_decide_each_for_itself():
    wanted, unwanted, late = Listing(), Listing(), Listing()
    flow = live()
    side_by_side = [
        outlet(text, sink) for text, sink in (("~m POST", wanted), ("~m GET", unwanted), ("~bs answer", late))
    ]
    tap = Outlets(side_by_side).tap(flow)
    run(tap, flow)
    assert (wanted.calls, unwanted.calls, late.calls) == (ALL, [], ALL)
    assert [each.tally.matched for each in side_by_side] == [1, 0, 1]


def test_bytes_are_counted_as_they_pass_wanted_or_not():
    one = outlet("~c 404", Listing(bodies=False))
    run(one.tap(live()), live())
    one.tap(live()).message(Message(True, "raw", 1.0, b"12345"))
    assert one.tally.bytes == len(b"question" + b"answer") + 5
    one.put(an_exchange(a_request("POST", body=b"question"), a_response(200, body=b"answer")))
    assert one.tally.bytes == 2 * len(b"question" + b"answer") + 5


# -- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "~m POST", "~bs answer"])
def test_no_more_flows_are_wanted_than_the_limit_allows(text):
    sink, full = Listing(), []
    one = Outlet(parse(text) if text else None, [sink], print, limit=2, on_full=lambda: full.append(len(sink.calls)))
    for number in range(4):
        if number % 2:
            one.put(an_exchange(a_request("POST", body=b"question"), a_response(200, body=b"answer")))
        else:
            flow = live()
            run(one.tap(flow), flow)
    assert sink.calls == ALL * 2
    assert (one.tally.seen, one.tally.matched) == (4, 2)
    assert full == [len(ALL)]


def test_flows_that_do_not_match_take_no_room():
    sink = Listing()
    one = Outlet(parse("~c 200"), [sink], print, limit=1)
    for status in (404, 404, 200, 200):
        flow = live()
        flow.response.status_code = status
        run(one.tap(flow), flow)
    assert sink.calls == ALL


# -- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OutputError("full"), OSError(errno.ENOSPC, "No space left"), BrokenPipeError()])
@pytest.mark.parametrize("text", [None, "~bs answer"])
@pytest.mark.parametrize("method", ["begin", "data", "finish"])
def test_a_sink_that_fails_is_told_once_and_gets_no_more(method, text, error):
    """S3: and the others of the same outlet miss nothing."""
    failures: list = []
    broken, before, behind = Failing(method, error), Listing(), Listing()
    one = outlet(text, before, broken, behind, failures=failures)
    for _ in range(2):
        flow = live()
        run(one.tap(flow), flow)
    assert failures == [error]
    assert broken.calls.count(method) == 1
    assert broken.calls[-1] == method
    assert before.calls == behind.calls == ALL * 2
    assert one.tally.seen == 2


@pytest.mark.parametrize("method", ["message", "tick", "put"])
def test_a_sink_that_fails_otherwise_is_told_as_well(method):
    failures: list = []
    error = OutputError("full")
    one = outlet(None, Failing(method, error), failures=failures)
    tap = one.tap(Flow("tcp", Connection("client")))
    tap.reached(Stage.REQUEST_HEAD)
    for _ in range(2):
        tap.message(Message(True, "raw", 1.0, b"x"))
        one.tick(1.0)
        one.put(live())
    tap.finish()
    assert failures == [error]


def test_all_sinks_are_closed_whatever_becomes_of_one():
    failures: list = []
    error, late = OutputError("full"), OutputError("full at last")
    broken, closing, fine = Failing("begin", error), Failing("close", late), Listing()
    one = outlet(None, broken, closing, fine, failures=failures)
    one.put(live())
    one.close()
    assert failures == [error, late]
    assert broken.calls == ["begin", "close"]
    assert fine.calls[-1] == "close"


def test_a_spool_that_cannot_be_written_is_a_failure_that_says_what_to_do(monkeypatch):
    """S3"""

    class Full:
        def add(self, part, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            pass

        def body(self, part):
            return b""

        def size(self, part):
            return 0

        def messages(self):
            return ()

        def pieces(self, part):
            return iter(())

    monkeypatch.setattr(module, "Spool", Full)
    failures: list = []
    sink, flow = Listing(), live()
    run(outlet("~bs answer", sink, failures=failures).tap(flow), flow)
    (failure,) = failures
    assert "No space left on device; set TMPDIR" in str(failure)
    assert sink.calls == []
