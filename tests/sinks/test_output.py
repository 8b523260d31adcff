from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest
import zstandard
from support.tools import run

from mitmdump.errors import FlowFileError, OutputError
from mitmdump.sinks.output import Output, expand

ROOT = Path(__file__).parents[2]
NOON = 1_764_000_000.0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """S10"""
    before = os.umask(0)
    Output(str(tmp_path / "a")).close()
    os.umask(before)
    assert mode(tmp_path / "a") == 0o600


def test_an_existing_file_is_emptied_and_made_private(tmp_path: Path) -> None:
    """S10"""
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o644)
    Output(str(path)).close()
    assert (path.read_text(), mode(path)) == ("", 0o600)


def test_a_symbolic_link_is_refused_and_its_target_left_alone(tmp_path: Path) -> None:
    """S10"""
    (tmp_path / "target").write_text("precious")
    (tmp_path / "link").symlink_to("target")
    with pytest.raises(OutputError, match=r"cannot open .*/link: it is a symbolic link. Links are not followed"):
        Output(str(tmp_path / "link"))
    assert (tmp_path / "target").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "message"),
    [(".", "is a directory. Name a file in it"), ("absent/a", "no such file or directory. Create the directory first")],
)
def test_what_cannot_be_opened_is_refused_with_advice(name: str, message: str, tmp_path: Path) -> None:
    """S4"""
    with pytest.raises(OutputError, match=message):
        Output(str(tmp_path / name))


def test_an_unwritable_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S4"""

    def refuse(path: str, flags: int, mode: int) -> int:  # as root, under which tests may run, nothing is unwritable
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OutputError, match=r"a: permission denied\. Choose a place that you may write to"):
        Output(str(tmp_path / "a"))


def test_a_file_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("theirs")

    def refuse(fd: int, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    Output(str(path)).close()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    path.write_text("theirs")
    with pytest.raises(OutputError, match="belongs to somebody else"):
        Output(str(path))
    assert path.read_text() == "theirs"


def test_the_null_device_takes_everything() -> None:
    output = Output(os.devnull)
    output.write(b"x")
    output.sync()
    output.close()
    assert not output.is_regular


def test_a_fifo_gets_all_bytes_however_slowly_they_are_read(tmp_path: Path) -> None:
    fifo, data, read = tmp_path / "fifo", os.urandom(300_000), []
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: read.append(fifo.read_bytes()))
    reader.start()
    output = Output(str(fifo))
    output.write(data)
    output.close()
    reader.join()
    assert read == [data]


def test_what_a_shell_substitutes_for_a_process_may_be_a_link() -> None:
    source, sink = os.pipe()
    output = Output(f"/dev/fd/{sink}")
    output.write(b"x")
    assert os.read(source, 10) == b"x"
    for fd in (source, sink):
        os.close(fd)
    output.close()


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, write = Output(str(tmp_path / "a")), os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
    output.write(b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"


@pytest.mark.parametrize("name", ["a", "a.zst"])
def test_parts_are_written_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    output, write = Output(str(tmp_path / name)), os.write
    monkeypatch.setattr(os, "writev", lambda fd, parts: write(fd, b"".join(parts)[:3]))
    output.write_parts(b"01", b"23456789")
    output.close()
    data = (tmp_path / name).read_bytes()
    assert (zstandard.decompress(data, 100) if name == "a.zst" else data) == b"0123456789"


def test_a_closed_pipe_is_an_error_of_the_output() -> None:
    source, sink = os.pipe()
    output = Output(f"/dev/fd/{sink}")
    os.close(source)
    with pytest.raises(OutputError, match=r"cannot write /dev/fd/.*: broken pipe"):
        output.write(b"x")
    os.close(sink)
    output.close()


@pytest.mark.parametrize("call", ['write(b"0123456789")', 'write_parts(b"012", b"3456789")'])
def test_half_a_record_is_cut_off_again_when_the_disk_is_full(tmp_path: Path, call: str) -> None:
    """S3"""
    code = f"""
