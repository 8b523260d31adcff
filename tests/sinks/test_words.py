"""Words for people: what would harm a terminal does not reach it, and numbers are short."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.terminal import HARMFUL

from mitmdump.sinks.words import duration, harmless, size


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\r\nb\tc", r"a\r\nb\tc"),
        ("\x7f", r"\x7f"),
        ("\x9b2J", r"\u009b2J"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        ("\udc9b", r"\x9b"),
        ("\ud800", r"\ud800"),
        ("\U000e0041", r"\U000e0041"),
        ("Gr\u00fc\u00dfe, \u65e5\u672c \U0001f469\u200d\U0001f52c\u3000\u00a0", None),
        ("plain ~ \\x1b", None),
        ("", None),
    ],
)
def test_harmful_characters_become_escapes_and_others_stay(text, shown):
    """L1"""
    assert harmless(text) == (text if shown is None else shown)


@pytest.mark.parametrize("code", [ord(character) for character in HARMFUL])
def test_no_harmful_character_is_left(code):
    """L1"""
    shown = harmless(f"a{chr(code)}b")

    assert re.fullmatch(r"a\\[!-~]+b", shown)


@settings(max_examples=200)
@given(st.text(st.characters(), max_size=20))
def test_harmless_text_is_harmless_and_encodable_and_nothing_is_lost(text):
    """L1"""
    shown = harmless(text)

    assert not set(shown) & set(HARMFUL)
    assert harmless(shown) == shown
    assert shown.encode("utf-8").decode("utf-8") == shown
    assert len(shown) >= len(text)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0b"),
        (1023, "1023b"),
        (1024, "1k"),
        (1229, "1.2k"),
        (10 * 1024, "10k"),
        (1024 * 1024 - 1, "1M"),
        (1024 * 1024, "1M"),
        (3 * 1024**3 // 2, "1.5G"),
        (5 * 1024**4, "5T"),
        (2**64, "16777216T"),
    ],
)
def test_sizes_are_short(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.035, "35ms"),
        (0.9994, "999ms"),
        (0.9996, "1s"),
        (1.24, "1.2s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (125, "2m05s"),
        (3599.6, "1h00m"),
        (12000, "3h20m"),
        (-1.0, "0ms"),
        (float("nan"), "0ms"),
    ],
)
def test_durations_are_short(seconds, text):
    assert duration(seconds) == text


@given(st.floats())
def test_any_number_is_a_duration(seconds):
    """L3"""
    assert duration(seconds)
