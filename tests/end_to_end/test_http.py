"""HTTP through the proxy, byte by byte where it matters: with bare sockets, and servers that do as they are told."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from support.clients import ask, connect, curl, get
from support.program import Start, statuses
from support.servers import Nginx, Peer, Serve, answering, response
from support.tools import wait_until

# Bodies, and responses without one


def test_server_sent_events_arrive_one_by_one_while_they_are_recorded(start: Start, serve: Serve) -> None:
    seen = Event()

    def script(server: Peer) -> None:
        server.read_head()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(5):
            event = b"data: %d\n\n" % number
            server.send(b"%x\r\n%b\r\n" % (len(event), event))
            assert seen.wait(20), "the client did not see an event before the next one was sent"
            seen.clear()
        server.send(b"0\r\n\r\n")

    server = serve(script)
    with start() as proxy, closing(connect(proxy)) as sock:
        sock.sendall(get(f"127.0.0.1:{server.port}", server.url("/events")))
        client = Peer(sock)
        assert b"text/event-stream" in client.read_head()
        for number in range(5):
            assert client.read(14) == b"9\r\ndata: %d\n\n\r\n" % number
            seen.set()
        assert client.read(5) == b"0\r\n\r\n"
    flow = proxy.flow()
    assert flow.response and flow.response.content == b"".join(b"data: %d\n\n" % number for number in range(5))


def test_curl_waits_for_100_continue_and_the_server_gives_it(start: Start, serve: Serve, tmp_path: Path) -> None:
    """H14"""
    body = os.urandom(2_000_000)
    (tmp_path / "body").write_bytes(body)
    order: list[str] = []

    def script(server: Peer) -> None:
        head = server.read_head()
        assert b"\r\nexpect: 100-continue\r\n" in head.lower()
        server.socket.settimeout(0.2)
        with pytest.raises(TimeoutError):  # nothing of the body before we say so
            server.socket.recv(1)
        server.socket.settimeout(60)
        server.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        order.append("continued")
        assert server.read(len(body)) == body
        order.append("read")
        server.send(response(b"thanks"))

    server = serve(script)
    with start() as proxy:
        expect = ("-H", "Expect: 100-continue", "--expect100-timeout", "30")
        done = curl(proxy, server.url(), "-T", tmp_path / "body", *expect)
    assert (done.stdout, order) == (b"thanks", ["continued", "read"])
    flow = proxy.flow()
    assert flow.request and flow.request.raw_content == body
    assert statuses([flow]) == [200]


def test_curl_that_is_refused_instead_of_continued_sees_the_refusal(start: Start, serve: Serve, tmp_path: Path) -> None:
    """H14"""
    (tmp_path / "body").write_bytes(bytes(3_000_000))
    server = serve(answering(response(b"too large", "413 Content Too Large", "Connection: close")))
    with start() as proxy:
        arguments = ("-T", tmp_path / "body", "-H", "Expect: 100-continue", "--expect100-timeout", "30")
        done = curl(proxy, server.url(), *arguments, "-w", "%{http_code}")
    assert done.stdout == b"too large413"
    assert statuses(proxy.flows()) == [413]


def test_early_hints_are_passed_on_and_not_taken_as_final(start: Start, serve: Serve) -> None:
    """H14"""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
    server = serve(answering(hints + response(b"page")))
    with start() as proxy, closing(connect(proxy)) as sock:
        sock.sendall(get(f"127.0.0.1:{server.port}", server.url()))
        client = Peer(sock)
        assert client.read_head().startswith(b"HTTP/1.1 103 ")
        assert client.read_head().startswith(b"HTTP/1.1 200 ")
        assert client.read(4) == b"page"
    assert statuses(proxy.flows()) == [200]


def test_trailers_are_forwarded_and_recorded(start: Start, serve: Serve) -> None:
    """H15"""
    chunked = b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Checksum: %b\r\n\r\n"
    received: list[bytes] = []

    def script(server: Peer) -> None:
        server.read_head()
        received.append(server.read(31))
        server.send(b"HTTP/1.1 200 OK\r\nTrailer: X-Checksum\r\n" + chunked % b"down")
        received.append(server.read_all())

    server = serve(script)
    with start() as proxy, closing(connect(proxy)) as sock:
        head = f"POST {server.url()} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nTrailer: X-Checksum\r\n"
        sock.sendall(head.encode() + chunked % b"up")
        client = Peer(sock)
        client.read_head()
        assert client.read(33) == b"5\r\nhello\r\n0\r\nX-Checksum: down\r\n\r\n"
        sock.shutdown(socket.SHUT_WR)
        assert client.read_all() == b""
    assert received == [b"5\r\nhello\r\n0\r\nX-Checksum: up\r\n\r\n", b""]
    flow = proxy.flow()
    assert flow.request and flow.request.trailers and flow.response and flow.response.trailers
    assert flow.request.trailers["x-checksum"] == "up"
    assert flow.response.trailers["x-checksum"] == "down"
    assert flow.response.content == b"hello"


def test_responses_without_a_body_do_not_swallow_the_next(start: Start, serve: Serve) -> None:
    """H13"""
    empty = [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\nContent-Length: 100\r\n\r\n'),
    ]
    server = serve(answering(*[each for _, each in empty], response(b"the end")))
    with start() as proxy, closing(connect(proxy)) as sock:
        url, authority = server.url(), f"127.0.0.1:{server.port}"
        sock.sendall(b"".join(get(authority, url, method=method) for method, _ in empty) + get(authority, url))
        client = Peer(sock)
        heads = [client.read_head() for _ in range(4)]
        assert client.read(7) == b"the end"
    assert [head[9:12] for head in heads] == [b"200", b"204", b"304", b"200"]
    assert b"content-length: 100" in heads[0].lower()
    assert statuses(proxy.flows()) == [200, 204, 304, 200]


def test_pipelined_requests_are_answered_in_order_though_the_first_is_slow(start: Start, serve: Serve) -> None:
    """H18"""
    hurry = Event()

    def script(server: Peer) -> None:
        while head := server.read_head():
            path = head.split()[1]
            if path == b"/0":
                hurry.wait(20)
            server.send(response(path))

    server = serve(script)
    with start() as proxy, closing(connect(proxy)) as sock:
        authority = f"127.0.0.1:{server.port}"
        sock.sendall(b"".join(get(authority, server.url(f"/{number}")) for number in range(10)))
        hurry.set()
        client = Peer(sock)
        for number in range(10):
            assert client.read_head().startswith(b"HTTP/1.1 200 ")
            assert client.read(2) == b"/%d" % number
    paths = [(flow.request.path, flow.response.text) for flow in proxy.flows() if flow.request and flow.response]
    assert paths == [(f"/{number}", f"/{number}") for number in range(10)]


def test_an_http_1_0_client_gets_a_chunked_response_unchunked(start: Start, serve: Serve) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    server = serve(answering(chunked))
    with start() as proxy:
        done = curl(proxy, server.url(), "--http1.0", "-i")
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"hello world"
    flow = proxy.flow()
    assert flow.request and flow.request.http_version == "HTTP/1.0"


def test_what_is_recorded_is_what_was_sent_and_received(start: Start, serve: Serve) -> None:
    """H22"""
    heads: list[bytes] = []

    def script(server: Peer) -> None:
        heads.append(server.read_head())
        server.send(
            b"HTTP/1.1 299 Very \xfcnusual\r\nx-b: 1\r\nX-A: 2\r\nx-b: 3\r\ncontent-length: 3\r\n\r\n\x00\xff\n"
        )

    server = serve(script)
    with start() as proxy, closing(connect(proxy)) as sock:
        authority = f"127.0.0.1:{server.port}"
        fields = ("X-Odd:   spaced out \t", "x-ODD: t\u00e9xt", "accept: */*")
        request = get(authority, server.url("/a%20b/../c?x=%zz&y"), *fields, method="FETCH")
        answer, body = ask(sock, request)
    assert heads[0].startswith(b"FETCH /a%20b/../c?x=%zz&y HTTP/1.1\r\n")
    assert b"x-ODD: t\xc3\xa9xt\r\naccept: */*\r\n" in heads[0]
    assert (answer.status, answer.reason, body) == (299, "Very \xfcnusual", b"\x00\xff\n")
    flow = proxy.flow()
    assert flow.request and flow.response
    assert (flow.request.method, flow.request.path) == ("FETCH", "/a%20b/../c?x=%zz&y")
    assert flow.request.headers.get_all("x-odd") == ["spaced out", "t\u00e9xt"]
    assert flow.response.headers.fields[:3] == [(b"x-b", b"1"), (b"X-A", b"2"), (b"x-b", b"3")]
    assert flow.response.raw_content == b"\x00\xff\n"


# What is cut short


def test_a_response_cut_short_of_its_length_fails_for_the_client_and_in_the_record(start: Start, serve: Serve) -> None:
    """H20"""
    server = serve(lambda each: (each.read_head(), each.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello")))
    with start() as proxy:
        done = curl(proxy, server.url(), status=18)  # partial file
    assert done.stdout == b"hello"
    flow = proxy.flow()
    assert flow.error and "server" in flow.error.msg
    assert flow.response and flow.response.raw_content == b"hello"
    assert not flow.response.body.complete


def test_a_close_delimited_response_cut_by_a_reset_is_not_complete(start: Start, serve: Serve) -> None:
    """H19"""

    def script(server: Peer) -> None:
        server.read_head()
        server.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        arrived.wait(20)
        server.reset()

    arrived = Event()
    server = serve(script)
    with start() as proxy, closing(connect(proxy)) as sock:
        sock.sendall(get(f"127.0.0.1:{server.port}", server.url()))
        client = Peer(sock)
        client.read_head()
        assert client.read(5) == b"hello"
        arrived.set()
        with pytest.raises(ConnectionResetError):
            client.read_all()
    flow = proxy.flow()
    assert flow.error and "server" in flow.error.msg
    assert flow.response and not flow.response.body.complete


def test_a_client_that_leaves_in_the_middle_is_recorded_and_the_server_is_let_go(start: Start, serve: Serve) -> None:
    gone = Event()

    def script(server: Peer) -> None:
        server.read_head()
        server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                server.send(b"1000\r\n" + bytes(0x1000) + b"\r\n")
        except OSError:
            gone.set()

    server = serve(script)
    with start() as proxy:
        with closing(connect(proxy)) as sock:
            ask_for = get(f"127.0.0.1:{server.port}", server.url())
            sock.sendall(ask_for)
            Peer(sock).read_head()
        assert gone.wait(20)
    flow = proxy.flow()
    assert flow.error and "client" in flow.error.msg


# Addresses, and our own answers


def test_curl_reaches_an_ipv6_address(start: Start, serve: Serve) -> None:
    server = serve(answering(response(b"six")), host="::1")
    with start() as proxy:
        url = f"http://[::1]:{server.port}/"
        assert curl(proxy, url, "--globoff").stdout == b"six"
    flow = proxy.flow()
    assert flow.request and flow.request.url == url
    assert flow.server_conn and flow.server_conn.peername == ("::1", server.port)


def test_clients_are_served_at_the_ipv6_loopback_address_too(start: Start, nginx: Nginx) -> None:
    with start() as proxy:
        assert [host for host, _ in proxy.addresses] == ["127.0.0.1", "::1"]
        curl(proxy, nginx.http + "/echo", "--proxy", f"http://[::1]:{proxy.port}")
    assert proxy.flow().client_conn.sockname == ("::1", proxy.port)


_TO = b"GET http://127.0.0.1:1/ HTTP/1.1\r\n"
_POST = b"POST http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\n"
BAD_REQUESTS = [
    (400, b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    (400, _TO + b"\r\n"),
    (400, _TO + b"Host: a\r\nHost: b\r\n\r\n"),
    (400, _TO + b"Host : a\r\n\r\n"),
    (400, _TO + b"Host: a\r\nX: a\nY: b\r\n\r\n"),
    (400, _POST + b"Content-Length: 1, 2\r\n\r\n"),
    (400, _POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (414, b"GET http://127.0.0.1:1/" + b"a" * 70_000 + b" HTTP/1.1\r\n"),
    (431, _TO + b"Host: a\r\n" + b"X: y\r\n" * 20_000),
    (400, b"CONNECT 127.0.0.1:99999 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"CONNECT user@127.0.0.1:443 HTTP/1.1\r\nHost: a\r\n\r\n"),
    (400, b"\x16\x03\x01\x00\x05hello\r\n\r\n"),
    (502, _TO + b"Host: 127.0.0.1:1\r\n\r\n"),
]


def test_bad_requests_are_answered_and_recorded(start: Start) -> None:
    """H1, H3, H7, H8, H11, H12, H17, H21"""
    with start() as proxy:
        for status, request in BAD_REQUESTS:
            with closing(connect(proxy)) as sock:
                answer, page = ask(sock, request)
            assert (answer.status, answer.getheader("connection")) == (status, "close"), request[:100]
            assert b"<h1>" in page
    flows = proxy.flows()
    assert len(flows) == len(BAD_REQUESTS)
    assert all(flow.error and flow.response is None for flow in flows)


def test_the_server_sees_no_fields_that_were_for_the_proxy(start: Start, serve: Serve) -> None:
    """H9"""
    heads: list[bytes] = []
    server = serve(lambda each: (heads.append(each.read_head()), each.send(response(b"", "200 OK", "Keep-Alive: 5"))))
    with start() as proxy, closing(connect(proxy)) as sock:
        hop = ("Connection: X-Private, close", "X-Private: 1", "Proxy-Authorization: Basic eDp5", "TE: trailers")
        answer, _ = ask(sock, get(f"127.0.0.1:{server.port}", server.url(), *hop, "Proxy-Connection: keep-alive"))
    head = heads[0].lower()
    for name in (b"x-private", b"proxy-authorization", b"proxy-connection", b"\r\nte:"):
        assert name not in head
    assert answer.getheader("keep-alive") is None


def test_an_idle_server_connection_that_has_gone_away_is_replaced(start: Start, serve: Serve) -> None:
    server = serve(lambda each: (each.read_head(), each.send(response(b"once"))))  # and closes, without saying so
    with start() as proxy, closing(connect(proxy)) as sock:
        for number in range(3):
            wait_until(lambda so_far=number: server.connections == so_far, "the server has closed")
            _, body = ask(sock, get(f"127.0.0.1:{server.port}", server.url()))
            assert body == b"once"
    assert statuses(proxy.flows()) == [200, 200, 200]
