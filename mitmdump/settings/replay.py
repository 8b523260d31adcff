"""The texts of the options of replay, parsed or refused."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast

from ..errors import SettingsError
from ..model import url
from .texts import DURATION, DURATION_UNITS, parse_duration

# Compiled when an option needs one, as most runs need none.
_SPEED = r"([0-9]{1,6}(?:\.[0-9]{1,6})?)x\Z"
_RATE = r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(?:/([smh]))?\Z"


def parse_speed(text: str) -> float:
    """How many times faster, as in 2x. Raises SettingsError."""
    match = re.match(_SPEED, text)
    if not match or not float(match[1]):
        raise SettingsError(f"{text!r} is no speed: give a number with an x, such as 2x for twice as fast, or 0.5x")
    return float(match[1])


def parse_timing(text: str) -> float | None:
    """A speed, or original for that of the recording, or fast (None): no think times. Raises SettingsError."""
    return None if text == "fast" else 1.0 if text == "original" else parse_speed(text)


def parse_rate(text: str) -> float:
    """So many a second, or with /m or /h a minute or an hour. Raises SettingsError."""
    match = re.match(_RATE, text)
    if not match or not float(match[1]):
        raise SettingsError(f"{text!r} is no rate: give a number a second or a minute, such as 10/s or 30/m")
    return float(match[1]) / DURATION_UNITS[match[2] or "s"]


class Place(NamedTuple):
    """A server to send requests to."""

    scheme: str
    host: str
    port: int


def parse_place(text: str) -> Place:
    """A URL without a path. Raises SettingsError."""
    try:
        scheme, authority, path = url.split_absolute(text)
        if path != "/" or scheme not in url.DEFAULT_PORTS:
            raise ValueError("it has a path" if scheme in url.DEFAULT_PORTS else f"{scheme} is not spoken here")
        return Place(scheme, *url.split_host_port(authority, url.DEFAULT_PORTS[scheme]))
    except ValueError as error:
        advice = "give one such as https://staging.example:8443"
        raise SettingsError(f"{text!r} is no server's URL: {error}; {advice}") from None


# What of a request can be compared with recorded ones.
REPLAY_PARTS = ("scheme", "host", "port", "method", "path", "query", "body")

# What is left out of a comparison: a header field by its name, or values in JSON by their path.
Ignored = tuple[Literal["header", "json"], str]


def parse_ignored(text: str) -> tuple[Ignored, ...]:
    """`header:NAME` and `json:PATH`, with commas between them. Raises SettingsError."""
    from ..redaction.jsonpath import JsonPath  # only --replay-ignore needs it

    found: list[Ignored] = []
    for item in text.split(","):
        kind, _, what = item.partition(":")
        if kind not in ("header", "json") or not what:
            raise SettingsError(f"{item!r} is nothing to ignore: give header:NAME or json:PATH, such as json:$.id")
        if kind == "json":
            JsonPath(what)
        found.append((cast(Literal["header", "json"], kind), what))
    return tuple(found)


class Latency(NamedTuple):
    """How long an answer is held back: so many seconds, and this share of the wait that was recorded."""

    seconds: float = 0.0
    share: float = 0.0

    def after(self, recorded: float) -> float:
        """In seconds, where the recorded wait was so long."""
        return self.seconds + self.share * recorded


AT_ONCE = Latency()


def parse_latency(text: str) -> Latency:
    """A duration; or the recorded one: original, or divided by a speed such as 2x; or none. Raises SettingsError."""
    if text in ("original", "none"):
        return Latency(share=float(text == "original"))
    if re.match(_SPEED, text):
        return Latency(share=1 / parse_speed(text))
    if not re.match(DURATION, text):
        raise SettingsError(f"{text!r} is no latency: give original, none, a duration such as 200ms, or a speed (2x)")
    return Latency(seconds=parse_duration(text))


def parse_extra(text: str) -> str | int:
    """kill, forward, or the status of an answer. Raises SettingsError."""
    from http import HTTPStatus  # only a status needs it

    if text in ("kill", "forward"):
        return text
    if not re.fullmatch("[2-5][0-9][0-9]", text) or int(text) not in map(int, HTTPStatus):
        raise SettingsError(f"{text!r} is none of kill, forward, or the status of an answer, such as 404")
    return int(text)


def parse_names(text: str) -> tuple[str, ...]:
    """Names with commas between them. Raises SettingsError."""
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise SettingsError(f"{text!r} are no names with commas between them")
    return names


def parse_json_paths(text: str) -> tuple[str, ...]:
    """JSON paths with commas between them. Raises SettingsError."""
    from ..redaction.jsonpath import JsonPath  # only --replay-ignore-json needs it

    paths = parse_names(text)
    for path in paths:
        JsonPath(path)
    return paths