import resource, signal
from mitmdump.sinks.output import Output
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (25, resource.RLIM_INFINITY))
output = Output({str(tmp_path / "a")!r})
try:
    while True:
        output.{call}
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "OutputError cannot write" in done.stdout
    assert "ulimit -f" in done.stdout
    assert (tmp_path / "a").read_bytes() == b"0123456789" * 2


@pytest.mark.parametrize(
    ("path", "expanded"),
    [("a.flows", "a.flows"), ("%Y/%m-%d.flows", "2025/11-24.flows"), ("/x/100%%", "/x/100%"), ("../%Y", "../2025")],
)
def test_a_path_is_filled_in_name_by_name(path: str, expanded: str) -> None:
    assert expand(path, NOON) == expanded


@pytest.mark.parametrize("path", ["%D.flows", "x/%D", "%n/%%/%x/%D", "a/%D/b"])
def test_an_expansion_cannot_lead_elsewhere(path: str) -> None:
    """S9"""
    with pytest.raises(OutputError, match="no file name"):
        expand(path, NOON)


@pytest.mark.parametrize("expansion", ["..", ".", "", "a/b"])
def test_no_locale_makes_an_expansion_lead_elsewhere(expansion: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """S9"""
    monkeypatch.setattr("time.strftime", lambda name, when: expansion)
    with pytest.raises(OutputError, match="no file name"):
        expand("x/%p", NOON)


def test_a_file_knows_whether_it_is_still_at_its_path(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "a"))
    assert output.is_still_at(str(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    assert not output.is_still_at(str(tmp_path / "a"))
    output.close()


# A disk that is full


def fill(output: Output, record: bytes) -> int:
    """Write until it fails; returns how many records were written."""
    for number in range(100_000):
        try:
            output.write(record)
        except OutputError:
            return number
    raise AssertionError("it never failed")


@pytest.mark.parametrize("name", ["a", "a.zst"])
def test_a_full_disk_leaves_whole_records_and_nothing_of_the_next(name: str, small_disk: Path) -> None:
    """S3"""
    output, record = Output(str(small_disk / name)), os.urandom(5000)
    fill(output, record)
    size = (small_disk / name).stat().st_size
    assert output.size == output.written == size
    with suppress(OutputError):
        output.close()
    content = (small_disk / name).read_bytes()
    content = content if name == "a" else run("zstd", "-dc", stdin=content).stdout
    assert content == record * (len(content) // len(record))


def test_overwriting_on_a_full_disk_leaves_what_was_there(small_disk: Path) -> None:
    """S3"""
    path = small_disk / "a"
    output, whole = Output(str(path)), b"[]"
    output.write(whole)
    with pytest.raises(OutputError, match="no space left on device. Make room"):
        for _ in range(100):
            output.overwrite(1, os.urandom(5000) + b"]")
            whole = path.read_bytes()
    assert path.read_bytes() == whole
    assert len(whole) > 100_000
    assert output.size == len(whole)
    output.close()


# Overwriting


def test_the_end_of_a_file_can_be_overwritten(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "a"))
    output.write(b"[1]")
    output.overwrite(1, b",2]")
    output.overwrite(1, b",3]")
    output.write(b"!")
    output.close()
    assert (tmp_path / "a").read_bytes() == b"[1,2,3]!"
    assert (output.size, output.written) == (8, 8)


def test_overwriting_is_continued_where_the_system_did_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, pwrite = Output(str(tmp_path / "a")), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data[:3]), at))
    output.write(b"[]")
    output.overwrite(1, b"0123456789]")
    assert (tmp_path / "a").read_bytes() == b"[0123456789]"


@pytest.mark.parametrize(("name", "possible"), [("a", True), ("a.zst", False), ("/dev/null", False)])
def test_only_a_plain_file_can_be_overwritten(name: str, possible: bool, tmp_path: Path) -> None:
    output = Output(str(tmp_path / name))
    assert output.can_overwrite is possible
    output.close()


# Going on in a file


