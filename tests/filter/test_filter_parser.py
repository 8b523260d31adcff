from __future__ import annotations

import pytest

from mitmdump.errors import FilterError
from mitmdump.filter import parse
from mitmdump.filter.parser import MAX_NESTING


def refused(text: str) -> FilterError:
    with pytest.raises(FilterError) as caught:
        parse(text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("/v2/", "~u /v2/"),
        ("~d a ~m get", "(~d a & ~m get)"),
        ("~d a & ~m get", "(~d a & ~m get)"),
        ("~d a&~m get", None),
        ("~q|~e", "(~q | ~e)"),
        ("~q & ~e | ~s & ~a", "((~q & ~e) | (~s & ~a))"),
        ("~q | ~e & ~s", "(~q | (~e & ~s))"),
        ("!~q & ~e", "(!~q & ~e)"),
        ("!(~q | ~e)", "!(~q | ~e)"),
        ("!!~q", "!!~q"),
        ("((~q))", "~q"),
        ("a b c", "(~u a & ~u b & ~u c)"),
        ("a & (b & c)", "(~u a & (~u b & ~u c))"),
        ("(a b) | c", "((~u a & ~u b) | ~u c)"),
        ("~u a|b", '~u "a|b"'),
        ("~u 'a b'", '~u "a b"'),
        ("~c 4XX", "~c 4xx"),
        ("~tls ~q", "(~tls & ~q)"),
        ("~tls 1.2", "~tls 1.2"),
        ("~tls foo", "(~tls & ~u foo)"),
        ("~tls", "~tls"),
        ("~hv Host:x", "~hv host:x"),
        ('"and"', '~u "and"'),
        ("  ~q\n\t~e ", "(~q & ~e)"),
    ],
)
def test_the_canonical_text_shows_how_an_expression_was_read(text: str, canonical: str | None) -> None:
    if canonical is None:
        refused(text)
    else:
        assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "ours", "theirs"),
    [
        ("~q ~e | ~s", "((~q & ~e) | ~s)", "(~q & (~e | ~s))"),
        ("~q | ~e ~s", "(~q | (~e & ~s))", "((~q | ~e) & ~s)"),
        ("(~q & ~a ~e | ~s)", "((~q & ~a & ~e) | ~s)", "((~q & ~a) & (~e | ~s))"),
    ],
)
def test_where_mitmproxy_would_read_it_differently_both_readings_are_shown(text: str, ours: str, theirs: str) -> None:
    assert f"{ours} or {theirs}" in refused(text).reason


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("", 0, "~all"),
        ("   ", 0, "~all"),
        ("~q &", 3, "after this &"),
        ("~q & & ~e", 5, "single &"),
        ("~q || ~e", 4, "single |"),
        ("| ~q", 0, "before this |"),
        ("!", 0, "after this !"),
        ("()", 0, "parenthesis"),
        ("(~q", 0, "never closed"),
        ("~q)", 2, "never opened"),
        ("a and b", 2, "&"),
        ("a OR b", 2, "|"),
        ("~u foo(bar)", 6, "quotes"),
        ("~u (foo)", 3, "quotes"),
        ("~u", 2, "regular expression"),
        ("~u !x", 3, "quotes"),
        ("~c 2..", 3, "4xx"),
        ("~c ~q", 3, "4xx"),
        ("~c>=400", 2, "space"),
        ("~", 0, "name"),
        ("~b \ud800", 3, "half"),
        ("~quest", 0, "there is no operator ~quest"),
        ("~metta x", 0, "~meta"),
        ("~M get", 0, "~m"),
        ("~websockets", 0, "~websocket"),
        ("~u [a", 3, "unterminated"),
        ("~hv 'a b:('", 9, "unterminated"),
        ('~b "x\\"("', 7, "unterminated"),
    ],
)
def test_a_mistake_is_shown_where_it_is_with_a_hint(text: str, position: int, hint: str) -> None:
    error = refused(text)
    assert (error.position, error.text) == (position, text)
    assert hint in error.reason


def test_an_error_reads_as_a_paragraph_with_a_caret() -> None:
    assert str(refused("~q &\n~c x")).splitlines()[1:] == ["    ~q & ~c x", "            ^"]


@pytest.mark.parametrize(
    "text", ["(" * 10_000 + "a" + ")" * 10_000, "!" * 10_000 + "a", "(!" * 5_000 + "a" + ")" * 5_000]
)
def test_deep_nesting_is_an_error_not_a_crash(text: str) -> None:
    """P1"""
    assert "nested" in refused(text).reason


def test_nesting_that_a_person_writes_is_fine_and_so_is_any_width() -> None:
    depth = MAX_NESTING - 1
    assert str(parse("(" * depth + "~q" + ")" * depth)) == "~q"
    assert str(parse(" ".join(["~q"] * 10_000))).count("~q") == 10_000
