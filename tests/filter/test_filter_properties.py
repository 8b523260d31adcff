"""What holds for every expression and every flow."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.filter_cases import TERMS, Case, cases
from support.filter_flows import flows

from mitmdump.errors import FilterError
from mitmdump.filter import Stage, parse
from mitmdump.filter.operators import OPERATORS
from mitmdump.model.flow import Flow


@given(cases, flows)
def test_at_the_end_a_filter_says_what_its_expression_says(case: Case, flow: Flow) -> None:
    assert parse(case.text).verdict(flow, Stage.END) is case.truth(flow)


@given(cases, flows)
def test_what_is_decided_stays_decided(case: Case, flow: Flow) -> None:
    filter_ = parse(case.text)
    verdicts = [filter_.verdict(flow, stage) for stage in Stage]
    decided = [verdict for verdict in verdicts if verdict is not None]
    assert len(set(decided)) == 1
    assert None not in verdicts[verdicts.index(decided[0]) :]


@given(st.lists(cases, min_size=2, max_size=4), st.sampled_from("&|"), flows, st.randoms())
def test_the_order_of_operands_does_not_matter(operands: list[Case], sign: str, flow: Flow, random) -> None:  # type: ignore[no-untyped-def]
    texts = [case.text for case in operands]
    shuffled = random.sample(texts, len(texts))
    one, other = parse(f" {sign} ".join(texts)), parse(f" {sign} ".join(shuffled))
    assert [one.verdict(flow, stage) for stage in Stage] == [other.verdict(flow, stage) for stage in Stage]


@pytest.mark.parametrize("case", TERMS, ids=lambda case: case.text)
@given(flow=flows)
@settings(max_examples=20)
def test_an_operator_is_decided_at_its_stage(case: Case, flow: Flow) -> None:
    (term,) = parse(case.text).expression.terms()
    has_messages = term.operator.code == "bq" and (flow.kind != "http" or "upgrade" in flow.request.headers)
    stage = Stage.END if has_messages else term.operator.stage
    assert parse(case.text).verdict(flow, stage) is not None


@given(cases)
def test_the_canonical_text_means_the_same(case: Case) -> None:
    filter_ = parse(case.text)
    assert parse(str(filter_)) == filter_
    assert str(parse(str(filter_))) == str(filter_)


_pieces = st.sampled_from(
    [
        *(f"~{code}" for code in OPERATORS),
        *"()!&|~\"'\\",
        " ",
        "  ",
        "404",
        ">1M",
        "a:b",
        "a=b",
        "10:30",
        "1.3",
        "[",
        "*",
        "and",
    ]
) | st.text(max_size=4)


@given(st.lists(_pieces, max_size=12).map("".join) | st.lists(_pieces, max_size=12).map(" ".join) | st.text())
@settings(max_examples=300)
def test_any_text_is_a_filter_or_an_error_that_points_into_it(text: str) -> None:
    try:
        filter_ = parse(text, now=1_764_000_000)
    except FilterError as error:
        place = error.position
    else:
        place = 0
        assert parse(str(filter_)) == filter_
    assert 0 <= place <= len(text)


@given(st.text(min_size=1))
def test_any_word_survives_quoting(word: str) -> None:
    filter_ = parse(f"~u {_quoted(word)}")
    assert str(filter_.expression.value) == re.escape(word)  # type: ignore[union-attr]
    assert parse(str(filter_)) == filter_


def _quoted(word: str) -> str:
    return "'" + re.escape(word).replace("\\", "\\\\").replace("'", "\\'") + "'"
