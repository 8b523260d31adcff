"""Where a flow file can be appended to: behind its last whole frame, whatever has become of it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.flowfiles import a_file, a_flow, frames, read

from mitmdump.errors import FlowFileError
from mitmdump.flowfile import frame
from mitmdump.flowfile.packing import make_packer
from mitmdump.flowfile.tail import end_of_last_frame

GARBAGE = b"\xc9\x00\x00\x00garbage"


def end(data: bytes) -> int:
    return end_of_last_frame(BytesIO(data))


def numbers(data: bytes) -> list[int]:
    return [flow.id for flow in read(data)]


def test_a_whole_file_is_appended_to_at_its_end() -> None:
    for data in (a_file(a_flow()), a_file(a_flow(), closed=False), a_file(), b""):
        assert end(data) == len(data)


def test_a_file_that_is_torn_anywhere_ends_with_its_last_whole_frame() -> None:
    """S8"""
    pieces = frames(a_flow(1), a_flow(2, bytes(70_000)))
    torn, borders = b"".join(pieces)[:-60_000], {0}
    for found in frame.Frames(BytesIO(torn).read, lambda *_: None):
        borders.add(found.offset + len(found.content))
    for size in [*range(1500), *range(1500, len(torn), 997)]:
        border = max(each for each in borders if each <= size)
        assert end(torn[:size]) == border


def test_after_a_torn_tail_no_flow_is_lost_and_nothing_is_damaged() -> None:
    """S8: for a tear at every byte."""
    before, after = a_file(a_flow(1), a_flow(2)), a_file(a_flow(3))
    for size in range(len(before)):
        torn = before[:size]
        reader = read(torn[: end(torn)] + after)
        whole = [flow.id for flow in read(torn) if not flow.error]
        assert [flow.id for flow in reader] == [*whole, 3]
        assert reader.damage == []


@pytest.mark.parametrize("place", range(60, 140, 7))
def test_whole_frames_after_damage_are_never_cut_off(place: int) -> None:
    """S8"""
    data = bytearray(a_file(a_flow(1), a_flow(2)))
    data[place] ^= 0xFF
    assert end(bytes(data)) == len(data)
    assert end(bytes(data) + GARBAGE) == len(data)


@pytest.mark.parametrize("at", [1, 3])
def test_a_length_that_leads_beyond_the_end_hides_no_frames(at: int) -> None:
    """S8"""
    pieces = frames(a_flow(1), a_flow(2))
    broken = b"".join(pieces[:at]) + b"\xc9\x00\xff\xff\xff" + pieces[at][5:] + b"".join(pieces[at + 1 :])
    assert end(broken) == len(broken) if pieces[at + 1 :] else len(b"".join(pieces[:at]))


def test_a_last_frame_with_a_wrong_checksum_is_cut_off() -> None:
    """S8: as zeros in place of what a dying machine had not written yet."""
    whole, last = a_file(a_flow(1), closed=False), frames(a_flow(2))[1]
    connections = last.rindex(b"\xc9\0", 0, 200)
    assert end(whole + last[:-100] + bytes(100)) == len(whole) + connections


@given(st.binary(max_size=60), st.integers(0, 2000), st.binary(max_size=60))
def test_no_damage_hides_a_frame_that_a_reader_finds(noise: bytes, at: int, rest: bytes) -> None:
    """S8"""
    data = a_file(a_flow(1)) + a_file(a_flow(2))
    first = len(frames(a_flow(1))[0])
    damaged = data[: first + at] + noise + data[first + at + len(noise) // 2 :] + rest
    assert set(numbers(damaged)) <= set(numbers(damaged[: end(damaged)]))


@pytest.mark.parametrize("data", [b"hello world", b"{}", bytes(1000), b"\xc9" + bytes(80), b"\x28\xb5\x2f\xfd"])
def test_what_is_no_flow_file_is_refused(data: bytes) -> None:
    with pytest.raises(FlowFileError, match="it is not a flow file"):
        end(data)


def test_a_newer_version_is_refused_wherever_it_begins() -> None:
    """S7"""
    head = {"format": "mitmdump-flows", "version": 99, "created": 1.0, "software": "later"}
    newer = frame.encode(frame.SECTION, make_packer()(head))
    for data in (newer, a_file(a_flow()) + newer, a_file(a_flow()) + GARBAGE + newer + frames(a_flow())[1]):
        with pytest.raises(FlowFileError, match="version 99"):
            end(data)


class Counting(BytesIO):
    """A file that counts what is read of it."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data


def test_what_is_in_the_frames_is_not_read() -> None:
    file = Counting(a_file(*[a_flow(number, bytes(60_000)) for number in range(100)]))
    assert end_of_last_frame(file) == len(file.getvalue())
    assert file.bytes_read < len(file.getvalue()) // 10


def test_a_file_on_disk_will_do(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(a_file(a_flow()) + GARBAGE)
    with (tmp_path / "a").open("rb") as file:
        assert end_of_last_frame(file) == len(a_file(a_flow()))
