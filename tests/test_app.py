"""Exit statuses, and what is said with them; the proxy's own are told by the end-to-end tests."""

import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.flowfiles import a_file, a_flow, a_tcp_flow, read

from mitmdump import app, readback
from mitmdump.files import open_flows
from mitmdump.filter import parse
from mitmdump.flowfile.frame import END, Frames
from mitmdump.job import Filters, Job
from mitmdump.log import Log
from mitmdump.model.flow import Error
from mitmdump.settings import Settings

PROGRAM = [sys.executable, "-m", "mitmdump"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The exit status, and what was said on stdout and stderr."""

    def go(*read: str | Path, **known: object) -> tuple[int, str, str]:
        settings = Settings(read=tuple(map(str, read)), **known)
        return (app.run(settings), *capfd.readouterr())

    return go


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A file with three flows."""
    path = tmp_path / "in.flows"
    path.write_bytes(a_file(a_flow(1), a_flow(2, error=Error("cut off", 0.0)), a_flow(3)))
    return path


def summary(seen: int, matched: int, written: int, failed: int) -> str:
    return f"{seen} flows seen, {matched} matched, {written} written, {failed} failed, 0 dropped\n"


def test_what_was_read_is_printed_and_counted(run, capture):
    status, out, err = run(capture)

    assert status == 0
    assert [line.split()[-1] for line in out.splitlines() if "GET" in line] == [
        f"https://example.com/{number}" for number in (1, 2, 3)
    ]
    assert err == "mitmdump: " + summary(3, 3, 0, 1)


def test_only_flows_that_match_are_printed_and_written(run, capture, tmp_path):
    target = tmp_path / "out.flows"

    status, out, err = run(capture, filter="~u /2", write=(str(target),))

    with open_flows(target) as flows:
        assert [flow.id for flow in flows] == [2]
    assert (status, err) == (0, "mitmdump: " + summary(3, 1, 1, 1))
    assert "/2" in out
    assert "/1" not in out


@pytest.fixture
def variety(tmp_path: Path) -> Path:
    """A file with six flows: 2 has an error, 3 a large body, 4 is a raw connection, 5 and 6 are as small as 1."""
    flows = [a_flow(1), a_flow(2, error=Error("cut off", 0.0)), a_flow(3, bytes(70_000)), a_tcp_flow(4, b"x")]
    path = tmp_path / "variety.flows"
    path.write_bytes(a_file(*flows, a_flow(5), a_flow(6)))
    return path


def ids(path: Path) -> list[int]:
    with open_flows(path) as flows:
        return [flow.id for flow in flows]


@pytest.mark.parametrize("main", [None, "~u /5", "~e"])
def test_each_file_gets_the_flows_that_its_own_filter_wants(run, variety, tmp_path, main):
    """R8"""
    wanted = {"small": ("~sizes <1k", [1, 2, 5, 6]), "five": ("~u /5$", [5]), "none": ("~d other", [])}
    save = tuple((str(tmp_path / name), text) for name, (text, _) in wanted.items())

    status, _, err = run(variety, filter=main, write=(str(tmp_path / "all"),), save=save)

    matched = {None: [1, 2, 3, 4, 5, 6], "~u /5": [5], "~e": [2]}[main]
    assert {name: ids(tmp_path / name) for name in wanted} == {name: found for name, (_, found) in wanted.items()}
    assert ids(tmp_path / "all") == matched
    assert (status, err) == (0, "mitmdump: " + summary(6, len(matched), len(matched) + 5, 1))


def test_flows_that_need_no_decoding_are_counted_like_any_other(run, variety, tmp_path):
    """R8"""
    status, _, err = run(variety, filter="~u /5$", save=((str(tmp_path / "saved"), "~u /6$"),))

    assert (status, err, ids(tmp_path / "saved")) == (0, "mitmdump: " + summary(6, 1, 1, 1), [6])


def test_standard_output_as_a_saved_file_holds_nothing_else(capture):
    done = subprocess.run([*PROGRAM, "-nr", capture, "--save", "-", "~u /3", "~u /1"], capture_output=True, check=True)

    flows = read(done.stdout)
    assert ([flow.id for flow in flows], flows.damage) == ([3], [])
    assert done.stderr.decode() == "mitmdump: " + summary(3, 1, 1, 1)


def test_several_files_are_written_alike(run, capture, tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"

    status, _, err = run(capture, filter="~u /2", write=(str(one), str(other)))

    assert (status, ids(one), ids(other)) == (0, [2], [2])
    assert err.endswith("3 flows seen, 1 matched, 2 written, 1 failed, 0 dropped\n")


def test_a_bad_filter_of_a_saved_file_is_refused_before_any_file_is_emptied(run, capture, tmp_path):
    kept, other = tmp_path / "kept", tmp_path / "other"
    kept.write_text("precious")

    status, out, err = run(capture, write=(str(kept),), save=((str(other), "~all"), (str(other), "~d a & ~c 99")))

    first, expression, caret = err.splitlines()
    assert (status, out, kept.read_text(), other.exists()) == (2, "", "precious", False)
    assert first.startswith("mitmdump: bad filter: ~c needs a status")
    assert caret.index("^") == expression.index("99")


@pytest.mark.parametrize(
    ("write", "save"),
    [
        (["out"], ["out"]),
        (["out"], ["./out"]),
        ([], ["one", "sub/../one"]),
        (["other", "out"], ["link/out"]),
        (["-"], ["-"]),
        (["%Y"], ["%Y"]),
    ],
)
def test_a_file_is_not_written_twice(run, capture, monkeypatch, write, save):
    monkeypatch.chdir(capture.parent)
    Path("sub").mkdir()
    Path("link").symlink_to(".")
    before = sorted(Path().iterdir())

    status, out, err = run(capture, write=tuple(write), save=tuple((name, "~all") for name in save))

    assert (status, out) == (2, "")
    assert err == f"mitmdump: cannot write {save[-1]} twice. Choose another file with -w or --save\n"
    assert sorted(Path().iterdir()) == before


def test_all_files_are_reopened_where_they_were_moved(tmp_path):
    """What SIGHUP does."""
    names = ["main", "saved", "other"]
    write, *saved = (str(tmp_path / name) for name in names)
    settings = Settings(write=(write,), save=tuple((name, "~all") for name in saved), quiet=True)
    everything = parse("~all")
    job = Job(settings, Log(quiet=True), Filters(None, (everything, everything)))
    job.outlet.put(a_flow(1))
    for name in names:
        (tmp_path / name).rename(tmp_path / f"{name}.1")

    job.reopen()
    job.outlet.put(a_flow(2))

    assert (job.close(), job.summary()) == (0, summary(2, 2, 6, 0).rstrip())
    assert [ids(tmp_path / name) for name in names] == [[2]] * 3
    assert [ids(tmp_path / f"{name}.1") for name in names] == [[1]] * 3


@pytest.mark.parametrize(
    ("text", "sensitive", "found"),
    [
        ("~u EXAMPLE", False, [1, 2, 3]),
        ("~u EXAMPLE", True, []),
        ("~u example", True, [1, 2, 3]),
        ('~u "(?-i:EXAMPLE)"', False, []),
        ('~u "(?-i:example).COM"', False, [1, 2, 3]),
        ('~u "(?i:EXAMPLE)"', True, [1, 2, 3]),
        ("~b HELLO", True, []),
        ("~b HELLO", False, [1, 2, 3]),
        ("~hq x-number", True, []),
        ("~hv x-number:1", True, [1]),
    ],
)
def test_upper_and_lower_case_are_the_same_unless_asked_otherwise(run, capture, tmp_path, text, sensitive, found):
    out, saved = tmp_path / "out", tmp_path / "saved"

    status, _, _ = run(capture, filter=text, case_sensitive=sensitive, write=(str(out),), save=((str(saved), text),))

    assert (status, ids(out), ids(saved)) == (0, found, found)


def test_quiet_prints_no_flow_and_no_remark(run, capture):
    assert run(capture, quiet=True) == (0, "", "")


def test_several_files_are_read_in_their_order(run, capture, tmp_path):
    other = tmp_path / "other.flows"
    other.write_bytes(a_file(a_flow(9)))

    status, out, _ = run(other, capture)

    assert status == 0
    assert out.index("/9") < out.index("/1")


def test_standard_output_as_the_file_holds_nothing_else(capture):
    done = subprocess.run([*PROGRAM, "-nr", str(capture), "-w", "-", "~u /3"], capture_output=True, check=True)

    assert [flow.id for flow in read(done.stdout)] == [3]
    assert done.stderr.decode() == "mitmdump: " + summary(3, 1, 1, 1)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("how", [[], ["--json"], ["--stats"]], ids=["text", "json", "stats"])
def test_a_standard_stream_may_be_closed_and_no_file_takes_its_place(capture, tmp_path, closed, how):
    out = tmp_path / "out.flows"
    command = [*PROGRAM, "-nr", str(capture), "-w", str(out), *how]

    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True)

    assert done.returncode == 0
    assert b"should not have happened" not in done.stderr
    assert [flow.id for flow in read(out.read_bytes())] == [1, 2, 3]


@pytest.mark.parametrize(
    ("option", "closed", "complaint"),
    [
        (["-r", "-"], "<&-", b"cannot read standard input: it is closed"),
        (["-r", "IN", "-w", "-"], ">&-", b"cannot write to standard output: it is closed"),
    ],
)
def test_a_standard_stream_that_is_asked_for_and_closed_is_refused(capture, option, closed, complaint):
    command = [*PROGRAM, "-n", *(str(capture) if word == "IN" else word for word in option)]

    done = subprocess.run(["sh", "-c", f'exec "$@" {closed}', "sh", *command], capture_output=True)

    assert done.returncode == 2
    assert complaint in done.stderr


def test_nothing_to_do_is_refused(run):
    assert run(server=False) == (
        2,
        "",
        "mitmdump: nothing to do: -n starts no server, and there is no -r FILE to read, nor -C to replay\n",
    )


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file or directory"),
        (b"a letter to my aunt", "is not a flow file"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused(run, tmp_path, content, complaint):
    path = tmp_path / "in.flows"
    if content is not None:
        path.write_bytes(content)

    status, out, err = run(path, write=(str(tmp_path / "out.flows"),))

    assert (status, out) == (2, "")
    assert str(path) in err
    assert complaint in err
    assert not (tmp_path / "out.flows").exists()


@pytest.mark.parametrize("how", ["in.flows", "./in.flows", "hard link", "in.%%flows"])
def test_a_file_that_is_read_is_not_overwritten(run, capture, monkeypatch, how):
    monkeypatch.chdir(capture.parent)
    os.link(capture, "hard link")
    os.link(capture, "in.%flows")
    before = capture.read_bytes()

    status, _, err = run("in.flows", write=(how,))

    assert (status, err) == (
        2,
        f"mitmdump: cannot write {how}: it is also read. Choose another file with -w or --save\n",
    )
    assert capture.read_bytes() == before


def test_a_damaged_input_is_read_as_far_as_possible_and_reported(run, capture):
    content = bytearray(capture.read_bytes())
    content[content.index(b"/2")] ^= 1
    capture.write_bytes(content)

    status, out, err = run(capture)

    assert status == 3
    assert [word for word in out.split() if word.startswith("https:")] == [
        "https://example.com/1",
        "https://example.com/3",
    ]
    assert err.startswith(f"mitmdump: {capture}: damaged: ")
    assert "bytes from byte" in err


def test_a_torn_tail_is_damage(run, capture):
    capture.write_bytes(capture.read_bytes()[:-5])

    status, out, _ = run(capture)

    assert status == 3
    assert "https://example.com/3" in out


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("missing/out.flows", "no such file or directory. Create the directory first"),
        ("", "is a directory. Name a file in it"),
        ("link", "it is a symbolic link. Links are not followed; name the file that it points to, or remove it"),
    ],
)
def test_an_output_that_cannot_be_opened_is_refused(run, capture, tmp_path, name, complaint):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    status, out, err = run(capture, write=(str(tmp_path / name),))

    assert (status, out) == (2, "")
    assert err.endswith(f"{complaint}\n")


