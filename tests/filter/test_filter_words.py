from __future__ import annotations

import pytest

from mitmdump.errors import FilterError
from mitmdump.filter.words import Kind, Token, quote, tokenize


def words(text: str) -> list[str]:
    return [token.text for token in tokenize(text)[:-1]]


def refused(text: str) -> FilterError:
    with pytest.raises(FilterError) as caught:
        tokenize(text)
    return caught.value


def test_a_text_is_cut_into_tokens_and_an_end() -> None:
    tokens = tokenize("!~m a&b | (c)")
    assert [token.kind.name for token in tokens] == ["NOT", "OPERATOR", "WORD", "OR", "OPEN", "WORD", "CLOSE", "END"]
    assert [token.start for token in tokens] == [0, 1, 4, 8, 10, 11, 12, 13]


@pytest.mark.parametrize(
    "text", ["a|b", "a&b", "a!b", "/~user/", "x=1&y=2", "a.b*", r"\d+", r"foo\(bar\)", r"a\ b", r"\"x"]
)
def test_outside_quotes_signs_inside_a_word_and_backslashes_belong_to_it(text: str) -> None:
    assert words(text) == [text]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('"a b"', "a b"),
        ("'a b'", "a b"),
        (r'"\d"', r"\d"),
        (r'"\\d"', r"\d"),
        (r'"a\"b"', 'a"b'),
        (r"'a\"b'", r"a\"b"),
        (r"'it\'s'", "it's"),
        (r'"\\\\"', r"\\"),
        ('name:"a b"c', "name:a bc"),
        ('""', ""),
        ("'(a|b)'", "(a|b)"),
        ("'a'|b", "a|b"),
    ],
)
def test_quotes_keep_a_word_together_and_only_quote_and_backslash_are_escaped_in_them(text: str, word: str) -> None:
    assert words(text) == [word]


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("~m GET&~u x", 6),
        ("~m GET|!~q", 6),
        ("~m GET& ~q", 6),
        ("foo(bar)", 3),
        ("(a)b", 3),
        ("(a)(b)", 3),
        ("~q(a)", 2),
        ("~q!~s", 2),
        ("~u'x'", 2),
        ('a "b c', 2),
        ("it's", 2),
        ("a\\", 1),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_where_it_stands(text: str, position: int) -> None:
    assert refused(text).position == position


@pytest.mark.parametrize("text", ["(a)&(b)", "(a)|b", "~q&~s", "~q|~s", "!(a)", "!!a", "((a))", "(a )", "! a"])
def test_signs_need_no_spaces_where_nothing_is_ambiguous(text: str) -> None:
    assert tokenize(text)


def test_a_token_knows_where_each_of_its_characters_stands() -> None:
    token = tokenize(r' x"a\"b"')[0]
    assert token.text == 'xa"b'
    assert [token.place(offset) for offset in range(5)] == [1, 3, 5, 6, 8]
    assert Token(Kind.AND, "&", 7).place(3) == 7


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("/v2/", "/v2/"),
        (">=400", ">=400"),
        ("a b", '"a b"'),
        ("", '""'),
        ("!a", '"!a"'),
        ("a|b", '"a|b"'),
        (r"\d", r'"\d"'),
        ('"', r'"\""'),
        ("a\\", r'"a\\"'),
        (r"\\", r'"\\\\"'),
        ("and", '"and"'),
    ],
)
def test_a_word_is_quoted_only_where_it_must_be_and_as_lightly_as_can_be(word: str, text: str) -> None:
    assert quote(word) == text
    assert words(text) == [word]
