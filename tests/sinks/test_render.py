"""A flow as text: what is shown at which detail, and that nothing from the network gets at the terminal."""

import gzip
import re
from dataclasses import replace

import brotli
import pytest
import zstandard
from support.terminal import HARMFUL

from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow, WebSocket
from mitmdump.model.headers import Headers
from mitmdump.model.message import Message, Request, Response
from mitmdump.sinks.render import LIMITS, Passed, render


def http_flow() -> Flow:
    request = Request(
        "HTTP/1.1",
        Headers([(b"Host", b"example.com")]),
        Body(complete=True),
        timestamp_start=10.0,
        method="GET",
        scheme="http",
        path="/a",
    )
    response = Response(
        "HTTP/1.1",
        Headers([(b"Content-Type", b"text/plain")]),
        Body(length=1229, complete=True),
        timestamp_end=10.035,
        status_code=200,
        reason="OK",
    )
    client = Connection("client", peername=("127.0.0.1", 51234))
    return Flow("http", client, request=request, response=response, timestamp_start=10.0, timestamp_end=10.04)


def tcp_flow() -> Flow:
    client, server = Connection("client", peername=("::1", 5)), Connection("server", address=("example.com", 25))
    return Flow("tcp", client, server, timestamp_start=10.0, timestamp_end=11.2)


def with_answer(data: bytes, **headers: str) -> tuple[Flow, Passed]:
    flow, passed = http_flow(), Passed()
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    flow.response.headers = Headers(fields)
    flow.response.body = Body(length=len(data), complete=True)
    passed.bodies[1].extend(data)
    return flow, passed


def body_lines(flow: Flow, passed: Passed, detail: int = 3) -> list[str]:
    """What stands under the answer's headers."""
    answer = render(flow, detail, False, passed).partition(" << ")[2]
    lines = answer.partition("\n\n")[2].splitlines()
    assert all(line.startswith(" " * 8) or not line for line in lines)
    return [line[8:] for line in lines if line]


# What stands where


def test_detail_0_is_nothing():
    assert render(http_flow(), 0, False) == ""


def test_detail_1_is_a_line_for_the_request_and_one_for_the_answer():
    assert render(http_flow(), 1, False) == "127.0.0.1:51234: GET http://example.com/a\n    << 200 OK 1.2k 35ms\n"


def test_detail_2_adds_headers_and_an_empty_line():
    assert render(http_flow(), 2, False).splitlines() == [
        "127.0.0.1:51234: GET http://example.com/a",
        "        Host: example.com",
        "    << 200 OK 1.2k 35ms",
        "        Content-Type: text/plain",
        "",
    ]


def test_detail_3_adds_bodies():
    flow, passed = with_answer(b"one\r\n\ntwo", content_type="text/plain")

    assert render(flow, 3, False, passed).splitlines()[-5:] == ["", "        one", "", "        two", ""]


def test_trailers_stand_after_the_body():
    flow, passed = with_answer(b"x", content_type="text/plain")
    flow.response.trailers = Headers([(b"grpc-status", b"5")])

    assert body_lines(flow, passed) == ["x", "(trailers)", "grpc-status: 5"]


def test_other_versions_than_1_1_are_named():
    flow = http_flow()
    flow.request.http_version = flow.response.http_version = "HTTP/1.0"

    assert render(flow, 1, False).splitlines() == [
        "127.0.0.1:51234: GET http://example.com/a HTTP/1.0",
        "    << HTTP/1.0 200 OK 1.2k 35ms",
    ]


def test_a_replayed_half_is_marked():
    assert render(replace(http_flow(), is_replay="request"), 1, False).startswith("[replay]: GET ")
    assert " << [replay] 200 OK " in render(replace(http_flow(), is_replay="response"), 1, False)


def test_a_malformed_request_is_a_flow_with_its_error():
    flow = replace(http_flow(), request=None, response=None, error=Error("the client sent no HTTP", 10.0))

    assert render(flow, 4, False).splitlines() == [
        "127.0.0.1:51234: (no valid request)",
        "    << error: the client sent no HTTP",
        "",
    ]


def test_an_answer_that_broke_off_shows_both_what_came_and_the_error():
    flow = replace(http_flow(), error=Error("the server closed the connection", 10.0))
    flow.response.body.complete = False
    flow.response.timestamp_end = None

    assert render(flow, 1, False).splitlines()[1:] == [
        "    << 200 OK 1.2k (cut off)",
        "    << error: the server closed the connection",
    ]


