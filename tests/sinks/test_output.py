from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mitmdump.errors import OutputError
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


def test_a_closed_pipe_is_an_error_of_the_output() -> None:
    source, sink = os.pipe()
    output = Output(f"/dev/fd/{sink}")
    os.close(source)
    with pytest.raises(OutputError, match=r"cannot write /dev/fd/.*: broken pipe"):
        output.write(b"x")
    os.close(sink)
    output.close()


def test_half_a_record_is_cut_off_again_when_the_disk_is_full(tmp_path: Path) -> None:
    """S3"""
    code = f"""
import resource, signal
from mitmdump.sinks.output import Output
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (25, resource.RLIM_INFINITY))
output = Output({str(tmp_path / "a")!r})
try:
    while True:
        output.write(b"0123456789")
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
