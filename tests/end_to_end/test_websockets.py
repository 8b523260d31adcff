"""WebSockets of the `websockets` library on both ends, and of Chromium, through the program."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.asgi import Hypercorn, Receive, Send, respond
from support.browser import open_page
from support.clients import trusting
from support.pki import Identity
from support.program import Proxy, Start, mitmdump
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from mitmdump.files import open_flows
from mitmdump.model.flow import Flow, WebSocket

Script = Callable[[ServerConnection], None]
LARGE = 3 << 20


@contextmanager
def serving(script: Script, context: ssl.SSLContext | None = None, **options: Any) -> Iterator[str]:
    """A server that does this with each WebSocket; gives its URL."""
    with serve(script, "127.0.0.1", 0, ssl=context, max_size=None, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        yield f"{'wss' if context else 'ws'}://localhost:{port}/chat"
        server.shutdown()
    thread.join()


def opened(proxy: Proxy, url: str, **options: Any) -> ClientConnection:
    """A client's WebSocket through the proxy."""
    context = trusting(proxy.ca) if url.startswith("wss") else None
    return connect(url, proxy=proxy.url, ssl=context, max_size=None, **options)


def echo(server: ServerConnection) -> None:
    """Send back what comes."""
    for message in server:
        server.send(message)


def websocket_of(flows: list[Flow]) -> Flow:
    (flow,) = (flow for flow in flows if flow.websocket)
    return flow


def messages(flow: Flow, *, from_client: bool) -> list[tuple[str, bytes]]:
    return [(each.kind, each.content) for each in flow.messages if each.from_client is from_client]


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_an_echo_of_every_kind_of_message_is_recorded(
    start: Start, tls: ssl.SSLContext, secure: bool, compression: str | None
) -> None:
    """W1, W2"""
    with serving(echo, tls if secure else None, compression=compression) as url, start() as proxy:
        with opened(proxy, url, compression=compression) as client:
            for message in ("Grüße " * 50, b"\0\xff", "", ["in ", "three ", "parts"]):
                client.send(message)
                assert client.recv() == (message if isinstance(message, str | bytes) else "in three parts")
            assert client.ping(b"?").wait(20)
            client.close(4000, "that is all")
        flow = websocket_of(proxy.flows())
    kinds = [("text", "Grüße ".encode() * 50), ("binary", b"\0\xff"), ("text", b""), ("text", b"in three parts")]
    closing = ("close", (4000).to_bytes(2) + b"that is all")
    assert messages(flow, from_client=True) == [*kinds, ("ping", b"?"), closing]
    assert messages(flow, from_client=False) == [*kinds, ("pong", b"?"), closing]
    assert (flow.error, flow.websocket) == (None, WebSocket(True, 4000, "that is all"))
    assert flow.response and ("sec-websocket-extensions" in flow.response.headers) is bool(compression)
    assert bool(flow.client_conn.tls_version) is secure


