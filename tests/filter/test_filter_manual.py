"""mitmdump-filters(7) says what the code does. Run as a program, this writes the table of operators into the page."""

from __future__ import annotations

import re
import shlex

import pytest
from support.manual import Page, plain, roff

from mitmdump.filter import bodies, certificate, parse, parser, regex
from mitmdump.filter.operators import OPERATORS, TABLE, Operator

PAGE = Page("mitmdump-filters.7")

MITMPROXY = """
    a all b bq bs c comment d dns dst e h hq hs http m marked marker meta q replay replayq replays s src t tcp tq ts u
    udp websocket
"""


def entry(operator: Operator) -> str:
    """An operator as a paragraph with its usage as the tag."""
    code, _, argument = operator.usage.partition(" ")
    lines = [
        f'.BI {roff(code)} "{" " * bool(argument)}{roff(argument)}"',
        f"{roff(operator.looks_at[0].upper() + operator.looks_at[1:])}.",
        f"{'HTTP flows' if operator.flows == 'HTTP' else 'All flows'}; decided {operator.stage.moment}.",
    ]
    example = [".br", f"Example: \\fB{roff(operator.example)}\\fR"] if argument else []
    return "\n".join([".TP", *lines, *example, ""])


def operators() -> str:
    return "".join(f".SS {group}\n" + "".join(map(entry, rows)) for group, rows in TABLE.items())


def test_the_page_lists_the_operators_of_the_table() -> None:
    assert PAGE.block("OPERATORS") == operators()


@pytest.mark.parametrize(
    ("place", "limit"),
    [
        ("LIMITS", f"at most {bodies.SEARCH_LIMIT >> 20} MiB"),
        ("LIMITS", f"up to {bodies.JSON_LIMIT >> 20} MiB"),
        ("LIMITS", f"after {regex.TIME_LIMIT:g} second of"),
        ("LIMITS", f"first {certificate.MAX_NAMES} names"),
        ("EXPRESSIONS", f"At most {parser.MAX_NESTING} parentheses"),
    ],
)
def test_the_page_states_the_limits_of_the_code(place: str, limit: str) -> None:
    assert limit in PAGE.section(place)


def test_the_examples_are_filters() -> None:
    block = PAGE.section("EXAMPLES").partition(".EX\n")[2].partition(".EE")[0]
    filters = [shlex.split(plain(line))[-1] for line in block.splitlines()]
    assert len(filters) == 6
    assert all(parse(text, now=0) for text in filters)


def test_the_page_names_what_mitmproxy_does_not_have() -> None:
    listed = PAGE.section("DIFFERENCES FROM MITMPROXY").partition("does not have:")[2]
    assert set(re.findall(r"\\\(ti(\w+)", listed)) == set(OPERATORS) - set(MITMPROXY.split())


if __name__ == "__main__":
    PAGE.write_block("OPERATORS", operators())
