"""Reports that build servers and people read."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.errors import OutputError
from mitmdump.replay.report import OUTCOMES, Case, Report

CASES = [
    Case("GET", "http://a.test/x?y=<1>", "passed", status=200, seconds=0.25),
    Case("PUT", "http://a.test", "failed", "differs", ["status: 500, recorded 200", "body: \x1b[31m"], 500, 0.5),
    Case("GET", "http://b.test/", "error", "no answer"),
    Case("GET", "somewhere", "skipped", "cut off"),
]


def write(path: Path, *cases: Case) -> Path:
    """A report of these cases."""
    report = Report(path, "replay")
    for case in cases:
        report.add(case)
    report.close()
    return path


def test_junit_has_a_case_for_each_request(tmp_path: Path):
    (suite,) = ElementTree.parse(write(tmp_path / "report.XML", *CASES)).getroot()

    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped", "time")} == {
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "0.750",
    }
    assert [(case.get("classname"), case.get("name")) for case in suite] == [
        ("http://a.test", "GET /x?y=<1>"),
        ("http://a.test", "PUT /"),
        ("http://b.test", "GET /"),
        ("replay", "GET somewhere"),
    ]
    assert [[(inner.tag, inner.get("message")) for inner in case] for case in suite] == [
        [],
        [("failure", "differs")],
        [("error", "no answer")],
        [("skipped", "cut off")],
    ]


def test_what_differs_is_told_line_by_line_and_without_harm(tmp_path: Path):
    """L1"""
    (suite,) = ElementTree.parse(write(tmp_path / "report.xml", *CASES)).getroot()

    assert suite[1][0].text == "status: 500, recorded 200\nbody: \\x1b[31m"


def test_json_has_counts_and_all_that_is_known(tmp_path: Path):
    found = json.loads(write(tmp_path / "report.json", *CASES).read_text())

    assert (found["title"], found["passed"], found["skipped"]) == ("replay", 1, 1)
    assert found["requests"][1] == {
        "method": "PUT",
        "url": "http://a.test",
        "outcome": "failed",
        "reason": "differs",
        "details": ["status: 500, recorded 200", "body: \\x1b[31m"],
        "status": 500,
        "seconds": 0.5,
    }


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path):
    with pytest.raises(OutputError, match=r"cannot write .*no such file.*Name another file with --replay-report"):
        Report(tmp_path / "none" / "report.json", "replay")


def test_a_report_without_a_case_is_one(tmp_path: Path):
    assert json.loads(write(tmp_path / "report.json").read_text())["requests"] == []
    assert len(ElementTree.parse(write(tmp_path / "report.xml")).getroot()[0]) == 0


def test_that_there_is_no_room_for_it_is_said_at_the_end():
    report = Report(Path("/dev/full"), "replay")
    report.add(CASES[0])

    with pytest.raises(OutputError, match="cannot write /dev/full: no space left on device"):
        report.close()


def test_many_cases_go_to_a_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mitmdump.replay.report._HELD", 100)

    found = json.loads(write(tmp_path / "report.json", *CASES).read_text())
    assert [each["url"] for each in found["requests"]] == [case.url for case in CASES]

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(OutputError, match="no room for its cases: No such file or directory. Set TMPDIR"):
        write(tmp_path / "report.json", *CASES)


texts = st.text(max_size=20)


@given(st.builds(Case, texts, texts, st.sampled_from(OUTCOMES), texts, st.lists(texts, max_size=2)))
@settings(max_examples=50)
def test_whatever_comes_from_the_network_the_report_is_well_formed(tmp_path_factory, case: Case):
    """L1"""
    path = tmp_path_factory.mktemp("report")

    (suite,) = ElementTree.parse(write(path / "report.xml", case)).getroot()
    assert len(suite) == 1
    assert json.loads(write(path / "report.json", case).read_text())
