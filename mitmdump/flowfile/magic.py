"""How a Zstandard file is told (RFC 8878 section 3.1), without the library, which few captures need."""

from __future__ import annotations

MAGIC = (0xFD2FB528).to_bytes(4, "little")


def recognise(head: bytes) -> bool:
    """Does a file that begins with these bytes (4 are enough) look like one of Zstandard frames?"""
    return bool(head) and (MAGIC.startswith(head[:4]) or is_skippable(head[:4]))


def is_skippable(magic: bytes) -> bool:
    """Does a frame of something else begin with these four bytes?"""
    return 0x184D2A50 <= int.from_bytes(magic, "little") <= 0x184D2A5F
