"""The spool: what goes in comes out, in memory and on disk, whatever the pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.model.body import PIECE
from mitmdump.model.flow import Part
from mitmdump.model.message import Message
from mitmdump.sinks import spool as module
from mitmdump.sinks.spool import Spool

parts = st.sampled_from(Part)
kinds = st.sampled_from(["raw", "text", "binary", "close", "ping", "pong"])
messages = st.builds(Message, st.booleans(), kinds, st.floats(0, 2e9), st.binary(max_size=50))
steps = st.lists(st.tuples(parts, st.binary(max_size=50)) | messages, max_size=30)


def fill(spool: Spool, steps: list) -> None:
    for step in steps:
        if isinstance(step, Message):
            spool.add_message(step)
        else:
            spool.add(*step)


def kept(spool: Spool, part: Part) -> bytes:
    return b"".join(spool.pieces(part))


@settings(max_examples=60)
@given(steps, steps, st.sampled_from([1, 100, module.IN_MEMORY]))
def test_what_goes_in_comes_out_in_its_order(first, second, in_memory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "IN_MEMORY", in_memory)
        spool = Spool()
    done = []
    for some in (first, second):  # reading in between disturbs nothing
        fill(spool, some)
        done += some
        for part in Part:
            data = b"".join(step[1] for step in done if not isinstance(step, Message) and step[0] is part)
            assert (kept(spool, part), len(spool.body(part)), spool.size(part)) == (data, len(data), len(data))
            assert b"".join(spool.body(part).pieces()) == data
        expected = [step for step in done if isinstance(step, Message)]
        assert list(spool.messages()) == list(spool.messages()) == expected
    spool.close()


def test_both_bodies_may_be_read_at_once():
    spool = Spool()
    fill(spool, [(Part.REQUEST, b"a"), (Part.RESPONSE, b"1"), (Part.REQUEST, b"b"), (Part.RESPONSE, b"2")])
    assert list(zip(spool.pieces(Part.REQUEST), spool.pieces(Part.RESPONSE), strict=True)) == [
        (b"a", b"1"),
        (b"b", b"2"),
    ]


def test_small_pieces_take_one_extent_and_come_out_large():
    """R3"""
    spool = Spool()
    for _ in range(3 * PIECE // 64):
        spool.add(Part.RESPONSE, bytes(64))
    assert len(spool._extents[Part.RESPONSE]) == 1
    assert [len(piece) for piece in spool.pieces(Part.RESPONSE)] == [PIECE] * 3


def test_much_goes_to_disk():
    """R1"""
    spool = Spool()
    for _ in range(2):
        spool.add(Part.RESPONSE, bytes(module.IN_MEMORY))
    assert spool._file._rolled
    assert spool.size(Part.RESPONSE) == 2 * module.IN_MEMORY


def test_empty_pieces_are_nothing():
    spool = Spool()
    fill(spool, [(Part.REQUEST, b""), (Part.RESPONSE, b"x"), (Part.REQUEST, b"")])
    assert (kept(spool, Part.REQUEST), kept(spool, Part.RESPONSE), list(spool.messages())) == (b"", b"x", [])