def third(file: BinaryIO) -> int:
    """Records are lines of three bytes."""
    return len(file.read()) // 3 * 3


def test_a_file_is_continued_behind_its_last_whole_record(tmp_path: Path) -> None:
    """S8"""
    (tmp_path / "a").write_bytes(b"aa\nbb\nc")
    output = Output(str(tmp_path / "a"), resume=third)
    assert (output.resumed, output.size, output.written) == (True, 6, 0)
    output.write(b"dd\n")
    output.close()
    assert (tmp_path / "a").read_bytes() == b"aa\nbb\ndd\n"
    assert mode(tmp_path / "a") == 0o600


@pytest.mark.parametrize("content", [None, b"", b"a"])
def test_a_file_without_a_record_is_not_continued(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a").write_bytes(content)
    output = Output(str(tmp_path / "a"), resume=third)
    output.close()
    assert (output.resumed, output.size) == (False, 0)


def test_a_fifo_is_written_as_ever_whether_to_be_continued_or_not(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    output = Output(str(tmp_path / "fifo"), resume=third)
    output.write(b"x")
    assert (os.read(reader, 10), output.resumed) == (b"x", False)
    output.close()
    assert os.read(reader, 10) == b""
    os.close(reader)


def test_a_file_of_another_kind_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    def refuse(_file: BinaryIO) -> int:
        raise FlowFileError("it is not a flow file")

    (tmp_path / "a").write_text("notes")
    (tmp_path / "a").chmod(0o640)
    with pytest.raises(OutputError, match="cannot append to .*/a: it is not a flow file. Choose another file"):
        Output(str(tmp_path / "a"), resume=refuse)
    assert ((tmp_path / "a").read_text(), mode(tmp_path / "a")) == ("notes", 0o640)


# Two programs


@pytest.mark.parametrize("resume", [None, third])
def test_a_file_that_is_being_written_is_refused_and_left_alone(
    resume: Callable[[BinaryIO], int] | None, tmp_path: Path
) -> None:
    first = Output(str(tmp_path / "a"))
    first.write(b"one")
    with pytest.raises(OutputError, match="cannot write .*/a: another program is writing it. Choose another file"):
        Output(str(tmp_path / "a"), resume=resume)
    first.close()
    assert (tmp_path / "a").read_bytes() == b"one"
    Output(str(tmp_path / "a"), resume=third).close()


def test_a_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    Output(str(tmp_path / "a")).close()


# A file that is gone


def test_a_removed_file_is_a_failure_unless_it_is_reopened_soon(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "a"))
    output.write(b"x")
    output.count_flow()
    (tmp_path / "a").unlink()
    output.tick(NOON)
    output.tick(NOON + 0.9)
    with pytest.raises(OutputError, match="cannot write .*/a: it was removed, with all that was in it"):
        output.tick(NOON + 1)
    assert output.flows == 0


def test_a_file_that_was_moved_is_still_written(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    output.tick(NOON)
    output.tick(NOON + 60)
    output.check()
    output.close()


# Gathered


def gathering(path: Path, *records: bytes) -> Output:
    output = Output(str(path), gathers=True)
    for record in records:
        output.write(record)
        output.count_flow()
    return output


def test_what_is_gathered_is_written_in_one_call_when_it_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes, write = [], os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(bytes(data)), write(fd, data))[1])
    output = gathering(tmp_path / "a", b"one", b"two")
    assert (writes, output.flows, output.size) == ([], 0, 0)
    output.settle()
    output.settle()
    assert (writes, output.flows, output.size) == ([b"onetwo"], 2, 6)


@pytest.mark.parametrize("end", [Output.close, Output.sync, lambda output: output.tick(NOON), Output.settle])
def test_nothing_that_was_gathered_is_left_behind(end: Callable[[Output], object], tmp_path: Path) -> None:
    end(gathering(tmp_path / "a", b"one", b"two"))
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_what_is_written_in_parts_goes_behind_what_was_gathered(tmp_path: Path) -> None:
    gathering(tmp_path / "a", b"one").write_parts(b"t", b"wo")
    assert (tmp_path / "a").read_bytes() == b"onetwo"


