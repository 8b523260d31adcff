"""A flow file that somebody else is still writing. Where a reader would wait, `idle` does what the writer does next."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
import zstandard
from support.flowfiles import START, a_file, a_flow, frames, live

from mitmdump.errors import FlowFileError
from mitmdump.files import Flows, open_flows
from mitmdump.files.following import Following
from mitmdump.flowfile import SectionWriter
from mitmdump.flowfile.kept import KeptBody
from mitmdump.model.flow import Part


class End(Exception):
    """The test has nothing more to write."""


class Followed:
    """What was read of a file, and said, while `steps` were taken one by one, each when the reader had to wait."""

    def __init__(self, path: Path, *steps: Callable[[], object]) -> None:
        self.said: list[str] = []
        self._steps = iter(steps)
        self.flows = open_flows(path, follow=True, warn=self.said.append, idle=self._idle)

    def _idle(self) -> None:
        for step in self._steps:
            step()
            return
        raise End

    def ids(self) -> list[int]:
        return list(self._ids())

    def _ids(self) -> Iterator[int]:
        try:
            for flow in self.flows:
                yield flow.id
        except End:
            self.flows.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "live.flows"


def append(path: Path, data: bytes) -> Callable[[], object]:
    def step() -> None:
        with path.open("ab") as file:
            file.write(data)

    return step


def test_what_is_written_later_is_read_too(path: Path) -> None:
    first, *rest = frames(a_flow(1), a_flow(2), a_flow(3), closed=False)
    path.write_bytes(first)
    followed = Followed(path, *(append(path, each) for each in rest))
    assert followed.ids() == [1, 2, 3]
    assert (followed.said, followed.flows.damage) == ([], [])


def test_a_torn_frame_is_waited_for(path: Path) -> None:
    data = a_file(a_flow(1), a_flow(2))
    path.write_bytes(b"")
    followed = Followed(path, *(append(path, data[at : at + 50]) for at in range(0, len(data), 50)))
    assert followed.ids() == [1, 2]
    assert followed.flows.damage == []


def test_sections_that_are_appended_are_read_too(path: Path) -> None:
    path.write_bytes(a_file(a_flow(1)))
    assert Followed(path, append(path, a_file(a_flow(2)))).ids() == [1, 2]


def test_a_compressed_file_is_followed_through_torn_frames(path: Path) -> None:
    data = b"".join(zstandard.compress(each) for each in frames(a_flow(1), a_flow(2)))
    path.write_bytes(data[:10])
    followed = Followed(path, *(append(path, data[at : at + 50]) for at in range(10, len(data), 50)))
    assert followed.ids() == [1, 2]
    assert followed.flows.damage == []


def replaced(path: Path, data: bytes) -> Callable[[], object]:
    def step() -> None:
        path.rename(f"{path}.1")
        path.write_bytes(data)

    return step


def test_a_file_that_was_replaced_is_left_for_the_new_one(path: Path) -> None:
    path.write_bytes(a_file(a_flow(1), closed=False))
    followed = Followed(path, replaced(path, a_file(a_flow(2), closed=False)), append(path, a_file(a_flow(3))))
    assert followed.ids() == [1, 2, 3]
    assert followed.said == [f"{path} was replaced or cut short: going on with what is there now"]


def test_what_was_written_just_before_a_file_was_replaced_is_not_lost(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if both happen between looking for more and looking for another file."""
    path.write_bytes(a_file(a_flow(1)))
    is_over, steps = Following._is_over, [append(path, a_file(a_flow(2))), replaced(path, a_file(a_flow(3)))]

    def looked_for_later(file: Following) -> bool:
        while steps:
            steps.pop(0)()
        return is_over(file)

    monkeypatch.setattr(Following, "_is_over", looked_for_later)
    assert Followed(path).ids() == [1, 2, 3]


def test_a_file_that_is_gone_is_waited_for(path: Path) -> None:
    path.write_bytes(a_file(a_flow(1)))
    old = path.with_suffix(".old")
    steps = [lambda: path.rename(old), append(old, a_file(a_flow(2))), lambda: path.write_bytes(a_file(a_flow(3)))]
    assert Followed(path, *steps).ids() == [1, 2, 3]


def test_a_file_that_was_emptied_is_read_from_its_beginning(path: Path) -> None:
    path.write_bytes(a_file(a_flow(1), a_flow(2)))
    followed = Followed(path, lambda: path.write_bytes(b""), append(path, a_file(a_flow(3))))
    assert followed.ids() == [1, 2, 3]
    assert len(followed.said) == 1


def test_a_flow_that_runs_while_its_file_is_replaced_is_cut_off(path: Path) -> None:
    written: list[bytes] = []
    SectionWriter(written.append, created=START).start(live(a_flow(1))).data(Part.RESPONSE, b"he")
    path.write_bytes(b"".join(written))
    followed = Followed(path, replaced(path, a_file(a_flow(2))))
    assert followed.ids() == [1, 2]
    assert followed.flows.cut_off == 1


def test_damage_before_and_after_a_replacement_is_told(path: Path) -> None:
    path.write_bytes(a_file() + b"x" + a_file(a_flow(1)))
    followed = Followed(path, replaced(path, a_file() + b"yy" + a_file(a_flow(2))))
    assert followed.ids() == [1, 2]
    assert [damage.size for damage in followed.flows.damage] == [1, 2]


def test_bodies_stay_in_a_file_that_is_followed(path: Path) -> None:
    path.write_bytes(a_file(a_flow(1, bytes(100_000))))
    flows = open_flows(path, follow=True)
    flow = next(flows)
    assert flow.response
    assert isinstance(flow.response.body.source, KeptBody)
    assert flow.response.raw_content == bytes(100_000)
    assert flows.raw is not None
    flows.close()


def test_a_filter_selects_what_is_followed(path: Path) -> None:
    path.write_bytes(a_file(a_flow(1), a_flow(2)))
    flows: Flows = open_flows(path, follow=True, filter="~u /2$")
    assert (next(flows).id, flows.passed_over) == (2, 1)
    flows.close()


def test_what_will_never_be_a_capture_is_refused_at_once(path: Path) -> None:
    path.write_text("a letter to my aunt")
    with pytest.raises(FlowFileError, match="is not a flow file"):
        open_flows(path, follow=True)


def test_only_a_regular_file_can_be_followed_by_its_name(path: Path) -> None:
    os.mkfifo(path)
    for other in ("-", BytesIO(a_file()), path):
        with pytest.raises(FlowFileError, match="only a regular file can be followed, by its name"):
            open_flows(other, follow=True)
