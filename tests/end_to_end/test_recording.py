"""What is recorded: all of it, once, in flat memory, and whatever happens to the program."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from ssl import SSLContext

import pytest
from support.clients import ask, connect, get, open_tls, open_tunnel
from support.program import PROGRAM, Proxy, Start, mitmdump
from support.servers import Nginx, Peer, Serve, answering, response
from support.tools import run, wait_until

from mitmdump.flowfile import open_flows
from mitmdump.model.body import Body

MIB, GIB = 1 << 20, 1 << 30
HELLO = response(b"hello")
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
    assert body.sha256 == digest
    assert _digest_of(body.pieces()) == digest


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


# Reading back


def test_what_matches_is_printed_and_nothing_else(start: Start, serve: Serve) -> None:
    server = serve(answering(HELLO))
    with start() as proxy, closing(connect(proxy)) as sock:
        for method, host in (("GET", "a.example.com"), ("POST", "example.com"), ("GET", "example.org")):
            ask(sock, get(host, server.url(f"/{method}"), method=method))
    by_host = mitmdump("-nr", proxy.capture, "~d 127.0.0.1 & ~m POST")
    assert (by_host.returncode, by_host.stderr.count("\n")) == (0, 1)
    (line, answer) = by_host.stdout.splitlines()
    assert line.endswith(f": POST {server.url('/POST')}")
    assert answer.startswith("    << 200 OK 5b ")
    others = mitmdump("-nr", proxy.capture, "~m GET", "&", "!", "~u", "nothing")
    assert [row.split()[1] for row in others.stdout.splitlines() if "<<" not in row] == ["GET", "GET"]


def test_hosts_are_matched_by_name(start: Start, nginx: Nginx) -> None:
    """The line of the manual: mitmdump -nr out.flows '~d example.com & ~m POST'"""
    with start("--no-upstream-cert", "-k") as proxy:
        proxy.expected.append("not verified")
        for method, host in (("GET", "example.com"), ("POST", "www.example.com"), ("POST", "example.org")):
            with closing(open_tunnel(proxy, f"127.0.0.1:{nginx.https_port}")) as tunnel:
                context = ssl.create_default_context(cafile=str(proxy.ca))
                with context.wrap_socket(tunnel, server_hostname=host) as sock:
                    ask(sock, get(host, "/echo", "Content-Length: 0", method=method))
    shown = mitmdump("-nr", proxy.capture, "~d example.com & ~m POST")
    (line, _) = shown.stdout.splitlines()
    assert line.endswith(": POST https://www.example.com/echo")


def test_a_torn_file_gives_its_flows_one_line_and_status_3(start: Start, serve: Serve, tmp_path: Path) -> None:
    """S2"""
    server = serve(answering(HELLO))
    with start() as proxy, closing(connect(proxy)) as sock:
        for number in range(3):
            ask(sock, get(f"127.0.0.1:{server.port}", server.url(f"/{number}")))
    whole = proxy.capture.read_bytes()
    torn = tmp_path / "torn.flows"
    torn.write_bytes(whole[: len(whole) - len(whole) // 4])
    done = mitmdump("-nr", torn)
    assert done.returncode == 3
    assert "/0" in done.stdout
    assert "/2" not in done.stdout
    assert len(done.stderr.splitlines()) == 2
    assert "Traceback" not in done.stderr


def test_a_capture_is_filtered_into_another_and_through_pipes(start: Start, serve: Serve, tmp_path: Path) -> None:
    server = serve(answering(HELLO))
    with start() as proxy, closing(connect(proxy)) as sock:
        for number in range(4):
            ask(sock, get(f"127.0.0.1:{server.port}", server.url(f"/{number}")))
    some = tmp_path / "some.flows"
    assert mitmdump("-nr", proxy.capture, "-w", some, "~u /[13]$").returncode == 0
    piped = f"'{PROGRAM}' -nr '{some}' -w - | '{PROGRAM}' -nr - '~u /3$'"
    shown = run("sh", "-c", piped).stdout.decode()
    assert shown.count("GET") == 1
    assert "/3" in shown


def test_a_reader_that_has_seen_enough_is_no_trouble(start: Start, serve: Serve) -> None:
    server = serve(answering(HELLO))
    with start() as proxy, closing(connect(proxy)) as sock:
        for number in range(200):
            ask(sock, get(f"127.0.0.1:{server.port}", server.url(f"/{number}")))
    command = f"'{PROGRAM}' -nr '{proxy.capture}' --flow-detail 4; echo status $? >&2"
    done = run("sh", "-c", f"{{ {command}; }} | head -1")
    assert b"status 0" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Broken" not in done.stderr


# Where it is written


@pytest.mark.parametrize("target", ["missing/out.flows", ".", "file/out.flows", "link.flows"])
def test_what_cannot_be_written_is_refused_at_the_start(tmp_path: Path, confdir: Path, target: str) -> None:
    """S4, S10"""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "elsewhere").write_text("precious")
    (tmp_path / "link.flows").symlink_to(tmp_path / "elsewhere")
    done = mitmdump("-p", "0", "--confdir", confdir, "-w", tmp_path / target)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert str(tmp_path) in done.stderr
    assert (tmp_path / "elsewhere").read_text() == "precious"


def test_a_file_that_is_read_is_not_overwritten(start: Start, serve: Serve) -> None:
    server = serve(answering(HELLO))
    with start() as proxy, closing(connect(proxy)) as sock:
        ask(sock, get(f"127.0.0.1:{server.port}", server.url()))
    before = proxy.capture.read_bytes()
    done = mitmdump("-nr", proxy.capture, "-w", proxy.capture)
    assert done.returncode == 2
    assert proxy.capture.read_bytes() == before


def test_names_made_of_the_time_stay_where_they_belong(tmp_path: Path, start: Start, serve: Serve) -> None:
    """S9"""
    refused = mitmdump("-p", "0", "-w", tmp_path / "%D.flows")
    assert refused.returncode == 2
    assert "no file name" in refused.stderr
    server = serve(answering(HELLO))
    with start("-w", tmp_path / "out-%Y.flows") as proxy, closing(connect(proxy)) as sock:
        hostile = get(f"127.0.0.1:{server.port}", server.url("/%2e%2e/%2e%2e/../../etc/x%Y"))
        ask(sock, hostile)
    (made,) = tmp_path.glob("*.flows")
    assert made.name.startswith("out-20")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_a_capture_is_for_its_owner_only_even_if_the_file_was_there(start: Start, tmp_path: Path) -> None:
    """S10"""
    existing = tmp_path / "existing.flows"
    existing.write_text("an old file")
    existing.chmod(0o666)
    with start("-w", existing):
        pass
    assert stat.S_IMODE(existing.stat().st_mode) == 0o600
    with open_flows(existing) as flows:
        assert list(flows) == []


def test_a_full_disk_is_said_once_and_leaves_a_valid_prefix(start: Start, serve: Serve) -> None:
    """S3: with a limit on file sizes in place of a disk."""
    server = serve(answering(response(BLOCK)))
    with start(limits="trap '' XFSZ; ulimit -f 6000") as proxy:  # blocks of 512 bytes
        authority = f"127.0.0.1:{server.port}"
        for number in range(8):
            try:
                with closing(connect(proxy)) as sock:
                    ask(sock, get(authority, server.url(f"/{number}")))
            except OSError:
                break
        assert proxy.process.wait(20) == 1
    assert sum("cannot write" in line for line in proxy.stderr.splitlines()) == 1
    assert "Traceback" not in proxy.stderr
    with open_flows(proxy.capture) as flows:
        whole = [flow for flow in flows if not flow.error]
        assert 1 <= len(whole) < 8
        assert not flows.damage


# Starting


def test_the_version_is_said_without_loading_the_proxy() -> None:
    code = (
        "import sys; from mitmdump.cli import main; main(['--version']); "
        "print(*sorted({'asyncio', 'OpenSSL', 'cryptography', 'h2', 'uvloop', 'msgpack'} & set(sys.modules)))"
    )
    version, loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.splitlines()
    assert version.startswith("mitmdump ")
    assert loaded == ""
    assert mitmdump("--version").stdout.strip() == version


def test_reading_back_loads_nothing_of_the_network(start: Start) -> None:
    with start() as proxy:
        pass
    code = (
        f"import sys; from mitmdump.cli import main; main(['-nr', {str(proxy.capture)!r}]); "
        "print(*sorted({'asyncio', 'OpenSSL', 'uvloop', 'ssl', 'mitmdump.net'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "")


def test_a_port_that_is_taken_is_refused_in_one_line(tmp_path: Path, confdir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        out = tmp_path / "out.flows"
        done = mitmdump("-p", str(port), "--listen-host", "127.0.0.1", "--confdir", confdir, "-w", out)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mitmdump: cannot listen on 127.0.0.1:{port}: address already in use. Choose ")
    assert not out.exists()


@pytest.mark.parametrize(
    "options", [["--nonsense"], ["-p", "x"], ["~nonsense"], ["~m ("], ["-n"], ["-r", "missing.flows"]]
)
def test_a_mistake_on_the_command_line_is_status_2_and_explained(options: list[str]) -> None:
    done = mitmdump(*options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mitmdump: ")
    assert "Traceback" not in done.stderr


def test_curl_can_be_recorded_to_standard_output(confdir: Path, nginx: Nginx, tmp_path: Path) -> None:
    ready, out = tmp_path / "ready.json", tmp_path / "out"
    command = [PROGRAM, "-p", "0", "--confdir", confdir, "--ready-file", ready, "-w", "-"]
    with out.open("wb") as stdout, (tmp_path / "err").open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
    try:
        wait_until(ready.exists, "the proxy listens")
        port = json.loads(ready.read_text())["addresses"][0][1]
        run("curl", "-q", "-sS", "--noproxy", "", "--proxy", f"http://127.0.0.1:{port}", nginx.http + "/echo")
    finally:
        process.terminate()
        assert process.wait(20) == 0
    with open_flows(out) as flows:
        (flow,) = flows
    assert flow.request and flow.request.path == "/echo"
