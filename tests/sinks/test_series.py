from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.flowfiles import START, a_flow, live
from support.tools import wait_until

from mitmdump.errors import OutputError, SettingsError
from mitmdump.flowfile import FlowReader
from mitmdump.flowfile.writer import INLINE
from mitmdump.model.flow import Flow, Part
from mitmdump.settings import Settings
from mitmdump.sinks import output
from mitmdump.sinks.commands import Commands
from mitmdump.sinks.filesink import Options
from mitmdump.sinks.recorder import Recorder
from mitmdump.sinks.series import Rotation

LARGE = INLINE + 1


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.chdir(tmp_path)


def recorder_of(path: str = "out.flows", clock: Clock | None = None, **limits: Any) -> Recorder:
    options = {name: limits.pop(name) for name in ("append", "warn") if name in limits}
    return Recorder(path, Options(rotation=Rotation(**limits), clock=clock or Clock(), **options))


def record(recorder: Recorder, *numbers: int, content: bytes = b"x") -> None:
    for number in numbers:
        flow = live(a_flow(number, content))
        recorder.begin(flow)
        recorder.data(flow, Part.RESPONSE, content)
        recorder.finish(flow)


def begun(recorder: Recorder, number: int) -> Flow:
    """A flow that is being written as it runs, one byte of its body is missing."""
    flow = live(a_flow(number, bytes(LARGE + 1)))
    recorder.begin(flow)
    recorder.data(flow, Part.RESPONSE, bytes(LARGE))
    return flow


def end(recorder: Recorder, flow: Flow) -> None:
    recorder.data(flow, Part.RESPONSE, b"\0")
    recorder.finish(flow)


def files() -> dict[str, list[int]]:
    """The names of all files, and of each the flows in it, which must be whole."""
    found = {}
    for path in sorted(Path().glob("*.flows")):
        reader = FlowReader(path.open("rb"), name=path.name)
        found[path.name] = [flow.id for flow in reader if flow.error is None]
        assert not reader.damage
        reader.close()
    return found


def numbered(*flows: list[int]) -> dict[str, list[int]]:
    return {f"out-{number:05}.flows": each for number, each in enumerate(flows, 1)}


# When a file is full


def test_a_file_takes_so_many_flows() -> None:
    recorder = recorder_of(flows=2)
    record(recorder, 1, 2, 3, 4, 5)
    recorder.close()
    assert files() == numbered([1, 2], [3, 4], [5])
    assert recorder.flows == 5


def test_no_file_is_begun_before_there_is_a_flow_for_it() -> None:
    recorder = recorder_of(flows=2)
    record(recorder, 1, 2)
    recorder.tick(START + 1)
    assert files() == numbered([1, 2])
    recorder.close()
    assert files() == numbered([1, 2])


def test_a_file_is_closed_as_soon_as_it_is_full() -> None:
    recorder = recorder_of(flows=1)
    record(recorder, 1)
    assert b"\xa5flows\x01\xa6pieces\x00" in Path("out-00001.flows").read_bytes()[-40:]


def test_a_file_is_full_with_the_flow_that_reaches_the_size() -> None:
    recorder = recorder_of(size=10_000)
    record(recorder, 1, 2, 3, 4, content=bytes(4000))
    recorder.close()
    assert files() == numbered([1, 2, 3], [4])
    assert recorder.written == sum(path.stat().st_size for path in Path().iterdir())


def test_a_flow_that_runs_for_long_fills_a_file_too() -> None:
    clock = Clock()
    recorder = recorder_of(clock=clock, size=10_000)
    flow = begun(recorder, 1)
    recorder.tick(clock.now)
    record(recorder, 2)
    end(recorder, flow)
    recorder.close()
    assert files() == numbered([1], [2])


def test_time_runs_from_the_first_flow_of_a_file() -> None:
    clock = Clock()
    recorder = recorder_of(clock=clock, seconds=60)
    clock.now += 1000
    recorder.tick(clock.now)
    record(recorder, 1)
    clock.now += 59
    recorder.tick(clock.now)
    record(recorder, 2)
    clock.now += 1
    recorder.tick(clock.now)
    assert recorder._series.current is None
    record(recorder, 3)
    recorder.close()
    assert files() == numbered([1, 2], [3])


def test_time_is_looked_at_without_ticks_too() -> None:
    clock = Clock()
    recorder = recorder_of(clock=clock, seconds=60)
    record(recorder, 1)
    clock.now += 60
    record(recorder, 2, 3)
    recorder.close()
    assert files() == numbered([1, 2], [3])


