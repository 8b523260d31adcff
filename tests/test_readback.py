"""Reading back as a run of the program: several files, in their order or by time, damaged, or still being written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
import zstandard
from support.flowfiles import START, a_file, a_flow, a_tcp_flow, frames, live, values
from support.stdout import Stream
from support.tools import wait_until

from mitmdump import app
from mitmdump.files import open_flows
from mitmdump.flowfile import SectionWriter, frame
from mitmdump.flowfile.frame import Frames
from mitmdump.job import Filters, Job
from mitmdump.log import Log
from mitmdump.model.flow import Part
from mitmdump.settings import Settings

PROGRAM = [sys.executable, "-m", "mitmdump"]
LARGE = bytes(200_000)
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The exit status, and what was said on stderr."""

    def go(*read: Path, **known: object) -> tuple[int, str]:
        settings = Settings(read=tuple(map(str, read)), **known)  # type: ignore[arg-type]
        return app.run(settings), capfd.readouterr().err

    return go


def ids(path: Path) -> list[int]:
    with open_flows(path) as flows:
        return [flow.id for flow in flows]


def capture(path: Path, *numbers: int) -> Path:
    path.write_bytes(a_file(*map(a_flow, numbers)))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.flows"


@pytest.mark.parametrize(("sort", "order"), [(False, [5, 1, 4, 2]), (True, [1, 2, 4, 5])])
def test_several_files_are_merged_by_time_if_asked(
    run: Run, tmp_path: Path, out: Path, sort: bool, order: list[int]
) -> None:
    one, other = capture(tmp_path / "one", 5, 1), tmp_path / "other"
    other.write_bytes(zstandard.compress(a_file(a_flow(4), a_flow(2))))

    assert run(one, other, sort=sort, write=(str(out),))[0] == 0
    assert ids(out) == order


