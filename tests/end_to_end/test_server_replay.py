"""Server replay: a session of a real client with a real server is recorded, the server is gone, and nobody notices."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from itertools import count, repeat
from pathlib import Path
from signal import SIGINT
from ssl import SSLContext

import pytest
from support.browser import open_page
from support.clients import curl
from support.network import Host
from support.pki import Identity
from support.program import Proxy, Start, mitmdump, statuses
from support.replaying import a_request, recorded, written
from support.servers import HELLO, Nginx, Peer, Script, Serve, answering, response
from support.tools import run

from mitmdump.model.body import Body

CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture
def passing(localhost: Identity, tmp_path: Path) -> Iterator[Nginx]:
    """An nginx that a test can stop."""
    (tmp_path / "nginx").mkdir()
    server = Nginx(tmp_path / "nginx", *localhost.write(tmp_path))
    yield server
    server.close()


# Starts the program to answer out of a capture.
Replay = Callable[..., Proxy]


@pytest.fixture
def replay(start: Start) -> Replay:
    """Start the program to answer out of a capture."""

    def go(capture: Path, *options: str | Path, **how: Callable[..., list[str]]) -> Proxy:
        proxy = start("-S", capture, *options, **how)
        proxy.expected.append("server replay: ")
        return proxy

    return go


@pytest.mark.parametrize(("port", "version"), [("http", "--http1.1"), ("https", "--http1.1"), ("http2", "--http2")])
def test_curl_gets_the_same_bytes_when_the_server_is_gone(
    start: Start, replay: Replay, passing: Nginx, port: str, version: str
) -> None:
    """With headers: pages with and without bodies, small and large, errors, one after the other on a connection."""
    passing.put("large.bin", bytes(range(256)) * 5000)
    passing.put("page.css", b"* { color: red }" * 100)
    base = getattr(passing, port)
    paths = ("/echo?a=1&b=2", "/large.bin", "/status/204", "/redirect", "/no-such-page", "/page.css")

    def session(proxy: Proxy) -> list[bytes]:
        asked = [word for path in paths for word in ("-o", "-", base + path)]
        page, upload, large = base + "/page.css", base + "/upload/x", base + "/large.bin"
        ways = (asked, ["--compressed", page], ["-T", "-", upload], ["-I", large])
        return [curl(proxy, version, "-i", *way).stdout for way in ways]

    with start() as recording:
        answers = session(recording)
    passing.close()
    with replay(recording.capture, "--no-replay-refresh", "--replay-headers", "accept-encoding") as proxy:
        assert session(proxy) == answers
    assert {flow.is_replay for flow in proxy.flows()} == {"response"}
    assert f"server replay: {len(paths) + 3} answered, 0 missed, 0 of {len(paths) + 3} recordings" in proxy.stderr


def open_shop() -> Script:
    """A shop with a memory: who has logged in, and how much is in the cart."""
    cart = count(1)

    def script(peer: Peer) -> None:
        while head := peer.read_head():
            line, _, fields = head.decode().partition("\r\n")
            path, _, query = line.split(" ")[1].partition("?")
            length = re.search(r"content-length: (\d+)", fields, re.IGNORECASE)
            peer.read(int(length[1]) if length else 0)
            if path == "/cart":
                peer.send(response(json.dumps({"items": next(cart)}).encode(), "201 Created"))
            elif path == "/me" and "session=ada" not in fields:
                peer.send(response(b"{}", "401 Unauthorized"))
            else:
                peer.send(_PAGES[path](query))

    return script


_PAGES: dict[str, Callable[[str], bytes]] = {
    "/login": lambda _: response(b"{}", "200 OK", "Set-Cookie: session=ada; Path=/"),
    "/me": lambda _: response(b'{"user": "ada"}'),
    "/items": lambda query: response(json.dumps({"page": int(query[-1])}).encode()),
    "/download": lambda _: response(bytes(5000)),
    "/upload": lambda _: b"HTTP/1.1 204 No Content\r\n\r\n",
}


@pytest.mark.parametrize("is_tls", [False, True], ids=["http", "https"])
def test_a_test_suite_passes_without_its_server(
    start: Start, replay: Replay, serve: Serve, tls: SSLContext, is_tls: bool
) -> None:
    server = serve(open_shop(), tls if is_tls else None)
    url = server.url("", host="localhost")

    def suite(proxy: Proxy) -> None:
        environment = {"HTTP_PROXY": proxy.url, "HTTPS_PROXY": proxy.url, "REQUESTS_CA_BUNDLE": str(proxy.ca)}
        command = (sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "-c", "/dev/null")
        run(*command, CLIENTS / "shop.py", SHOP=url, NO_PROXY="", **environment)

    with start() as recording:
        suite(recording)
    made = server.connections
    with replay(recording.capture, "--replay-ignore-json", "$.nonce", "--replay-strict") as proxy:
        suite(proxy)
    assert server.connections == made
    assert statuses(proxy.flows()) == statuses(recording.flows())


PAGE = b"""<!DOCTYPE html><html><head><link rel="stylesheet" href="style.css"></head><body><p id="style"></p>
<p id="script"></p><p id="fetched"></p><img id="image" src="image.svg"><script src="script.js"></script></body></html>
"""
SCRIPT = b"""
const show = (id, text) => { document.getElementById(id).textContent = text };
window.onload = () => show("style", getComputedStyle(document.getElementById("style")).width);
show("script", "ran");
fetch("/echo?b=2&a=1", {method: "POST", body: JSON.stringify({a: 1, b: 2})})
    .then(answer => answer.text()).then(text => show("fetched", text.trim()));
