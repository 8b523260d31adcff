"""The body of one HTTP message: what is known of it, and where the bytes that were kept are.

A body passes through the proxy in pieces and is kept only where somebody asked for it, so its length can be known
while its bytes are not. Lengths count the bytes of the message content (RFC 9110 section 6.4): after chunked framing is
removed, before a content coding is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

PIECE = 64 * 1024


class Source(Protocol):
    """Kept bytes that are not in memory: in a spool, or in a part of a flow file."""

    def __len__(self) -> int: ...
    def pieces(self) -> Iterator[bytes]:
        """The bytes in order, in pieces of some 64 KiB."""
        ...


@dataclass(init=False)
class Body:
    """One message body.

    `length`: bytes that passed; `complete`: the end was seen, so `length` is the whole; `digest`: SHA-256 of all that
    passed, taken where less is kept; `source`: the kept bytes, None if none were kept (an empty body keeps b"").
    """

    length: int
    complete: bool
    digest: bytes | None
    source: bytes | Source | None

    def __init__(
        self,
        length: int = 0,
        complete: bool = False,
        digest: bytes | None = None,
        source: bytes | Source | None = None,
    ) -> None:
        self.length = length
        self.complete = complete
        self.digest = digest
        self.source = source

    @property
    def stored(self) -> int:
        """How many bytes were kept."""
        return 0 if self.source is None else len(self.source)

    @property
    def sha256(self) -> bytes | None:
        """SHA-256 of all that passed: what was noted, or that of the kept bytes where these are all."""
        if self.digest is not None or self.stored != self.length:
            return self.digest
        from hashlib import sha256  # here, as it brings OpenSSL, and few ask

        digest = sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.digest()

    def pieces(self) -> Iterator[bytes]:
        """The kept bytes in order, some 64 KiB at a time, without holding more than one piece in memory."""
        source = self.source
        if source is None:
            return
        if not isinstance(source, bytes):
            yield from source.pieces()
            return
        for start in range(0, len(source), PIECE):
            yield source[start : start + PIECE]

    def read(self) -> bytes | None:
        """All kept bytes at once, None if none were kept."""
        source = self.source
        return source if source is None or isinstance(source, bytes) else b"".join(source.pieces())
