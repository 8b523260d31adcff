"""Files that were cut, changed, or made to do harm."""

from __future__ import annotations

import functools
import random
import tracemalloc
from collections.abc import Iterator
from io import BytesIO

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import flowfiles
from support.flowfiles import START, a_file, a_flow, a_tcp_flow, frames, live, read, values

from mitmdump.errors import FlowFileError
from mitmdump.flowfile import SectionWriter, frame
from mitmdump.flowfile.frame import Frames
from mitmdump.model.flow import Flow, Part


@functools.cache
def a_small_file() -> tuple[bytes, ...]:
    """One of each: the calls of the writer."""
    written: list[bytes] = []
    writer = SectionWriter(written.append, created=START, software="test")
    writer.add(a_flow(1))
    running = writer.start(live(a_flow(2)))
    running.data(Part.RESPONSE, b"hel")
    writer.add(a_flow(3, b""))
    running.data(Part.RESPONSE, b"lo")
    running.finish(b"")
    writer.add(a_tcp_flow(4, b"a", b""))
    writer.close()
    return tuple(written)


def finished(data: bytes) -> list[object]:
    """The flows that were delivered whole, as values; whatever is iterable in them was iterated."""
    found = read(data)
    flows = list(found)
    told = values(flows)
    return told[: len(told) - found.cut_off]


WHOLE = finished(b"".join(a_small_file()))


def test_any_prefix_of_a_file_gives_a_prefix_of_its_flows() -> None:
    """S1, S2"""
    data, finals, end = b"".join(a_small_file()), [], 0
    for call in a_small_file():
        end += len(call)
        if b"\xa4done\xc3" in call:
            finals.append(end)
    for size in range(len(data) + 1):
        assert finished(data[:size]) == WHOLE[: sum(final <= size for final in finals)], size


def test_a_cut_is_told_from_the_last_whole_frame_on() -> None:
    """S2: a file that ends between two frames is not damaged."""
    data = b"".join(a_small_file())
    ends = [0, *(found.offset + len(found.content) for found in Frames(BytesIO(data).read, lambda *_: None))]
    for size in range(len(data) + 1):
        found = read(data[:size])
        list(found)
        whole = max(end for end in ends if end <= size)
        wanted = [] if whole == size else [(whole, size - whole, "the file ends inside a frame")]
        assert [tuple(damage) for damage in found.damage] == wanted, size


@settings(max_examples=25, deadline=None)
@given(st.lists(flowfiles.flows, max_size=3, unique_by=lambda flow: flow.id), st.floats(0, 1))
def test_any_prefix_of_any_file_gives_a_prefix_of_its_flows(flows: list[Flow], part: float) -> None:
    """S1"""
    data = a_file(*flows)
    told = finished(data[: int(part * len(data))])
    assert told == finished(data)[: len(told)]


@pytest.mark.parametrize("flip", [*(1 << bit for bit in range(0, 8, 3)), 0xFF], ids=hex)
def test_a_flipped_bit_costs_at_most_the_flow_that_it_is_in(flip: int) -> None:
    """S5"""
    data = b"".join(a_small_file())
    for offset in range(len(data)):
        broken = bytearray(data)
        broken[offset] ^= flip
        found = read(bytes(broken))
        intact = [told for told in values(found) if told in WHOLE]
        assert len(intact) >= len(WHOLE) - 2, offset  # a lost connection is missing in the flows that name it
        assert len(found.damage) == 1, offset


@pytest.mark.parametrize("hole", [1, 7, 100])
def test_a_missing_stretch_raises_nothing(hole: int) -> None:
    """S5"""
    data = b"".join(a_small_file())
    for offset in range(0, len(data) - hole, 3):
        values(read(data[:offset] + data[offset + hole :]))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_the_documented_error(data: bytes) -> None:
    """S5"""
    for wrapped in (data, a_file() + data, a_file() + data + a_file(a_flow())):
        try:
            values(read(wrapped))
        except FlowFileError:
            assert wrapped is data


_anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 5), _anything)
def test_contents_of_any_shape_are_damage_of_that_frame_only(code: int, content: object) -> None:
    """S5: a right checksum around a wrong content."""
    one = frames(a_flow())
    found = read(one[0] + frame.encode(code, msgpack.packb(content)) + b"".join(one[1:]))
    assert 1 in [flow.id for flow in found]
    assert len(found.damage) <= 1


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_value_of_any_shape_anywhere_in_a_flow_is_damage_or_harmless(data: st.DataObject) -> None:
    """S5"""
    flow = msgpack.unpackb(a_small_file()[1].rpartition(b"\xc9")[2][9:])
    place = flow
    while isinstance(inner := place[name := data.draw(st.sampled_from(sorted(place)))], dict) and data.draw(
        st.booleans()
    ):
        place = inner
    place[name] = data.draw(_anything)
    values(read(a_file() + frame.encode(frame.FLOW, msgpack.packb(flow))))


@pytest.mark.parametrize(
    "bomb",
    [b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x81\xa2id\xd4\x05\x00", b"\xc7\x00\x07"],
)
@pytest.mark.parametrize("code", range(6))
def test_a_msgpack_bomb_is_damage(bomb: bytes, code: int) -> None:
    """S6"""
    found = read(a_file() + frame.encode(code, bomb) + a_file(a_flow()))
    assert len(list(found)) == 1
    assert [damage.size for damage in found.damage] == ([] if code == frame.END else [10 + len(bomb)])


@pytest.mark.parametrize("garbage", [b"\0", b"\xc9", b"garbage" * 50, b"\xc9\0\0\0\x20\2" * 9, bytes(range(256)) * 20])
@pytest.mark.parametrize("place", range(12))
def test_garbage_between_frames_costs_no_flow(garbage: bytes, place: int) -> None:
    """S5: before, between and after."""
    calls = list(a_small_file())
    place = min(place, len(calls))
    found = read(b"".join([*calls[:place], garbage, *calls[place:]]))
    assert values(found) == WHOLE
    assert [damage[:2] for damage in found.damage] == [(sum(map(len, calls[:place])), len(garbage))]


def lengths_that_lie() -> Iterator[bytes]:
    """Files in which a frame, or a value inside of one, claims to be much larger than the file is."""
    data = b"".join(a_small_file())
    for length in (2**20, frame.MAX_CONTENT, 2**31, 2**32 - 1):
        yield a_file() + frame.HEADER.pack(frame.MARK, length, frame.FLOW, 0) + data
        yield b"".join(frame.HEADER.pack(frame.MARK, length, frame.BODY, 0) for _ in range(2000)) + data
    for head in (b"\xdd", b"\xdf", b"\xc6", b"\xdb"):  # array, map, binary and string, with 32 bits of length
        for inner in (b"", b"\xa2id", b"\x01\x01"):
            for length in (2**24, 2**32 - 1):
                yield a_file() + frame.encode(frame.FLOW, inner + head + length.to_bytes(4, "big")) + data
    yield a_file() + frame.encode(frame.FLOW, b"\xdc\x02\0" * 5000) + data


def test_no_number_in_a_file_is_the_size_of_an_allocation() -> None:
    """S5, S6"""
    for data in lengths_that_lie():
        tracemalloc.start()
        assert finished(data)[-len(WHOLE) :] == WHOLE
        assert tracemalloc.get_traced_memory()[1] < 6_000_000 + 20 * len(data)
        tracemalloc.stop()


def test_damage_says_where_how_much_and_why() -> None:
    one = a_file(a_flow(1))
    found = read(one + b"garbage" + a_file(a_flow(2)))
    assert [flow.id for flow in found] == [1, 2]
    assert [tuple(damage) for damage in found.damage] == [(len(one), 7, "no frame begins here")]


def test_a_file_whose_beginning_is_missing_is_read_from_its_first_whole_frame() -> None:
    data = b"".join(a_small_file())
    found = read(data[10:])
    assert finished(data[10:]) == WHOLE
    assert len(list(found)) == len(WHOLE)
    assert found.damage[0].offset == 0


def test_noise_in_a_file_of_many_flows_leaves_the_others_alone() -> None:
    written = frames(*(a_flow(number) for number in range(200)))
    noise = random.Random(1)
    broken = set(range(0, 200, 10))
    for number in broken:
        call = bytearray(written[number + 1])
        call[noise.randrange(len(call) - 300, len(call))] ^= 0x40
        written[number + 1] = bytes(call)
    found = read(b"".join(written))
    assert {flow.id for flow in found} == set(range(200)) - broken
