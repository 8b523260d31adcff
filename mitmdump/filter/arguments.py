"""What may stand after an operator: each kind of argument with what is expected, and the reading of its text.

Reading gives a value whose `str()` is the argument's canonical text; values are equal where these texts are. Regular
expressions are compiled when they are needed: a filter uses few of them, once.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from ..model.headers import to_bytes
from .regex import compile_search, required_literal
from .words import ArgumentError

if TYPE_CHECKING:
    from datetime import datetime

T_contra = TypeVar("T_contra", contravariant=True)


class Context(NamedTuple):
    """What the meaning of an expression depends on besides its text.

    `now`: Unix seconds, None where nothing is known of the time; `warn` takes a sentence for the user.
    """

    case_sensitive: bool
    now: float | None
    warn: Callable[[str], None]


class Value:
    """The value of an argument: equal to others of its kind where their texts are."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"


class Matcher(Value, Generic[T_contra]):
    """An argument that says yes or no to what its operator looks at."""

    __slots__ = ("matches",)

    def __init__(self, text: str, matches: Callable[[T_contra], bool]) -> None:
        super().__init__(text)
        self.matches = matches


class BodyMatcher(Matcher[bytes]):
    """A matcher for long texts, of which sometimes not all could be looked at."""

    __slots__ = ("warn",)

    def __init__(self, text: str, matches: Callable[[bytes], bool], warn: Callable[[str], None]) -> None:
        super().__init__(text, matches)
        self.warn = warn


class NamedMatcher(Value, Generic[T_contra]):
    """A name, and a matcher for the values under it."""

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: Matcher[T_contra]) -> None:
        super().__init__(f"{name}:{value}")
        self.name = name
        self.value = value


class JsonMatcher(Value):
    """A path into a JSON document, and a matcher for the value there."""

    __slots__ = ("matches", "path", "warn")

    def __init__(
        self, path: tuple[str, ...], text: str, matches: Callable[[Any], bool], warn: Callable[[str], None]
    ) -> None:
        super().__init__(text)
        self.path = path
        self.matches = matches
        self.warn = warn


class Instant(Value):
    """A point in time, in Unix seconds."""

    __slots__ = ("timestamp",)

    def __init__(self, text: str, timestamp: float) -> None:
        super().__init__(text)
        self.timestamp = timestamp


class Argument(NamedTuple):
    """A kind of argument: its name in help texts, what to say that is expected, and how to read it.

    `read` raises ArgumentError.
    """

    name: str
    expected: str
    read: Callable[[str, Context], Any]


# Regular expressions


def _flags(context: Context, flags: re.RegexFlag) -> re.RegexFlag:
    return flags if context.case_sensitive else flags | re.IGNORECASE


def _text_regex(flags: re.RegexFlag = re.NOFLAG) -> Callable[[str, Context], Matcher[str]]:
    def read(text: str, context: Context) -> Matcher[str]:
        return Matcher(text, compile_search(text, _flags(context, flags), context.warn))

    return read


def _bytes_regex(flags: re.RegexFlag = re.NOFLAG) -> Callable[[str, Context], Matcher[bytes]]:
    def read(text: str, context: Context) -> Matcher[bytes]:
        return Matcher(text, compile_search(to_bytes(text), _flags(context, flags), context.warn))

    return read


def _body_regex(text: str, context: Context) -> BodyMatcher:
    """Searches for a literal that must be there first: ten times as fast, and never catastrophic."""
    search = compile_search(to_bytes(text), _flags(context, re.DOTALL), context.warn)
    literal = to_bytes(required_literal(text))
    if context.case_sensitive:
        return BodyMatcher(text, lambda data: literal in data and search(data), context.warn)
    lower = literal.lower()
    return BodyMatcher(text, lambda data: lower in data.lower() and search(data), context.warn)


def _named(
    normalize: Callable[[str], str], read_value: Callable[[str, Context], Matcher[T_contra]]
) -> Callable[[str, Context], NamedMatcher[T_contra]]:
    def read(text: str, context: Context) -> NamedMatcher[T_contra]:
        name, colon, pattern = text.partition(":")
        if not name or not colon:
            raise ArgumentError("this is not a name, a colon and a regular expression")
        try:
            return NamedMatcher(normalize(name), read_value(pattern, context))
        except ArgumentError as error:
            raise ArgumentError(error.reason, len(name) + 1 + error.offset) from error

    return read


REGEX = Argument("REGEX", "a regular expression", _text_regex())
LINES_REGEX = Argument("REGEX", "a regular expression", _text_regex(re.MULTILINE))
BYTES_REGEX = Argument("REGEX", "a regular expression", _bytes_regex())
HEADERS_REGEX = Argument("REGEX", "a regular expression", _bytes_regex(re.MULTILINE))
BODY_REGEX = Argument("REGEX", "a regular expression", _body_regex)
HEADER_REGEX = Argument(
    "NAME:REGEX", "a header's name, a colon, and a regular expression", _named(str.lower, _bytes_regex())
)
NAMED_REGEX = Argument("NAME:REGEX", "a name, a colon, and a regular expression", _named(str, _text_regex()))


# Numbers

_COMPARISON = r"(?s)(?P<sign><=|>=|<|>|=)(?P<number>.+)|(?P<low>[^-]+)-(?P<high>.+)|(?P<only>.+)"
_SIGNS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


def _comparison(read_number: Callable[[str], float]) -> Callable[[str, Context], Matcher[float]]:
    """Reader of `N`, `N-M`, `<N`, `<=N`, `>N`, `>=N`, `=N`."""

    def read(text: str, _context: Context) -> Matcher[float]:
        match = re.fullmatch(_COMPARISON, text)
        if not match:
            raise ArgumentError("there is nothing here")
        if match["sign"]:
            compare, number = _SIGNS[match["sign"]], read_number(match["number"])
            return Matcher(text, lambda value: compare(value, number))
        if match["only"]:
            number = read_number(match["only"])
            return Matcher(text, lambda value: value == number)
        low, high = read_number(match["low"]), read_number(match["high"])
        if low > high:
            raise ArgumentError("this range ends before it begins")
        return Matcher(text, lambda value: low <= value <= high)

    return read


