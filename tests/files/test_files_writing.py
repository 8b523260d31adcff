"""Captures that a program makes."""

from __future__ import annotations

import json
import stat
from io import BytesIO
from pathlib import Path

import pytest
import zstandard
from support.flowfiles import a_file, a_flow, a_tcp_flow, values

from mitmdump.errors import OutputError
from mitmdump.files import FlowWriter, open_flows

LARGE = bytes(200_000)


def written(path: Path, *numbers: int, append: bool = False) -> Path:
    with FlowWriter(path, append=append) as out:
        for number in numbers:
            out.write(a_flow(number))
    return path


def ids(path: Path) -> list[int]:
    with open_flows(path, strict=True) as flows:
        return [flow.id for flow in flows]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    flows = [a_flow(1), a_flow(2, LARGE), a_tcp_flow(3, b"a", b"")]
    with FlowWriter(tmp_path / "a.flows") as out:
        for flow in flows:
            out.write(flow)
    with open_flows(tmp_path / "a.flows", strict=True) as found:
        assert values(found) == values(open_flows(BytesIO(a_file(*flows))))


def test_a_file_is_private(tmp_path: Path) -> None:
    """S10"""
    path = tmp_path / "a.flows"
    path.touch(0o644)
    assert stat.S_IMODE(written(path, 1).stat().st_mode) == 0o600


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """S10"""
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="symbolic link"):
        FlowWriter(tmp_path / "link")


def test_an_existing_file_is_emptied_or_gone_on_with(tmp_path: Path) -> None:
    path = written(written(tmp_path / "a.flows", 1), 2)
    assert ids(path) == [2]
    assert ids(written(path, 3, append=True)) == [2, 3]


def test_a_name_is_taken_as_it_is(tmp_path: Path) -> None:
    written(tmp_path / "100%d.flows", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["100%d.flows"]


def test_the_extension_says_that_it_is_compressed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.flows.zst", 1, 2)
    assert path.read_bytes().startswith(zstandard.MAGIC_NUMBER.to_bytes(4, "little"))
    assert ids(path) == [1, 2]


def test_the_extension_chooses_the_format(tmp_path: Path) -> None:
    path = written(tmp_path / "a.har", 1)
    assert json.loads(path.read_text())["log"]["entries"][0]["request"]["url"] == "https://example.com/1"


def test_what_a_format_cannot_hold_is_noted(tmp_path: Path) -> None:
    with FlowWriter(tmp_path / "a.har") as out:
        out.write(a_tcp_flow(1, b"a"))
    assert len(out.notes) == 1


def test_a_file_object_gets_a_flow_file_and_stays_open() -> None:
    file = BytesIO()
    with FlowWriter(file) as out:
        out.write(a_flow(1))
    assert list(out.notes) == []
    file.seek(0)
    assert [flow.id for flow in open_flows(file, strict=True)] == [1]
