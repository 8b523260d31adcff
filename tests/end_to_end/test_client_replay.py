"""Client replay as a user runs it: recorded with the program, sent again with the program, to real servers."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import chain, pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from support.clients import curl
from support.program import PROGRAM, Start, mitmdump
from support.recordings import answered, record, recorded, said
from support.servers import HELLO, Nginx, Peer, Serve, answering, response
from support.tools import refusing_port, wait_until
from websockets.sync.client import connect as websocket
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as serving

from mitmdump.files import open_flows
from mitmdump.model.flow import Flow

Replay = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def replay(confdir: Path, root_file: Path) -> Replay:
    """Run a client replay to its end, without a listener, trusting the servers' root."""

    def go(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return mitmdump("-n", "--confdir", confdir, "--upstream-ca", root_file, *arguments)

    return go


@pytest.fixture
def capture(start: Start, nginx: Nginx) -> Path:
    """Three requests of curl to nginx, recorded."""
    nginx.put("a.json", b'{"id": 1, "name": "a"}')
    with start() as proxy:
        curl(proxy, nginx.https + "/a.json")
        curl(proxy, "-T", "-", "-H", "Transfer-Encoding: chunked", nginx.http + "/upload/x")
        curl(proxy, "--compressed", nginx.https + "/a.json")
    return proxy.capture


def flows_of(path: Path) -> list[Flow]:
    """The flows of a capture, read whole."""
    with open_flows(path, strict=True) as flows:
        found = list(flows)
        for flow in found:
            flow.messages = list(flow.messages)
            for half in (flow.request, flow.response):
                if half:
                    half.body.source = half.body.read()
    return found


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What it said, without the closing line of every run."""
    assert "Traceback" not in done.stderr
    return [line.removeprefix("mitmdump: ") for line in done.stderr.splitlines() if " flows seen, " not in line]


def test_a_recorded_session_gets_the_same_answers_again(replay: Replay, capture: Path, nginx: Nginx, tmp_path: Path):
    done = replay("-C", capture, "-w", tmp_path / "out.flows", "--replay-verify", "status,body")

    assert (done.returncode, told(done)) == (
        1,
        [
            f"the answer to PUT {nginx.http}/upload/x differs:",
            "    status: 204, recorded 201",  # as that file is there now
            "replayed 3 of 3 flows: 3 answered, 0 failed, 1 differ",
        ],
    )
    before, after = flows_of(capture), flows_of(tmp_path / "out.flows")
    assert [flow.request.url for flow in after] == [flow.request.url for flow in before]
    assert after[0].response.raw_content == before[0].response.raw_content
    assert after[2].response.content == b'{"id": 1, "name": "a"}'
    assert {(flow.is_replay, flow.error) for flow in after} == {("request", None)}
    assert [flow.metadata["replay_of"] for flow in after] == [f"{flow.id:016x}" for flow in before]
    assert "[replay]: GET https://localhost" in done.stdout


def test_differences_are_told_and_make_the_status_1(replay: Replay, capture: Path, nginx: Nginx):
    nginx.put("a.json", b'{"id": 2, "name": "b"}')

    done = replay(
        "-C", capture, "--replay-filter", "~u json", "--replay-verify", "body", "--replay-ignore", "json:$.id"
    )

    assert done.returncode == 1
    url = f"{nginx.https}/a.json"
    difference = [f"the answer to GET {url} differs:", '    body $.name: "b", recorded "a"']
    assert told(done) == [*difference, *difference, "replayed 2 of 2 flows: 2 answered, 0 failed, 2 differ"]


def test_what_does_not_differ_has_the_status_0(replay: Replay, capture: Path, nginx: Nginx):
    nginx.put("a.json", b'{"id": 3, "name": "a"}')

    done = replay(
        "-C", capture, "-q", "~u json", "--replay-verify", "status,body", "--replay-ignore", "json:$.id,header:etag"
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("concurrency", [1, 7])
def test_requests_leave_in_order_and_no_more_at_a_time_than_may(
    replay: Replay, serve: Serve, tmp_path: Path, concurrency: int
):
    """P3"""
    connections: list[list[int]] = []

    def script(peer: Peer) -> None:
        connections.append(seen := [])
        while head := peer.read_head():
            seen.append(int(head.split()[1][1:]))
            peer.send(HELLO)

    server = serve(script)
    capture = record(tmp_path / "in.flows", *(recorded(server.url(f"/{n}"), at=n) for n in reversed(range(60))))

    done = replay("-C", capture, "--replay-concurrency", str(concurrency))

    assert done.returncode == 0
    assert sorted(chain.from_iterable(connections)) == list(range(60))
    assert all(seen == sorted(seen) for seen in connections)
    assert len(connections) <= concurrency


def test_think_times_are_those_of_the_recording(replay: Replay, serve: Serve, tmp_path: Path):
    at: list[float] = []

    def script(peer: Peer) -> None:
        while peer.read_head():
            at.append(time.monotonic())
            peer.send(HELLO)

    server = serve(script)
    capture = record(tmp_path / "in.flows", *(recorded(server.url(), at=0.4 * n, lasting=0.2) for n in range(3)))

    assert replay("-C", capture, "--replay-timing", "2x").returncode == 0
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(at))


def test_a_body_of_50_mb_is_streamed_out_of_the_file(start: Start, serve: Serve, replay: Replay, tmp_path: Path):
    """P3"""
    size = 50_000_000
    digests: list[bytes] = []

    def script(peer: Peer) -> None:
        head = peer.read_head()
        assert b"\r\nContent-Length: %d\r\n" % size in head
        digests.append(peer.digest(size))
        peer.send(HELLO)

    server, large = serve(script), tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20) * 47 + bytes(size - (47 << 20)))
    with start() as proxy:
        curl(proxy, "-T", large, "-H", "Expect:", server.url("/"))
    with start("-C", proxy.capture) as again:
        wait_until(lambda: len(digests) == 2, "the body has come again")
        again.expected.append("replayed 1 of 1")
        wait_until(lambda: "replayed" in again.stdout or "[replay]" in again.stdout, "it is recorded")
        assert again.memory("VmHWM") < 150 << 20

    assert digests == [hashlib.sha256(large.read_bytes()).digest()] * 2
    assert [flow.request.body.length for flow in again.flows()] == [size]


@pytest.mark.parametrize("keep", [False, True])
def test_another_server_is_asked_under_its_own_name_or_the_recorded_one(
    replay: Replay, serve: Serve, tls: ssl.SSLContext, tmp_path: Path, keep: bool
):
    heads: list[bytes] = []
    names: list[str] = []
    tls.sni_callback = lambda _sock, name, _context: names.append(name)

    def script(peer: Peer) -> None:
        heads.append(peer.read_head())
        peer.send(HELLO)

    server = serve(script, tls)
    flow = recorded("http://localhost/x" if keep else "http://a.test/x")
    arguments = ["-C", record(tmp_path / "in.flows", flow), "--replay-to", f"https://localhost:{server.port}"]

    done = replay(*arguments, *(["--replay-keep-host"] if keep else []))

    tls.sni_callback = None
    assert done.returncode == 0, done.stderr
    host = b"localhost" if keep else b"localhost:%d" % server.port
    assert heads == [b"GET /x HTTP/1.1\r\nHost: %b\r\n\r\n" % host]
    assert names == ["localhost"]


def test_a_server_that_is_not_trusted_is_asked_nothing(
    replay: Replay, serve: Serve, tls: ssl.SSLContext, tmp_path: Path
):
    server = serve(answering(HELLO), tls)
    capture = record(tmp_path / "in.flows", recorded("http://a.test/x"))

    done = replay("-C", capture, "--replay-to", f"https://localhost:{server.port}", "--replay-keep-host")

    assert done.returncode == 1
    assert "the certificate of localhost:" in done.stderr


def test_reports_tell_of_each_request(replay: Replay, serve: Serve, tmp_path: Path):
    server = serve(answering(response(b"x", "500 Oh")))
    with refusing_port() as port:
        cut = recorded("http://a.test/cut", at=3)
        cut.request.body.complete = False
        flows = [recorded(server.url("/1"), answer=answered()), recorded(f"http://127.0.0.1:{port}/2", at=1), cut]
        capture = record(tmp_path / "in.flows", *flows)
        reports = [tmp_path / "report.xml", tmp_path / "report.json"]
        for report in reports:
            assert replay("-C", capture, "--replay-verify", "status", "--replay-report", report).returncode == 1

    (suite,) = ElementTree.parse(reports[0]).getroot()
    assert [[each.tag for each in case] for case in suite] == [["failure"], ["error"], ["skipped"]]
    found = json.loads(reports[1].read_text())["requests"]
    assert [each["outcome"] for each in found] == ["failed", "error", "skipped"]
    assert found[0]["details"] == ["status: 500, recorded 200"]


def test_a_har_can_be_replayed(replay: Replay, capture: Path, tmp_path: Path):
    har = tmp_path / "in.har"
    assert mitmdump("-nr", capture, "-w", har, "-q").returncode == 0

    done = replay("-C", har, "-w", tmp_path / "out.flows", "~u json")

    assert done.returncode == 0
    assert [flow.response.status_code for flow in flows_of(tmp_path / "out.flows")] == [200, 200]


def test_several_captures_and_standard_input_are_replayed_as_often_as_wanted(
    confdir: Path, serve: Serve, tmp_path: Path
):
    server = serve(answering(HELLO))
    one, two = (record(tmp_path / name, recorded(server.url(f"/{name}"))) for name in "ab")

    done = mitmdump("-n", "--confdir", confdir, "-C", one, "-C", "-", "--replay-loop", "2", stdin=two.read_bytes())

    assert done.returncode == 0
    assert [line.rpartition("/")[2] for line in done.stdout.splitlines() if "GET" in line] == ["a", "b", "a", "b"]


def test_a_raw_connection_is_replayed(replay: Replay, serve: Serve, tmp_path: Path):
    heard: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.send(b"220 hi\r\n")
        heard.append(peer.read_line())
        peer.send(b"250 ok\r\n")
        heard.append(peer.read_line())

    server = serve(script)
    talk = [(False, b"220 hi\r\n"), (True, b"EHLO x\r\n"), (False, b"250 ok\r\n"), (True, b"QUIT\r\n")]

    done = replay("-C", record(tmp_path / "in.flows", said(server.port, *talk)), "-w", tmp_path / "out.flows")

    assert done.returncode == 0
    assert heard == [b"EHLO x\r\n", b"QUIT\r\n"]
    with open_flows(tmp_path / "out.flows") as flows:
        assert [(message.from_client, message.content) for message in next(flows).messages] == talk


def test_a_websocket_is_replayed_message_by_message(start: Start, replay: Replay, tmp_path: Path):
    conversations: list[list[str | bytes]] = []

    def answer(peer: ServerConnection) -> None:
        conversations.append(heard := [])
        peer.send("welcome")
        for message in peer:
            heard.append(message)
            peer.send(message * 2)

    with serving(answer, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/chat"
        with start() as proxy, websocket(uri, proxy=proxy.url) as client:
            assert client.recv() == "welcome"
            for message in ("a" * 1000, b"\0\1"):
                client.send(message)
                client.recv()
        done = replay("-C", proxy.capture, "-w", tmp_path / "out.flows")
        server.shutdown()

    assert done.returncode == 0, done.stderr
    assert conversations == [["a" * 1000, b"\0\1"]] * 2
    (before,), (after,) = flows_of(proxy.capture), flows_of(tmp_path / "out.flows")
    assert after.websocket == before.websocket
    assert after.is_replay == "request"


def test_a_request_of_http_2_is_sent_in_http_2_again(replay: Replay, nginx: Nginx, start: Start, tmp_path: Path):
    with start() as proxy:
        curl(proxy, "--http2", nginx.http2 + "/echo")

    done = replay("-C", proxy.capture, "-w", tmp_path / "out.flows", "--replay-verify", "status,body")

    assert done.returncode == 0, done.stderr
    versions = [
        (flow.request.http_version, flow.response.http_version)
        for path in (proxy.capture, tmp_path / "out.flows")
        for flow in flows_of(path)
    ]
    assert versions == [("HTTP/2", "HTTP/2")] * 2


def test_an_interrupt_finishes_what_is_in_flight(confdir: Path, serve: Serve, tmp_path: Path):
    asked: list[Peer] = []

    def script(peer: Peer) -> None:
        while peer.read_head():
            asked.append(peer)
            wait_until(lambda: interrupted, "the replay is interrupted")
            peer.send(HELLO)

    interrupted: list[bool] = []
    server = serve(script)
    capture = record(tmp_path / "in.flows", *(recorded(server.url(f"/{n}"), at=n) for n in range(9)))
    command = [PROGRAM, "-n", "--confdir", confdir, "-C", capture, "-w", tmp_path / "out.flows"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: asked, "the first request has come")
    process.send_signal(signal.SIGINT)
    interrupted.append(True)
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 0
    assert f"replayed {len(asked)} of 9 flows: {len(asked)} answered, 0 failed" in stderr
    assert [flow.error for flow in flows_of(tmp_path / "out.flows")] == [None] * len(asked)
    assert len(asked) < 9


def test_a_listener_runs_beside_a_replay(start: Start, serve: Serve, tmp_path: Path):
    server, report = serve(answering(HELLO)), tmp_path / "report.json"
    capture = record(tmp_path / "in.flows", recorded(server.url("/replayed")))
    with start("-C", capture, "--replay-report", report) as proxy:
        proxy.expected.append("replayed 1 of 1 flows")
        wait_until(lambda: "replayed 1 of 1 flows" in proxy.stderr, "the replay is over")
        assert json.loads(report.read_text())["passed"] == 1
        curl(proxy, server.url("/live"))

    assert {flow.request.path: flow.is_replay for flow in proxy.flows()} == {"/replayed": "request", "/live": None}


def test_a_dry_run_sends_nothing_and_tells_what_it_would(serve: Serve, tmp_path: Path):
    server = serve(answering(HELLO))
    capture = record(tmp_path / "in.flows", recorded(server.url("/1")), recorded(server.url("/2"), at=2, lasting=1))

    done = mitmdump("-nC", capture, "--replay-dry-run", "--replay-timing", "original")

    assert (done.returncode, server.connections) == (0, 0)
    assert done.stdout.splitlines() == [f"    0ms  GET {server.url('/1')}", f"     2s  GET {server.url('/2')}"]
    assert "2 requests would be sent, none skipped; " in done.stderr
    assert done.stderr.endswith("that would take 3s\n")


def test_a_dry_run_that_cannot_be_printed_fails(tmp_path: Path):
    capture = record(tmp_path / "in.flows", recorded("http://a.test/"))

    with Path("/dev/full").open("w") as full:
        command = [PROGRAM, "-nC", capture, "--replay-dry-run"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=20)

    assert (done.returncode, done.stderr) == (1, "mitmdump: cannot write flows to <stdout>: No space left on device\n")


def test_a_replay_without_clients_makes_no_ca(serve: Serve, tls: ssl.SSLContext, root_file: Path, tmp_path: Path):
    server = serve(answering(HELLO), tls)
    capture = record(tmp_path / "in.flows", recorded(server.url("/").replace("127.0.0.1", "localhost")))

    done = mitmdump("-n", "--confdir", tmp_path / "none", "--upstream-ca", root_file, "-C", capture)

    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "none").exists()


def test_a_second_signal_waits_for_nothing(confdir: Path, serve: Serve, tmp_path: Path):
    asked: list[Peer] = []

    def script(peer: Peer) -> None:
        peer.read_head()
        asked.append(peer)
        peer.read_head()  # until it goes

    capture = record(tmp_path / "in.flows", *[recorded(serve(script).url())] * 2)
    command = [PROGRAM, "-n", "--confdir", confdir, "-C", capture, "--replay-report", tmp_path / "report.json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: asked, "the first request has come")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)  # two of the same could become one on their way
    _, stderr = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "replayed 1 of 2 flows: 0 answered, 1 failed, 1 not sent" in stderr
    assert [each["outcome"] for each in json.loads((tmp_path / "report.json").read_text())["requests"]] == ["error"]


def test_progress_is_shown_on_a_terminal(confdir: Path, serve: Serve, tmp_path: Path):
    shown: list[bytes] = []

    def script(peer: Peer) -> None:
        while peer.read_head():
            wait_until(lambda: b"0 of 1 done" in b"".join(shown), "progress is shown")
            peer.send(HELLO)

    capture = record(tmp_path / "in.flows", recorded(serve(script).url("/x")))
    ours, theirs = pty.openpty()
    command = [PROGRAM, "-n", "--confdir", confdir, "-C", capture, "--color", "never"]
    with closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
        process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=subprocess.DEVNULL)
        os.close(theirs)
        with suppress(OSError):  # the terminal's end, as Linux tells it
            while data := terminal.read(4096):
                shown.append(data)

    assert process.wait(10) == 0
    lines = b"".join(shown).replace(b"\r\x1b[K", b"\n").replace(b"\r\n", b"\n").split(b"\n")
    assert any(line.startswith(b"[replay]: GET ") for line in lines)
    assert b"mitmdump: replayed 1 of 1 flows: 1 answered, 0 failed" in lines


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (["-C", "none.flows"], "cannot read none.flows: No such file or directory"),
        (["-C", "IN", "-w", "IN"], "it is also read. Choose another file"),
        (["-C", "IN", "-r", "IN"], "-C sends requests, and -r only reads them: choose one"),
        (["-C", "IN", "--replay-verify", "all"], "'all' is none of status, headers, body"),
        (["-C", "IN", "--replay-ignore", "json:$.id"], "--replay-ignore says what --replay-verify leaves out"),
        (["-C", "IN", "--replay-verify", "body", "--replay-ignore", "json:id"], "it begins with $"),
        (["-C", "IN", "--replay-verify", "body", "--replay-ignore", "date"], "'date' is nothing to ignore"),
        (["-C", "IN", "--replay-timing", "slow"], "'slow' is no speed"),
        (["-C", "IN", "--replay-rate", "0"], "'0' is no rate"),
        (["-C", "IN", "--replay-to", "https://a.test/path"], "is no server's URL: it has a path"),
        (["-C", "IN", "--replay-to", "ftp://a.test"], "is no server's URL: ftp is not spoken here"),
        (["-C", "IN", "--replay-to", "a.test"], "is no server's URL: no scheme"),
        (["-C", "IN", "--replay-keep-host"], "give --replay-to, too"),
        (["-C", "IN", "--replay-report", "none/report.xml"], "Name another file with --replay-report"),
        (["--replay-to", "http://a.test"], "nothing to do for --replay-to: there is no -C FILE to replay"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], refusal: str
):
    monkeypatch.chdir(tmp_path)
    capture = record(tmp_path / "in.flows", recorded("http://127.0.0.1:9/"))

    done = mitmdump("-n", *(str(capture) if word == "IN" else word for word in arguments))

    assert (done.returncode, refusal in done.stderr) == (2, True), done.stderr
    assert capture.stat().st_size