def _read_status(text: str, context: Context) -> Matcher[float]:
    if re.fullmatch(r"[1-9][xX]{2}", text):
        hundreds = int(text[0])
        return Matcher(text.lower(), lambda status: status // 100 == hundreds)
    return _comparison(_status)(text, context)


def _status(text: str) -> float:
    if not re.fullmatch(r"[0-9]{3}", text):
        raise ArgumentError("a status has three digits")
    return int(text)


def _port(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise ArgumentError("a port is a number from 1 to 65535")
    return int(text)


_FACTORS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _quantity(units: dict[str, float], complaint: str) -> Callable[[str], float]:
    def read(text: str) -> float:
        match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([a-z]*)", text.lower())
        if not match or match[2] not in units:
            raise ArgumentError(complaint)
        return float(match[1]) * units[match[2]]

    return read


_bytes = _quantity({**_FACTORS}, "a size is a number with k, M or G")
_seconds = _quantity(_SECONDS, "a duration is a number with ms, s, m or h")

STATUS = Argument("STATUS", "a status (404), a class (4xx), a range (200-299) or a comparison (>=400)", _read_status)
PORT = Argument("PORT", "a port (443), a range (8000-8999) or a comparison (<1024)", _comparison(_port))
SIZE = Argument("SIZE", "a size with a comparison (>1M) or a range (1k-64k)", _comparison(_bytes))
DURATION = Argument("DURATION", "a duration with a comparison (>500ms) or a range (1s-5s)", _comparison(_seconds))


# Words of a small vocabulary


def _one_of(*choices: str) -> Callable[[str, Context], Matcher[str]]:
    def read(text: str, _context: Context) -> Matcher[str]:
        if text not in choices:
            raise ArgumentError(f"this is none of {', '.join(choices)}")
        return Matcher(text, lambda version: version == text)

    return read


HTTP_VERSION = Argument("VERSION", "a version of HTTP (1.0, 1.1 or 2)", _one_of("1.0", "1.1", "2"))
TLS_VERSION = Argument("VERSION", "a version of TLS (1.0, 1.1, 1.2 or 1.3)", _one_of("1.0", "1.1", "1.2", "1.3"))


# Addresses


def _read_network(text: str, _context: Context) -> Matcher[str]:
    from ipaddress import ip_address, ip_network  # few filters need it

    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise ArgumentError("this is no IP address and no network") from None

    def matches(host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return (getattr(address, "ipv4_mapped", None) or address) in network

    return Matcher(str(network), matches)


NETWORK = Argument("NETWORK", "an IP address (10.1.2.3) or a network (10.0.0.0/8)", _read_network)


# Times

_CLOCK = r"([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?([Zz]|[+-][0-9]{2}:[0-9]{2})?)?"


def _read_instant(text: str, context: Context) -> Instant:
    try:
        moment = _moment(text, context.now)
        return Instant(moment.isoformat(), moment.timestamp())
    except (ValueError, OverflowError, OSError) as error:
        if isinstance(error, ArgumentError):
            raise
        raise ArgumentError("there is no such time") from None


def _moment(text: str, now: float | None) -> datetime:
    """A local time, but where the text names another zone."""
    from datetime import datetime  # few filters need it

    if re.fullmatch(_DATE, text):
        return datetime.fromisoformat(text.upper())
    clock = re.fullmatch(_CLOCK, text)
    if not clock:
        raise ArgumentError("this is no time")
    if now is None:
        raise ArgumentError("here we cannot know which day is meant; write the date, too")
    hour, minute, second = (int(part or 0) for part in clock.groups())
    return datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=second, microsecond=0)


TIME = Argument("TIME", "a time today (10:30), a date (2026-11-23) or both (2026-11-23T10:30)", _read_instant)


# JSON

_POINTER = r"(?s)((?:/(?:[^/~=]|~[01])*)+)([=~])(.*)"  # RFC 6901
_DOTTED = r"(?s)([^=~/][^=~]*)([=~])(.*)"


def _read_json(text: str, context: Context) -> JsonMatcher:
    match = re.fullmatch(_POINTER, text) or re.fullmatch(_DOTTED, text)
    if not match:
        raise ArgumentError("this is not a path with = and a value, or with ~ and a regular expression")
    where, relation, operand = match.groups()
    if where.startswith("/"):
        path = tuple(step.replace("~1", "/").replace("~0", "~") for step in where[1:].split("/"))
    else:
        path = tuple(where.split("."))
    if relation == "=":
        return JsonMatcher(path, text, _equal_to(operand), context.warn)
    try:
        search = _text_regex()(operand, context).matches
    except ArgumentError as error:
        raise ArgumentError(error.reason, match.start(3) + error.offset) from error
    return JsonMatcher(path, text, lambda value: search(_as_text(value)), context.warn)


def _as_text(value: object) -> str:
    import json  # few filters need it

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _equal_to(operand: str) -> Callable[[Any], bool]:
    """Equal as text, where the value is a string, else as JSON; true is not 1."""
    import json

    try:
        wanted = json.loads(operand)
    except (ValueError, RecursionError):
        return lambda value: value == operand
    kind = type(wanted) is bool
    return lambda value: value == operand or (value == wanted and (type(value) is bool) is kind)


JSON_TEST = Argument("PATH=VALUE", "a path with = and a value, or with ~ and a regular expression", _read_json)
