"""From text to filter.

    or        := and ("|" and)*
    and       := not ("&"? not)*
    not       := "!"* primary
    primary   := "(" or ")" | operator argument? | word

A bare word is `~u word`. In mitmproxy, whose users' fingers know this language, `a b | c` means `a & (b | c)`, and here
it would mean `(a & b) | c`: where the two differ we ask, and show both readings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from ..errors import FilterError
from ..model.headers import to_bytes
from .arguments import Context
from .expression import Filter, Junction, Node, Not, Term
from .operators import OPERATORS, Operator
from .words import SPELLED_OUT, ArgumentError, Kind, Token, tokenize

_STARTS = (Kind.OPEN, Kind.NOT, Kind.OPERATOR, Kind.WORD)
_BARE = OPERATORS["u"]

# Ten times what a person writes, and far from where Python's stack ends.
MAX_NESTING = 100


def parse(
    text: str,
    *,
    case_sensitive: bool = False,
    now: float | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Filter:
    """Parse a filter expression. Raises FilterError.

    `now`, in Unix seconds, says which day it is for `~since 10:30`. `warn` is called with a sentence whenever the
    filter gave up on part of a flow: a body longer than its limit, a regular expression that took too long.
    """
    try:
        to_bytes(text)
    except UnicodeEncodeError as error:
        raise FilterError(text, error.start, "half of a character, which no byte on the wire can match") from error
    expression = _Parser(text, Context(case_sensitive, now, warn)).parse()
    return Filter(expression, case_sensitive)


class _Operand(NamedTuple):
    """An operand of "and"; `juxtaposed`: without a sign between it and the one before."""

    node: Node
    start: int
    juxtaposed: bool


class _Parser:
    """Recursive descent: a method for each line of the grammar."""

    def __init__(self, text: str, context: Context) -> None:
        self._text = text
        self._context = context
        self._tokens = tokenize(text)
        self._next = 0
        self._depth = 0

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self, kind: Kind) -> bool:
        taken = self._token.kind is kind
        self._next += taken
        return taken

    def _error(self, reason: str, position: int | None = None) -> FilterError:
        return FilterError(self._text, self._token.start if position is None else position, reason)

    def parse(self) -> Node:
        if self._token.kind is Kind.END:
            raise self._error("there is nothing in this expression; to match everything, write ~all")
        node = self._or()
        if self._token.kind is Kind.CLOSE:
            raise self._error("this parenthesis was never opened")
        return node

    def _or(self) -> Node:
        alternatives = [self._and()]
        while self._take(Kind.OR):
            alternatives.append(self._and())
        node = _joined("|", [_joined("&", [operand.node for operand in operands]) for operands in alternatives])
        if len(alternatives) > 1:
            self._check_readings(node, alternatives)
        return node

    def _and(self) -> list[_Operand]:
        operands = [_Operand(self._not(), 0, juxtaposed=False)]
        while self._token.kind in (*_STARTS, Kind.AND):
            signed, start = self._take(Kind.AND), self._token.start
            operands.append(_Operand(self._not(), start, juxtaposed=not signed))
        return operands

    def _not(self) -> Node:
        if self._token.kind not in _STARTS:
            raise self._missing()
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._error(f"parentheses and ! are nested more than {MAX_NESTING} deep")
        node = Not(self._not()) if self._take(Kind.NOT) else self._primary()
        self._depth -= 1
        return node

    def _primary(self) -> Node:
        start = self._token.start
        if self._take(Kind.OPEN):
            node = self._or()
            if not self._take(Kind.CLOSE):
                raise self._error("this parenthesis is never closed", start)
            return node
        if self._token.kind is Kind.WORD:
            return self._bare_word()
        return self._operation()

    def _bare_word(self) -> Term:
        word = self._token
        sign = SPELLED_OUT.get(word.text.lower())
        if sign and not word.quoted:
            raise self._error(f"this is written {sign} here; to search for the word itself, put it in quotes")
        return self._term(_BARE)

    def _operation(self) -> Term:
        name = self._token
        operator = OPERATORS.get(name.text)
        if operator is None:
            raise self._unknown(name)
        self._take(Kind.OPERATOR)
        if operator.argument is None:
            return Term(operator)
        if self._token.kind is Kind.WORD:
            return self._term(operator)
        if operator.optional:
            return Term(operator)
        hint = "; what begins with one of ( ) ! & | ~ has to be in quotes" if self._token.kind is not Kind.END else ""
        raise self._error(f"~{operator.code} needs {operator.argument.expected}{hint}")

    def _term(self, operator: Operator) -> Term:
        """Read the operator's argument, unless it is optional and this word is none."""
        word, argument = self._token, operator.argument
        assert argument
        try:
            value = argument.read(word.text, self._context)
        except ArgumentError as error:
            if operator.optional:
                return Term(operator)
            reason = f"~{operator.code} needs {argument.expected}: {error.reason}"
            raise self._error(reason, word.place(error.offset)) from error
        self._take(Kind.WORD)
        return Term(operator, value)

    # What went wrong

    def _missing(self) -> FilterError:
        """An operand was expected, and there is something else."""
        kind, before = self._token.kind, self._tokens[self._next - 1] if self._next else None
        if before and before.kind is kind and kind in (Kind.AND, Kind.OR):
            return self._error(f"write a single {kind.value}")
        if before and before.kind is Kind.OPEN:
            return self._error("nothing to match comes after this parenthesis", before.start)
        if before:
            return self._error(f"nothing to match comes after this {before.kind.value}", before.start)
        return self._error(f"nothing to match comes before this {kind.value}")

    def _unknown(self, name: Token) -> FilterError:
        known = re.match(r"[a-z]*", name.text)
        if known and known[0] in OPERATORS:
            return self._error(f"a space is missing after ~{known[0]}", name.start + 1 + len(known[0]))
        if not name.text:
            return self._error("the name of an operator is missing after ~")
        from difflib import get_close_matches  # for mistakes only

        near = get_close_matches(name.text.lower(), OPERATORS, cutoff=0.5)
        hint = f"; did you mean {' or '.join(f'~{code}' for code in near)}?" if near else ""
        return self._error(f"there is no operator ~{name.text}{hint}")

    def _check_readings(self, ours: Node, alternatives: list[list[_Operand]]) -> None:
        juxtaposed = [operand.start for operands in alternatives for operand in operands if operand.juxtaposed]
        if juxtaposed:
            theirs = _juxtaposition_last(alternatives)
            raise self._error(f"does this mean {ours} or {theirs}? Write the one that you mean", juxtaposed[0])


def _joined(sign: Literal["&", "|"], nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else Junction(sign, tuple(nodes))


def _juxtaposition_last(alternatives: list[list[_Operand]]) -> Node:
    """The same operands, read as mitmproxy would: what has no sign between it is joined after what has."""
    groups: list[list[list[Node]]] = [[]]
    for operands in alternatives:
        groups[-1].append([])
        for operand in operands:
            if operand.juxtaposed:
                groups.append([[]])
            groups[-1][-1].append(operand.node)
    return _joined("&", [_joined("|", [_joined("&", nodes) for nodes in group]) for group in groups])
