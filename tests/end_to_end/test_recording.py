"""What is recorded: all of it, once, in flat memory, and whatever happens to the program."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from ssl import SSLContext

import pytest
from support.clients import ask, connect, get, open_tls
from support.program import Proxy, Start, mitmdump
from support.servers import HELLO, Peer, Serve, answering, response
from support.tools import wait_until

from mitmdump.files import open_flows
from mitmdump.model.body import Body

MIB, GIB = 1 << 20, 1 << 30
# Random, so that nothing of it is like the rest; larger than all buffers on its way.
BLOCK = os.urandom(MIB)


def _blocks(number: int) -> Iterator[bytes]:
    """So many blocks, no two alike."""
    for at in range(number):
        yield at.to_bytes(8) + BLOCK[8:]


def _digest_of(pieces: Iterator[bytes]) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _check_body(body: Body, length: int, digest: bytes) -> None:
    assert (body.length, body.stored, body.complete) == (length, length, True)
    assert (body.digest, body.sha256) == (None, digest)  # found in the bytes that were stored


# Large bodies


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_download_of_a_gigabyte_is_recorded_in_flat_memory(
    start: Start, serve: Serve, tls: SSLContext, scheme: str
) -> None:
    """R1"""

    def script(server: Peer) -> None:
        server.read_head()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
        for block in _blocks(GIB // MIB):
            server.send(block)
        server.read_all()

    server = serve(script, tls if scheme == "https" else None)
    authority = f"localhost:{server.port}"
    with start() as proxy:
        sock = open_tls(proxy, authority) if scheme == "https" else connect(proxy)
        with closing(sock):
            sock.sendall(get(authority, server.url(host="localhost")))
            client = Peer(sock)
            client.read_head()
            received = client.digest(GIB)
        assert proxy.memory("VmHWM") < 120 * MIB
    assert received == _digest_of(_blocks(GIB // MIB))
    flow = proxy.flow()
    assert flow.response
    _check_body(flow.response.body, GIB, received)
    proxy.capture.unlink()


def test_an_upload_of_a_gigabyte_is_recorded_in_flat_memory(start: Start, serve: Serve) -> None:
    """R1"""
    received: list[bytes] = []

    def script(server: Peer) -> None:
        server.read_head()
        received.append(server.digest(GIB))
        server.send(HELLO)

    server = serve(script)
    authority = f"localhost:{server.port}"
    with start() as proxy, closing(connect(proxy)) as sock:
        url = server.url(host="localhost")
        sock.sendall(f"PUT {url} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {GIB}\r\n\r\n".encode())
        for block in _blocks(GIB // MIB):
            sock.sendall(block)
        answer, _ = ask(sock, b"")
        assert answer.status == 200
        assert proxy.memory("VmHWM") < 120 * MIB
    assert received == [_digest_of(_blocks(GIB // MIB))]
    flow = proxy.flow()
    assert flow.request
    _check_body(flow.request.body, GIB, received[0])
    proxy.capture.unlink()


# Ends of all kinds


def test_after_kill_9_every_finished_flow_is_there_and_the_running_one_as_far_as_it_had_come(
    start: Start, serve: Serve, tls: SSLContext
) -> None:
    """S1"""
    size = 20 * MIB

    def script(server: Peer) -> None:
        while head := server.read_head():
            if head.split()[1] != b"/large":
                server.send(response(head.split()[1]))
                continue
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * size))
            server.send(BLOCK * 20)
            server.read_all()  # and no more

    server = serve(script, tls)
    authority = f"localhost:{server.port}"
    with start() as proxy, open_tls(proxy, authority) as small, open_tls(proxy, authority) as large:
        large.sendall(get(authority, "/large"))
        client = Peer(large)
        client.read_head()
        assert client.read(size) == BLOCK * 20
        for number in range(50):
            assert ask(small, get(authority, f"/{number}"))[1] == b"/%d" % number
        proxy.kill()  # at once after the client has seen the last response
    *finished, cut = proxy.flows(complete=False)
    assert [flow.request.path for flow in finished if flow.request] == [f"/{number}" for number in range(50)]
    assert all(flow.response and flow.response.body.complete for flow in finished)
    assert cut.error and "cut off" in cut.error.msg
    assert cut.response and cut.response.raw_content == BLOCK * 20
    assert (cut.response.body.complete, cut.response.body.length) == (False, size)
    assert "1 flows were cut off" in mitmdump("-nr", proxy.capture).stderr


def test_200_concurrent_intercepted_clients_are_served_and_recorded_once_each(
    start: Start, serve: Serve, tls: SSLContext
) -> None:
    clients, requests = 200, 3
    everybody = threading.Barrier(clients, timeout=60)

    def script(server: Peer) -> None:
        while head := server.read_head():
            server.send(response(head.split()[1] * 1000))

    server = serve(script, tls)
    authority = f"localhost:{server.port}"

    def one(number: int) -> bool:
        with open_tls(proxy, authority) as sock:
            everybody.wait()
            bodies = [ask(sock, get(authority, f"/{number}/{turn}"))[1] for turn in range(requests)]
            everybody.wait()
        return bodies == [b"/%d/%d" % (number, turn) * 1000 for turn in range(requests)]

    with start() as proxy, ThreadPoolExecutor(clients) as pool:
        assert all(pool.map(one, range(clients)))
    paths = sorted(flow.request.path for flow in proxy.flows() if flow.request and not flow.error)
    assert paths == sorted(f"/{number}/{turn}" for number in range(clients) for turn in range(requests))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_running_transfers_in_time_with_a_valid_file(
    start: Start, serve: Serve, number: signal.Signals
) -> None:
    """R7"""

    def script(server: Peer) -> None:
        server.read_head()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhello")
        server.read_all()

    server = serve(script)
    with start("--timeout-stop", "1") as proxy, closing(connect(proxy)) as sock:
        sock.sendall(get(f"127.0.0.1:{server.port}", server.url()))
        client = Peer(sock)
        client.read_head()
        assert client.read(5) == b"hello"
        proxy.stop(number, seconds=10)
    flow = proxy.flow()
    assert flow.error and "the proxy was stopped" in flow.error.msg
    assert flow.response and flow.response.raw_content == b"hello"


def test_a_transfer_that_ends_within_the_grace_period_is_complete(start: Start, serve: Serve) -> None:
    """R7"""
    stopping = threading.Event()

    def script(server: Peer) -> None:
        server.read_head()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        stopping.wait(20)
        server.send(b"world")

    server = serve(script)
    with start("--timeout-stop", "20") as proxy, closing(connect(proxy)) as sock:
        sock.sendall(get(f"127.0.0.1:{server.port}", server.url()))
        client = Peer(sock)
        client.read_head()
        assert client.read(5) == b"hello"
        proxy.process.send_signal(signal.SIGTERM)
        wait_until(lambda: _refuses(proxy), "the proxy accepts no more clients")
        stopping.set()
        assert client.read(5) == b"world"
        assert proxy.process.wait(15) == 0
    assert proxy.flow().error is None


def _refuses(proxy: Proxy) -> bool:
    try:
        connect(proxy).close()
    except OSError:
        return True
    return False


def test_clients_that_merely_stay_connected_do_not_delay_the_end(start: Start, serve: Serve, tls: SSLContext) -> None:
    """R7"""
    plain, secure = serve(answering(HELLO)), serve(answering(HELLO), tls)
    with start("--timeout-stop", "60") as proxy, closing(connect(proxy)) as silent, closing(connect(proxy)) as idle:
        ask(idle, get(f"127.0.0.1:{plain.port}", plain.url()))
        authority = f"localhost:{secure.port}"
        with open_tls(proxy, authority) as tunnelled:
            ask(tunnelled, get(authority))
            proxy.stop(seconds=10)
            for sock in (silent, idle, tunnelled):
                assert sock.recv(1) == b""
    assert len(proxy.flows()) == 2


def test_a_second_signal_ends_at_once(start: Start, serve: Serve) -> None:
    """R7"""
    server = serve(lambda each: (each.read_head(), each.read_all()))
    with start("--timeout-stop", "60") as proxy, closing(connect(proxy)) as sock:
        sock.sendall(get(f"127.0.0.1:{server.port}", server.url()))
        wait_until(lambda: server.connections, "the server is asked")
        proxy.process.send_signal(signal.SIGINT)
        wait_until(lambda: _refuses(proxy), "the proxy accepts no more clients")
        proxy.stop(signal.SIGINT, seconds=10)
    assert proxy.flow().error


def test_the_counts_at_the_end_agree_with_the_file(start: Start, serve: Serve) -> None:
    """R8"""
    server = serve(answering(HELLO))
    with start("~m GET | ~e") as proxy, closing(connect(proxy)) as sock:
        authority = f"127.0.0.1:{server.port}"
        for method in ("GET", "PUT", "GET", "DELETE", "GET"):
            ask(sock, get(authority, server.url(), method=method))
        ask(sock, get(authority, "http://127.0.0.1:1/"))
    assert proxy.counts == (6, 4, 4, 1, 0)
    assert len(proxy.flows()) == 4


def test_usr1_says_the_counts_and_hup_begins_a_new_file(start: Start, serve: Serve) -> None:
    server = serve(answering(HELLO))
    authority = f"127.0.0.1:{server.port}"
    with start() as proxy, closing(connect(proxy)) as sock:
        proxy.expected.append("flows seen")
        ask(sock, get(authority, server.url("/1")))
        rotated = proxy.capture.with_name("rotated.flows")
        proxy.capture.rename(rotated)
        proxy.process.send_signal(signal.SIGHUP)
        wait_until(proxy.capture.exists, "the file is there again")
        ask(sock, get(authority, server.url("/2")))
        proxy.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: "2 flows seen" in proxy.stderr, "the counts are said")
    with open_flows(rotated) as before, open_flows(proxy.capture) as after:
        paths = [[flow.request.path for flow in flows if flow.request] for flows in (before, after)]
    assert paths == [["/1"], ["/2"]]