@pytest.mark.parametrize("saved", [False, True])
def test_an_output_that_takes_no_more_ends_the_run(run, capture, tmp_path, saved):
    path = str(tmp_path / "out.flows")
    output = {"save": ((path, "~all"),)} if saved else {"write": (path,)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (capture.stat().st_size - 100, limits[1]))
    try:
        status, _, err = run(capture, flow_detail=0, **output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert status == 1
    assert err.startswith(f"mitmdump: cannot write {path}: file too large.")
    assert err.endswith(", 2 written, 1 failed, 1 dropped\n")


def test_a_full_standard_output_ends_the_run(capture):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*PROGRAM, "-nr", str(capture)], stdout=full, stderr=subprocess.PIPE)

    assert done.returncode == 1
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def to_nobody(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run with a standard output that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run([*PROGRAM, *map(str, arguments)], stdout=writing, stderr=subprocess.PIPE)
    finally:
        os.close(writing)


def test_a_reader_who_has_seen_enough_ends_the_run_quietly(capture):
    done = to_nobody("-nr", capture)

    assert done.returncode == 0
    assert b"seen" in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_a_program_that_reads_the_flow_file_must_read_all_of_it(capture):
    done = to_nobody("-nr", capture, "-w", "-")

    assert (done.returncode, done.stderr) == (2, b"mitmdump: cannot write standard output: broken pipe\n")


def test_a_port_that_is_taken_is_refused_with_what_to_do(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        status, out, err = run(listen_port=port, listen_hosts=("127.0.0.1",), confdir=tmp_path / "conf")

    assert (status, out) == (2, "")
    assert err.endswith(
        f"mitmdump: cannot listen on 127.0.0.1:{port}: address already in use. "
        "Choose another port with -p, or stop the program that holds it.\n"
    )


def test_an_error_of_our_own_is_no_traceback(run, capture, monkeypatch):
    monkeypatch.setattr(readback, "open_flows", lambda *_, **__: 1 / 0)

    status, _, err = run(capture)

    assert (status, err) == (
        1,
        "mitmdump: this should not have happened: ZeroDivisionError: division by zero. Please report it (--debug)\n",
    )


def test_debugging_shows_the_traceback(run, capture, monkeypatch):
    monkeypatch.setattr(readback, "open_flows", lambda *_, **__: 1 / 0)

    status, _, err = run(capture, debug=True)

    assert status == 1
    assert err.startswith("Traceback")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_reading_that_is_interrupted_closes_its_files(capture, tmp_path, number):
    """R7: of a pipe whose writer goes on; what has been read is written, and the file is whole."""
    out = tmp_path / "out.flows"
    command = [*PROGRAM, "-nr", "-", "-w", str(out), "--flow-detail", "1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin
        assert running.stdout
        running.stdin.write(capture.read_bytes())
        running.stdin.flush()
        running.stdout.readline()
        running.send_signal(number)
        _, err = running.communicate()

    assert running.returncode == 0
    assert b" written, " in err
    with out.open("rb") as file:
        assert [found.code for found in Frames(file.read, lambda *_: None)][-1] == END
    assert ids(out)[0] == 1