def test_a_flow_with_neither_answer_nor_error_says_so():
    assert render(replace(http_flow(), response=None), 1, False).endswith("    << (no response)\n")


@pytest.mark.parametrize("detail", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", ["http", "tcp", "udp", "dns"])
def test_a_flow_of_which_nothing_is_known_is_shown(kind, detail):
    """L3"""
    assert render(Flow(kind, Connection("client")), detail, False).startswith("(no client)")
    assert render(Flow(kind, Connection("client"), Connection("server")), detail, True)
    assert render(Flow(kind, Connection("client"), None, Request("", Headers()), Response("", Headers())), detail, True)


def test_a_raw_connection_shows_both_ends_and_the_bytes_each_way():
    passed = Passed(count=2, up=1229, down=3)

    assert render(tcp_flow(), 1, False, passed) == (
        "[::1]:5 <-> example.com:25 tcp, 2 messages, 1.2k up, 3b down, 1.2s\n"
    )


def test_messages_are_listed_with_their_direction_from_detail_3():
    first, second = Message(True, "raw", 0.0, b"HELO\r\nx"), Message(False, "raw", 0.0, b"\0\1")
    passed = Passed(messages=[(first, 7), (second, 5)], count=3, up=7, down=6)

    assert len(render(tcp_flow(), 2, False, passed).splitlines()) == 2
    assert render(tcp_flow(), 3, False, passed).splitlines()[2:] == [
        "        -> raw, 7 bytes",
        "           HELO",
        "           x",
        "        <- raw, the first 2 of 5 bytes",
        "           00000000  00 01                                            ..",
        "        (only the first 2 of 3 messages)",
        "",
    ]


def test_websocket_traffic_is_summed_up_under_the_answer():
    passed = Passed(count=1, up=5)

    assert render(http_flow(), 1, False, passed).endswith("\n    websocket: 1 message, 5b up, 0b down, 40ms\n")


@pytest.mark.parametrize(
    ("websocket", "words"),
    [
        (WebSocket(), ""),
        (WebSocket(True, 1000, "bye\x1b[2J"), ", closed by the client: 1000 bye\\x1b[2J"),
        (WebSocket(False, 1006), ", closed by the server: 1006"),
        (WebSocket(False), ", closed by the server"),
    ],
)
def test_a_websocket_says_who_closed_it_and_how(websocket, words):
    """L1"""
    flow = http_flow()
    flow.websocket = websocket

    last = render(flow, 1, False).splitlines()[-1]

    assert last == f"    websocket: 0 messages, 0b up, 0b down, 40ms{words}"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "-> close"),
        (b"\x03\xe8", "-> close 1000"),
        (b"\x03\xe9going\x1b", "-> close 1001 going\\x1b"),
        (b"\x03", "-> close, 1 bytes"),
    ],
)
def test_a_close_frame_shows_its_code_and_reason(content, line):
    """L1"""
    message = Message(True, "close", 0.0, content)
    passed = Passed(messages=[(message, len(content))], count=1, up=len(content))

    assert f"        {line}" in render(http_flow(), 3, False, passed).splitlines()


# Bodies


@pytest.mark.parametrize("detail", [3, 4])
def test_a_body_that_was_not_kept_shows_its_length(detail):
    assert body_lines(http_flow(), Passed(), detail) == ["(1229 bytes, not kept)"]


def test_a_body_kept_in_part_shows_that_part_and_says_so():
    flow, passed = with_answer(b"hello", content_type="text/plain")
    flow.response.body.length = 1000

    assert body_lines(flow, passed) == ["hello", "(only the first 5 of 1000 bytes)"]


def test_an_empty_body_shows_nothing():
    assert body_lines(*with_answer(b"")) == []


@pytest.mark.parametrize(
    ("name", "coder"), [("gzip", gzip.compress), ("br", brotli.compress), ("zstd", zstandard.compress)]
)
def test_a_coded_body_is_shown_decoded(name, coder):
    assert body_lines(*with_answer(coder(b"[1]"), content_type="application/json", content_encoding=name)) == [
        "[",
        "  1",
        "]",
    ]


def test_a_body_that_is_not_what_its_coding_says_is_dumped_under_the_reason():
    reason, dump = body_lines(*with_answer(b"hello", content_encoding="gzip"))

    assert reason == "(the body is not valid gzip data: incorrect header check)"
    assert dump.endswith("hello")


