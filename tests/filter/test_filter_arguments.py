from __future__ import annotations

from datetime import datetime

import pytest

from mitmdump.filter import arguments
from mitmdump.filter.arguments import Argument, Context
from mitmdump.filter.words import ArgumentError

NOON = datetime(2026, 11, 23, 12, 0, 0).timestamp()  # local time, as users type it
CONTEXT = Context(case_sensitive=False, now=NOON, warn=lambda _: None)


@pytest.mark.parametrize(
    ("argument", "text", "inside", "outside"),
    [
        (arguments.STATUS, "404", [404], [403, 405]),
        (arguments.STATUS, "4XX", [400, 499], [399, 500]),
        (arguments.STATUS, "200-299", [200, 299], [199, 300]),
        (arguments.STATUS, ">=400", [400, 500], [399]),
        (arguments.STATUS, "<=400", [400, 200], [401]),
        (arguments.STATUS, "<400", [399], [400]),
        (arguments.PORT, "443", [443], [80]),
        (arguments.PORT, "8000-8999", [8000, 8999], [7999, 9000]),
        (arguments.SIZE, ">1K", [1025], [1024]),
        (arguments.SIZE, "=1.5m", [1572864], [1572865]),
        (arguments.SIZE, "0", [0], [1]),
        (arguments.DURATION, ">500ms", [0.6], [0.5]),
        (arguments.DURATION, "1m-1h", [60, 3600], [59, 3601]),
        (arguments.DURATION, "<2", [1.9], [2]),
    ],
)
def test_a_number_is_compared_with_a_number_a_class_or_a_range(
    argument: Argument, text: str, inside: list[float], outside: list[float]
) -> None:
    matches = argument.read(text, CONTEXT).matches
    assert all(map(matches, inside))
    assert not any(map(matches, outside))


def test_an_address_matches_its_network_also_when_mapped_into_ipv6() -> None:
    matches = arguments.NETWORK.read("10.0.0.0/8", CONTEXT).matches
    assert all(map(matches, ["10.1.2.3", "::ffff:10.1.2.3"]))
    assert not any(map(matches, ["11.0.0.1", "::1", "not an address", ""]))
    assert arguments.NETWORK.read("2001:db8::/32", CONTEXT).matches("2001:db8::1")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("10:30", "2026-11-23T10:30:00"),
        ("9:05:07", "2026-11-23T09:05:07"),
        ("2026-11-22", "2026-11-22T00:00:00"),
        ("2026-11-22T10:30", "2026-11-22T10:30:00"),
        ("2026-11-22T10:30:00z", "2026-11-22T10:30:00+00:00"),
    ],
)
def test_a_time_is_today_unless_a_date_says_otherwise_and_local_unless_a_zone_does(text: str, canonical: str) -> None:
    instant = arguments.TIME.read(text, CONTEXT)
    assert str(instant) == canonical
    assert instant.timestamp == datetime.fromisoformat(canonical).timestamp()


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("a=x", "x", True),
        ("a=1", 1, True),
        ("a=1", 1.0, True),
        ("a=1", "1", True),
        ("a=1", True, False),
        ("a=true", True, True),
        ("a=null", None, True),
        ("a=[1, 2]", [1, 2], True),
        ("a=x", None, False),
        ("a~^x", "xy", True),
        ("a~^x", "yx", False),
        ("a~^4", 42, True),
        ("a~tru", True, True),
    ],
)
def test_a_json_value_equals_as_text_or_as_json_or_matches(text: str, value: object, expected: bool) -> None:
    assert arguments.JSON_TEST.read(text, CONTEXT).matches(value) is expected


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a=1", ("a",)),
        ("a.b.0=1", ("a", "b", "0")),
        ("/a/b=1", ("a", "b")),
        ("/a~1b/c~0d=1", ("a/b", "c~d")),
        ("/a.b~x", ("a.b",)),
    ],
)
def test_a_path_is_dotted_or_a_json_pointer(text: str, path: tuple[str, ...]) -> None:
    assert arguments.JSON_TEST.read(text, CONTEXT).path == path


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        (arguments.STATUS, "2.."),
        (arguments.STATUS, "20"),
        (arguments.STATUS, ">4xx"),
        (arguments.STATUS, "299-200"),
        (arguments.STATUS, "-200"),
        (arguments.STATUS, "200-"),
        (arguments.STATUS, ">"),
        (arguments.STATUS, ""),
        (arguments.PORT, "0"),
        (arguments.PORT, "65536"),
        (arguments.SIZE, "1T"),
        (arguments.SIZE, ">-1"),
        (arguments.SIZE, ">nan"),
        (arguments.DURATION, "1d"),
        (arguments.HTTP_VERSION, "1"),
        (arguments.TLS_VERSION, "1.4"),
        (arguments.NETWORK, "10.0.0.0/33"),
        (arguments.NETWORK, "localhost"),
        (arguments.TIME, "25:00"),
        (arguments.TIME, "10"),
        (arguments.TIME, "2026-02-30"),
        (arguments.TIME, "tomorrow"),
        (arguments.JSON_TEST, "a"),
        (arguments.JSON_TEST, "=1"),
        (arguments.HEADER_REGEX, "host"),
        (arguments.HEADER_REGEX, ":x"),
    ],
)
def test_what_an_argument_cannot_be_is_refused_with_a_reason(argument: Argument, text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        argument.read(text, CONTEXT)
    assert caught.value.reason


@pytest.mark.parametrize(
    ("argument", "text", "offset"),
    [
        (arguments.REGEX, "a(b", 1),
        (arguments.BODY_REGEX, "\u00e4\u00f6(", 2),
        (arguments.HEADER_REGEX, "host:[", 5),
        (arguments.JSON_TEST, "a.b~x(", 5),
    ],
)
def test_a_bad_regular_expression_is_refused_at_the_character(argument: Argument, text: str, offset: int) -> None:
    with pytest.raises(ArgumentError) as caught:
        argument.read(text, CONTEXT)
    assert caught.value.offset == offset


def test_without_knowing_the_time_a_time_of_day_is_refused() -> None:
    with pytest.raises(ArgumentError, match="date"):
        arguments.TIME.read("10:30", Context(case_sensitive=False, now=None, warn=lambda _: None))


def test_values_are_equal_where_their_canonical_texts_are() -> None:
    assert arguments.STATUS.read("4XX", CONTEXT) == arguments.STATUS.read("4xx", CONTEXT)
    assert arguments.REGEX.read("a", CONTEXT) != arguments.REGEX.read("A", CONTEXT)
