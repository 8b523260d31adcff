"""What many, slow, hostile or confused clients can use up: not much, and nobody else suffers."""

from __future__ import annotations

import resource
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from random import Random
from ssl import SSLContext

import pytest
from support.clients import ask, connect, curl, get, open_tls, open_tunnel
from support.program import Proxy, Start, statuses
from support.servers import HELLO, Nginx, Peer, Serve, answering, response
from support.tools import wait_until

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    """The clients of these tests are many, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _ask_many(sock: socket.socket, request: bytes, times: int) -> None:
    """So many times the same, some at a time."""
    client, batch = Peer(sock), 50
    for _ in range(times // batch):
        client.send(request * batch)
        for _ in range(batch):
            assert client.read_head().startswith(b"HTTP/1.1 200 ")
            assert client.read(5) == b"hello"


@pytest.mark.parametrize(("scheme", "flows"), [("http", 20_000), ("https", 10_000)])
def test_memory_and_descriptors_stay_flat_over_many_flows(
    start: Start, serve: Serve, tls: SSLContext, scheme: str, flows: int
) -> None:
    """R3"""
    server = serve(answering(HELLO), tls if scheme == "https" else None)
    authority = f"localhost:{server.port}"
    with start("--flow-detail", "0") as proxy, ExitStack() as stack:
        socks = [stack.enter_context(_open(proxy, scheme, authority)) for _ in range(4)]
        request = get(authority, server.url(host="localhost") if scheme == "http" else "/")
        measured = []
        for times in (500, flows // 4 - 500):
            for sock in socks:
                _ask_many(sock, request, times)
            measured.append((proxy.memory("VmRSS"), proxy.descriptors()))
    (memory, descriptors), (later_memory, later_descriptors) = measured
    assert later_memory - memory < 3 * MIB
    assert later_descriptors == descriptors
    assert Counter(statuses(proxy.flows())) == {200: flows}


def _open(proxy: Proxy, scheme: str, authority: str) -> socket.socket:
    return open_tls(proxy, authority) if scheme == "https" else connect(proxy)


def test_memory_and_descriptors_stay_flat_over_many_connections(start: Start, serve: Serve, tls: SSLContext) -> None:
    """R3"""
    server = serve(answering(HELLO), tls)
    authority = f"localhost:{server.port}"
    with start() as proxy:
        measured = []
        for connections in (100, 300):
            for _ in range(connections):
                with open_tls(proxy, authority) as sock:
                    ask(sock, get(authority))
            wait_until(lambda: proxy.descriptors() < 24, "connections that were left are closed")
            measured.append(proxy.memory("VmRSS"))
    assert measured[1] - measured[0] < 4 * MIB
    assert len(proxy.flows()) == 400


def test_500_slow_clients_keep_nobody_waiting_and_are_ended_in_time(start: Start, nginx: Nginx) -> None:
    """R4"""
    with start("--timeout-head", "4s") as proxy, ExitStack() as stack:
        slow = [stack.enter_context(closing(connect(proxy))) for _ in range(500)]
        for sock in slow:
            sock.sendall(f"GET {nginx.http}/echo HTTP/1.1\r\nHost: a\r\nX-Slow:".encode())
        begin = time.monotonic()
        done = curl(proxy, nginx.https + "/echo")
        assert done.stdout == b"GET /echo \n"
        assert time.monotonic() - begin < 3
        deadline = time.monotonic() + 20
        waiting = set(slow)
        while waiting:  # a drop now and then does not help them
            assert time.monotonic() < deadline, f"{len(waiting)} slow clients are still there"
            waiting = {sock for sock in waiting if _drips(sock)}
            time.sleep(0.2)
        assert proxy.descriptors() < 50
        assert proxy.memory("VmHWM") < 120 * MIB
    assert len([flow for flow in proxy.flows() if not flow.error]) == 1


def _drips(sock: socket.socket) -> bool:
    """Send a byte more; False once the proxy has ended the connection."""
    try:
        sock.send(b"x")
        sock.setblocking(False)
        sock.recv(65536)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        sock.setblocking(True)
    return False


def test_a_slow_reader_does_not_make_us_keep_what_it_does_not_read(start: Start, serve: Serve) -> None:
    """R1, with back-pressure to the server."""
    sent = [0]

    def script(server: Peer) -> None:
        server.read_head()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (500 * MIB))
        for _ in range(500):
            server.send(bytes(MIB))
            sent[0] += MIB

    server = serve(script)
    with start("--timeout-stop", "1") as proxy, closing(connect(proxy)) as sock:
        sock.sendall(get(f"127.0.0.1:{server.port}", server.url()))
        assert Peer(sock).read_head()
        before = -1
        while sent[0] != before:  # until the server cannot send any more
            before = sent[0]
            time.sleep(0.5)
        assert before < 100 * MIB
        assert proxy.memory("VmHWM") < 120 * MIB


def test_with_64_descriptors_120_clients_are_too_many_but_do_no_harm(start: Start, serve: Serve) -> None:
    """R5"""
    server = serve(answering(HELLO))
    request = get(f"127.0.0.1:{server.port}", server.url())
    with start(limits="ulimit -n 64") as proxy:
        proxy.expected += ["clients at a time", "cannot accept more clients", "files may be open"]
        with ExitStack() as stack:
            clients = [stack.enter_context(closing(connect(proxy))) for _ in range(120)]
            for sock in clients:
                with suppress(OSError):
                    sock.sendall(request)
            # Who waits idle makes room for those who wait outside, even before a first request.
            served = sum(_is_served(sock) for sock in clients)
            assert served >= 100
        with closing(connect(proxy)) as sock:
            assert ask(sock, request)[1] == b"hello"
        assert len(proxy.stderr.splitlines()) <= 6
    assert len(proxy.flows()) == served + 1


def _is_served(sock: socket.socket) -> bool:
    client = Peer(sock)
    try:
        return client.read_head().startswith(b"HTTP/1.1 200 ") and client.read(5) == b"hello"
    except OSError:
        return False


def test_with_64_descriptors_and_servers_that_do_not_answer_it_is_alive_and_recovers(
    start: Start, serve: Serve
) -> None:
    """R5"""
    silent = serve(lambda each: each.read_all())
    with start(limits="ulimit -n 64") as proxy:
        proxy.expected += ["clients at a time", "cannot accept more clients", "files may be open"]
        with ExitStack() as stack:
            for _ in range(120):
                sock = stack.enter_context(closing(connect(proxy)))
                sock.sendall(get(f"127.0.0.1:{silent.port}", silent.url()))
            wait_until(lambda: silent.connections >= 20, "as many as there is room for are connected")
        with closing(connect(proxy)) as sock:
            answer, _ = ask(sock, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert answer.status == 400
        assert len(proxy.stderr.splitlines()) <= 6


# Loops


def _own_names() -> list[str]:
    return ["localhost", "127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:0:0]"]


@pytest.mark.parametrize("hosts", [(), ("0.0.0.0", "::")])
def test_the_proxy_cannot_be_reached_through_itself(start: Start, hosts: tuple[str, ...]) -> None:
    """A3"""
    options = [word for host in hosts for word in ("--listen-host", host)]
    with start(*options, "--timeout-connect", "5s") as proxy:
        for name in _own_names():
            authority = f"{name}:{proxy.port}"
            with closing(connect(proxy)) as sock:
                answer, page = ask(sock, get(authority, f"http://{authority}/"))
            assert answer.status == 502, name
            assert b"this proxy itself" in page or b"refused" in page, name
        with open_tls(proxy, f"127.0.0.1:{proxy.port}") as sock:
            assert ask(sock, get("localhost"))[0].status == 502
    assert len(proxy.flows()) == len(_own_names()) + 1


def test_a_redirect_to_the_proxy_does_not_go_in_circles(start: Start, serve: Serve) -> None:
    """A3"""
    with start() as proxy:
        there = f"Location: http://localhost:{proxy.port}/"
        server = serve(answering(response(b"", "302 Found", there)))
        done = curl(proxy, "-L", server.url(), "-w", "%{http_code}")
        assert b"this proxy itself" in done.stdout
        assert done.stdout.endswith(b"502")
    assert len(proxy.flows()) == 2


# Garbage


def _garbage(random: Random) -> Iterator[bytes]:
    """What no client should send."""
    yield from (b"", b"\r\n" * 1000, b"\n", b"\0" * 100, b"GET", b"GET ", b"\xff\xfe\xfd", b"\x05\x01\x00", b"\x04\x01")
    yield b"GET http://[ HTTP/1.1\r\nHost: [\r\n\r\n"
    yield b"GET http://\xff\xfe/ HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n"
    yield b"GET http://127.0.0.1:1/ HTTP/9.9\r\nHost: a\r\n\r\n"
    yield b"CONNECT [::1 HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n\x16\x03\x01\x00\xff"
    yield b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(100)
    yield b"POST http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"
    yield b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n"
    whole = b"POST http://127.0.0.1:1/a?b HTTP/1.1\r\nHost: 127.0.0.1:1\r\nContent-Length: 5\r\n\r\nhello"
    for _ in range(150):
        at = random.randrange(len(whole))
        yield whole[:at] + random.randbytes(random.randrange(4)) + whole[at + random.randrange(4) :]
    for _ in range(50):
        yield random.randbytes(random.randrange(1, 3000))


def test_garbage_from_clients_is_no_reason_to_fall_over(start: Start, nginx: Nginx) -> None:
    """L3"""
    with start() as proxy:
        proxy.expected.append("no TLS with ")
        for data in _garbage(Random(1)):
            with closing(connect(proxy)) as sock, suppress(OSError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                Peer(sock).read_all()
        assert curl(proxy, nginx.https + "/echo").stdout == b"GET /echo \n"
    assert proxy.flows()[-1].response


def test_garbage_inside_a_tunnel_is_no_reason_to_fall_over(start: Start, serve: Serve, tls: SSLContext) -> None:
    """L3"""
    server = serve(answering(HELLO), tls)
    authority = f"localhost:{server.port}"
    random = Random(2)
    with start() as proxy:
        proxy.expected.append("no TLS with ")
        for _ in range(40):
            with closing(open_tunnel(proxy, authority)) as sock, suppress(OSError):
                sock.sendall(b"\x16\x03\x01" + random.randbytes(random.randrange(1, 600)))
                sock.shutdown(socket.SHUT_WR)
                Peer(sock).read_all()
        for data in _garbage(random):
            with open_tls(proxy, authority) as sock, suppress(OSError):
                sock.sendall(data)
                sock.settimeout(0.01)
                Peer(sock).read_all()
        with open_tls(proxy, authority) as sock:
            assert ask(sock, get(authority))[1] == b"hello"


def _bad_responses(random: Random) -> list[bytes]:
    whole = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    mangled = []
    for _ in range(150):
        at = random.randrange(len(whole))
        mangled.append(whole[:at] + random.randbytes(random.randrange(4)) + whole[at + random.randrange(4) :])
    return [
        b"",
        b"220 mail.test\r\n",
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        *mangled,
    ]


def test_garbage_from_servers_is_no_reason_to_fall_over(start: Start, serve: Serve) -> None:
    """L3"""
    waiting = _bad_responses(Random(3))
    number = len(waiting)
    server = serve(lambda each: (each.read_head(), each.send(waiting.pop())))
    authority = f"127.0.0.1:{server.port}"
    with start() as proxy:
        for _ in range(number):
            with closing(connect(proxy)) as sock, suppress(OSError):
                sock.sendall(get(authority, server.url(), method="POST"))  # which is not asked again
                sock.shutdown(socket.SHUT_WR)
                Peer(sock).read_all()
    assert not waiting
    assert len(proxy.flows()) >= number
