"""Sizes and durations as people type them."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.errors import SettingsError
from mitmdump.settings import Settings
from mitmdump.settings.texts import Mode, StopAfter, parse_duration, parse_mode, parse_size, parse_stop_after


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


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("1000", {"flows": 1000}),
        ("60s", {"seconds": 60.0}),
        ("1.5h", {"seconds": 5400.0}),
        ("5m", {"seconds": 300.0}),
        ("5M", {"bytes": 5 << 20}),
        ("5mb", {"bytes": 5 << 20}),
        ("64k", {"bytes": 65536}),
        ("1GB", {"bytes": 1 << 30}),
        ("100B", {"bytes": 100}),
    ],
)
def test_an_end_is_flows_time_or_size_by_its_unit(text, end):
    assert parse_stop_after(text) == StopAfter(text, **end)


@pytest.mark.parametrize("text", ["", "0", "0s", "0GB", "x", "-5", "5x", "1,5s", "9" * 400])
def test_other_ends_are_refused(text):
    with pytest.raises(SettingsError, match="is no end: give a duration"):
        parse_stop_after(text)


def test_a_plus_is_no_part_of_a_files_name():
    settings = Settings(write=("+a", "./+b", "-"), save=(("+c", "~all"),))
    assert settings.outputs == ("a", "./+b", "-", "c")


def test_settings_do_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().listen_port = 1


# -- modes -------------------------------------------------------------------------------------------------------------

LOOPBACK, ANY = ("127.0.0.1", "::1"), ("0.0.0.0", "::")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("regular", Mode("regular")),
        ("transparent", Mode("transparent")),
        ("transparent@8081", Mode("transparent", None, 8081)),
        ("transparent@0", Mode("transparent", None, 0)),
        ("regular@localhost:8081", Mode("regular", "localhost", 8081)),
        ("regular@[::1]:8081", Mode("regular", "::1", 8081)),
    ],
)
def test_a_mode_may_have_a_place_of_its_own(text, mode):
    assert parse_mode(text) == mode


@pytest.mark.parametrize(
    "text",
    ["", "@", "Regular", "reverse", "regular@", "regular@x", "regular@host", "regular@::1:80", "regular@1:70000"],
)
def test_other_modes_and_places_are_refused(text):
    with pytest.raises(SettingsError):
        parse_mode(text)


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        (Settings(), [(LOOPBACK, 8080)]),
        (Settings(transparent=True), [(ANY, 8080)]),
        (Settings(transparent=True, listen_hosts=("10.0.0.1",), listen_port=1), [(("10.0.0.1",), 1)]),
        (
            Settings(mode=(Mode("regular"), Mode("transparent", None, 8081))),
            [(LOOPBACK, 8080), (ANY, 8081)],
        ),
        (Settings(mode=(Mode("regular", "::1", 0),), transparent=True), [(("::1",), 0), (ANY, 8080)]),
        (Settings(mode=(Mode("regular"), Mode("transparent")), listen_port=0), [(LOOPBACK, 0), (ANY, 0)]),
    ],
)
def test_who_knows_of_the_proxy_comes_over_loopback_and_who_is_redirected_over_any_address(settings, places):
    assert [settings.place_of(mode) for mode in settings.modes] == places


def test_two_modes_do_not_share_a_port():
    for modes in ((Mode("regular"), Mode("transparent")), (Mode("regular", None, 1), Mode("transparent", None, 1))):
        with pytest.raises(SettingsError, match="two modes cannot listen on one port"):
            Settings(mode=modes)
