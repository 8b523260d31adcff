"""Stages of a flow, and logic with three values.

A verdict is True, False, or None while it is not known yet. And, or and not follow Kleene: what an unknown part could
not change is known already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Flag, IntEnum, auto

from ..model.flow import Flow


class Stage(IntEnum):
    """How much of a flow is known. What a filter has decided at one stage holds at all later ones.

    Raw connections have only the first and the last: nothing is known between their start and their end.
    """

    REQUEST_HEAD = 0
    REQUEST = 1
    RESPONSE_HEAD = 2
    END = 3

    @property
    def moment(self) -> str:
        """The stage in words, to follow "decided"."""
        return _MOMENTS[self]


_MOMENTS = {
    Stage.REQUEST_HEAD: "at the request head",
    Stage.REQUEST: "once the request is complete",
    Stage.RESPONSE_HEAD: "at the response head",
    Stage.END: "at the end of the flow",
}


class Needs(Flag):
    """The bytes that a filter reads, so that its caller has to keep them until the verdict is known."""

    NOTHING = 0
    REQUEST_BODY = auto()
    RESPONSE_BODY = auto()
    MESSAGES = auto()


Verdict = bool | None
Test = Callable[[Flow, Stage], Verdict]


def negation(test: Test) -> Test:
    """True where `test` is False and the other way round; unknown stays unknown."""

    def negated(flow: Flow, stage: Stage) -> Verdict:
        verdict = test(flow, stage)
        return None if verdict is None else not verdict

    return negated


def all_of(tests: Sequence[Test]) -> Test:
    """False as soon as one test says so, in the given order; True once all do."""

    def conjunction(flow: Flow, stage: Stage) -> Verdict:
        result: Verdict = True
        for test in tests:
            verdict = test(flow, stage)
            if verdict is False:
                return False
            if verdict is None:
                result = None
        return result

    return conjunction


def any_of(tests: Sequence[Test]) -> Test:
    """True as soon as one test says so, in the given order; False once all do."""

    def disjunction(flow: Flow, stage: Stage) -> Verdict:
        result: Verdict = False
        for test in tests:
            verdict = test(flow, stage)
            if verdict is True:
                return True
            if verdict is None:
                result = None
        return result

    return disjunction
