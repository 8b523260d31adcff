"""HTTP/2 as it is spoken: curl, nghttp and h2load, nginx, hypercorn, gRPC, Chromium."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.asgi import Hypercorn, Receive, Send, respond
from support.browser import open_page
from support.clients import Shim, curl
from support.pki import Identity
from support.program import Proxy, Start, statuses
from support.servers import Nginx
from support.tools import run, wait_until

VERSIONS = "%{http_version} %{response_code}\n"


def versions(proxy: Proxy) -> list[tuple[str, str]]:
    """The versions of HTTP of each flow: the client's, the server's."""
    return [
        (flow.request.http_version, flow.response.http_version if flow.response else "")
        for flow in proxy.flows()
        if flow.request
    ]


# -- curl and nginx -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", ["http2", "https"])
def test_curl_speaks_what_the_server_speaks(start: Start, nginx: Nginx, port: str) -> None:
    """T10"""
    with start() as proxy:
        out = curl(proxy, "--http2", "-w", VERSIONS, getattr(nginx, port) + "/echo?a").stdout.decode()
    version = "HTTP/2" if port == "http2" else "HTTP/1.1"
    assert out == f"GET /echo?a \n{version[5:]} 200\n"
    assert versions(proxy) == [(version, version)]


def test_without_http2_curl_speaks_http_1(start: Start, nginx: Nginx) -> None:
    with start("--no-http2") as proxy:
        assert b"1.1 200" in curl(proxy, "--http2", "-w", VERSIONS, nginx.http2 + "/echo").stdout
    assert versions(proxy) == [("HTTP/1.1", "HTTP/1.1")]


def test_a_client_of_http_1_gets_a_server_of_http_1(start: Start, nginx: Nginx) -> None:
    with start() as proxy:
        assert b"1.1 200" in curl(proxy, "--http1.1", "-w", VERSIONS, nginx.http2 + "/echo").stdout
    assert versions(proxy) == [("HTTP/1.1", "HTTP/1.1")]


def test_large_bodies_pass_both_ways(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    """H22"""
    content = os.urandom(8_000_000)
    (tmp_path / "up").write_bytes(content)
    path = nginx.put("large2", content)
    with start() as proxy:
        assert curl(proxy, "--http2", nginx.http2 + path).stdout == content
        curl(proxy, "--http2", "-T", tmp_path / "up", nginx.http2 + "/upload/two")
    assert (nginx.root / "upload/two").read_bytes() == content
    down, up = proxy.flows()
    assert down.response and up.request
    assert (down.response.content, up.request.content) == (content, content)


def test_a_body_that_is_refused_early_is_refused(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(bytes(3_000_000))
    with start() as proxy:
        out = curl(proxy, "--http2", "-T", tmp_path / "up", "-w", VERSIONS, "-o", "/dev/null", nginx.http2 + "/small")
    assert out.stdout == b"2 413\n"
    assert statuses(proxy.flows()) == [413]


def test_a_server_that_cannot_be_reached_is_a_page(start: Start) -> None:
    with start() as proxy:
        out = curl(proxy, "--http2", "-w", VERSIONS, "https://localhost:1/").stdout
    assert b"connection refused" in out.lower()
    assert out.endswith(b"2 502\n")
    assert proxy.flow().error


def test_prior_knowledge_goes_through_a_tunnel(start: Start, nginx: Nginx) -> None:
    with start() as proxy:
        out = curl(proxy, "-p", "--http2-prior-knowledge", "-w", VERSIONS, nginx.clear + "/echo").stdout
    assert out == b"GET /echo \n2 200\n"
    assert versions(proxy) == [("HTTP/2", "HTTP/2")]


def test_plain_http_in_a_tunnel_is_understood(start: Start, nginx: Nginx) -> None:
    with start() as proxy:
        assert curl(proxy, "-p", nginx.http + "/echo").stdout == b"GET /echo \n"
    flow = proxy.flow()
    assert flow.request and flow.request.url == nginx.http + "/echo"


def test_an_upgrade_to_http_2_is_not_passed_on(start: Start, nginx: Nginx) -> None:
    """H9"""
    with start() as proxy:
        assert curl(proxy, "--http2", "-w", VERSIONS, nginx.http + "/echo").stdout.endswith(b"1.1 200\n")
    assert versions(proxy) == [("HTTP/1.1", "HTTP/1.1")]


# -- nghttp and h2load ----------------------------------------------------------------------------------------------


def test_nghttp_asks_the_proxy_itself_with_prior_knowledge(start: Start, nginx: Nginx) -> None:
    with start() as proxy:
        out = run("nghttp", "-v", f"-H:authority: localhost:{nginx.http_port}", proxy.url + "/echo").stdout
    assert b"GET /echo" in out
    flow = proxy.flow()
    assert flow.request and flow.request.url == nginx.http + "/echo"
    assert flow.response and (flow.request.http_version, flow.response.http_version) == ("HTTP/2", "HTTP/1.1")


def test_nghttp_gets_a_hundred_at_once(start: Start, nginx: Nginx) -> None:
    path = nginx.put("hundred", b"x" * 10_000)
    with start() as proxy, Shim(proxy, f"localhost:{nginx.http2_port}") as shim:
        run("nghttp", "-m", "100", "-n", f"https://127.0.0.1:{shim.port}{path}")
    flows = proxy.flows()
    assert len(flows) == 100
    assert len({flow.metadata["stream_id"] for flow in flows}) == 100
    assert len({flow.server_conn.id for flow in flows if flow.server_conn}) == 1


def test_twenty_thousand_requests_leave_nothing_behind(start: Start, nginx: Nginx) -> None:
    """R3"""
    path = nginx.put("tiny", b"tiny")
    with start() as proxy, Shim(proxy, f"localhost:{nginx.http2_port}") as shim:

        def load(count: int) -> bytes:
            url = f"https://127.0.0.1:{shim.port}{path}"
            return run("h2load", "-c", "2", "-m", "50", "-n", str(count), url, seconds=120).stdout

        load(2000)
        before, files = proxy.memory("VmRSS"), proxy.descriptors()
        assert b"20000 succeeded, 0 failed" in load(20_000)
        assert proxy.memory("VmRSS") < before + 12_000_000
        wait_until(lambda: proxy.descriptors() <= files, "the connections of those who have gone are closed")
    assert proxy.counts[0] == 22_000


# -- gRPC -----------------------------------------------------------------------------------------------------------


def _unary(request: bytes, context: grpc.ServicerContext) -> bytes:
    if request == b"fail":
        context.set_trailing_metadata((("why", "because"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
    return request[::-1]


def _talk(requests: Iterator[bytes], _context: grpc.ServicerContext) -> Iterator[bytes]:
    for request in requests:
        yield request.upper()


@pytest.fixture(scope="module")
def greeter(localhost: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A gRPC server: its port."""
    server = grpc.server(futures.ThreadPoolExecutor(4))
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(_unary),
        "Talk": grpc.stream_stream_rpc_method_handler(_talk),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Greeter", methods),))
    certificate, key = localhost.write(tmp_path_factory.mktemp("grpc"))
    credentials = grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield port
    server.stop(None).wait(10)


