"""Files that flows are written to: what is in them whatever happens, and that nothing is lost without a word."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from http.client import HTTPException
from pathlib import Path
from socket import socket

import pytest
from support.clients import ask, connect, get, open_tunnel
from support.program import PROGRAM, SUMMARY, Proxy, Start, mitmdump
from support.servers import HELLO, Peer, Serve, Server, response
from support.tools import tool, wait_until

from mitmdump.files import open_flows
from mitmdump.model.flow import Flow

GOLDEN = Path(__file__).parents[1] / "golden" / "version-1.flows"
NOISE = os.urandom(1 << 16)


def paths_in(file: Path) -> list[str]:
    """The paths of the flows in a file, which must not be damaged."""
    with open_flows(file, strict=True) as flows:
        return [flow.request.path for flow in flows if flow.request]


def ask_for(proxy: Proxy, server: Server, *paths: str | int) -> None:
    with closing(connect(proxy)) as sock:
        for path in paths:
            ask(sock, get(f"127.0.0.1:{server.port}", server.url(f"/{path}")))


def ended(proxy: Proxy, status: int) -> list[str]:
    """Wait for the end of a proxy; what it said besides the first and the last line."""
    assert proxy.process.wait(20) == status, proxy.stderr
    assert "Traceback" not in proxy.stderr
    return proxy.remarks


@pytest.fixture
def server(serve: Serve) -> Server:
    """Each of its responses takes 5,000 bytes, also when it is compressed."""

    def script(peer: Peer) -> None:
        while peer.read_head():
            peer.send(response(os.urandom(5000)))

    return serve(script)


# Outputs that cannot be written any more


def test_a_full_disk_is_the_end_and_what_is_in_the_file_is_what_is_said(
    start: Start, server: Server, small_disk: Path
) -> None:
    """S3, R8"""
    full = small_disk / "out.flows"
    with start("-w", full) as proxy:
        with suppress(OSError, HTTPException):
            ask_for(proxy, server, *range(100))
        remarks = ended(proxy, 1)
    assert remarks == [f"mitmdump: cannot write {full}: no space left on device. Make room, or choose another place"]
    kept, whole = paths_in(full), paths_in(proxy.capture)
    assert kept == whole[: len(kept)]
    _, matched, written, _, dropped = proxy.counts
    assert (written, dropped) == (len(kept) + len(whole), 2 * matched - written)
    assert dropped


@pytest.mark.parametrize("name", ["out.flows", "out.flows.zst", "out.har", "out.mitm"])
def test_the_proxy_goes_on_without_a_full_disk_if_that_is_asked_for(
    name: str, start: Start, server: Server, small_disk: Path
) -> None:
    """S3, R8"""
    full = small_disk / name
    with start("-w", full, "--on-write-error", "pass") as proxy:
        ask_for(proxy, server, 0)
        wait_until(lambda: full.stat().st_size, "the first flow is on the disk")
        ask_for(proxy, server, *range(1, 120))
        proxy.process.send_signal(signal.SIGTERM)
        remarks = ended(proxy, 1)
    reason = "no space left on device. Make room, or choose another place. Going on without it"
    assert remarks == [f"mitmdump: cannot write {full}: {reason}"]
    kept, whole = paths_in(full), paths_in(proxy.capture)
    assert whole == [f"/{number}" for number in range(120)]
    assert 0 < len(kept) < 120
    assert kept == whole[: len(kept)]
    assert proxy.counts == (120, 120, 120 + len(kept), 0, 120 - len(kept))


def test_a_file_that_reaches_the_limit_of_the_system_is_valid_up_to_there(start: Start, server: Server) -> None:
    """S3, R8"""
    with start(limits="ulimit -f 100") as proxy:
        with suppress(OSError, HTTPException):
            ask_for(proxy, server, *range(100))
        (remark,) = ended(proxy, 1)
    assert "file too large. Split the capture into several files, or raise the limit (ulimit -f)" in remark
    assert len(paths_in(proxy.capture)) == proxy.counts[2] > 3


def test_a_removed_directory_is_said(start: Start, server: Server, tmp_path: Path) -> None:
    """S3"""
    gone = tmp_path / "gone"
    gone.mkdir()
    with start("-w", gone / "out.flows") as proxy:
        ask_for(proxy, server, 1)
        shutil.rmtree(gone)
        remarks = ended(proxy, 1)
    assert remarks == [f"mitmdump: cannot write {gone}/out.flows: it was removed, with all that was in it"]
    assert proxy.counts == (1, 1, 1, 0, 1)


def test_a_file_that_was_removed_just_before_the_end_is_said(start: Start, server: Server, tmp_path: Path) -> None:
    """S3"""
    with start("-w", tmp_path / "out.flows") as proxy:
        ask_for(proxy, server, 1)
        (tmp_path / "out.flows").unlink()
        proxy.process.send_signal(signal.SIGTERM)
        (remark,) = ended(proxy, 1)
    assert "it was removed" in remark


@pytest.mark.parametrize("unread", ["-w -", "--json"])
def test_a_reader_that_goes_away_ends_it(unread: str, tmp_path: Path) -> None:
    """S3: a lost record is trouble, text that nobody reads is none."""
    big = tmp_path / "big.flows"
    big.write_bytes(GOLDEN.read_bytes() * 300)
    command = [str(PROGRAM), "-nr", str(big), *unread.split()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as running:
        assert running.stdout
        assert running.stderr
        running.stdout.read(10)
        running.stdout.close()
        said = running.stderr.read().decode()
        status = running.wait(20)
    is_record = unread == "-w -"
    assert status == (1 if is_record else 0)
    assert ("cannot write standard output: broken pipe" in said) is is_record
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["/dev/full", "{}", "{}/absent/out.flows", "{}/absent/out.har"])
def test_what_cannot_be_written_is_refused_before_the_first_flow(name: str, tmp_path: Path) -> None:
    """S4"""
    done = mitmdump("-nr", GOLDEN, "-w", name.format(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert f"{name.format(tmp_path)}: " in done.stderr


def test_text_that_cannot_be_written_is_trouble() -> None:
    """S3"""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([PROGRAM, "-nr", GOLDEN], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "cannot write flows to <stdout>: No space left on device" in done.stderr


# Files and who may see them


@pytest.mark.parametrize("name", ["out.flows", "out.flows.zst", "out.har", "out.jsonl", "out.mitm", "%Y.flows"])
def test_files_are_private_and_links_are_not_followed(name: str, tmp_path: Path) -> None:
    """S10, S9"""
    done = subprocess.run(["sh", "-c", 'umask 0; exec "$@"', "sh", PROGRAM, "-qnr", GOLDEN, "-w", tmp_path / name])
    assert done.returncode == 0
    (made,) = tmp_path.iterdir()
    assert made.stat().st_mode & 0o777 == 0o600
    made.rename(tmp_path / "kept")
    made.symlink_to("kept")
    before = (tmp_path / "kept").read_bytes()
    refused = mitmdump("-nr", GOLDEN, "-w", tmp_path / name)
    assert (refused.returncode, (tmp_path / "kept").read_bytes()) == (2, before)
    assert "it is a symbolic link" in refused.stderr


def test_two_captures_do_not_write_one_file(start: Start, tmp_path: Path) -> None:
    with start() as proxy:
        before = proxy.capture.read_bytes()
        for name in (str(proxy.capture), f"+{proxy.capture}"):
            done = mitmdump("-nr", GOLDEN, "-w", name)
            assert done.returncode == 2
            assert done.stderr.endswith("another program is writing it. Choose another file, or stop that program\n")
        assert proxy.capture.read_bytes() == before


# Appending


@pytest.mark.parametrize("how", ["+", "--append"])
@pytest.mark.parametrize("name", ["out.flows", "out.flows.zst", "out.har", "out.mitm", "out.mitm.zst"])
def test_a_file_can_be_continued(name: str, how: str, tmp_path: Path) -> None:
    plus, options = ("+", ()) if how == "+" else ("", ("--append",))
    counts = []
    for _ in range(3):
        done = mitmdump("-nr", GOLDEN, "-w", f"{plus}{tmp_path / name}", *options)
        assert done.returncode == 0, done.stderr
        counts.append(int(SUMMARY.search(done.stderr)[3]))  # type: ignore[index]
    with open_flows(tmp_path / name, strict=True) as flows:
        assert len(list(flows)) == sum(counts)
    assert counts == [counts[0]] * 3


def test_a_saved_file_can_be_continued_and_a_name_may_begin_with_a_plus(tmp_path: Path) -> None:
    for _ in range(2):
        command = [PROGRAM, "-qnr", GOLDEN, "--save", "+saved.flows", "~u /1$", "-w", "./+a.flows"]
        assert subprocess.run(command, cwd=tmp_path).returncode == 0
    assert paths_in(tmp_path / "saved.flows") == ["/1"] * 2
    assert len(paths_in(tmp_path / "+a.flows")) == len(paths_in(GOLDEN))


@pytest.mark.parametrize("name", ["a.flows", "a.har", "a.mitm", "a.flows.zst"])
def test_a_file_of_another_kind_is_not_continued(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("my precious notes, that are no capture\n")
    done = mitmdump("-nr", GOLDEN, "-w", f"+{tmp_path / name}")
    assert done.returncode == 2
    assert done.stderr.startswith(f"mitmdump: cannot append to {tmp_path / name}: ")
    assert (tmp_path / name).read_text().startswith("my precious")


# Enough


def test_it_stops_after_so_many_flows(start: Start, server: Server, tmp_path: Path) -> None:
    with start("--stop-after", "3", "~u /yes", "-w", tmp_path / "other.har") as proxy:
        with suppress(OSError, HTTPException):
            ask_for(proxy, server, "no", "yes/1", "no", "yes/2", "yes/3", "yes/4")
        assert ended(proxy, 0) == ["mitmdump: stopping, as --stop-after 3 says"]
    assert paths_in(proxy.capture) == paths_in(tmp_path / "other.har") == ["/yes/1", "/yes/2", "/yes/3"]
    assert proxy.counts[1:] == (3, 6, 0, 0)


def test_what_is_in_flight_when_the_last_flow_begins_is_not_written(start: Start, serve: Serve) -> None:
    """Nor is it cut off; the last flow has the grace period of any stop."""
    going_on = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_head()
        going_on.wait(20)
        peer.send(HELLO)

    slow = serve(script)
    with start("--stop-after", "1", "~c 200", "--timeout-stop", "20") as proxy:
        with closing(connect(proxy)) as one, closing(connect(proxy)) as other:
            for number, sock in enumerate((one, other)):
                sock.sendall(get(f"127.0.0.1:{slow.port}", slow.url(f"/{number}")))
            wait_until(lambda: slow.connections == 2, "both are asked for")
            going_on.set()
            for sock in (one, other):
                assert ask(sock, b"")[1] == b"hello"
        assert ended(proxy, 0) == ["mitmdump: stopping, as --stop-after 1 says"]
    assert len(paths_in(proxy.capture)) == 1


@pytest.mark.parametrize("enough", ["100kB", "300ms"])
def test_it_stops_after_so_many_bytes_and_so_much_time(enough: str, start: Start, server: Server) -> None:
    with start("--stop-after", enough) as proxy:
        with suppress(OSError, HTTPException):
            ask_for(proxy, server, *range(10_000))
        assert ended(proxy, 0) == [f"mitmdump: stopping, as --stop-after {enough} says"]
    assert len(paths_in(proxy.capture)) == proxy.counts[2]
    assert proxy.capture.stat().st_size > 100_000 or enough == "300ms"


@pytest.mark.parametrize("enough", ["4", "10k", "1ms"])
def test_reading_stops_as_well(enough: str, tmp_path: Path) -> None:
    (tmp_path / "in.flows").write_bytes(GOLDEN.read_bytes() * 50)
    done = mitmdump("-nr", tmp_path / "in.flows", "-w", tmp_path / "out.flows", "--stop-after", enough)
    assert done.returncode == 0
    assert f"mitmdump: stopping, as --stop-after {enough} says" in done.stderr
    summary = SUMMARY.search(done.stderr)
    assert summary
    assert int(summary[3]) == 4 or (enough != "4" and int(summary[3]) < 500)
    assert len(list(open_flows(tmp_path / "out.flows"))) == int(summary[3])


def test_following_stops_as_well(tmp_path: Path) -> None:
    (tmp_path / "in.flows.zst").write_bytes(b"")
    done = mitmdump("-r", tmp_path / "in.flows.zst", "--follow", "--stop-after", "200ms", seconds=20)
    assert done.returncode == 0, done.stderr
    assert "mitmdump: stopping, as --stop-after 200ms says" in done.stderr


# kill -9


class Traffic:
    """Fifty clients that go on until the proxy is gone, and note what they have seen whole, and when."""

    def __init__(self, proxy: Proxy, server: Server) -> None:
        self._proxy = proxy
        self._server = server
        self.seen: dict[str, float] = {}  # path of a response that was seen whole: when
        self.echoed: dict[str, list[tuple[float, int]]] = {}  # by tunnel: when, how many bytes had come back by then
        clients: list[Callable[[str], None]] = [self._small] * 20 + [self._large] * 10 + [self._echo] * 20
        self._threads = [
            threading.Thread(target=self._run, args=(client, f"{client.__name__}{number}"), daemon=True)
            for number, client in enumerate(clients)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()

    def _run(self, client: Callable[[str], None], name: str) -> None:
        with suppress(OSError, AssertionError, HTTPException):  # the proxy is gone
            client(name)

    def _get(self, sock: socket, path: str) -> None:
        _, body = ask(sock, get(f"127.0.0.1:{self._server.port}", self._server.url(path)))
        if body == content(path):
            self.seen[path] = time.monotonic()

    def _small(self, name: str) -> None:
        with closing(connect(self._proxy)) as sock:
            for number in range(100_000):
                self._get(sock, f"/{number % 3000}/{name}-{number}")

    def _large(self, name: str) -> None:
        with closing(connect(self._proxy)) as sock:
            for number in range(100_000):
                self._get(sock, f"/{1 << 18 + number % 5}/{name}-{number}")

    def _echo(self, name: str) -> None:
        rng, count = random.Random(name), 0
        with closing(open_tunnel(self._proxy, f"127.0.0.1:{self._server.port}")) as sock:
            port = str(sock.getsockname()[1])
            while True:
                size = rng.choice([3, 100, 5000, 200_000])
                sock.sendall(b"ECHO %d\r\n\r\n" % size + (NOISE * 4)[:size])
                left = size
                while left:
                    data = sock.recv(left)
                    if not data:
                        return
                    left -= len(data)
                    count += len(data)
                self.echoed.setdefault(port, []).append((time.monotonic(), count))


def content(path: str) -> bytes:
    """What the server has at a path: its first part is a size."""
    size = int(path.split("/")[1])
    return (NOISE * (size // len(NOISE) + 1))[:size]


def serve_traffic(peer: Peer) -> None:
    while head := peer.read_head():
        what, argument = head.split()[:2]
        peer.send(peer.read(int(argument)) if what == b"ECHO" else response(content(argument.decode())))


def check_survivors(file: Path, traffic: Traffic, until: float) -> None:
    """Is all in the file that clients had seen until then, whole, and what is not whole marked?"""
    with open_flows(file) as flows:
        found: list[Flow] = list(flows)
        whole = {flow.request.path: flow for flow in found if flow.request and not flow.error}
        assert [path for path, seen in traffic.seen.items() if seen <= until and path not in whole] == []
        for path, flow in whole.items():
            assert flow.response and flow.response.raw_content == content(path)
        for flow in found:
            assert (flow.error is None) == (flow.timestamp_end is not None)
            if flow.error and flow.request and flow.response:
                kept = flow.response.raw_content or b""
                assert content(flow.request.path).startswith(kept)
        raw = {str((flow.client_conn.peername or ("", 0))[1]): flow for flow in found if flow.kind == "tcp"}
        for port, steps in traffic.echoed.items():
            counts = [count for seen, count in steps if seen <= until]
            kept = (
                sum(len(message.content) for message in raw[port].messages if not message.from_client) if counts else 0
            )
            assert kept >= (counts or [0])[-1]
        assert flows.cut_off == sum(1 for flow in found if flow.error)
        assert all("the file ends inside" in each.reason for each in flows.damage)


@pytest.mark.parametrize("delay", [0.2, 0.7, 1.3, 2.0])
def test_whenever_it_is_killed_all_that_was_seen_is_in_the_file(
    delay: float, start: Start, serve: Serve, tmp_path: Path
) -> None:
    """S1: in a plain file all of it, in a compressed one all but that of the last second."""
    packed = tmp_path / "packed.flows.zst"
    server = serve(serve_traffic)
    proxy = start("-w", packed, "--flow-detail", "0")
    traffic = Traffic(proxy, server)
    wait_until(lambda: len(traffic.seen) > 10 and traffic.echoed, "there is traffic")
    time.sleep(delay + random.random() / 10)  # what is tested is any moment
    killed = time.monotonic()
    proxy.kill()
    traffic.join()
    check_survivors(proxy.capture, traffic, time.monotonic())
    check_survivors(packed, traffic, killed - 1.5)
    shown = mitmdump("-nr", proxy.capture, "-q")
    assert shown.returncode in (0, 3)
    assert "Traceback" not in shown.stderr


def test_the_real_program_unpacks_what_is_compressed(start: Start, server: Server, tmp_path: Path) -> None:
    packed = tmp_path / "packed.flows.zst"
    with start("-w", packed) as proxy:
        ask_for(proxy, server, *range(20))
    (tmp_path / "plain.flows").write_bytes(subprocess.check_output([tool("zstd"), "-dc", packed]))
    assert paths_in(packed) == paths_in(tmp_path / "plain.flows") == paths_in(proxy.capture)
    assert packed.stat().st_size < proxy.capture.stat().st_size