"""


def test_chromium_shows_a_page_with_all_that_belongs_to_it(
    start: Start, replay: Replay, passing: Nginx, browser_home: Path
) -> None:
    passing.put("style.css", b"#style { width: 123px }")
    passing.put("script.js", SCRIPT)
    passing.put("image.svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="77" height="7"></svg>')
    url = passing.http2 + passing.put("index.html", PAGE)
    with start() as recording:
        shown = open_page(recording, url, browser_home)
    passing.close()
    with replay(recording.capture, "~d localhost", "--replay-filter", "~all") as proxy:
        assert open_page(proxy, url, browser_home) == shown
    assert '<p id="fetched">POST /echo?b=2&amp;a=1' in shown
    assert '<p id="style">123px</p>' in shown
    flows = proxy.flows(complete=False)  # of those that failed, the filter wants none
    paths = {flow.request.path for flow in flows if flow.request and flow.is_replay}
    assert {"/index.html", "/style.css", "/script.js", "/image.svg", "/echo?b=2&a=1"} <= paths


def test_https_works_with_the_network_unplugged(start: Start, replay: Replay, nginx: Nginx) -> None:
    """P2, T5: on a machine with a loopback interface and nothing else, also for hosts that nobody can look up."""
    with start() as recording:
        curl(recording, nginx.https + "/echo?q=1")
    unplugged = Host()
    try:
        with replay(recording.capture, within=unplugged.command) as proxy:
            proxy.expected.append("no recording matches GET https://elsewhere.test/")
            ours = ["curl", "-q", "-sS", "--noproxy", "", "--proxy", proxy.url, "--cacert", proxy.ca]
            assert unplugged.run(*ours, nginx.https + "/echo?q=1") == "GET /echo?q=1 \n"
            page = unplugged.run(*ours, "-w", "%{http_code}", "https://elsewhere.test/")
            assert page.endswith("502")
    finally:
        unplugged.close()
    assert [flow.is_replay for flow in proxy.flows()] == ["response", None]


def test_a_cassette_records_what_it_does_not_have_and_answers_it_from_then_on(
    start: Start, serve: Serve, tmp_path: Path
) -> None:
    server, cassette = serve(answering(HELLO)), tmp_path / "cassette.flows"

    def ask(mode: str, *paths: str) -> list[bytes]:
        with start("-S", cassette, "--record-mode", mode) as proxy:
            proxy.expected += ["server replay: ", "no recording matches"]
            return [curl(proxy, "-w", "%{http_code}", server.url(path)).stdout[-3:] for path in paths]

    def asked(mode: str, *paths: str) -> tuple[list[bytes], int]:
        before = server.connections
        return ask(mode, *paths), server.connections - before

    assert asked("once", "/1", "/2") == ([b"200", b"200"], 2)
    assert asked("once", "/1", "/2", "/3") == ([b"200", b"200", b"502"], 0)
    assert asked("new", "/1", "/3", "/2") == ([b"200", b"200", b"200"], 1)
    assert asked("none", "/1", "/2", "/3", "/4") == ([b"200", b"200", b"200", b"502"], 0)
    assert asked("all", "/1") == ([b"200"], 1)
    assert asked("none", "/1", "/2") == ([b"200", b"502"], 0)


def test_a_cassette_holds_no_secrets_and_answers_all_the_same(start: Start, serve: Serve, tmp_path: Path) -> None:
    server, cassette, key = serve(answering(HELLO)), tmp_path / "cassette.flows", tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    options = ("-S", cassette, "--redact", "query:token,json:$.password", "--redact-key", key)
    body = ("-H", "Content-Type: application/json", "-d", '{"password": "pass-s3cret"}')
    secret = (*body, server.url("/?token=t0k-s3cret"))
    for mode in ("new", "none"):
        with start(*options, "--record-mode", mode) as proxy:
            proxy.expected.append("server replay: ")
            assert curl(proxy, *secret).stdout == b"hello"
    assert b"s3cret" not in cassette.read_bytes()
    assert server.connections == 1


def test_the_report_lists_what_was_answered_missed_and_never_asked_for(replay: Replay, tmp_path: Path) -> None:
    flows = [recorded(a_request(f"http://a.test/{name}")) for name in ("asked", "not-asked")]
    report = tmp_path / "report.json"
    with replay(written(tmp_path / "in.flows", flows), "--replay-report", report) as proxy:
        proxy.expected.append("no recording matches")
        curl(proxy, "http://a.test/asked")
        curl(proxy, "http://a.test/missed")
    found = json.loads(report.read_text())
    outcomes = {each["url"]: each["outcome"] for each in found["requests"]}
    assert outcomes == {
        "http://a.test/missed": "failed",
        "http://a.test/asked": "passed",
        "http://a.test/not-asked": "skipped",
    }


@pytest.mark.parametrize(("paths", "status"), [(["/1"], 0), ([], 1), (["/1", "/2"], 1)])
def test_strict_replay_fails_for_what_is_missed_or_never_asked_for(
    replay: Replay, tmp_path: Path, paths: list[str], status: int
) -> None:
    proxy = replay(written(tmp_path / "in.flows", [recorded(a_request("http://a.test/1"))]), "--replay-strict")
    for path in paths:
        curl(proxy, f"http://a.test{path}")
    proxy.process.send_signal(SIGINT)
    assert proxy.process.wait(30) == status


def test_a_miss_is_told_on_stderr_in_the_page_and_in_json(start: Start, tmp_path: Path) -> None:
    """L1: and does nothing to a terminal."""
    capture = written(tmp_path / "in.flows", [recorded(a_request("http://a.test/?page=2"))])
    with start("-S", capture, "--json", "-q") as proxy:
        proxy.expected.append("no recording matches")
        page = curl(proxy, "-g", "http://a.test/?page=%1b[31m").stdout.decode()
    told = r"GET http://a.test/ (query: page=\x1b[31m, recorded page=2)"
    assert told in page
    assert told in proxy.stderr
    assert json.loads(proxy.stdout)["metadata"]["replay.missed"]["closest"] == [told]


def test_a_gigabyte_in_a_recording_stays_on_the_disk(replay: Replay, tmp_path: Path) -> None:
    """R1: a large body is streamed from the file, in whole and in part."""
    flow = recorded(a_request("http://a.test/large"))
    assert flow.response
    flow.response.body = Body(SIZE, complete=True, source=Zeros())
    flow.response.headers["content-length"] = str(SIZE)
    with replay(written(tmp_path / "in.flows", [flow])) as proxy:
        before = proxy.memory("VmRSS")
        get = ("-o", "/dev/null", "-w", "%{size_download}", "http://a.test/large")
        assert curl(proxy, *get).stdout == b"%d" % SIZE
        assert curl(proxy, "-r", "-1000", *get).stdout == b"1000"
        assert proxy.memory("VmHWM") - before < 40 << 20


SIZE = 256 << 20


class Zeros:
    """A large body."""

    def __len__(self) -> int:
        return SIZE

    def pieces(self) -> Iterator[bytes]:
        return repeat(bytes(1 << 20), SIZE >> 20)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("-S", "IN", "-r", "IN"), "-r reads flows back, and -S answers clients"),
        (("-S", "IN", "-w", "IN"), "it is also read"),
        (("-S", "missing.flows"), "cannot read missing.flows"),
        (("-S", "IN", "--replay-extra", "601"), "none of kill, forward"),
        (("-S", "IN", "--replay-match", "colour"), "none of scheme, host"),
        (("-S", "IN", "--replay-latency", "soon"), "is no latency"),
        (("-S", "IN", "--replay-ignore-json", "nonce"), "bad JSON path"),
        (("-S", "IN", "--replay-reuse", "--replay-after", "cycle"), "nothing to do for --replay-after"),
        (("--record-mode", "new"), "nothing to do for --record-mode"),
        (("--replay-strict",), "nothing to do for --replay-strict"),
        (("--replay-extra", "404"), "nothing to do for --replay-extra: there is no -S FILE to answer from"),
        (("-C", "IN", "--replay-match", "path"), "nothing to do for --replay-match: there is no -S FILE"),
        (("--no-replay-refresh",), "nothing to do for --no-replay-refresh"),
        (("--replay-filter", "~all"), "nothing to do for --replay-filter: there is no -C FILE to replay, nor -S FILE"),
        (("-S", "IN", "--replay-report", "IN"), "cannot write IN: it is also read. Choose another file with --rep"),
        (("-C", "IN", "--replay-report", "IN"), "cannot write IN: it is also read"),
        (("-S", "IN", "--record-mode", "none", "--replay-report", "IN"), "cannot write IN: it is also read"),
        (("-S", "IN", "-w", "out", "--replay-report", "out"), "cannot write out twice"),
        (("-S", "IN", "--record-mode", "new", "--replay-extra", "forward"), "leave --replay-extra forward away"),
        (("-S", "IN", "--record-mode", "new", "-w", "IN"), "cannot write IN twice"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(
    tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    capture = written(tmp_path / "in.flows", [recorded(a_request())])
    before = capture.read_bytes()
    done = mitmdump(*(str(capture) if option == "IN" else option for option in options), "-p", "0")
    assert done.returncode == 2
    assert complaint.replace("IN", str(capture)) in done.stderr
    assert "Traceback" not in done.stderr
    assert capture.read_bytes() == before
