from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.filter_flows import a_request, an_exchange

from mitmdump.filter import Needs, Stage, parse


def test_filters_are_equal_where_they_mean_the_same_text() -> None:
    assert parse("foo  ~c 4XX") == parse("(~u 'foo' & ~c 4xx)")
    assert hash(parse("foo")) == hash(parse("~u foo"))
    assert parse("foo") != parse("bar")
    assert parse("foo") != parse("foo", case_sensitive=True)


def test_a_filter_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        parse("foo").case_sensitive = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("~d a & ~c 500 | !~size >1", Needs.NOTHING),
        ("~jq a=1", Needs.REQUEST_BODY),
        ("!(~js a=1 & ~q)", Needs.RESPONSE_BODY),
        ("~bq x", Needs.REQUEST_BODY | Needs.MESSAGES),
        ("~jq a=1 | ~js a=1", Needs.REQUEST_BODY | Needs.RESPONSE_BODY),
        ("~b x", Needs.REQUEST_BODY | Needs.RESPONSE_BODY | Needs.MESSAGES),
    ],
)
def test_a_filter_says_which_bytes_it_reads(text: str, needs: Needs) -> None:
    assert parse(text).needs == needs


class Unreadable:
    """A body that nobody may look into."""

    def __len__(self) -> int:
        return 1

    def pieces(self) -> Iterator[bytes]:
        raise AssertionError


@pytest.mark.parametrize(
    "text", ["~b x & ~m POST", "(~b x | ~bq y) & ~m POST", "~b x | !~m POST", "!(~b x & ~b y) | ~m GET"]
)
def test_operands_are_asked_in_the_order_of_their_cost_whatever_the_order_of_the_text(text: str) -> None:
    flow = an_exchange(a_request("GET"))
    flow.request.body.source = Unreadable()  # type: ignore[union-attr]
    filter_ = parse(text)
    assert filter_.verdict(flow, Stage.END) in (True, False)
    assert text in (str(filter_), str(filter_)[1:-1])


def test_the_explanation_shows_the_reading_and_when_each_operator_is_decided() -> None:
    lines = parse("~m POST !~c 404 ~m POST").explain().splitlines()
    assert lines[:2] == ["(~m POST & !~c 404 & ~m POST)", ""]
    assert lines[2].startswith("~m POST  ")
    assert lines[2].endswith("decided at the request head")
    assert lines[3].startswith("~c 404   ")
    assert lines[3].endswith("decided at the response head")
    assert len(lines) == 4


def test_regular_expressions_ignore_case_unless_told_otherwise() -> None:
    flow = an_exchange(a_request(path="/Needle"))
    assert parse("needle").verdict(flow, Stage.END) is True
    assert parse("needle", case_sensitive=True).verdict(flow, Stage.END) is False
