"""What would be sent, when, and where to."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recordings import record, recorded, said

from mitmdump.model.flow import Flow
from mitmdump.replay.dryrun import dry_run, plan
from mitmdump.replay.recordings import Recorded, Recordings
from mitmdump.replay.schedule import Schedule
from mitmdump.settings import Settings
from mitmdump.settings.replay import Place


def listing(tmp_path: Path, *flows: Flow, **chosen) -> list[str]:
    """What is said, the sum last."""
    told: list[str] = []
    recordings = Recordings([str(record(tmp_path / "a", *flows))], None, print)
    told.append(dry_run(Settings(**chosen), recordings, told.append))
    return told


def test_each_request_is_told_with_its_time(tmp_path: Path):
    flows = [recorded("http://a.test/1", lasting=0.5), recorded("http://a.test/2", "PUT", body=b"abc", at=1)]

    assert listing(tmp_path, *flows, replay_timing=2.0) == [
        "    0ms  GET http://a.test/1",
        "  750ms  PUT http://a.test/2 (3b)",
        "2 requests would be sent, none skipped; with servers as fast as when they were recorded that would take 751ms",
    ]


def test_what_would_be_skipped_is_counted_with_the_reason(tmp_path: Path):
    flows = [recorded("http://a.test/1", "CONNECT"), recorded("http://a.test/2")]

    assert listing(tmp_path, *flows)[-1].startswith("1 requests would be sent, 1 skipped (1 opens a tunnel); ")


@pytest.mark.parametrize(
    ("keep", "expected"), [(False, "to https://b.test:9"), (True, "to https://b.test:9 as a.test")]
)
def test_another_server_is_told(tmp_path: Path, keep: bool, expected: str):
    chosen = {"replay_to": Place("https", "b.test", 9), "replay_keep_host": keep}

    assert listing(tmp_path, recorded("http://a.test/"), **chosen)[0] == f"    0ms  GET http://a.test/ {expected}"


def test_a_raw_connection_is_told_by_its_server(tmp_path: Path):
    assert listing(tmp_path, said(99, (True, b"x")))[0] == "    0ms  tcp to 127.0.0.1:99"


def test_what_comes_from_the_network_does_no_harm(tmp_path: Path):
    """L1"""
    assert "\x1b" not in listing(tmp_path, recorded("http://a.test/\x1b[2J"))[0]


begins = st.lists(st.tuples(st.floats(0, 20), st.floats(0, 5)), min_size=1, max_size=15).map(sorted)


def planned(begins: Sequence[tuple[float, float]], **chosen) -> list[tuple[float, float]]:
    flows = [recorded("http://a.test/", at=at, lasting=lasting) for at, lasting in begins]
    found = plan((Recorded(flow, is_first=number == 0) for number, flow in enumerate(flows)), Schedule(**chosen), print)
    return [(each.begin, each.end) for each in found]


@given(begins, st.integers(1, 4), st.none() | st.floats(0.2, 5), st.none() | st.floats(0.2, 50))
@settings(max_examples=50)
def test_a_plan_keeps_to_the_schedule(begins, concurrency, speed, rate):
    """P3"""
    found = planned(begins, concurrency=concurrency, speed=speed, rate=rate)

    assert [begin for begin, _ in found] == sorted(begin for begin, _ in found)
    for begin, _ in found:
        assert sum(other <= begin < end for other, end in found if end > other) <= concurrency


@given(begins)
@settings(max_examples=30)
def test_one_after_the_other_takes_as_long_as_all_together(begins):
    total = sum(end - begin for begin, end in planned(begins))

    assert max(end for _, end in planned(begins)) == pytest.approx(total)
