"""Sizes and durations as people type them."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.errors import SettingsError
from mitmdump.settings import Settings, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("123", 123),
        ("64k", 65536),
        ("64K", 65536),
        ("64KB", 65536),
        ("64kib", 65536),
        ("1.5M", 1572864),
        ("2G", 2 << 30),
        ("2 g", 2 << 30),
        ("10B", 10),
        ("0.5k", 512),
    ],
)
def test_a_size_is_a_number_with_a_unit(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("5", 5), ("1.5", 1.5), ("500ms", 0.5), ("5s", 5), ("2m", 120), ("2 h", 7200), ("0.5h", 1800)],
)
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


NO_NUMBERS = [
    "",
    " ",
    "k",
    "-1",
    "+1",
    "1_0",
    "0x10",
    "1e3",
    "1,5",
    ".5",
    "5.",
    "1.2.3",
    "1x",
    "1 2",
    "nan",
    "inf",
    "\u0661",
    "1k\n",
    "1s\n",
    "9" * 400,
    "9" * 5000,
]


@pytest.mark.parametrize("parse", [parse_size, parse_duration])
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_nothing_else_is_one(parse, text):
    with pytest.raises(SettingsError, match="give a number"):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "text"), [(parse_size, "5s"), (parse_size, "5m5"), (parse_duration, "5k"), (parse_duration, "5M")]
)
def test_units_are_not_mixed_up(parse, text):
    with pytest.raises(SettingsError):
        parse(text)


@given(st.text(max_size=10))
def test_any_text_is_a_number_or_refused(text):
    for parse in (parse_size, parse_duration):
        try:
            assert parse(text) >= 0
        except SettingsError:
            continue


@given(st.integers(0, 10**15 - 1))
def test_a_plain_number_is_itself(number):
    assert parse_size(str(number)) == number


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().listen_port = 1
