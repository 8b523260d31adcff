from __future__ import annotations

from io import BytesIO
from zlib import crc32

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.errors import OutputError
from mitmdump.flowfile import frame
from mitmdump.flowfile.frame import Frames, encode, encode_apart

MAP = msgpack.packb({"id": 1})
Damages = list[tuple[int, int, str]]


def parse(data: bytes, piece: int = 1 << 20) -> tuple[list[tuple[int, bytes]], Damages]:
    damages: Damages = []
    file = BytesIO(data)
    frames = Frames(lambda size: file.read(min(size, piece)), lambda *damage: damages.append(damage))
    return [(found.code, found.content) for found in frames], damages


def test_a_frame_is_a_msgpack_ext_32_that_any_library_reads() -> None:
    code, data = msgpack.unpackb(encode(frame.FLOW, MAP))
    assert (code, data[4:]) == (frame.FLOW, MAP)


def test_a_frame_in_parts_is_the_same_frame() -> None:
    data = bytes(1000)
    front, rest = encode_apart(frame.BODY, b"front", data)
    assert front + rest == encode(frame.BODY, b"front" + data)
    assert rest is data


def test_a_short_content_still_takes_the_long_form() -> None:
    assert encode(frame.END, b"\x80")[:6] == b"\xc9\x00\x00\x00\x05\x05"


@given(st.lists(st.tuples(st.integers(-128, 127), st.binary(max_size=30))), st.integers(1, 50))
def test_frames_come_back_however_the_bytes_arrive(wanted: list[tuple[int, bytes]], piece: int) -> None:
    data = b"".join(encode(code, content) for code, content in wanted)
    assert parse(data, piece) == (wanted, [])


def test_a_content_that_no_reader_would_take_is_not_written() -> None:
    with pytest.raises(OutputError, match="metadata"):
        encode(frame.FLOW, bytes(frame.MAX_CONTENT + 1))


@pytest.mark.parametrize("garbage", [b"x", b"\xc9", bytes(100), b"\xc9" * 100, b"\xc9\xff\xff\xff\xff\x02" + bytes(20)])
def test_garbage_between_frames_is_skipped_and_reported_as_one_stretch(garbage: bytes) -> None:
    one = encode(frame.FLOW, MAP)
    found, damages = parse(one + garbage + one)
    assert found == [(frame.FLOW, MAP)] * 2
    assert [damage[:2] for damage in damages] == [(len(one), len(garbage))]


@pytest.mark.parametrize("length", [0, 3, frame.MAX_CONTENT + 5])
def test_a_frame_of_impossible_length_is_none_whatever_its_checksum(length: int) -> None:
    content = bytes(max(0, length - 4))
    crc = crc32(bytes([frame.FLOW]) + content)
    found, damages = parse(frame.HEADER.pack(frame.MARK, length, frame.FLOW, crc) + content)
    assert (found, [reason for *_, reason in damages]) == ([], ["a frame of impossible length"])


def test_a_wrong_checksum_costs_that_frame_only() -> None:
    one = encode(frame.FLOW, MAP)
    broken = one[:-1] + b"\xff"
    found, damages = parse(one + broken + one)
    assert found == [(frame.FLOW, MAP)] * 2
    assert damages == [(len(one), len(one), "a frame with a wrong checksum")]


def test_frames_inside_a_damaged_content_are_not_taken_for_frames_of_the_file() -> None:
    inner = encode(frame.FLOW, msgpack.packb({"id": 99}))
    outer = bytearray(encode(frame.BODY, msgpack.packb([1, 1, inner])))
    outer[12] ^= 1
    one = encode(frame.FLOW, MAP)
    assert parse(bytes(outer) + one)[0] == [(frame.FLOW, MAP)]


@pytest.mark.parametrize("size", range(1, 11 + len(MAP)))
def test_a_torn_frame_at_the_end_is_reported(size: int) -> None:
    one = encode(frame.FLOW, MAP)
    found, damages = parse(one + one[:size])
    assert found == [(frame.FLOW, MAP)] * (1 + size // len(one))
    assert damages == ([] if size == len(one) else [(len(one), size, "the file ends inside a frame")])


def test_a_frame_of_unknown_type_is_whole_too_but_not_searched_for() -> None:
    unknown = encode(77, b"\xc0")
    assert parse(unknown) == ([(77, b"\xc0")], [])
    assert parse(b"?" + unknown)[0] == []


def test_a_length_is_no_reason_to_allocate_anything() -> None:
    """S6"""
    asked = []

    def read(size: int) -> bytes:
        asked.append(size)
        return b"\xc9\x03\xff\xff\xff\x02\0\0\0\0" if len(asked) == 1 else b""

    assert list(Frames(read, lambda *damage: None)) == []
    assert max(asked) <= 256 * 1024


def test_checksums_in_vain_have_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """S5: every sixth byte claims to begin a large frame."""
    data = b"\xc9\x00\x00\xff\x00\x02\x00\x00\x00\x00\x80" * 12_000
    monkeypatch.setattr(frame, "_VAIN", 1 << 20)
    monkeypatch.setattr(frame, "_VAIN_PER_BYTE", 4)
    summed = []
    monkeypatch.setattr(frame, "crc32", lambda content, seed: summed.append(len(content)) or 0)
    parse(data)
    assert sum(summed) < (1 << 20) + 5 * len(data)
