"""Undoing permessage-deflate, the compression of WebSocket messages (RFC 7692), within bounds.

Each direction has a context of its own. A sender who takes it over from message to message refers in one to what was in
those before, so none may be left out here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ..model.body import PIECE

# A message that is larger than this and was at least so many times smaller on the wire is taken for a bomb. Text in
# JSON comes down to a tenth, seldom to a thirtieth; deflate can go to a thousandth. What is smaller does no harm,
# whatever it was made of.
BOMB_SIZE = 16 * 1024 * 1024
BOMB_RATIO = 100

# RFC 7692 section 7.2.1: a sender leaves out these last bytes of each message.
_TAIL = b"\x00\x00\xff\xff"
# A decoder with the largest window reads what was compressed with any.
_RAW_DEFLATE = -15


class Bomb(Exception):  # noqa: N818  # which is what it is
    """A message became too large for what it was made of."""


class Inflater:
    """Undoes the compression of what one peer sends, message by message."""

    __slots__ = ("_engine", "_inflated", "_received", "_takes_over", "lost")

    def __init__(self, *, takes_over: bool) -> None:
        self.lost = False  # is the context gone, so that nothing can be read any more?
        self._takes_over = takes_over
        self._engine = zlib.decompressobj(_RAW_DEFLATE)
        self._received = 0
        self._inflated = 0

    def begin(self) -> None:
        """A compressed message begins."""
        self._received = self._inflated = 0
        if not self._takes_over:
            self._engine = zlib.decompressobj(_RAW_DEFLATE)
            self.lost = False

    def inflate(self, data: bytes, *, is_last: bool) -> Iterator[bytes]:
        """The next piece of the message, in pieces of at most 64 KiB.

        Raises ValueError where it is not compressed, and Bomb.
        """
        self._received += len(data)
        if is_last:
            data += _TAIL
        try:
            while True:
                if self._engine.eof:  # RFC 7692 section 7.2.3.4: a sender may end the stream, and begin another
                    self._engine = zlib.decompressobj(_RAW_DEFLATE)
                piece = self._engine.decompress(data, PIECE)
                if piece:
                    self._count(len(piece))
                    yield piece
                data = self._engine.unused_data if self._engine.eof else self._engine.unconsumed_tail
                if not data and len(piece) < PIECE:
                    return
        except zlib.error as error:
            raise ValueError(str(error)) from None

    def _count(self, size: int) -> None:
        self._inflated += size
        if self._inflated > max(BOMB_SIZE, self._received * BOMB_RATIO):
            self.lost = True
            raise Bomb(f"a message of {self._received} bytes that is more than {BOMB_SIZE} when it is decompressed")
