"""The program as a command: reading back, where it writes, what it refuses and how it says so."""

from __future__ import annotations

import json
import socket
import ssl
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from support.clients import ask, connect, get, open_tunnel
from support.program import PROGRAM, Start, mitmdump
from support.servers import HELLO, Nginx, Serve, answering, response
from support.tools import run, wait_until

from mitmdump.files import open_flows

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
    server = serve(answering(response(bytes(1 << 20))))
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


def test_a_capture_down_a_pipe_is_read_while_it_runs(confdir: Path, nginx: Nginx, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [PROGRAM, "-q", "-p", "0", "--confdir", confdir, "--ready-file", ready, "-w", "-"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as recorder,
        subprocess.Popen([PROGRAM, "-nr", "-"], stdin=recorder.stdout, stdout=subprocess.PIPE) as reader,
    ):
        try:
            wait_until(ready.exists, "the proxy listens")
            port = json.loads(ready.read_text())["addresses"][0][1]
            run("curl", "-q", "-sS", "--noproxy", "", "--proxy", f"http://127.0.0.1:{port}", nginx.http + "/echo")
            assert reader.stdout
            assert b"/echo" in reader.stdout.readline()
        finally:
            recorder.terminate()
        assert (recorder.wait(20), reader.wait(20)) == (0, 0)


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
