"""WebSocket frames taken apart, those of wsproto and those that no library makes."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.websockets import BINARY, CONTINUATION, PING, TEXT, frame
from wsproto.frame_protocol import FrameProtocol

from mitmdump.wire.frames import FrameError, FrameReader, Piece

peers = pytest.mark.parametrize("is_masked", [True, False], ids=["client", "server"])


def pieces(reader: FrameReader, data: bytes) -> list[Piece]:
    """What comes of these bytes."""
    reader.receive(data)
    found = []
    while (piece := reader.read()) is not None:
        found.append(piece)
    return found


@peers
@given(
    sizes=st.lists(st.integers(0, 300) | st.integers(65_530, 65_540), max_size=3),
    cuts=st.lists(st.integers(1, 400), max_size=6),
)
@settings(max_examples=40)
def test_frames_of_wsproto_are_read_however_they_are_cut(is_masked: bool, sizes: list[int], cuts: list[int]) -> None:
    contents = [(bytes(range(251)) * 262)[:size] for size in sizes]
    writer, reader = FrameProtocol(is_masked, []), FrameReader(is_masked=is_masked, takes_compressed=False)
    data = b"".join(bytes(writer.send_data(content, fin=True)) for content in contents)
    found: list[Piece] = []
    for cut in cuts:
        found += pieces(reader, data[:cut])
        data = data[cut:]
    found += pieces(reader, data)
    assert reader.unread == 0
    assert all(piece.opcode == BINARY and piece.ends_message for piece in found)
    ends = [place for place, piece in enumerate(found, 1) if piece.ends_frame]
    assert len(ends) == len(contents)
    starts = [0, *ends]
    read = [b"".join(piece.data for piece in found[start:end]) for start, end in zip(starts, ends, strict=False)]
    assert read == contents


@peers
def test_a_data_frame_is_handed_out_as_it_comes_and_a_control_frame_when_it_is_complete(is_masked: bool) -> None:
    reader = FrameReader(is_masked=is_masked, takes_compressed=False)
    data, ping = frame(TEXT, b"Hello", masked=is_masked, fin=False), frame(PING, b"Hello", masked=is_masked)
    assert pieces(reader, data[:-2]) == [Piece(TEXT, False, b"Hel", False, False)]
    assert pieces(reader, data[-2:] + ping[:-2]) == [Piece(TEXT, False, b"lo", True, False)]
    assert pieces(reader, ping[-2:]) == [Piece(PING, False, b"Hello", True, True)]


@peers
def test_an_empty_frame_is_a_piece(is_masked: bool) -> None:
    reader = FrameReader(is_masked=is_masked, takes_compressed=False)
    expected = [Piece(CONTINUATION, False, b"", True, True)]
    assert pieces(reader, frame(CONTINUATION, masked=is_masked)) == expected


@peers
def test_nothing_of_a_large_frame_is_kept(is_masked: bool) -> None:
    reader = FrameReader(is_masked=is_masked, takes_compressed=False)
    for at in range(0, 1 << 20, 1 << 16):
        data = frame(BINARY, bytes(1 << 20), masked=False)[at : at + (1 << 16)]
        assert pieces(reader, data if at or not is_masked else data[:1] + b"\xff" + data[2:])
        assert reader.unread == 0


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_only_where_it_was_agreed_on_a_frame_may_be_compressed(opcode: int) -> None:
    data = frame(opcode, b"x", masked=False, bits=4)
    [piece] = pieces(FrameReader(is_masked=False, takes_compressed=True), data)
    assert piece.is_compressed
    with pytest.raises(FrameError, match="reserved bit"):
        pieces(FrameReader(is_masked=False, takes_compressed=False), data)


@pytest.mark.parametrize("size", [125, 65535])
def test_a_length_is_said_in_as_few_bytes_as_it_needs(size: int) -> None:
    """RFC 6455 section 5.2"""
    count, code = (2, 126) if size == 125 else (8, 127)
    least = pieces(
        FrameReader(is_masked=False, takes_compressed=False), bytes([0x82, code]) + (size + 1).to_bytes(count) + b"x"
    )
    assert [piece.data for piece in least] == [b"x"]
    with pytest.raises(FrameError, match=f"a length of {size} in {count} bytes"):
        pieces(FrameReader(is_masked=False, takes_compressed=False), bytes([0x82, code]) + size.to_bytes(count))


@peers
@given(data=st.binary(max_size=200))
@settings(max_examples=60)
def test_of_any_bytes_come_pieces_or_a_frame_error(is_masked: bool, data: bytes) -> None:
    reader = FrameReader(is_masked=is_masked, takes_compressed=True)
    with suppress(FrameError):
        assert sum(len(piece.data) for piece in pieces(reader, data)) <= len(data)
