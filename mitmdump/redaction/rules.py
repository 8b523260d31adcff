"""The words of --redact: `header:authorization,cookie,query:token,json:$.password`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ..errors import SettingsError
from .jsonpath import JsonPath

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # what a field name is (RFC 9110 section 5.6.2)


class Rule(NamedTuple):
    """One kind of secret: `kind` as in KINDS, and which; the name "" means all of the kind."""

    kind: str
    name: str


def parse_rules(text: str) -> tuple[Rule, ...]:
    """The rules in a list with commas. Raises SettingsError."""
    return tuple(_parse(word.strip()) for word in text.split(","))


def _parse(word: str) -> Rule:
    kind, colon, name = word.partition(":")
    if kind not in KINDS:
        advice = f"; if it is a header, write header:{word}" if not colon and _TOKEN.fullmatch(word) else ""
        raise SettingsError(f"{word!r} is no kind of secret: give {_USAGE}{advice}")
    if colon or kind != "cookie":
        KINDS[kind](name)
    return Rule(kind, name)


def _field_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise SettingsError(f"{name!r} is no name of a header: write header:authorization and the like")


def _name(name: str) -> None:
    if not name:
        raise SettingsError(f"a name is missing: give {_USAGE}")


# Each kind, and what refuses a bad name of it.
KINDS: dict[str, Callable[[str], object]] = {
    "header": _field_name,
    "cookie": _name,
    "query": _name,
    "form": _name,
    "json": JsonPath,
}

_USAGE = "header:NAME, cookie (all of them), cookie:NAME, query:NAME, form:NAME or json:PATH"
