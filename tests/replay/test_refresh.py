"""Dates of a recorded response move with the time."""

import pytest

from mitmdump.model.headers import Headers
from mitmdump.replay.refresh import refreshed

DAY = 86400.0
THEN, NEXT_DAY = "Wed, 21 Oct 2015 07:28:00 GMT", "Thu, 22 Oct 2015 07:28:00 GMT"


def moved(name, value, passed=DAY, at_start=DAY):
    return refreshed(Headers([(name.encode(), value.encode())]), passed, at_start)[name]


@pytest.mark.parametrize("name", ["Date", "expires", "Last-Modified"])
def test_a_date_moves_by_the_time_that_has_passed(name):
    assert moved(name, THEN) == NEXT_DAY


@pytest.mark.parametrize("old", ["Wednesday, 21-Oct-15 07:28:00 GMT", "Wed Oct 21 07:28:00 2015"])
def test_obsolete_forms_of_a_date_are_understood(old):
    """RFC 9110 section 5.6.7"""
    assert moved("Date", old) == NEXT_DAY


def test_a_validator_stays_the_same_for_a_whole_run():
    assert moved("Last-Modified", THEN, passed=2 * DAY) == NEXT_DAY


def test_the_expiry_of_a_cookie_moves_and_nothing_else_of_it():
    cookie = "a=expires=1; Path=/; Expires=Wed, 21-Oct-2015 07:28:00 GMT; Max-Age=5; HttpOnly"

    assert moved("Set-Cookie", cookie) == f"a=expires=1; Path=/; Expires={NEXT_DAY}; Max-Age=5; HttpOnly"


@pytest.mark.parametrize(
    "value", ["0", "-1", "", "Wed, 99 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "é"]
)
def test_what_is_no_date_or_has_no_next_day_stays(value):
    assert moved("Expires", value) == value


def test_nothing_is_moved_back():
    assert moved("Date", THEN, passed=-DAY) == THEN


def test_other_fields_stay_in_their_order():
    fields = [(b"Server", b"x"), (b"DATE", THEN.encode()), (b"Age", b"1"), (b"Retry-After", THEN.encode())]

    names = [name for name, _ in refreshed(Headers(fields), DAY, DAY).fields]

    assert names == [b"Server", b"DATE", b"Age", b"Retry-After"]
    assert refreshed(Headers(fields), DAY, DAY)["retry-after"] == THEN
