from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.filter import regex
from mitmdump.filter.regex import compile_search, required_literal
from mitmdump.filter.words import ArgumentError

SOON = 0.02


def silent(sentence: str) -> None:
    raise AssertionError(sentence)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "a?" * 40 + "a" * 40, "(.*){30}x"])
def test_a_catastrophic_search_is_given_up_with_a_warning(pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """P1"""
    monkeypatch.setattr(regex, "TIME_LIMIT", SOON)
    warnings: list[str] = []
    search = compile_search(pattern, re.NOFLAG, warnings.append)
    assert search("a" * 39 + "!") is False
    assert [pattern in warning for warning in warnings] == [True]


def test_after_a_search_was_given_up_the_next_one_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regex, "TIME_LIMIT", SOON)
    search = compile_search(b"(a+)+$", re.NOFLAG, lambda _: None)
    assert search(b"a" * 1_000_000 + b"!") is False
    assert search(b"aaa") is True


def test_a_late_alarm_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_search("a+", re.NOFLAG, silent)("aaa")
    regex.signal.raise_signal(regex.signal.SIGPROF)


def test_outside_the_main_thread_a_search_works_without_a_timer() -> None:
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(compile_search("a+", re.NOFLAG, silent)("xaa")))
    thread.start()
    thread.join()
    assert found == [True]


@pytest.mark.parametrize(
    "pattern",
    ["(" * 10_000, "a" + "(" * 10_000 + ")" * 10_000, "a{99999999999}", "(?P<x>a)(?P<x>b)", "(?L)a", "[", "\\"],
)
def test_a_pattern_that_cannot_be_compiled_is_an_argument_error(pattern: str) -> None:
    """P1"""
    with pytest.raises(ArgumentError):
        compile_search(pattern, re.NOFLAG, silent)


@pytest.mark.parametrize(
    ("pattern", "literal"),
    [
        ("foo", "foo"),
        ("foo.*barbaz", "barbaz"),
        ("foox?", "foo"),
        ("foox*ba", "foo"),
        ("foo+b", "foo"),
        ("a{2}bc", "bc"),
        (r"a\.b\d", "a.b"),
        ("foo(bar|longer)x", "foo"),
        ("[longer]ab", "ab"),
        ("[]|]ab", "ab"),
        ("fooa{|b", ""),
        ("foo|bar", ""),
        ("(?x) f o o", ""),
        (r"\x41", ""),
        ("^$", ""),
    ],
)
def test_the_literal_that_a_match_must_contain_is_found_or_none_is_claimed(pattern: str, literal: str) -> None:
    assert required_literal(pattern) == literal


_patterns = st.lists(
    st.sampled_from([*"aAb.*+?|()[]{}^$,1-", r"\d", r"\.", r"\n", r"\(", "[ab]", "{1,2}", "(?i)"]), max_size=8
)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@given(_patterns.map("".join), st.text("aAbB.1(\n{},", max_size=12))
def test_a_match_contains_the_literal_that_it_must_contain(pattern: str, text: str) -> None:
    try:
        found = re.search(pattern, text)
    except re.error:
        return
    assert not found or required_literal(pattern) in text
