from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
from support.flowfiles import START

from mitmdump.errors import OutputError
from mitmdump.sinks.naming import Names

HOUR = 3600.0


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.chdir(tmp_path)


def names(path: str, count: int = 3, *, several: bool = True) -> list[str]:
    """The names of so many files that are begun at once."""
    found = Names(path, several=several)
    return [found.next(START) for _ in range(count)]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("out.flows", ["out-00001.flows", "out-00002.flows", "out-00003.flows"]),
        ("out.flows.zst", ["out-00001.flows.zst", "out-00002.flows.zst", "out-00003.flows.zst"]),
        ("out", ["out-00001", "out-00002", "out-00003"]),
        ("{n}_out.har", ["00001_out.har", "00002_out.har", "00003_out.har"]),
        ("%Y%m%d.flows", ["20251124.flows", "20251124-00001.flows", "20251124-00002.flows"]),
        ("%Y.%m", ["2025.11", "2025.11-00001", "2025.11-00002"]),
        ("%H-{n}.flows", ["16-00001.flows", "16-00002.flows", "16-00003.flows"]),
        ("./a.b/out", ["./a.b/out-00001", "./a.b/out-00002", "./a.b/out-00003"]),
    ],
)
def test_each_file_has_a_name_of_its_own(path: str, found: list[str]) -> None:
    Path("a.b").mkdir()
    assert names(path) == found


def test_one_file_has_the_name_that_was_given_whether_it_exists_or_not() -> None:
    assert names("out-%Y.flows", 2, several=False) == ["out-2025.flows"] * 2


def test_a_number_in_the_name_makes_every_file_a_new_one_even_of_one() -> None:
    assert names("out-{n}.flows", 2, several=False) == ["out-00001.flows", "out-00002.flows"]


def test_numbering_goes_on_after_the_highest_that_exists() -> None:
    for name in ("out-00007.flows", "out-00041.flows", "other-00099.flows", "out-77.flows"):
        Path(name).touch()
    assert names("out.flows", 1) == ["out-00042.flows"]


def test_a_file_that_was_compressed_since_then_keeps_its_number() -> None:
    Path("out-00007.flows.gz").touch()
    assert names("out.flows", 1) == ["out-00008.flows"]


def test_after_five_digits_come_six() -> None:
    Path("out-99999.flows").touch()
    assert names("out.flows", 2) == ["out-100000.flows", "out-100001.flows"]


def test_no_number_comes_twice_in_a_run() -> None:
    found = Names("out.flows", several=True)
    Path(found.next(START)).unlink()
    assert found.next(START) == "out-00002.flows"


def test_numbers_begin_anew_with_a_new_date() -> None:
    found = Names("%H-{n}", several=True)
    assert [found.next(START), found.next(START + HOUR)] == ["16-00001", "17-00001"]


def test_a_name_is_taken_by_a_private_file() -> None:
    """S10"""
    before = os.umask(0)
    (name,) = names("out.flows", 1)
    os.umask(before)
    assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600


def test_a_symbolic_link_is_a_file_that_exists() -> None:
    """S10"""
    Path("2025.flows").symlink_to("target")
    assert names("%Y.flows", 1) == ["2025-00001.flows"]
    assert not Path("target").exists()


def test_a_directory_that_is_not_there_is_left_for_the_output_to_report() -> None:
    """S4"""
    assert names("absent/out.flows", 1) == ["absent/out-00001.flows"]
    assert Names("absent/out.flows", several=True).existing() == []


@pytest.mark.parametrize("path", ["{n}/out.flows", "a{n}b{n}.flows"])
def test_the_number_stands_once_and_in_the_name_of_the_file(path: str) -> None:
    """S9"""
    with pytest.raises(OutputError, match="belongs into the name of the file"):
        Names(path, several=True)


def test_a_date_does_not_lead_into_another_directory() -> None:
    """S9"""
    with pytest.raises(OutputError, match="which is no file name"):
        names("%D.flows", 1)


def test_the_latest_file_is_the_one_with_the_highest_number() -> None:
    for name in ("2025.flows", "2025-00009.flows", "2025-00010.flows", "2025-00011.flows.gz", "2024-00099.flows"):
        Path(name).touch()
    assert Names("%Y.flows", several=True).latest(START) == "2025-00010.flows"
    assert Names("%Y.flows", several=False).latest(START) == "2025.flows"


def test_without_any_file_there_is_no_latest() -> None:
    assert Names("%Y.flows", several=True).latest(START) is None


def test_files_of_earlier_runs_are_found_the_oldest_first() -> None:
    ours = ["cap-2025-00001.flows", "cap-2024.flows", "cap-2023-00123.flows", "cap-2026.flows"]
    others = ["cap-20x4.flows", "cap-2024.flows.gz", "cap-.flows", "cap-2024-1.flows", "precious.flows"]
    for age, name in enumerate([*ours, *others]):
        Path(name).touch()
        os.utime(name, (START - age, START - age))
    Path("cap-2022.flows").mkdir()
    Path("cap-2021.flows").symlink_to("cap-2024.flows")
    assert Names("cap-%Y.flows", several=True).existing() == ours[::-1]


@pytest.mark.parametrize(("path", "words"), [("%B.flows", "cannot be told by %B"), ("%Y/out.flows", "a directory")])
def test_files_that_cannot_be_found_again_are_refused(path: str, words: str) -> None:
    with pytest.raises(OutputError, match=words):
        Names(path, several=True).existing()
