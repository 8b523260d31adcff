r"""The words of a filter expression: cutting a text into tokens, and quoting.

A word is written as in a shell: it runs to white space or a parenthesis, and parts of it, or all, may be in quotes.
Inside either kind of quotes a backslash before that quote or before another backslash takes its meaning away; before
anything else it stays, so that "\d" is the regular expression it seems to be. Outside quotes a backslash and what
follows it stay as they are: foo\(bar\) is one word.

`!`, `&`, `|` and `~` mean something only where a token starts. What looks as if it were meant to start one inside a
word, as in `GET&~u x` or `foo(bar)`, is refused, not guessed.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from ..errors import FilterError


class ArgumentError(ValueError):
    """A word is not what its operator wants. `offset` counts characters into the word."""

    def __init__(self, reason: str, offset: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Kind(Enum):
    """Kinds of tokens."""

    OPEN = "("
    CLOSE = ")"
    NOT = "!"
    AND = "&"
    OR = "|"
    OPERATOR = "~"
    WORD = "word"
    END = "the end of the expression"


class Token(NamedTuple):
    """A token. `text`: an operator's name, or a word without its quotes.

    `places` holds the index, in the expression, of each character of `text`, and the index after the last.
    """

    kind: Kind
    text: str
    start: int
    places: tuple[int, ...] = ()
    quoted: bool = False

    def place(self, offset: int) -> int:
        """Where the character of `text` at `offset` stands in the expression."""
        return self.places[min(offset, len(self.places) - 1)] if self.places else self.start


_SPACE = re.compile(r"\s*")
_OPERATOR = re.compile(r"~([^\s()!&|'\"]*)")
_PARTS = re.compile(
    r"""
    (?P<plain> [^\s()"'\\]+ )
  | (?P<escape> \\. )
  | " (?P<double> (?: [^"\\] | \\. )* ) "
  | ' (?P<single> (?: [^'\\] | \\. )* ) '
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERATOR_INSIDE = re.compile(r"[&|](?:[~!]|\Z)")
_SAFE = re.compile(r"[^\s()!&|~'\"\\][^\s()&|'\"\\]*")
_BEFORE_OPEN = (Kind.OPEN, Kind.NOT, Kind.AND, Kind.OR)


def quote(word: str) -> str:
    """The word as it has to be written in an expression, with as few additions as possible."""
    if _SAFE.fullmatch(word) and word.lower() not in SPELLED_OUT:
        return word
    return '"' + re.sub(r'\\(?=[\\"]|\Z)|"', lambda match: "\\" + match[0], word) + '"'


# What people type from habit, and what it is called here.
SPELLED_OUT = {"and": "&", "or": "|", "not": "!"}


def tokenize(text: str) -> list[Token]:
    """Cut an expression into tokens, the last of them END. Raises FilterError."""
    tokens: list[Token] = []
    position = _skip_space(text, 0)
    while position < len(text):
        token, end = _token(text, position)
        tokens.append(token)
        position = _skip_space(text, end)
        if end < len(text) and end == position:
            _check_border(text, end, token)
    return [*tokens, Token(Kind.END, "", len(text.rstrip()))]


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match  # the pattern matches the empty text
    return match.end()


def _token(text: str, start: int) -> tuple[Token, int]:
    character = text[start]
    if character in "()!&|":
        return Token(Kind(character), character, start), start + 1
    if character == "~":
        match = _OPERATOR.match(text, start)
        assert match  # it starts with a tilde
        return Token(Kind.OPERATOR, match[1], start), match.end()
    return _word(text, start)


def _check_border(text: str, end: int, token: Token) -> None:
    """Refuse tokens that touch where one could take them for a single thing."""
    after = text[end]
    if after == ")" or token.kind in _BEFORE_OPEN or (token.kind is not Kind.WORD and after in "&|"):
        return
    if after == "(" and token.kind is Kind.WORD:
        raise FilterError(text, end, 'a parenthesis inside a word; put the word in quotes ("...") if it belongs to it')
    raise FilterError(text, end, "a space is missing here")


def _word(text: str, start: int) -> tuple[Token, int]:
    characters: list[str] = []
    places: list[int] = []
    bare = ""  # the word with what cannot be an operator masked
    position, quoted = start, False
    while match := _PARTS.match(text, position):
        group = str(match.lastgroup)
        kept = [(place, text[place]) for place in range(*match.span(group))]
        if group in ("double", "single"):
            quoted = True
            kept = _unescape(kept, match[0][0])
        bare += match[0] if group == "plain" else "_" * len(match[0])
        places += [place for place, _ in kept]
        characters += [character for _, character in kept]
        position = match.end()
    _check_complete(text, position)
    _check_bare(text, start, bare)
    return Token(Kind.WORD, "".join(characters), start, (*places, position), quoted), position


def _check_complete(text: str, end: int) -> None:
    if text[end : end + 1] == "\\":
        raise FilterError(text, end, "nothing comes after this backslash")
    if text[end : end + 1] in ('"', "'"):
        raise FilterError(text, end, "this quote is never closed")


def _check_bare(text: str, start: int, bare: str) -> None:
    if match := _OPERATOR_INSIDE.search(bare):
        place = start + match.start()
        reason = f"is this {text[place]} part of the word, or an operator? Put the word in quotes, or a space before it"
        raise FilterError(text, place, reason)


def _unescape(kept: list[tuple[int, str]], mark: str) -> list[tuple[int, str]]:
    result: list[tuple[int, str]] = []
    escaped = False
    for place, character in kept:
        if escaped and character in (mark, "\\"):
            result[-1] = (place, character)
            escaped = False
            continue
        escaped = character == "\\"
        result.append((place, character))
    return result
