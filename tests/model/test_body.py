"""Bodies: their length is known without their bytes, and their bytes come in bounded pieces."""

from collections.abc import Iterator
from hashlib import sha256

import pytest

from mitmdump.model.body import PIECE, Body


class OnDisk:
    """A source that is not in memory."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def pieces(self) -> Iterator[bytes]:
        yield from self.parts


def test_a_body_that_was_not_kept_has_a_length_and_no_bytes():
    body = Body(length=12345, complete=True)

    assert body.stored == 0
    assert body.read() is None
    assert list(body.pieces()) == []


def test_an_empty_body_that_was_kept_is_not_a_missing_one():
    body = Body(complete=True, source=b"")

    assert body.read() == b""
    assert list(body.pieces()) == []


@pytest.mark.parametrize("length", [1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_body_in_memory_comes_in_pieces_of_bounded_size(length):
    data = bytes(index % 251 for index in range(length))

    pieces = list(Body(length=length, source=data).pieces())

    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= PIECE


def test_a_body_elsewhere_is_read_through_its_source():
    body = Body(length=9, source=OnDisk(b"abc", b"def"))

    assert body.stored == 6
    assert list(body.pieces()) == [b"abc", b"def"]
    assert body.read() == b"abcdef"


@pytest.mark.parametrize(
    ("body", "digest"),
    [
        (Body(6, source=b"abcdef"), sha256(b"abcdef").digest()),
        (Body(6, source=OnDisk(b"abc", b"def")), sha256(b"abcdef").digest()),
        (Body(0, source=None), sha256(b"").digest()),
        (Body(7, source=b"abcdef"), None),
        (Body(7, source=None), None),
        (Body(7, digest=b"noted", source=b"abcdef"), b"noted"),
        (Body(6, digest=b"noted", source=b"abcdef"), b"noted"),
    ],
)
def test_the_digest_is_the_one_that_was_noted_or_that_of_all_bytes_if_they_were_kept(body, digest):
    assert body.sha256 == digest
