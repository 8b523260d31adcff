"""A capture that is cut into files, with curl as the client."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

from support.clients import ask, connect, curl, get
from support.program import Proxy, Start, mitmdump
from support.servers import HELLO, Nginx, Peer, Serve, answering
from support.tools import wait_until

from mitmdump.files import open_flows


def fetch(proxy: Proxy, url: str, *paths: str) -> None:
    """One curl for all, which keeps its connection."""
    curl(proxy, *(word for path in paths for word in ("-o", "/dev/null", url + path)))


def paths_in(file: Path) -> list[str]:
    with open_flows(file, strict=True) as flows:
        return [flow.request.path for flow in flows if flow.request]


def test_a_ring_of_files_each_handed_to_a_command(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    program, handed = tmp_path / "handed", tmp_path / "names"
    program.write_text(f'#!/bin/sh\n[ -s "$1" ] && echo "$1" >> {handed}\n')
    program.chmod(0o700)
    out = tmp_path / "out.flows"
    options = ("-w", out, "--rotate-flows", "2", "--keep", "2", "--rotate-command", program)
    with start(*options) as proxy:
        fetch(proxy, nginx.https, *(f"/{number}" for number in range(7)))
    found = {path.name: paths_in(path) for path in sorted(tmp_path.glob("out-*"))}
    assert found == {"out-00003.flows": ["/4", "/5"], "out-00004.flows": ["/6"]}
    ours = sorted(name for name in handed.read_text().split() if "/out-" in name)
    assert ours == [str(tmp_path / f"out-0000{number}.flows") for number in (1, 2, 3, 4)]
    assert proxy.counts[:3] == (7, 7, 14)  # both in -w FILE and in the capture that each test has


def test_names_with_a_date(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    with start("--save", tmp_path / "cap-%Y%m%d.flows.zst", "~u keep", "--rotate-flows", "1") as proxy:
        fetch(proxy, nginx.https, "/keep1", "/other", "/keep2")
    names = sorted(path.name for path in tmp_path.glob("cap*"))
    assert [re.sub(r"\d{8}", "DATE", name) for name in names] == ["cap-DATE-00001.flows.zst", "cap-DATE.flows.zst"]
    assert sorted(path for name in names for path in paths_in(tmp_path / name)) == ["/keep1", "/keep2"]


def test_a_download_is_finished_in_the_file_in_which_it_began(start: Start, serve: Serve, tmp_path: Path) -> None:
    go_on = threading.Event()

    def script(server: Peer) -> None:
        server.read_head()
        server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + bytes(100_000))
        go_on.wait(20)
        server.send(bytes(100_000))

    slow, quick = serve(script), serve(answering(HELLO))
    with start("-w", tmp_path / "out.flows", "--rotate-flows", "1") as proxy, connect(proxy) as one:
        one.sendall(get(f"127.0.0.1:{slow.port}", slow.url("/slow")))
        client = Peer(one)
        client.read_head()
        client.read(100_000)
        with connect(proxy) as other:
            for path in ("/a", "/b"):
                ask(other, get(f"127.0.0.1:{quick.port}", quick.url(path)))
        go_on.set()
        assert len(client.read(100_000)) == 100_000
    found = {path.name: paths_in(path) for path in sorted(tmp_path.glob("out-*"))}
    assert found == {"out-00001.flows": ["/a", "/slow"], "out-00002.flows": ["/b"]}


def test_time_passes_without_traffic_too(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    handed = tmp_path / "handed"
    handed.mkdir()
    options = ("-w", tmp_path / "out.flows", "--rotate-time", "300ms", "--rotate-command", f"mv -t {handed}")
    with start(*options) as proxy:
        fetch(proxy, nginx.https, "/1")
        wait_until((handed / "out-00001.flows").exists, "the file is finished and moved")
        fetch(proxy, nginx.https, "/2")
    assert paths_in(handed / "out-00002.flows") == ["/2"]


def test_a_har_is_a_valid_file_whenever_the_program_is_killed(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    """S1"""
    out = tmp_path / "out.har"
    proxy = start("-w", out)
    for number in range(5):
        assert len(json.loads(out.read_text())["log"]["entries"]) == number
        fetch(proxy, nginx.https, f"/{number}")
    proxy.kill()
    urls = [entry["request"]["url"] for entry in json.loads(out.read_text())["log"]["entries"]]
    assert urls == [f"{nginx.https}/{number}" for number in range(5)]


def test_a_har_is_rotated_into_whole_files(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    with start("-w", tmp_path / "out.har", "--rotate-flows", "2") as proxy:
        fetch(proxy, nginx.https, "/1", "/2", "/3")
    found = [json.loads(path.read_text())["log"]["entries"] for path in sorted(tmp_path.glob("out-*.har"))]
    assert [len(entries) for entries in found] == [2, 1]


def test_rotation_without_a_file_is_refused() -> None:
    done = mitmdump("-p", "0", "--rotate-flows", "2")
    assert done.returncode == 2
    assert "nothing to rotate: no file is written. Name one with -w" in done.stderr


def test_standard_output_cannot_be_rotated() -> None:
    done = mitmdump("-p", "0", "-w", "-", "--rotate-size", "1M")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot rotate standard output" in done.stderr