@pytest.mark.parametrize("detail", [3, 4])
@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
def test_a_bomb_is_shown_up_to_the_limit(name, detail):
    """R2"""
    coder = {"gzip": gzip.compress, "br": brotli.compress, "zstd": zstandard.compress}[name]
    data = coder(b"A" * (LIMITS[detail].bytes + 1))

    shown = body_lines(*with_answer(data, content_type="text/plain", content_encoding=name), detail)

    assert shown[-1] == f"(only the first {LIMITS[detail].bytes} decoded bytes)"
    assert len("".join(shown)) < LIMITS[detail].bytes + 100


def test_detail_3_cuts_lines_and_columns_and_detail_4_does_not():
    flow, passed = with_answer(b"x" * 1500 + b"\nshort" * 500, content_type="text/plain")

    cut, whole = body_lines(flow, passed, 3), body_lines(flow, passed, 4)

    assert cut[0] == "x" * 1000 + " (and 500 characters more)"
    assert cut[200:] == ["(cut off after 200 lines)"]
    assert whole == ["x" * 1500] + ["short"] * 500


def test_detail_4_has_a_limit_of_lines_too():
    """R2"""
    flow, passed = with_answer(b"\nx" * 150_000, content_type="text/plain")

    assert body_lines(flow, passed, 4)[-1] == "(cut off after 100000 lines)"


def test_binary_is_dumped_at_its_head_and_at_detail_4_whole():
    flow, passed = with_answer(bytes(1024))

    assert len(body_lines(flow, passed, 3)) == 17
    assert len(body_lines(flow, passed, 4)) == 64


# Nothing gets at the terminal


def everywhere(evil: str) -> list[tuple[Flow, Passed]]:
    """Flows with `evil` in every field that a peer or a file can fill."""
    raw = evil.encode("utf-8", "surrogatepass")
    fields = Headers([(b"Host" + raw, raw), (b"Content-Type", raw), (b"Content-Encoding", b"")])
    client = Connection("client", peername=(evil, 1))
    request = Request(evil, fields, Body(1, True), fields, method=evil, scheme=evil, authority=evil, path=evil)
    response = Response(evil, fields, Body(1, True), fields, reason=evil, status_code=200)
    bodies = (bytearray(raw), bytearray(b"a" + raw))
    messages = [(Message(True, "text", 0.0, raw), 1)]
    passed = Passed(bodies, messages, count=1)
    http = Flow("http", client, None, request, response, Error(evil, 0.0))
    coded = replace(http, request=None, response=replace(response, headers=Headers([(b"content-encoding", raw)])))
    tcp = Flow("tcp", client, Connection("server", address=(evil, 1)), error=Error(evil, 0.0))
    return [(http, passed), (coded, passed), (tcp, passed), (replace(tcp, server_conn=None), passed)]


@pytest.mark.parametrize("detail", [1, 2, 3, 4])
def test_no_harmful_character_from_any_field_reaches_the_terminal(detail):
    """L1"""
    for evil in HARMFUL:
        for flow, passed in everywhere(evil):
            shown = render(flow, detail, False, passed)
            assert not set(shown) & set(HARMFUL) - {"\n"}


FORGED = "\n127.0.0.1:9: GET http://forged/\r\n    << 200 OK\n"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "text/html", "application/json", "application/x-www-form-urlencoded"]
)
@pytest.mark.parametrize("detail", [1, 2, 3, 4])
def test_one_flow_keeps_to_its_lines(detail, kind):
    """L1"""
    for flow, passed in everywhere(FORGED):
        if flow.response:
            flow.response.headers.fields.insert(0, (b"Content-Type", kind.encode()))
        lines = render(flow, detail, False, passed).splitlines()
        answers = (flow.response is not None) + (flow.error is not None)
        assert [line for line in lines[1:] if line and not line.startswith("    ")] == []
        assert len([line for line in lines if line.startswith("    <<")]) == answers


# Words


def test_colour_adds_nothing_but_colour():
    flow, passed = with_answer(b"[1]\x1b[31m", content_type="application/json")
    flow.error = Error("cut", 0.0)

    colored = render(flow, 3, True, passed)

    assert "\x1b[32m200 OK\x1b[0m" in colored
    assert re.sub(r"\x1b\[[\d;]+m", "", colored) == render(flow, 3, False, passed)


@pytest.mark.parametrize("status", [0, 100, 299, 304, 404, 503, 999, 100_000])
def test_every_status_can_be_coloured(status):
    flow = http_flow()
    flow.response.status_code = status

    assert f"m{status} OK\x1b[0m" in render(flow, 1, True)