@pytest.mark.parametrize("compression", ["deflate", None])
def test_a_large_message_passes_in_fragments_and_is_recorded_whole(start: Start, compression: str | None) -> None:
    """W2: in pieces of at most 1 MiB."""
    data = bytes(range(256)) * (LARGE // 256)
    fragments = [data[at : at + 50_000] for at in range(0, LARGE, 50_000)]

    def script(server: ServerConnection) -> None:
        assert server.recv() == data
        server.send(iter(fragments))  # and an empty one to end it

    with serving(script, compression=compression) as url, start() as proxy:
        with opened(proxy, url, compression=compression) as client:
            client.send(data)
            assert list(client.recv_streaming()) == [*fragments, b""]
        flow = websocket_of(proxy.flows())
        for from_client in (True, False):
            *pieces, _ = messages(flow, from_client=from_client)
            assert [kind for kind, _ in pieces] == ["binary", "continuation", "continuation"]
            assert b"".join(content for _, content in pieces) == data


def test_a_server_that_closes_and_one_that_fails_are_told_apart(start: Start) -> None:
    """W2, W3"""

    def script(server: ServerConnection) -> None:
        if server.recv() == "close":
            server.close(1013, "later")
        else:
            server.socket.close()

    with serving(script) as url, start() as proxy:
        for word in ("close", "fail"):
            with opened(proxy, url) as client, pytest.raises(ConnectionClosed):
                client.send(word)
                client.recv()
        first, second = (flow for flow in proxy.flows() if flow.websocket)
    assert (first.error, first.websocket) == (None, WebSocket(False, 1013, "later"))
    assert second.error and "the server" in second.error.msg
    assert second.websocket and second.websocket.close_code == 1006
    assert messages(second, from_client=True)[0] == ("text", b"fail")


def test_messages_are_in_the_file_when_the_program_is_killed_while_a_websocket_is_open(start: Start) -> None:
    """S1, W3"""
    with serving(echo) as url, start() as proxy, opened(proxy, url) as client:
        for number in range(100):
            client.send(f"message {number}")
            client.recv()
        proxy.process.send_signal(signal.SIGKILL)
        proxy.process.wait()
    with open_flows(proxy.capture) as flows:
        found = list(flows)
        expected = [("text", b"message %d" % number) for number in range(100)]
        flow = next(flow for flow in found if flow.response and flow.response.status_code == 101)
        assert messages(flow, from_client=True) == messages(flow, from_client=False) == expected
        assert flow.error and not flows.damage


def test_a_message_is_printed_and_told_as_json(start: Start) -> None:
    """L1"""
    with serving(echo) as url, start("--flow-detail", "3") as proxy:
        with opened(proxy, url) as client:
            client.send("Hello \x1b[2J")
            client.recv()
            client.close(1000, "bye")
        proxy.stop()
        lines = [line.strip() for line in proxy.stdout.splitlines()]
        for line in ("-> text, 10 bytes", r"Hello \x1b[2J", "<- text, 10 bytes", "-> close 1000 bye"):
            assert line in lines
        assert any(line.startswith("websocket: 4 messages") and "client: 1000 bye" in line for line in lines)
        told = mitmdump("-nr", proxy.capture, "--json", "--flow-detail", "3", "~websocket").stdout
        found = json.loads(told)
        assert found["websocket"] == {"closed_by": "client", "close_code": 1000, "close_reason": "bye"}
        assert [each.get("text") for each in found["messages"][:2]] == ["Hello \x1b[2J"] * 2


def test_a_websocket_can_be_recorded_raw(start: Start) -> None:
    with serving(echo) as url, start("--no-websocket") as proxy:
        with opened(proxy, url, compression=None) as client:
            client.send("Hello")
            assert client.recv() == "Hello"
        flows = proxy.flows()
        assert not any(flow.websocket for flow in flows)
        (raw,) = (flow for flow in flows if flow.kind == "tcp")
        assert (False, b"\x81\x05Hello") in [(each.from_client, each.content) for each in raw.messages]


PAGE = """<p id="shown"></p><script>
    const socket = new WebSocket("wss://localhost:%d/chat");
    const shown = [];
    socket.onopen = () => { socket.send("from the page"); socket.send(new Uint8Array([0, 255])) };
    socket.onmessage = event => { shown.push(typeof event.data); if (shown.length == 2) socket.close(3001, "enough") };
    socket.onclose = event => { document.getElementById("shown").textContent =
        [...shown, event.code, event.reason, event.wasClean, socket.extensions].join(" "); fetch("/seen") };
</script><img src="/wait">"""


def test_chromium_opens_a_websocket(start: Start, tls: ssl.SSLContext, browser_home: Path) -> None:
    """W1, W2, T5"""
    seen = threading.Event()

    def answer(server: ServerConnection, request: Any) -> Any:
        if request.path == "/chat":
            return None
        if request.path == "/seen":
            seen.set()
        elif request.path == "/wait":  # until when the page is not complete
            seen.wait(60)
        response = server.respond(200, PAGE % server.local_address[1] if request.path == "/" else "")
        response.headers.pop("Content-Type")
        response.headers["Content-Type"] = "text/html"
        return response

    with serving(echo, tls, process_request=answer) as url, start() as proxy:
        page = open_page(proxy, url.replace("wss", "https").replace("/chat", "/"), browser_home, virtual_time=False)
        assert "string object 3001 enough true permessage-deflate" in page
        flow = websocket_of(proxy.flows())
    expected = [("text", b"from the page"), ("binary", b"\0\xff"), ("close", (3001).to_bytes(2) + b"enough")]
    assert messages(flow, from_client=True) == messages(flow, from_client=False) == expected
    assert flow.websocket == WebSocket(True, 3001, "enough")


class EchoOverHttp2:
    """An ASGI application: the page, and an echo at /chat."""

    port = 0

    def __init__(self) -> None:
        self._seen = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._echo(receive, send)
        elif scope["type"] == "http":
            if scope["path"] == "/seen":
                self._seen.set()
            elif scope["path"] == "/wait":
                await self._seen.wait()
            await respond(send, (PAGE % self.port).encode() if scope["path"] == "/" else b"")

    async def _echo(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})


def test_chromium_opens_a_websocket_in_a_stream_of_http_2(
    start: Start, localhost: Identity, browser_home: Path, tmp_path: Path
) -> None:
    """W2: RFC 8441."""
    application = EchoOverHttp2()
    with Hypercorn(application, *localhost.write(tmp_path)) as server, start() as proxy:
        application.port = server.port
        page = open_page(proxy, server.url + "/", browser_home, virtual_time=False)
        assert "string object 3001 enough true" in page
        flow = websocket_of(proxy.flows())
    assert messages(flow, from_client=True) == [
        ("text", b"from the page"),
        ("binary", b"\0\xff"),
        ("close", (3001).to_bytes(2) + b"enough"),
    ]
    assert flow.websocket == WebSocket(True, 3001, "enough")
    assert flow.request and flow.response
    assert (flow.request.http_version, flow.response.http_version) == ("HTTP/2", "HTTP/2")


def test_many_websockets_at_once_keep_their_messages_apart(start: Start) -> None:
    """W2"""
    with serving(echo) as url, start() as proxy, ExitStack() as stack:
        clients = [stack.enter_context(opened(proxy, f"{url}?{number}")) for number in range(20)]
        for turn in range(5):
            for number, client in enumerate(clients):
                client.send(f"{number} {turn}")
        for client in clients:
            for _ in range(5):
                client.recv()
            client.close()
        found = [flow for flow in proxy.flows() if flow.websocket]
        assert len(found) == 20
        for flow in found:
            assert flow.request
            number = flow.request.path.rpartition("?")[2]
            expected = [("text", f"{number} {turn}".encode()) for turn in range(5)]
            assert messages(flow, from_client=True)[:-1] == messages(flow, from_client=False)[:-1] == expected
