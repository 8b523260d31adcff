from __future__ import annotations

import pytest
from support.filter_flows import an_exchange

from mitmdump.filter.stages import Stage, Test, Verdict, all_of, any_of, negation


def always(verdict: Verdict) -> Test:
    return lambda _flow, _stage: verdict


def decide(test: Test) -> Verdict:
    return test(an_exchange(), Stage.END)


@pytest.mark.parametrize(
    ("one", "other", "conjunction", "disjunction"),
    [
        (True, True, True, True),
        (True, False, False, True),
        (True, None, None, True),
        (False, False, False, False),
        (False, None, False, None),
        (None, None, None, None),
    ],
)
def test_and_and_or_follow_kleene_in_either_order(
    one: Verdict, other: Verdict, conjunction: Verdict, disjunction: Verdict
) -> None:
    for pair in ((one, other), (other, one)):
        tests = [always(verdict) for verdict in pair]
        assert decide(all_of(tests)) is conjunction
        assert decide(any_of(tests)) is disjunction


@pytest.mark.parametrize(("verdict", "opposite"), [(True, False), (False, True), (None, None)])
def test_the_opposite_of_unknown_is_unknown(verdict: Verdict, opposite: Verdict) -> None:
    assert decide(negation(always(verdict))) is opposite


def test_what_is_decided_is_not_looked_at_further() -> None:
    def never(*_: object) -> Verdict:
        raise AssertionError

    assert decide(all_of([always(False), never])) is False
    assert decide(any_of([always(True), never])) is True


def test_stages_are_in_the_order_of_time_and_have_words() -> None:
    assert sorted(Stage) == [Stage.REQUEST_HEAD, Stage.REQUEST, Stage.RESPONSE_HEAD, Stage.END]
    assert len({stage.moment for stage in Stage}) == 4
