"""Parsed expressions, and the filter that one becomes.

The tree is what was written, and gives the canonical text. For evaluation it is turned, once, into nested functions, in
which the operands of `&` and `|` are ordered by when and at what cost they answer. The result does not depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from itertools import chain
from operator import or_
from typing import Literal, NamedTuple

from ..model.flow import Flow
from .clues import Clue, Clues, Pattern, of_either
from .operators import Operator
from .stages import Needs, Stage, Test, Verdict, all_of, any_of, negation
from .words import quote


class Term(NamedTuple):
    """An operator with the value of its argument."""

    operator: Operator
    value: object = None

    def __str__(self) -> str:
        return f"~{self.operator.code}" if self.value is None else f"~{self.operator.code} {quote(str(self.value))}"

    def terms(self) -> Iterator[Term]:
        yield self

    def rank(self) -> tuple[int, int]:
        return self.operator.stage, self.operator.cost

    def test(self) -> Test:
        return self.operator.build(self.value)

    def clues(self) -> Clues:
        return self.operator.clues(self.value)


class Not(NamedTuple):
    """The opposite of an expression."""

    operand: Node

    def __str__(self) -> str:
        return f"!{self.operand}"

    def terms(self) -> Iterator[Term]:
        return self.operand.terms()

    def rank(self) -> tuple[int, int]:
        return self.operand.rank()

    def test(self) -> Test:
        return negation(self.operand.test())

    def clues(self) -> Clues:
        return ()


class Junction(NamedTuple):
    """Two expressions or more, joined by "and" or by "or"."""

    sign: Literal["&", "|"]
    operands: tuple[Node, ...]

    def __str__(self) -> str:
        return f"({f' {self.sign} '.join(map(str, self.operands))})"

    def terms(self) -> Iterator[Term]:
        for operand in self.operands:
            yield from operand.terms()

    def rank(self) -> tuple[int, int]:
        """As late as the latest part, as expensive as all of them."""
        stages, costs = zip(*(operand.rank() for operand in self.operands), strict=True)
        return max(stages), sum(costs)

    def test(self) -> Test:
        tests = [operand.test() for operand in sorted(self.operands, key=lambda operand: operand.rank())]
        return all_of(tests) if self.sign == "&" else any_of(tests)

    def clues(self) -> Clues:
        clues = [operand.clues() for operand in self.operands]
        return tuple(chain.from_iterable(clues)) if self.sign == "&" else of_either(clues)


Node = Term | Not | Junction


# For each clue its patterns: the literal that each begins with, and what matches there, None where that is all.
Searches = tuple[tuple[tuple[bytes, Callable[[bytes, int], object] | None], ...], ...]


class Filter:
    """A filter: asks of a flow whether it is wanted. Immutable; made by `parse`.

    `str()` is its canonical text, with all parentheses, which parses to an equal filter. Two filters are equal where
    these texts are, and both are sensitive to case or both not.
    """

    __slots__ = ("_case_sensitive", "_expression", "_searches", "_searches_in_lower_case", "_test")

    def __init__(self, expression: Node, case_sensitive: bool) -> None:
        self._expression = expression
        self._case_sensitive = case_sensitive
        self._test = expression.test()
        clues = sorted(expression.clues(), key=lambda clue: clue.weight, reverse=True)
        self._searches = _searches(clue for clue in clues if not clue.cased)
        self._searches_in_lower_case = _searches(clue for clue in clues if clue.cased)

    @property
    def expression(self) -> Node:
        """What was parsed."""
        return self._expression

    @property
    def case_sensitive(self) -> bool:
        """Do searches distinguish capital and small letters?"""
        return self._case_sensitive

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Filter):
            return NotImplemented
        return (self._expression, self._case_sensitive) == (other._expression, other._case_sensitive)

    def __hash__(self) -> int:
        return hash((self._expression, self._case_sensitive))

    def __repr__(self) -> str:
        return f"Filter({str(self)!r})"

    def __str__(self) -> str:
        return str(self._expression)

    def verdict(self, flow: Flow, stage: Stage) -> Verdict:
        """Is this flow wanted, as far as that is known at `stage`? At END the answer is never None.

        At REQUEST the request's body, and at END both bodies and the messages, have to be readable in the flow, as far
        as `needs` says so.
        """
        return self._test(flow, stage)

    def rules_out(self, record: bytes) -> bool:
        """Is it certain that no flow matches of which the record is in these bytes, one or many? See `clues`; costs
        less than decoding them.
        """
        if _lacks(record, self._searches):
            return True
        return bool(self._searches_in_lower_case) and _lacks(record.lower(), self._searches_in_lower_case)

    @property
    def needs(self) -> Needs:
        """The bytes that the verdict depends on."""
        return reduce(or_, (term.operator.needs for term in self._expression.terms()), Needs.NOTHING)

    def explain(self) -> str:
        """How the expression was understood, and when each part of it is decided; several lines."""
        terms = dict.fromkeys(self.expression.terms())
        width = max(len(str(term)) for term in terms)
        lines = [f"{term!s:{width}}  {_explained(term.operator)}" for term in terms]
        return "\n".join([str(self), "", *lines])


def _searches(clues: Iterable[Clue]) -> Searches:
    return tuple(tuple(map(_search, clue.patterns)) for clue in clues)


def _search(pattern: Pattern) -> tuple[bytes, Callable[[bytes, int], object] | None]:
    literal, rest = pattern
    return literal, re.compile(re.escape(literal) + rest).match if rest else None


def _lacks(record: bytes, searches: Searches) -> bool:
    """Is there a clue of which nothing is in the record? Asked of all that is in a file, thus the plain loops."""
    for alternatives in searches:
        for literal, match in alternatives:
            place = record.find(literal)
            while match and place >= 0 and not match(record, place):
                place = record.find(literal, place + 1)
            if place >= 0:
                break
        else:
            return True
    return False


def _explained(operator: Operator) -> str:
    return f"{operator.looks_at}; decided {operator.stage.moment}"