def test_whichever_limit_comes_first_counts() -> None:
    recorder = recorder_of(flows=3, size=10_000, seconds=60)
    record(recorder, 1, content=bytes(20_000))
    record(recorder, 2, 3, 4, 5)
    recorder.close()
    assert files() == numbered([1], [2, 3, 4], [5])


def test_a_date_in_the_name_is_that_of_the_first_flow_of_the_file() -> None:
    clock = Clock()
    recorder = recorder_of("%H%M.flows", clock, flows=1)
    record(recorder, 1)
    clock.now += 600
    record(recorder, 2, 3)
    recorder.close()
    assert files() == {"1600.flows": [1], "1610.flows": [2], "1610-00001.flows": [3]}


# A flow is never split


def test_a_running_flow_is_finished_in_the_file_in_which_it_began() -> None:
    recorder = recorder_of(flows=2)
    first = begun(recorder, 1)
    record(recorder, 2, 3)
    second = begun(recorder, 4)
    record(recorder, 5, 6)
    end(recorder, first)
    end(recorder, second)
    recorder.close()
    assert files() == numbered([2, 3, 1], [5, 6, 4])


def test_a_file_is_finished_after_its_last_running_flow() -> None:
    recorder = recorder_of(flows=1, keep=1)
    one, two = begun(recorder, 0), begun(recorder, 1)
    record(recorder, 2, 3, 4)
    assert files() == {"out-00001.flows": [2]}  # still open; that the others were too many is known
    end(recorder, one)
    end(recorder, two)
    assert files() == {"out-00001.flows": [2, 0, 1]}
    record(recorder, 5)
    assert files() == {"out-00004.flows": [5]}


def test_what_runs_at_the_end_is_written_where_it_began() -> None:
    recorder = recorder_of(flows=1)
    begun(recorder, 1)
    record(recorder, 2)
    recorder.close()
    assert [path.stat().st_size > LARGE for path in sorted(Path().iterdir())] == [True]


# The ring


def test_the_oldest_file_goes_when_there_is_one_too_many() -> None:
    recorder = recorder_of(flows=1, keep=2)
    record(recorder, 1, 2)
    assert files() == numbered([1], [2])
    record(recorder, 3)
    assert files() == {"out-00002.flows": [2], "out-00003.flows": [3]}
    recorder.close()


def test_files_of_earlier_runs_count() -> None:
    for number in range(3):
        recorder = recorder_of(flows=1, keep=4)
        record(recorder, number * 2, number * 2 + 1)
        recorder.close()
    assert files() == {f"out-{number + 1:05}.flows": [number] for number in (2, 3, 4, 5)}


def test_nothing_but_files_of_the_series_is_removed() -> None:
    for name in ("out.flows", "out-1.flows", "other-00001.flows", "out-00001.flows.gz"):
        Path(name).touch()
    recorder = recorder_of(flows=1, keep=1)
    record(recorder, 1, 2, 3)
    recorder.close()
    assert len(list(Path().iterdir())) == 5


def test_a_file_that_was_taken_away_does_not_count() -> None:
    recorder = recorder_of(flows=1, keep=2)
    record(recorder, 1, 2)
    Path("out-00002.flows").rename("elsewhere")
    record(recorder, 3)
    assert files() == {"out-00001.flows": [1], "out-00003.flows": [3]}


