"""Texts, sizes and durations as people are to see them. Whatever is printed comes through here: also the log."""

from __future__ import annotations

from functools import cache


def harmless(text: str) -> str:
    r"""Text from the network, fit for a terminal: on one line, and every character that could do harm as an escape.

    Escapes are those of Python: `\x1b` for U+001B, `\u202e`, `\U000e0041`; and `\xff` for a byte that is not UTF-8.
    """
    # What Unicode calls printable has none of them; the question is answered at memory speed.
    return text if text.isprintable() else text.translate(_escapes())


def _escape(code: int) -> str:
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Whatever moves the cursor, ends a line, changes the terminal's state or the order of what is read.
_HARMFUL = (
    *range(0x20),  # C0
    *range(0x7F, 0xA0),  # DEL and C1
    *(0x061C, 0x200E, 0x200F),  # marks of direction
    *range(0x2028, 0x202F),  # line and paragraph separator; embedding and overriding a direction
    *range(0x2066, 0x2070),  # isolating a direction; deprecated format characters
    *range(0xD800, 0xE000),  # surrogates: bytes that are not UTF-8 (PEP 383), or not encodable
    *range(0xE0000, 0xE0080),  # tags: text that is not seen
)


@cache  # made when first needed, as it has two thousand entries
def _escapes() -> dict[int, str]:
    return {code: _escape(code) for code in _HARMFUL} | {ord("\t"): r"\t", ord("\n"): r"\n", ord("\r"): r"\r"}


def size(count: int) -> str:
    """A number of bytes in two or three digits: 812b, 1.2k, 35M; the units are powers of 1024."""
    if count < 1024:
        return f"{count}b"
    amount, power = count / 1024, 0
    while amount >= 999.5 and power < 3:
        amount, power = amount / 1024, power + 1
    return _digits(amount) + "kMGT"[power]


def duration(seconds: float) -> str:
    """A duration in its one or two leading units: 35ms, 1.2s, 2m05s, 3h20m. What a stepped clock made negative is 0."""
    seconds = max(0.0, seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 59.5:
        return _digits(seconds) + "s"
    minutes, rest = divmod(seconds + 0.5, 60)
    if minutes < 60:
        return f"{minutes:.0f}m{rest // 1:02.0f}s"
    return f"{minutes // 60:.0f}h{minutes % 60:02.0f}m"


def _digits(amount: float) -> str:
    return f"{amount:.1f}".removesuffix(".0") if amount < 9.95 else f"{amount:.0f}"