def channel(proxy: Proxy, port: int) -> grpc.Channel:
    """A client's channel to the server through the proxy."""
    options = (("grpc.http_proxy", proxy.url), ("grpc.enable_http_proxy", 1))
    return grpc.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(proxy.ca.read_bytes()), options)


def test_grpc_calls_and_their_errors(start: Start, greeter: int) -> None:
    """2d"""
    with start() as proxy:
        with channel(proxy, greeter) as grpc_channel:
            call = grpc_channel.unary_unary("/test.Greeter/Unary")
            assert call(b"abc", timeout=20) == b"cba"
            with pytest.raises(grpc.RpcError) as failed:
                call(b"fail", timeout=20)
        error: Any = failed.value
        assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
        assert dict(error.trailing_metadata())["why"] == "because"
    good, bad = proxy.flows()
    assert good.request and good.response and bad.response
    assert good.request.headers["te"] == "trailers"
    assert good.response.trailers and good.response.trailers["grpc-status"] == "0"
    ending = bad.response.trailers or bad.response.headers  # gRPC sends one head where there is no message
    assert (ending["grpc-status"], ending["why"]) == ("9", "because")


def test_grpc_talks_both_ways_at_once(start: Start, greeter: int) -> None:
    """2d: each answer is waited for before the next is said."""
    said: list[bytes] = []
    with start() as proxy, channel(proxy, greeter) as grpc_channel:

        def words() -> Iterator[bytes]:
            for word in (b"one", b"two", b"three"):
                yield word
                while len(said) < 1 or said[-1] != word.upper():
                    turn.result(20) if (turn := heard.get(word)) else None

        heard: dict[bytes, futures.Future[None]] = {word: futures.Future() for word in (b"one", b"two", b"three")}
        for answer in grpc_channel.stream_stream("/test.Greeter/Talk")(words(), timeout=20):
            said.append(answer)
            heard[answer.lower()].set_result(None)
    assert said == [b"ONE", b"TWO", b"THREE"]
    flow = proxy.flow()
    assert flow.request and flow.response
    assert (flow.request.body.length, flow.response.body.length) == (3 * 5 + 11, 3 * 5 + 11)
    assert flow.response.trailers and flow.response.trailers["grpc-status"] == "0"