def test_a_file_that_cannot_be_removed_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []

    def refuse(path: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    recorder = recorder_of(flows=1, keep=1, warn=warnings.append)
    record(recorder, 1, 2)
    recorder.tick(START)
    assert warnings == ["cannot remove out-00001.flows, one file more than --keep allows: permission denied"]


# The command


def script(text: str) -> str:
    path = Path("program").absolute()
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


def test_the_command_gets_each_finished_file_also_the_last() -> None:
    commands = Commands(script('echo "$1" >> names'), print)
    recorder = recorder_of(flows=2, commands=commands)
    record(recorder, 1, 2, 3)
    recorder.close()
    commands.wait()
    assert sorted(Path("names").read_text().split()) == ["out-00001.flows", "out-00002.flows"]


def test_without_rotation_the_command_gets_the_only_file() -> None:
    commands = Commands(script('echo "$1" >> names'), print)
    recorder_of(commands=commands).close()
    commands.wait()
    assert Path("names").read_text() == "out.flows\n"


def test_a_file_stays_while_the_command_is_at_work_with_it() -> None:
    os.mkfifo("gate")
    commands = Commands(script("read line < gate"), print)
    recorder = recorder_of(flows=1, keep=1, commands=commands)
    record(recorder, 1, 2)
    recorder.tick(START)
    assert files() == numbered([1], [2])
    gate = os.open("gate", os.O_RDWR)
    os.write(gate, b"\n\n")
    wait_until(lambda: recorder.tick(START) or not Path("out-00001.flows").exists(), "the first file is removed")
    recorder.close()
    commands.wait()
    os.close(gate)
    assert files() == {"out-00002.flows": [2]}


# Files that exist


def test_without_append_no_file_of_an_earlier_run_is_touched() -> None:
    for number in (1, 2):
        recorder = recorder_of(flows=5)
        record(recorder, number)
        recorder.close()
    assert files() == numbered([1], [2])


def test_with_append_the_newest_file_is_continued() -> None:
    for numbers in ([1, 2, 3], [4, 5, 6]):
        recorder = recorder_of(flows=2, append=True)
        record(recorder, *numbers)
        recorder.close()
    assert files() == numbered([1, 2], [3, 4, 5], [6])


def test_the_file_that_is_continued_is_not_the_one_to_be_removed() -> None:
    for numbers in ([1], [2, 3]):
        recorder = recorder_of(flows=2, keep=1, append=True)
        record(recorder, *numbers)
        recorder.close()
    assert files() == numbered([1, 2, 3])


# Reopening


def test_reopening_a_numbered_file_that_was_moved_begins_the_next() -> None:
    recorder = recorder_of(flows=9)
    record(recorder, 1)
    recorder.reopen()
    Path("out-00001.flows").rename("moved.flows")
    recorder.reopen()
    record(recorder, 2)
    recorder.close()
    assert files() == {"moved.flows": [1], "out-00002.flows": [2]}


def test_reopening_between_two_files_does_nothing() -> None:
    recorder = recorder_of(flows=1)
    record(recorder, 1)
    recorder.reopen()
    assert files() == numbered([1])


# Trouble


def test_all_files_are_closed_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = len([*Path("/proc/self/fd").iterdir()])
    recorder = recorder_of(flows=1)
    for number in (1, 3, 5):
        begun(recorder, number)
        record(recorder, number + 1)
    monkeypatch.setattr(output.os, "write", refuse)
    with pytest.raises(OutputError):
        record(recorder, 7)
    recorder.close()
    assert len([*Path("/proc/self/fd").iterdir()]) == before


def test_a_next_file_that_cannot_be_opened_ends_the_recorder() -> None:
    directory = Path("directory")
    directory.mkdir()
    recorder = recorder_of("directory/out.flows", flows=1)
    record(recorder, 1)
    Path("directory/out-00001.flows").rename("saved.flows")
    directory.rmdir()
    with pytest.raises(OutputError, match="cannot open directory/out-00002.flows: no such file or directory"):
        record(recorder, 2)
    record(recorder, 3)
    recorder.tick(START)
    recorder.close()
    assert files() == {"saved.flows": [1]}


def test_a_tick_that_fails_ends_the_recorder() -> None:
    recorder = recorder_of()
    record(recorder, 1)
    Path("out.flows").unlink()
    recorder.tick(START)
    with pytest.raises(OutputError, match="was removed"):
        recorder.tick(START + 60)
    record(recorder, 2)
    recorder.tick(START + 120)
    assert recorder.flows == 0


@pytest.mark.parametrize(
    ("path", "words"), [("-", "standard output"), ("fifo", "no regular file"), (".", "no regular")]
)
def test_what_is_no_file_cannot_be_rotated(path: str, words: str) -> None:
    os.mkfifo("fifo")
    with pytest.raises(OutputError, match=f"cannot rotate .*{words}"):
        recorder_of(path, flows=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(write=("a",), keep=3), "--keep needs"),
        (Settings(rotate_size=1), "nothing to rotate"),
        (Settings(rotate_command="true"), "nothing to rotate"),
        (Settings(write=("a",), rotate_size=0), "more than 0"),
        (Settings(write=("a",), rotate_time=0.0), "more than 0"),
        (Settings(write=("a",), rotate_command="'"), "no command"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: Settings, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Rotation.of(settings, print)


def test_a_rotation_is_what_the_settings_say() -> None:
    settings = Settings(save=(("a", "~m GET"),), rotate_size=1, rotate_time=2.0, rotate_flows=3, keep=4)
    assert Rotation.of(settings, print) == Rotation(1, 2.0, 3, 4)