def test_no_more_is_gathered_than_is_written_at_a_time(tmp_path: Path) -> None:
    output = gathering(tmp_path / "a", bytes(256 * 1024))
    assert output.size == 0
    output.write(b"x")
    assert output.size == 256 * 1024 + 1


def test_of_what_was_gathered_a_full_disk_takes_as_many_records_as_it_has_room_for(small_disk: Path) -> None:
    """S3"""
    record = os.urandom(5000)
    measure = Output(str(small_disk / "measure"))
    room = fill(measure, record)
    measure.cut(0)
    output = gathering(small_disk / "a", *[record] * (room + 3))
    with pytest.raises(OutputError, match="no space left"):
        output.settle()
    assert (small_disk / "a").read_bytes() == record * output.flows
    assert output.flows == room


# Compressed


def unpacked(path: Path) -> bytes:
    return run("zstd", "-dc", path).stdout


def test_what_is_gathered_goes_out_in_one_write_when_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes, write = [], os.write
    monkeypatch.setattr(os, "write", lambda fd, data: (writes.append(len(data)), write(fd, data))[1])
    output = Output(str(tmp_path / "a.zst"))
    output.write(b"one")
    output.write(b"two")
    assert writes == []
    output.tick(NOON)
    assert unpacked(tmp_path / "a.zst") == b"onetwo"
    output.write(b"three")
    output.tick(NOON + 0.5)
    output.tick(NOON + 0.75)
    assert unpacked(tmp_path / "a.zst") == b"onetwothree"
    assert len(writes) == 2


def test_much_goes_out_at_once_and_the_rest_at_the_end(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "a.zst"))
    output.write(bytes(256 * 1024))
    assert unpacked(tmp_path / "a.zst") == bytes(256 * 1024)
    output.write(b"end")
    output.close()
    assert unpacked(tmp_path / "a.zst") == bytes(256 * 1024) + b"end"
    assert output.size == output.written == (tmp_path / "a.zst").stat().st_size


def test_a_flow_counts_when_it_has_gone_out(tmp_path: Path) -> None:
    """R8"""
    output, plain = Output(str(tmp_path / "a.zst")), Output(str(tmp_path / "a"))
    for each in (output, plain):
        each.write(b"flow")
        each.count_flow()
    assert (output.flows, plain.flows) == (0, 1)
    output.tick(NOON)
    assert output.flows == 1


def test_syncing_writes_what_is_gathered(tmp_path: Path) -> None:
    output = Output(str(tmp_path / "a.zst"))
    output.write(b"one")
    output.sync()
    assert unpacked(tmp_path / "a.zst") == b"one"


def test_a_compressed_file_is_continued_wherever_it_was_torn(tmp_path: Path) -> None:
    """S8"""
    path, asked = tmp_path / "a.zst", []
    for _ in range(2):
        output = Output(str(path), resume=lambda file: asked.append(file.read()) or 0)
        output.write(b"record\n")
        output.close()
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        output = Output(str(path), resume=lambda _: 0)
        output.write(b"more\n")
        output.close()
        assert unpacked(path) == (b"record\n" if size >= len(whole) // 2 else b"") + b"more\n"
    assert asked == [b"record\n"]


def test_a_compressed_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    def refuse(file: BinaryIO) -> int:
        assert file.read() == b"notes"
        raise FlowFileError("it is not a flow file")

    output = Output(str(tmp_path / "a.zst"))
    output.write(b"notes")
    output.close()
    with pytest.raises(OutputError, match="cannot append to .*/a.zst: it is not a flow file"):
        Output(str(tmp_path / "a.zst"), resume=refuse)
    (tmp_path / "b.zst").write_text("notes")
    with pytest.raises(OutputError, match="cannot append to .*/b.zst: it is not compressed with Zstandard"):
        Output(str(tmp_path / "b.zst"), resume=refuse)