def test_sorted_flows_keep_their_frames(run: Run, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "in.flows"
    path.write_bytes(a_file(a_flow(2, LARGE), a_tcp_flow(1, b"a")))

    run(path, sort=True, write=(str(out),))

    with open_flows(path) as before, open_flows(out) as after:
        assert values(after) == values(before)[::-1]


def test_what_is_copied_is_copied_byte_by_byte(run: Run, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "in.flows"
    section, *others = frames(a_flow(1), a_flow(2, LARGE), a_tcp_flow(3, b"a"))
    path.write_bytes(b"".join([section, *others]))

    run(path, write=(str(out),))

    assert out.read_bytes().endswith(b"".join(others))


def with_a_hole(data: bytes) -> bytes:
    at = data.index(b"/2")
    return data[:at] + b"X" + data[at + 1 :]


DAMAGED = {
    "a wrong byte": with_a_hole(a_file(*map(a_flow, range(1, 5)))),
    "a torn tail": a_file(*map(a_flow, (1, 3, 4))) + a_file(a_flow(2), closed=False)[:-30],
    "garbage": a_file(*map(a_flow, (1, 3))) + b"garbage" + a_file(a_flow(4)),
    "garbage first": b"garbage" + a_file(*map(a_flow, (1, 3, 4))),
}
DAMAGED["compressed"] = zstandard.compress(DAMAGED["a wrong byte"])


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
def test_writing_what_can_be_read_is_the_repair(run: Run, tmp_path: Path, out: Path, data: bytes) -> None:
    """S2, S5"""
    path = tmp_path / "damaged.flows"
    path.write_bytes(data)

    status, err = run(path, write=(str(out),))

    assert (status, err.count(": damaged: ")) == (3, 1)
    assert run(out)[0] == 0
    with open_flows(path) as before, open_flows(out, strict=True) as after:
        assert values(after) == values(before)
    assert ids(out) == [1, 3, 4]


def test_a_capture_that_was_cut_off_is_no_damage(run: Run, tmp_path: Path, out: Path) -> None:
    path = tmp_path / "in.flows"
    with path.open("wb") as file:
        SectionWriter(file.write, created=START).start(live(a_flow(1))).data(Part.RESPONSE, b"he")

    status, err = run(path, write=(str(out),))

    assert (status, ids(out)) == (0, [1])
    assert f"{path}: 1 flows were cut off, because their capture was" in err


def test_places_of_damage_are_not_told_without_end(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "in.flows"
    path.write_bytes(b"".join(a_file(a_flow(number)) + b"?" for number in range(100)))

    status, err = run(path, flow_detail=0)

    assert (status, err.count(": damaged: ")) == (3, 21)
    assert f"{path}: damaged: and 80 more places; skipped 80 bytes there\n" in err


def test_a_file_that_breaks_off_with_a_newer_version_is_not_the_last(run: Run, tmp_path: Path, out: Path) -> None:
    newer = b"\x82\xa6format\xaemitmdump-flows\xa7version\x09"
    path = tmp_path / "in.flows"
    path.write_bytes(a_file(a_flow(1)) + frame.encode(frame.SECTION, newer) + a_file(a_flow(2)))

    status, err = run(path, capture(tmp_path / "other", 3), write=(str(out),))

    assert (status, ids(out)) == (3, [1, 3])
    assert f"cannot read {path}: its format is version 9" in err


def test_a_body_that_can_no_longer_be_read_costs_its_flow_only(
    run: Run, tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.flows"
    path.write_bytes(a_file(a_flow(1), a_flow(2, LARGE), a_flow(3)))
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: pread(*args)[:10])

    status, err = run(path, write=(str(out),))
    monkeypatch.undo()

    assert (status, ids(out)) == (3, [1, 3])
    assert f"{path} has become shorter while it was read" in err


@pytest.mark.parametrize(
    ("count", "options", "complaint"),
    [
        (2, {"follow": True}, "--follow takes one file: give one -r only"),
        (1, {"follow": True, "sort": True}, "--follow and --sort exclude each other"),
        (0, {"follow": True, "server": False}, "nothing to do for --follow or --sort: there is no -r FILE to read"),
        (0, {"sort": True}, "nothing to do for --follow or --sort: there is no -r FILE to read"),
    ],
)
def test_what_makes_no_sense_together_is_refused(
    run: Run, tmp_path: Path, out: Path, count: int, options: dict[str, bool], complaint: str
) -> None:
    status, err = run(*[capture(tmp_path / "in.flows", 1)] * count, write=(str(out),), **options)

    assert (status, out.exists()) == (2, False)
    assert err.startswith(f"mitmdump: {complaint}")


@contextmanager
def following(path: Path, *options: object) -> Iterator[subprocess.Popen[bytes]]:
    """The program, which ends with the test if nothing else ends it."""
    command = [*PROGRAM, "-nr", path, "--follow", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("pack", [bytes, zstandard.compress], ids=["plain", "compressed"])
def test_a_file_is_followed_until_a_signal(tmp_path: Path, out: Path, number: int, pack: type[bytes]) -> None:
    """R7"""
    path = tmp_path / "live.flows"
    path.write_bytes(pack(a_file(a_flow(1), closed=False)))
    with following(path, "-w", out, "~u /[12]$") as running:
        assert running.stdout
        assert b"/1" in running.stdout.readline()
        with path.open("ab") as file:
            file.write(pack(a_file(a_flow(3), a_flow(2))[:-10]))
        running.stdout.readline()
        assert b"/2" in running.stdout.readline()
        running.send_signal(number)
        _, err = running.communicate()

    assert running.returncode == 0
    assert err == b"mitmdump: 3 flows seen, 2 matched, 2 written, 0 failed, 0 dropped\n"
    assert ids(out) == [1, 2]
    assert [found.code for found in Frames(BytesIO(out.read_bytes()).read, lambda *_: None)][-1] == frame.END


def test_a_script_that_put_us_into_the_background_can_end_us_with_sigint(tmp_path: Path) -> None:
    """A shell without job control lets what it starts with & ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with following(capture(tmp_path / "live.flows", 1)) as running:
            assert running.stdout
            running.stdout.readline()
            running.send_signal(signal.SIGINT)
            running.communicate()
    finally:
        signal.signal(signal.SIGINT, before)
    assert running.returncode == 0


def test_a_file_that_is_followed_into_another_file_is_there_soon(tmp_path: Path) -> None:
    """What waits in a compressed file is written while nothing comes."""
    out = tmp_path / "out.flows.zst"
    with following(capture(tmp_path / "live.flows", 1), "-q", "-w", out) as running:
        wait_until(lambda: out.exists() and ids(out) == [1], "the flow is in the file")
        running.send_signal(signal.SIGTERM)
        assert running.communicate() == (b"", b"")


@pytest.mark.parametrize(
    ("settings", "flushed"),
    [
        (Settings(read=("here.flows",)), False),
        (Settings(read=("here.flows",), follow=True), True),
        (Settings(read=("here.flows", "-")), True),
        (Settings(read=("pipe",)), True),
        (Settings(), True),
    ],
    ids=["a file", "followed", "stdin", "a pipe", "live"],
)
def test_flows_are_flushed_one_by_one_where_others_may_still_happen(
    settings: Settings, flushed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("here.flows", "-"):
        Path(name).touch()
    os.mkfifo("pipe")
    stream = Stream()
    monkeypatch.setattr("sys.stdout", stream)
    Job(settings, Log(quiet=True), Filters(None, ())).outlet.put(a_flow())
    assert ("flush" in stream.calls) == flushed
