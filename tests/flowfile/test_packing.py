from __future__ import annotations

import datetime
import tracemalloc
from collections.abc import Iterator
from typing import Any

import msgpack
import pytest

from mitmdump.flowfile.packing import header_of_bytes, make_packer, plain, unpack

pack = make_packer()


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536])
def test_the_header_of_bytes_is_as_if_they_were_packed(size: int) -> None:
    assert header_of_bytes(size) + bytes(size) == pack(bytes(size))


@pytest.fixture
def peak() -> Iterator[Any]:
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\xdd\x00\x10\x00\x00" * 5000,
        b"\xdc\x0f\xff" * 1000,
        b"\xdd\x00\x00\x17\x70" * 1200,
        b"\xdc\xff\xff" * 1000 + bytes(70_000),
        b"\x91" * 100_000,
        b"\x81\xa1a" * 100_000,
        b"\xd4\x05\x00",
        b"\xc7\x00\x01",
        b"\xc1",
        b"",
        b"\xc0\xc0",
        b"\x81\x90\xc0",
        b"\x81\x01\xc0",
    ],
)
def test_bombs_are_refused_before_anything_is_allocated(bomb: bytes, peak: Any) -> None:
    """S6"""
    with pytest.raises(ValueError):  # noqa: PT011  # any of msgpack's kinds of it
        unpack(bomb)
    assert peak() < 64 * 1024 * 1024 + 30 * len(bomb)


def test_a_long_array_is_read_if_all_of_it_is_there() -> None:
    assert unpack(msgpack.packb(list(range(100_000)))) == tuple(range(100_000))


@pytest.mark.parametrize("text", ["\ud800", "a\udfffz", "\U0001f600"])
def test_strings_that_are_not_well_formed_come_back(text: str) -> None:
    assert unpack(pack({text: text})) == {text: text}


def test_the_packer_is_usable_after_a_value_that_needed_care() -> None:
    assert (unpack(pack("\ud800")), unpack(pack(1))) == ("\ud800", 1)


def test_metadata_that_is_not_like_json_becomes_text() -> None:
    day = datetime.date(2026, 11, 23)
    assert plain({1: day, "t": (1, b"x"), "big": 2**64}) == {"1": str(day), "t": [1, b"x"], "big": str(2**64)}


def test_metadata_without_end_is_cut_at_a_depth() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert b"nested too deeply" in pack(plain(endless))