# -- streams that do not end soon -----------------------------------------------------------------------------------

PAGE = b"""<p id="events"></p><p id="streamed"></p><p id="sent"></p><script>
const show = (id, text) => { document.getElementById(id).textContent += text };
const source = new EventSource("/events");
source.onmessage = event => { show("events", event.data); fetch("/next", {method: "POST", body: event.data});
                              if (event.data == "c") source.close() };
fetch("/streamed").then(async answer => {
    const reader = answer.body.getReader();
    for (let part; !(part = await reader.read()).done;) {
        show("streamed", new TextDecoder().decode(part.value)); await fetch("/next", {method: "POST", body: "s"}) }
});
const body = new ReadableStream({ async start(controller) {
    for (const word of ["x", "y", "z"]) controller.enqueue(new TextEncoder().encode(word)); controller.close() } });
fetch("/sent", {method: "POST", body, duplex: "half"}).then(answer => answer.text()).then(text => show("sent", text));
</script>"""


class Turns:
    """An application whose streams go on only when the page has seen what came before."""

    def __init__(self) -> None:
        self._seen: dict[bytes, asyncio.Semaphore] = {}

    def seen(self, what: bytes) -> asyncio.Semaphore:
        return self._seen.setdefault(what, asyncio.Semaphore(0))

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"]
        if path == "/events":
            await respond(send, b"", b"text/event-stream", more=True)
            for event in (b"a", b"b", b"c"):
                await send({"type": "http.response.body", "body": b"data: %b\n\n" % event, "more_body": True})
                await self.seen(event).acquire()
            await send({"type": "http.response.body", "body": b""})
        elif path == "/streamed":
            await respond(send, b"", b"text/plain", more=True)
            for part in (b"1", b"2", b"3"):
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await self.seen(b"s").acquire()
            await send({"type": "http.response.body", "body": b""})
        else:
            body = await _read(receive)
            if path == "/next":
                self.seen(body).release()
            await respond(send, PAGE if path == "/" else body)


async def _read(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event.get("body", b""), event.get("more_body", False)
    return body


def test_chromium_streams_both_ways_and_reads_server_sent_events(
    start: Start, localhost: Identity, browser_home: Path, tmp_path: Path
) -> None:
    """2d: no event is waited for longer than it takes."""
    with start() as proxy, Hypercorn(Turns(), *localhost.write(tmp_path)) as server:
        page = open_page(proxy, server.url + "/", browser_home)
    for name, text in {"events": "abc", "streamed": "123", "sent": "xyz"}.items():
        assert f'<p id="{name}">{text}</p>' in page
    flows = {
        flow.request.path: flow for flow in proxy.flows() if flow.request and flow.request.url.startswith(server.url)
    }
    for path in ("/events", "/streamed", "/sent"):
        flow = flows[path]
        assert flow.request and flow.request.http_version == "HTTP/2"
        assert flow.response and flow.response.http_version == "HTTP/2"
    sent = flows["/sent"].request
    assert sent and sent.content == b"xyz"
