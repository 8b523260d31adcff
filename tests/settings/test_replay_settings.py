"""What the options of a replay say, and what of it is refused."""

from collections.abc import Callable

import pytest

from mitmdump.errors import SettingsError
from mitmdump.settings.replay import Place, parse_ignored, parse_place, parse_rate, parse_timing
from mitmdump.settings.texts import some_of


@pytest.mark.parametrize(
    ("text", "speed"), [("fast", None), ("original", 1.0), ("2x", 2.0), ("0.5x", 0.5), ("100x", 100.0)]
)
def test_timing_is_a_word_or_a_speed(text: str, speed: float | None):
    assert parse_timing(text) == speed


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", 10.0), ("10", 10.0), ("30/m", 0.5), ("7200/h", 2.0), ("0.5/s", 0.5)]
)
def test_a_rate_is_a_number_in_a_time(text: str, rate: float):
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("https://staging.test:8443", Place("https", "staging.test", 8443)),
        ("HTTP://a.test", Place("http", "a.test", 80)),
        ("https://a.test/", Place("https", "a.test", 443)),
        ("http://[::1]:81", Place("http", "::1", 81)),
    ],
)
def test_a_server_is_told_by_its_url(text: str, place: Place):
    assert parse_place(text) == place


def test_what_is_ignored_is_fields_and_paths():
    assert parse_ignored("header:date,json:$.a[0]") == (("header", "date"), ("json", "$.a[0]"))


def test_some_words_are_separated_by_commas():
    assert some_of("a", "b", "c")("c,a") == ("c", "a")


@pytest.mark.parametrize(
    ("parse", "texts"),
    [
        (parse_timing, ["", "2", "x", "0x", "-1x", "1e3x", "slow"]),
        (parse_rate, ["", "0", "0/s", "/s", "10/d", "-1/s", "many"]),
        (
            parse_place,
            ["", "a.test", "http://", "http://a.test/x", "http://a.test?x", "ftp://a.test", "http://u@a.test"],
        ),
        (parse_ignored, ["", "date", "header:", "json:id", "body:x", "header:a,,header:b"]),
        (some_of("a", "b"), ["", "c", "a,", "a;b"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(parse: Callable[[str], object], texts: list[str]):
    for text in texts:
        with pytest.raises(SettingsError):
            parse(text)
