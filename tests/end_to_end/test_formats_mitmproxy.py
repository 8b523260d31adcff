"""mitmproxy's flow files through the program."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.clients import curl
from support.flowfiles import a_file, a_flow, a_tcp_flow
from support.mitmfiles import reader, written
from support.program import PROGRAM, mitmdump

GOLDEN = Path(__file__).parent.parent / "golden"


def test_a_capture_can_be_written_as_mitmproxy_does(start, nginx, tmp_path: Path):
    file = tmp_path / "out.mitm"
    with start("-w", file) as proxy:
        curl(proxy, nginx.https + "/echo")

    (flow,) = reader(file.read_bytes())
    assert flow.request is not None
    assert flow.response is not None
    assert (flow.request.method, flow.response.status_code) == ("GET", 200)
    assert flow.server_conn is not None
    assert flow.server_conn.certificate_list


def test_there_and_back_nothing_that_is_printed_is_lost(tmp_path: Path):
    flows, mitm, back = tmp_path / "a.flows", tmp_path / "a.mitm", tmp_path / "b.flows"
    flows.write_bytes(a_file(a_flow(1), a_flow(2, bytes(300_000))))

    for done in (mitmdump("-nr", flows, "-w", mitm, "-q"), mitmdump("-nr", mitm, "-w", back, "-q")):
        assert (done.returncode, done.stderr) == (0, "")

    shown = [mitmdump("-nr", file, "--flow-detail", "3").stdout for file in (flows, mitm, back)]
    assert shown[0] == shown[1] == shown[2]


def test_a_file_is_gone_on_with(tmp_path: Path):
    """S8"""
    flows, mitm = tmp_path / "a.flows", tmp_path / "a.mitm"
    flows.write_bytes(a_file(a_flow(2)))
    whole = written(a_flow(1))
    mitm.write_bytes(whole + whole[:-100])

    done = mitmdump("-nr", flows, "-w", f"+{mitm}", "-q")

    assert (done.returncode, done.stderr) == (0, "")
    assert [flow.id for flow in reader(mitm.read_bytes())] == [1, 2]


def test_a_damaged_pipe_gives_what_is_whole_and_status_3():
    """S2"""
    data = written(a_flow(1)) + written(a_flow(2))[:-9] + written(a_tcp_flow(3, b"x"))

    done = subprocess.run([PROGRAM, "-nr", "-"], input=data, capture_output=True, timeout=30, check=False)

    assert done.returncode == 3
    assert (done.stdout.count(b"GET "), done.stdout.count(b"tcp")) == (1, 1)
    assert b"damaged" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_flow_file_of_mitmproxy_needs_no_extension(tmp_path: Path):
    file = tmp_path / "capture"
    file.write_bytes((GOLDEN / "mitmproxy-3.0.4.mitm").read_bytes())

    done = mitmdump("-nr", file, "~c 101")

    assert done.returncode == 0
    assert "websocket: 3 messages" in done.stdout
