"""Zstandard frames: made so that a kill costs a second, read whatever state they are in, and found for appending."""

from __future__ import annotations

import os
import subprocess
import tracemalloc
from io import BufferedReader, BytesIO

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.tools import tool

from mitmdump.errors import FlowFileError
from mitmdump.flowfile import compressed
from mitmdump.flowfile.compressed import (
    FRAME_BYTES,
    FRAME_SECONDS,
    Decompressing,
    Packer,
    end_of_last_frame,
)
from mitmdump.flowfile.magic import MAGIC, recognise
from mitmdump.model.reading import Damage

SKIPPABLE = b"\x53\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"
NOISE = os.urandom(1000)


def packed(data: bytes, *, checksum: bool = True, level: int = 3) -> bytes:
    return zstandard.ZstdCompressor(level, write_checksum=checksum).compress(data)


def stored(data: bytes) -> bytes:
    """A frame without checksum whose only block is raw: a header of 6 bytes, 3 for the block, and the data."""
    return MAGIC + bytes([0x20, len(data)]) + (len(data) << 3 | 1).to_bytes(3, "little") + data


def unpacked(data: bytes) -> tuple[bytes, list[Damage]]:
    reader = Decompressing(BytesIO(data))
    return b"".join(iter(lambda: reader.read(1 << 16) or b"", b"")), reader.damage


# Packing


def test_a_frame_is_due_when_enough_is_in_it() -> None:
    packer = Packer()
    assert not packer.add(bytes(FRAME_BYTES - 1))
    assert packer.add(b"x")
    frame, _ = packer.take()
    assert unpacked(frame) == (bytes(FRAME_BYTES - 1) + b"x", [])


def test_a_frame_is_due_at_a_tick_if_none_was_for_a_while() -> None:
    packer = Packer()
    assert not packer.is_due(100.0)
    packer.add(b"x")
    assert not packer.is_due(100.0 + FRAME_SECONDS - 0.01)
    assert packer.is_due(100.0 + FRAME_SECONDS)


def test_what_was_taken_is_not_taken_again() -> None:
    packer = Packer()
    packer.add(b"x")
    packer.flows += 2
    _, flows = packer.take()
    assert flows == 2
    assert packer.take() == (b"", 0)


def test_the_real_program_reads_what_is_packed() -> None:
    data = b""
    packer = Packer()
    for text in (b"one", bytes(10), b"three"):
        packer.add(text)
        data += packer.take()[0]
    done = subprocess.run([tool("zstd"), "-dc"], input=data, capture_output=True, check=True)
    assert done.stdout == b"one" + bytes(10) + b"three"


# Reading what is in order


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(1, 40))
def test_frames_one_after_the_other_are_one_stream_however_it_is_read(contents: list[bytes], size: int) -> None:
    reader = Decompressing(BytesIO(b"".join(map(packed, contents))))
    assert b"".join(iter(lambda: reader.read(size) or b"", b"")) == b"".join(contents)
    assert reader.damage == []


@pytest.mark.parametrize("arguments", [["-1"], ["-19"], ["--no-check"], ["--fast=9"], ["-3", "--rsyncable"]])
def test_what_the_real_program_packs_is_read(arguments: list[str]) -> None:
    data = NOISE * 700 + bytes(500_000)
    done = subprocess.run([tool("zstd"), "-c", *arguments], input=data, capture_output=True, check=True)
    assert unpacked(done.stdout) == (data, [])


def test_skippable_frames_are_skipped() -> None:
    assert unpacked(SKIPPABLE + packed(b"one") + SKIPPABLE + packed(b"two") + SKIPPABLE) == (b"onetwo", [])


def test_an_empty_input_is_empty() -> None:
    assert unpacked(b"") == (b"", [])


def test_a_stream_over_it_can_be_buffered_and_closes_the_file() -> None:
    file = BytesIO(packed(b"one\ntwo\n"))
    with BufferedReader(Decompressing(file)) as stream:
        assert list(stream) == [b"one\n", b"two\n"]
    assert file.closed


class Growing(BytesIO):
    """A file of which each piece can be read when the one before it has been."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__()
        self.pieces = list(pieces)

    def read1(self, _size: int | None = -1, /) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def test_what_has_come_is_delivered_before_more_is_asked_for() -> None:
    first, second = packed(b"one"), packed(b"two")
    file = Growing(first[:5], first[5:], second)
    reader = Decompressing(file)
    assert reader.read(100) == b"one"
    assert file.pieces == [second]


def test_a_bomb_is_unpacked_a_block_at_a_time() -> None:
    """S5: 64 MiB in 2 KiB."""
    bomb = packed(bytes(1 << 26))
    tracemalloc.start()
    reader = Decompressing(BytesIO(bomb))
    size = sum(map(len, iter(lambda: reader.read(1 << 16) or b"", b"")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == 1 << 26
    assert peak < 1 << 20


# Reading what is damaged


def test_a_file_that_is_cut_off_anywhere_gives_the_frames_before_and_says_where() -> None:
    """S2"""
    first, last = packed(b"first"), packed(b"last" * 20)
    for size in range(1, len(last)):
        found, damage = unpacked(first + last[:size])
        assert found.startswith(b"first")
        assert damage == [Damage(len(first), size, "the file ends inside a Zstandard frame")]


def test_of_a_long_frame_that_is_cut_off_the_blocks_that_are_there_are_delivered() -> None:
    data = os.urandom(300_000)
    found, damage = unpacked(packed(data)[:-1000])
    assert found == data[: 256 * 1024]
    assert len(damage) == 1


@pytest.mark.parametrize("frame", [packed(b"second" * 30), stored(b"second")])
def test_a_frame_with_a_wrong_byte_anywhere_costs_no_other_frame(frame: bytes) -> None:
    """S5"""
    for place in range(len(frame)):
        broken = bytearray(frame)
        broken[place] ^= 0xFF
        found, damage = unpacked(packed(b"first") + broken + packed(b"third") + packed(b"fourth"))
        assert found.startswith(b"first")
        assert found.endswith(b"thirdfourth")
        assert damage or frame == stored(b"second")  # which nothing protects


@pytest.mark.parametrize("garbage", [b"x", NOISE, bytes(200_000), MAGIC, MAGIC * 50, SKIPPABLE[:6]])
def test_garbage_between_frames_is_skipped_and_told(garbage: bytes) -> None:
    found, damage = unpacked(packed(b"first") + garbage + packed(b"second"))
    assert found == b"firstsecond"
    assert (damage[0].offset, sum(each.size for each in damage)) == (len(packed(b"first")), len(garbage))


def test_a_frame_inside_of_a_broken_one_is_not_taken_for_another() -> None:
    """Bodies may hold Zstandard frames, which are not the file's."""
    content = NOISE + stored(b"a body") + os.urandom(100)
    outer = bytearray(packed(content))
    assert MAGIC in outer[4:]
    outer[-1] ^= 0xFF
    found, damage = unpacked(bytes(outer) + packed(b"next"))
    assert found == content + b"next"
    assert damage == [Damage(0, len(outer), "a Zstandard frame that cannot be unpacked")]


