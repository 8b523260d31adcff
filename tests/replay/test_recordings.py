"""Which flows are replayed, and in which order."""

import io
from pathlib import Path

import pytest
from support.recordings import record, recorded

from mitmdump.errors import FlowFileError
from mitmdump.filter import parse
from mitmdump.replay.recordings import Recordings


def capture(path: Path, **begins: float) -> str:
    """A capture with a request for each path, that began then, in the order in which they are given."""
    return str(record(path, *(recorded(f"http://a.test/{name}", at=at) for name, at in begins.items())))


def paths(recordings: Recordings) -> list[str]:
    return [flow.request.path.strip("/") + "!" * is_first for flow, is_first in recordings]


def test_flows_come_in_the_order_in_which_they_began(tmp_path: Path):
    name = capture(tmp_path / "a", late=5, early=1, middle=3)

    assert paths(Recordings([name], None, print)) == ["early!", "middle", "late"]


def test_one_capture_comes_after_the_other(tmp_path: Path):
    names = [capture(tmp_path / "a", b=5, a=4), capture(tmp_path / "b", d=2, c=1)]

    assert paths(Recordings(names, None, print)) == ["a!", "b", "c!", "d"]
    assert paths(Recordings(names, None, print, merge=True)) == ["c!", "d", "a", "b"]


def test_everything_comes_as_often_as_it_is_wanted(tmp_path: Path):
    recordings = Recordings([capture(tmp_path / "a", a=1, b=2)], None, print, rounds=2)

    assert len(recordings) == 4
    assert paths(recordings) == ["a!", "b", "a!", "b"]


def test_a_filter_chooses_the_flows(tmp_path: Path):
    recordings = Recordings([capture(tmp_path / "a", a=1, b=2)], parse("~u /b"), print)

    assert (len(recordings), paths(recordings)) == (1, ["b!"])


def test_what_is_damaged_is_told_and_the_rest_is_replayed(tmp_path: Path):
    name = Path(capture(tmp_path / "a", a=1, b=2))
    name.write_bytes(name.read_bytes()[:-60])
    told: list[str] = []

    recordings = Recordings([str(name)], None, told.append)

    assert paths(recordings) == ["a!"]
    assert recordings.damaged
    assert "damaged" in told[0]


def test_a_capture_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / "a").write_text("no capture")

    with pytest.raises(FlowFileError, match="not a flow file"):
        Recordings([str(tmp_path / "a")], None, print)


def test_a_pipe_can_be_replayed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = Path(capture(tmp_path / "a", a=1)).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    assert paths(Recordings(["-"], None, print, rounds=2)) == ["a!", "a!"]


def test_bodies_can_be_read_until_the_end(tmp_path: Path):
    body = bytes(range(256)) * 1000
    name = record(tmp_path / "a", *(recorded("http://a.test/", "PUT", body=body, at=at) for at in (1, 2)))
    recordings = Recordings([str(name)], None, print)

    flows = [flow for flow, _ in recordings]
    name.unlink()

    assert [flow.request.raw_content for flow in flows] == [body, body]
    recordings.close()
