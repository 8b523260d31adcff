from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.flowfiles import START, a_flow, a_tcp_flow, live, values

from mitmdump.errors import OutputError
from mitmdump.files import open_flows
from mitmdump.flowfile.writer import INLINE
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow, Part
from mitmdump.model.message import Message
from mitmdump.sinks import output
from mitmdump.sinks.filesink import Options
from mitmdump.sinks.recorder import PATIENCE, Recorder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.flows"


def record(recorder: Recorder, flow: Flow, *pieces: bytes) -> None:
    recorder.begin(flow)
    for piece in pieces:
        recorder.data(flow, Part.RESPONSE, piece)
    recorder.finish(flow)


def contents(path: Path) -> list[bytes | None]:
    """The response bodies in a file."""
    with open_flows(path, strict=True) as flows:
        return [flow.response and flow.response.raw_content for flow in flows]


def count_writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sizes, write = [], os.write

    def counted(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(fd, data)

    monkeypatch.setattr(output.os, "write", counted)
    return sizes


def test_a_small_flow_is_one_write_when_it_ends(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(str(path))
    writes = count_writes(monkeypatch)
    record(recorder, live(a_flow()), b"he", b"llo")
    assert len(writes) == 1
    recorder.close()
    assert contents(path) == [b"hello"]


def test_what_is_recorded_is_what_passed(path: Path) -> None:
    recorder, flow = Recorder(str(path)), a_flow()
    wanted = values([flow])
    record(recorder, live(flow), b"hello")
    recorder.close()
    with open_flows(path) as flows:
        assert values(flows) == wanted


def test_a_large_body_is_written_as_it_passes(path: Path) -> None:
    recorder, flow = Recorder(str(path)), live(a_flow(content=bytes(3 * INLINE)))
    recorder.begin(flow)
    sizes = []
    for _ in range(3):
        recorder.data(flow, Part.RESPONSE, bytes(INLINE))
        sizes.append(path.stat().st_size // INLINE)
    recorder.finish(flow)
    recorder.close()
    assert sizes == [0, 2, 3]
    assert contents(path) == [bytes(3 * INLINE)]


def test_a_slow_flow_is_written_as_it_runs_once_it_is_a_quarter_of_a_second_old(path: Path) -> None:
    """S1: what a kill would leave."""
    recorder, flow = Recorder(str(path), Options(clock=lambda: START)), live(a_flow())
    recorder.begin(flow)
    recorder.data(flow, Part.RESPONSE, b"hel")
    recorder.tick(START + PATIENCE / 2)
    assert contents(path) == []
    recorder.tick(START + PATIENCE)
    assert contents(path) == [b"hel"]
    recorder.data(flow, Part.RESPONSE, b"lo")
    assert contents(path) == [b"hello"]
    recorder.finish(flow)
    with open_flows(path) as flows:
        assert [flow.error for flow in flows] == [None]


def test_a_tick_does_not_look_at_flows_that_are_written_already(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(str(path), Options(clock=lambda: START))
    recorder.begin(live(a_flow()))
    recorder.tick(START + 1)
    writes = count_writes(monkeypatch)
    recorder.tick(START + 2)
    assert writes == []


def test_messages_are_written_as_they_pass(path: Path) -> None:
    recorder, flow = Recorder(str(path)), a_tcp_flow()
    recorder.begin(flow)
    recorder.message(flow, Message(True, "raw", START, b"a"))
    recorder.message(flow, Message(False, "raw", START, b""))
    with open_flows(path) as flows:
        assert [[message.content for message in flow.messages] for flow in flows] == [[b"a", b""]]


def test_a_body_that_nobody_saw_is_not_an_empty_body(path: Path) -> None:
    recorder, flow = Recorder(str(path)), live(a_flow(content=b"hello"))
    record(recorder, flow)
    recorder.close()
    with open_flows(path) as flows:
        (flow,) = flows
    assert flow.request
    assert flow.response
    assert (flow.request.raw_content, flow.response.raw_content, flow.response.body.length) == (b"", None, 5)


@pytest.mark.parametrize("wait", [0.0, 1.0])
def test_a_connection_learned_later_is_in_the_record(wait: float, path: Path) -> None:
    recorder, flow = Recorder(str(path), Options(clock=lambda: START)), live(a_flow())
    recorder.begin(flow)
    recorder.tick(START + wait)
    flow.server_conn = Connection("server", 9, sni="example.com")
    flow.error = Error("cut", START)
    recorder.finish(flow)
    with open_flows(path) as flows:
        assert [flow.server_conn and flow.server_conn.sni for flow in flows] == ["example.com"]


def test_flows_that_have_not_ended_are_written_at_the_end(path: Path) -> None:
    recorder, flow = Recorder(str(path)), live(a_flow())
    recorder.begin(flow)
    recorder.data(flow, Part.RESPONSE, b"hel")
    recorder.close()
    assert contents(path) == [b"hel"]


def test_the_counts_agree_with_the_file(path: Path) -> None:
    """R8"""
    recorder = Recorder(str(path))
    for number in range(3):
        record(recorder, live(a_flow(number, bytes(INLINE + number))), bytes(INLINE + number))
    recorder.close()
    assert (recorder.flows, recorder.written) == (3, path.stat().st_size)


def test_nothing_is_kept_of_flows_that_have_ended(path: Path) -> None:
    """R3"""
    recorder = Recorder(str(path))
    client = Connection("client", 1)
    for number in range(10_000):
        record(recorder, live(a_flow(number, client_conn=client, server_conn=None)), b"x")
        if number % 1000 == 0:
            large = live(a_flow(number + 20_000, client_conn=client, server_conn=None))
            record(recorder, large, bytes(INLINE + 1))
    file = recorder._series.current
    assert file
    assert (len(recorder._waiting), len(recorder._running), file.running) == (0, 0, 0)
    assert len(file.writer._known) == 1


def failing(monkeypatch: pytest.MonkeyPatch, code: int = errno.ENOSPC) -> None:
    def write(fd: int, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(output.os, "write", write)


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "Make room"), (errno.EPIPE, "broken pipe"), (errno.EIO, "")]
)
def test_a_write_that_fails_is_said_once(code: int, words: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3"""
    recorder, other = Recorder(str(path)), live(a_flow(2, bytes(INLINE + 1)))
    recorder.begin(other)
    recorder.data(other, Part.RESPONSE, bytes(INLINE + 1))
    failing(monkeypatch, code)
    with pytest.raises(OutputError, match=f"cannot write .*out.flows.*{words}"):
        record(recorder, live(a_flow()), b"hello")
    recorder.data(other, Part.RESPONSE, bytes(INLINE + 1))
    recorder.finish(other)
    record(recorder, live(a_flow(3)))
    recorder.tick(START * 2)
    recorder.reopen()
    recorder.close()
    assert recorder.flows == 0


def test_a_full_disk_leaves_whole_frames(path: Path) -> None:
    """S3"""
    code = f"""
import resource, signal, sys
sys.path.insert(0, "tests")
from support.flowfiles import a_flow, live
from mitmdump.model.flow import Part
from mitmdump.sinks.recorder import Recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
recorder = Recorder({str(path)!r})
try:
    for number in range(100):
        flow = live(a_flow(number, bytes(100)))
        recorder.begin(flow)
        recorder.data(flow, Part.RESPONSE, bytes(100))
        recorder.finish(flow)
except Exception as error:
    print(type(error).__name__, recorder.flows)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    flows = contents(path)
    assert done.stdout == f"OutputError {len(flows)}\n"
    assert len(flows) > 3


def test_a_recorder_that_was_killed_leaves_all_flows_that_had_ended(path: Path) -> None:
    """S1"""
    code = f"""
import sys
sys.path.insert(0, "tests")
from support.flowfiles import a_flow, live
from mitmdump.model.flow import Part
from mitmdump.sinks.recorder import Recorder
recorder = Recorder({str(path)!r})
for number in range(100000):
    flow = live(a_flow(number, b"hello"))
    recorder.begin(flow)
    recorder.data(flow, Part.RESPONSE, b"hello")
    recorder.finish(flow)
    print(number, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        reported = 20 + len(process.stdout.read().split("\n")) - 1
    assert len(contents(path)) in (reported, reported + 1)


def test_a_flow_is_on_the_disk_when_it_has_ended_if_that_is_asked_for(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(output.os, "fsync", synced.append)
    recorder = Recorder(str(path), Options(fsync=True))
    record(recorder, live(a_flow(1)))
    record(recorder, live(a_flow(2)), bytes(INLINE + 1))
    assert len(synced) == 2


def test_a_name_with_a_date_is_filled_in(tmp_path: Path) -> None:
    Recorder(str(tmp_path / "%Y.flows"), Options(clock=lambda: START)).close()
    assert [found.name for found in tmp_path.iterdir()] == ["2025.flows"]


def test_what_cannot_be_opened_is_refused_at_once(tmp_path: Path) -> None:
    """S4"""
    with pytest.raises(OutputError, match="is a directory"):
        Recorder(str(tmp_path))


def test_reopening_starts_a_new_file_and_ends_the_old_one(path: Path) -> None:
    recorder = Recorder(str(path))
    record(recorder, live(a_flow(1)), b"one")
    path.rename(path.with_suffix(".old"))
    recorder.reopen()
    record(recorder, live(a_flow(2)), b"two")
    recorder.close()
    assert (contents(path.with_suffix(".old")), contents(path)) == ([b"one"], [b"two"])
    assert path.with_suffix(".old").read_bytes().endswith(b"\xa5flows\x01\xa6pieces\x00\xa8messages\x00")


def test_a_running_flow_is_finished_in_the_file_in_which_it_began(path: Path) -> None:
    recorder, running, waiting = Recorder(str(path)), live(a_flow(1, bytes(INLINE + 2))), live(a_flow(2))
    recorder.begin(running)
    recorder.data(running, Part.RESPONSE, bytes(INLINE + 1))
    recorder.begin(waiting)
    path.rename(path.with_suffix(".old"))
    recorder.reopen()
    recorder.data(running, Part.RESPONSE, b"\0")
    recorder.data(waiting, Part.RESPONSE, b"hello")
    recorder.finish(waiting)
    recorder.finish(running)
    recorder.close()
    assert (contents(path.with_suffix(".old")), contents(path)) == ([bytes(INLINE + 2)], [b"hello"])


def test_old_files_are_closed_when_their_last_flow_has_ended(path: Path) -> None:
    recorder, flow = Recorder(str(path)), a_tcp_flow()
    recorder.begin(flow)
    recorder.message(flow, Message(True, "raw", START, b"a"))
    before = len([*Path("/proc/self/fd").iterdir()])
    path.rename(path.with_suffix(".old"))
    recorder.reopen()
    assert len([*Path("/proc/self/fd").iterdir()]) == before + 1
    recorder.finish(flow)
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.parametrize("where", ["out.flows", "/dev/null"])
def test_reopening_a_file_that_was_not_moved_loses_nothing(where: str, tmp_path: Path) -> None:
    recorder = Recorder(str(tmp_path / where))
    record(recorder, live(a_flow(1)), b"one")
    recorder.reopen()
    recorder.close()
    assert where == "/dev/null" or contents(tmp_path / where) == [b"one"]


def test_a_new_file_that_cannot_be_opened_leaves_the_old_one_in_use(path: Path) -> None:
    recorder = Recorder(str(path))
    path.rename(path.with_suffix(".old"))
    path.mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        recorder.reopen()
    record(recorder, live(a_flow(1)), b"one")
    recorder.close()
    assert contents(path.with_suffix(".old")) == [b"one"]


def test_standard_output_may_be_a_pipe() -> None:
    code = "from mitmdump.sinks.recorder import Recorder; Recorder('-').close()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert done.stdout[19:33] == b"mitmdump-flows"


def test_a_standard_output_that_is_closed_is_refused() -> None:
    """S4"""
    code = "import sys; sys.path[:0] = ['.']; from mitmdump.sinks.recorder import Recorder; Recorder('-')"
    command = ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert "OutputError: cannot write to standard output: it is closed" in done.stderr


def test_flows_are_not_written_to_a_terminal() -> None:
    _, terminal = os.openpty()
    code = "from mitmdump.sinks.recorder import Recorder; Recorder('-')"
    done: Any = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=terminal, stderr=subprocess.PIPE, text=True
    )
    assert "cannot write flows to a terminal. Redirect" in done.stderr