def test_a_frame_that_wants_much_memory_is_refused() -> None:
    huge = MAGIC + bytes([0x00, (27 - 10) << 3]) + b"\x09\0\0x"
    found, (damage,) = unpacked(huge + packed(b"next"))
    assert found == b"next"
    assert damage.reason == "a Zstandard frame that needs 134217728 bytes of memory. Made with --long?"


def test_a_block_larger_than_any_is_not_waited_for() -> None:
    frame = MAGIC + b"\x00\x38" + (1 << 20 << 3 | 0b011).to_bytes(3, "little") + b"x"
    found, (damage,) = unpacked(frame + packed(b"next"))
    assert (found, damage.reason) == (b"next", "a Zstandard frame with an impossible block")


def test_of_a_long_frame_only_the_end_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "MAX_FRAME", 64 * 1024)
    file = BytesIO(packed(os.urandom(4 << 20)))
    tracemalloc.start()
    reader = Decompressing(file)
    size = sum(map(len, iter(lambda: reader.read(1 << 16) or b"", b"")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == 4 << 20
    assert peak < 1 << 20


def test_frames_that_claim_to_begin_everywhere_cost_a_multiple_of_the_file() -> None:
    """S5: each is a raw block of 128 KiB, in which the next ones begin, and it leads to nothing."""
    header = MAGIC + b"\x00\x38" + (128 * 1024 << 3).to_bytes(3, "little")
    reader = Decompressing(BytesIO(header * 100_000))
    size = sum(map(len, iter(lambda: reader.read(1 << 16) or b"", b"")))
    assert size < 10 * len(header) * 100_000 + 2 * compressed.MAX_FRAME


@given(st.binary(max_size=200), st.data())
def test_nothing_but_bytes_comes_out_of_hostile_bytes(noise: bytes, data: st.DataObject) -> None:
    """S5"""
    whole = packed(b"a" * 50) + MAGIC + noise + stored(b"b" * 20)
    at = data.draw(st.integers(0, len(whole)))
    found, damage = unpacked(whole[:at] + noise + whole[at:])
    assert isinstance(found, bytes)
    assert all(each.size > 0 for each in damage)


# Appending


def test_a_file_ends_with_its_last_whole_frame_wherever_it_is_torn() -> None:
    """S8"""
    one, two = packed(b"one"), packed(NOISE)
    assert end_of_last_frame(BytesIO(one + two)) == len(one + two)
    for size in range(len(two)):
        assert end_of_last_frame(BytesIO(one + two[:size])) == len(one)


def test_the_first_frame_may_be_torn() -> None:
    """S8"""
    for size in range(len(packed(NOISE))):
        assert end_of_last_frame(BytesIO(packed(NOISE)[:size])) == 0


def test_whole_frames_after_damage_are_never_cut_off() -> None:
    """S8"""
    one, broken, last = packed(b"one"), bytearray(stored(b"x" * 100)), packed(b"last")
    for place in range(9):
        damaged = bytearray(broken)
        damaged[place] ^= 0xFF
        data = one + damaged + last
        assert end_of_last_frame(BytesIO(data + packed(NOISE)[:500])) == len(data)


def test_a_frame_inside_of_a_torn_one_is_not_the_last() -> None:
    """S8"""
    torn = packed(NOISE + stored(b"a body") + os.urandom(100))[:-5]
    assert stored(b"a body") in torn
    assert end_of_last_frame(BytesIO(packed(b"one") + torn)) == len(packed(b"one"))


def test_what_is_not_compressed_is_not_appended_to() -> None:
    with pytest.raises(FlowFileError, match="it is not compressed with Zstandard"):
        end_of_last_frame(BytesIO(b"my precious notes"))


def test_more_than_a_frame_of_ours_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that somebody else has packed is one large frame."""
    monkeypatch.setattr(compressed, "MAX_FRAME", 500)
    with pytest.raises(FlowFileError, match="its last 900 bytes are damaged. Copy what can be read"):
        end_of_last_frame(BytesIO(packed(NOISE)[:900]))


@pytest.mark.parametrize(
    ("head", "is_ours"), [(MAGIC, True), (MAGIC[:2], True), (SKIPPABLE, True), (b"", False), (b"(\xb6", False)]
)
def test_a_file_is_recognised_by_its_first_bytes(head: bytes, is_ours: bool) -> None:
    assert recognise(head) is is_ours
