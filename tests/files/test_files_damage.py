"""Damage in captures that come compressed, or through a pipe; of plain files it is told in flowfile/test_damage.py."""

from __future__ import annotations

from io import BufferedReader, BytesIO, RawIOBase
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from support.flowfiles import a_flow, a_tcp_flow, frames, live, value, values

from mitmdump.errors import FlowFileError
from mitmdump.files import open_flows
from mitmdump.flowfile import SectionWriter
from mitmdump.model.flow import Part


def calls() -> list[bytes]:
    """A small file with all kinds of frames, frame by frame."""
    written = frames(a_flow(1), a_tcp_flow(2, b"a", b"b"), closed=False)
    running = SectionWriter(written.append, created=0.0).start(live(a_flow(3)))
    running.data(Part.RESPONSE, b"hello")
    running.finish(b"")
    return written + frames(a_flow(4))


CALLS = calls()
PLAIN = b"".join(CALLS)
# As mitmdump itself does it: each Zstandard frame holds whole frames of ours.
PACKED = b"".join(zstandard.ZstdCompressor(write_checksum=True).compress(call) for call in CALLS)


class Pipe(RawIOBase):
    """Bytes that come a few at a time, once."""

    def __init__(self, data: bytes) -> None:
        self._data = BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._data.read(min(7, len(buffer)))
        buffer[: len(data)] = data
        return len(data)


def through_a_pipe(data: bytes) -> BufferedReader:
    return BufferedReader(Pipe(data))


def delivered(data: bytes, of: Any = BytesIO) -> tuple[list[Any], int]:
    """The flows as values, and how many places are damaged; nothing if it is refused."""
    try:
        flows = open_flows(of(data))
        found = [value(flow) for flow in flows]
    except FlowFileError:
        return [], 1
    return found, len(flows.damage)


WHOLE = values(open_flows(BytesIO(PLAIN)))


@pytest.mark.parametrize("data", [PLAIN, PACKED], ids=["plain", "compressed"])
def test_a_pipe_that_ends_anywhere_gives_what_a_file_gives(data: bytes) -> None:
    """S2"""
    for size in range(0, len(data) + 1, 3):
        assert delivered(data[:size], through_a_pipe) == delivered(data[:size]), size


def test_what_only_begins_like_a_flow_file_is_refused_also_from_a_pipe() -> None:
    with pytest.raises(FlowFileError, match="is not a flow file"):
        open_flows(through_a_pipe(b"\xc9" + bytes(200)))


def test_a_compressed_file_that_ends_anywhere_gives_a_prefix_of_its_flows() -> None:
    """S2"""
    most = 0
    for size in range(len(PACKED) + 1):
        found, damaged = delivered(PACKED[:size])
        whole = [flow for flow in found if flow in WHOLE]
        assert whole == WHOLE[: len(whole)], size
        assert most <= len(whole), size
        assert len(found) - len(whole) <= 1, size  # the one that was cut off
        most = len(whole)
    assert (most, damaged) == (len(WHOLE), 0)


@pytest.mark.parametrize("flip", [0x01, 0x40, 0xFF], ids=hex)
def test_a_wrong_byte_in_a_compressed_file_costs_at_most_the_frame_that_it_is_in(flip: int) -> None:
    """S5"""
    for offset in range(4, len(PACKED)):
        broken = bytearray(PACKED)
        broken[offset] ^= flip
        found, damaged = delivered(bytes(broken))
        assert len([flow for flow in found if flow in WHOLE]) >= len(WHOLE) - 2, offset
        assert damaged or found == WHOLE, offset  # some bits of a Zstandard header mean nothing


@settings(max_examples=100)
@given(st.binary(max_size=100), st.integers(0, len(PACKED)), st.booleans())
def test_any_bytes_in_any_capture_raise_nothing_but_the_documented_error(data: bytes, at: int, cut: bool) -> None:
    """S5"""
    for whole in (PLAIN, PACKED):
        delivered(whole[:at] + data + (b"" if cut else whole[at:]))
