"""Other formats through the program: written while traffic runs, read back, printed for programs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.clients import curl
from support.flowfiles import a_file, a_flow, a_tcp_flow
from support.har import check
from support.program import PROGRAM, mitmdump


def test_a_capture_is_har_at_any_time(start, nginx, tmp_path: Path):
    """The file is valid while the proxy runs, and after kill -9."""
    har = tmp_path / "out.har"
    with start("-w", har) as proxy:
        assert check(har.read_bytes()) == []
        curl(proxy, nginx.https + "/echo")
        proxy.kill()

    (entry,) = check(har.read_bytes())
    assert (entry["request"]["method"], entry["response"]["status"]) == ("GET", 200)


def test_har_there_and_back_loses_nothing_that_is_printed(tmp_path: Path):
    flows, har, back = tmp_path / "a.flows", tmp_path / "a.har", tmp_path / "b.flows"
    flows.write_bytes(a_file(a_flow(1), a_flow(2, b"\x00\xff"), a_tcp_flow(3, b"x")))

    written = mitmdump("-nr", flows, "-w", har, "-q")
    copied = mitmdump("-nr", har, "-w", back, "-q")

    assert written.stderr == f"mitmdump: {har}: 1 raw TCP connections cannot be held by HAR\n"
    assert (written.returncode, copied.returncode, copied.stderr) == (0, 0, "")
    assert (
        mitmdump("-nr", back, "--flow-detail", "4").stdout
        == mitmdump("-nr", flows, "--flow-detail", "4", "~http").stdout
    )


def test_damaged_har_gives_what_is_whole_and_status_3(tmp_path: Path):
    """S2"""
    flows, har = tmp_path / "a.flows", tmp_path / "a.har"
    flows.write_bytes(a_file(a_flow(1), a_flow(2)))
    mitmdump("-nr", flows, "-w", har, "-q")
    har.write_bytes(har.read_bytes()[:-100])

    done = mitmdump("-nr", har)

    assert done.returncode == 3
    assert done.stdout.count("GET ") == 1
    assert "damaged: the file ends inside an entry" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_is_for_programs(tmp_path: Path):
    flows = tmp_path / "a.flows"
    flows.write_bytes(a_file(a_flow(1), a_tcp_flow(2, b"x")))

    done = mitmdump("-nr", flows, "--json", "-q")

    http, tcp = map(json.loads, done.stdout.splitlines())
    assert (http["url"], http["status"], tcp["kind"]) == ("https://example.com/1", 200, "tcp")
    assert "text" not in http["response"]
    assert done.stderr == ""


def test_json_has_bodies_from_detail_3(tmp_path: Path):
    flows = tmp_path / "a.flows"
    flows.write_bytes(a_file(a_flow(1, b"hello")))

    one = json.loads(mitmdump("-nr", flows, "--json", "--flow-detail", "3").stdout)
    cut = json.loads(mitmdump("-nr", flows, "--json", "--flow-detail", "3", "--body-limit", "2").stdout)

    assert one["response"]["text"] == "hello"
    assert (cut["response"]["text"], cut["response"]["size"], cut["response"]["truncated"]) == ("he", 5, True)


def test_json_of_traffic_as_it_passes(start, nginx):
    with start("--json") as proxy:
        curl(proxy, nginx.http + "/echo")

    (line,) = proxy.stdout.splitlines()
    assert json.loads(line)["url"] == nginx.http + "/echo"


def test_a_reader_of_json_may_have_seen_enough(tmp_path: Path):
    flows = tmp_path / "a.flows"
    flows.write_bytes(a_file(*(a_flow(number) for number in range(2000))))

    command = f"'{PROGRAM}' -nr '{flows}' --json | head -1 | wc -l; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True)

    assert (done.stdout.strip(), done.returncode) == (b"1", 0)
    assert b"Traceback" not in done.stderr


def test_two_things_on_one_stdout_are_refused(tmp_path: Path):
    for other in (("--stats",), ("-w", "-")):
        done = mitmdump("-n", "--json", *other)
        assert done.returncode == 2
        assert "--json" in done.stderr
