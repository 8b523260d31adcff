"""The texts of options, parsed or refused.

Sizes: k, M and G (either case, with or without a B) are powers of 1024. Durations: ms, s, m, h; a bare number is
seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from ..errors import SettingsError

if TYPE_CHECKING:
    from ..redaction import Rule

# Compiled when an option needs one, as most runs need none.
_SIZE = r"([0-9]{1,15}(?:\.[0-9]+)?)\s*([kmgKMG]?)[iI]?[bB]?\Z"
DURATION = r"([0-9]{1,15}(?:\.[0-9]+)?)\s*(ms|s|m|h|)\Z"
_SIDED = r"(?s)(?:(client|server)=)?(.+)\Z"
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
DURATION_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_size(text: str) -> int:
    """A size in bytes. Raises SettingsError."""
    match = re.match(_SIZE, text)
    if not match:
        raise SettingsError(f"{text!r} is no size: give a number of bytes, or one with k, M or G, such as 64k")
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])


def parse_duration(text: str) -> float:
    """A duration in seconds. Raises SettingsError."""
    match = re.match(DURATION, text)
    if not match:
        raise SettingsError(f"{text!r} is no duration: give a number with ms, s, m or h, such as 500ms or 2m")
    return float(match[1]) * DURATION_UNITS[match[2]]


class StopAfter(NamedTuple):
    """When a run is over: after so many seconds, flows, or bytes. One of them is given; `text` is how."""

    text: str
    seconds: float | None = None
    flows: int | None = None
    bytes: int | None = None


def parse_stop_after(text: str) -> StopAfter:
    """A bare number is flows, one with ms, s, m or h a duration, one with k, M, G or B a size; so m alone is minutes,
    M is MiB. Raises SettingsError.
    """
    stop = None
    if text.isascii() and text.isdigit() and len(text) <= 15:
        stop = StopAfter(text, flows=int(text))
    elif re.match(DURATION, text):
        stop = StopAfter(text, seconds=parse_duration(text))
    elif re.match(_SIZE, text):
        stop = StopAfter(text, bytes=parse_size(text))
    if stop is None or not any(stop[1:]):
        raise SettingsError(f"{text!r} is no end: give a duration (60s, 5m), a number of flows (1000) or a size (1GB)")
    return stop


ModeKind = Literal["regular", "transparent"]

# Where a mode listens if nobody says. Whoever reaches a regular proxy can use it, so that is this machine. A packet
# filter sends connections to an address of the interface where they came in, so that is any.
DEFAULT_HOSTS: dict[ModeKind, tuple[str, ...]] = {
    "regular": ("127.0.0.1", "::1"),
    "transparent": ("0.0.0.0", "::"),  # noqa: S104  # clients from public addresses are refused all the same
}


class Mode(NamedTuple):
    """A way in which clients come to us, with a port and an address of its own to listen on, or None."""

    kind: ModeKind
    host: str | None = None
    port: int | None = None


def parse_port(text: str) -> int:
    """A port to listen on. Raises SettingsError."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise SettingsError(f"{text!r} is no port: give a number from 0 to 65535 (0 picks a free one)")
    return int(text)


def parse_mode(text: str) -> Mode:
    """KIND, or KIND@PORT, or KIND@HOST:PORT. Raises SettingsError."""
    name, at, place = text.partition("@")
    kind = cast(ModeKind, name)
    if kind not in DEFAULT_HOSTS:
        raise SettingsError(f"{name!r} is no mode: it is one of {', '.join(DEFAULT_HOSTS)}")
    if not at:
        return Mode(kind)
    host, _, port = place.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise SettingsError(f"{place!r} is no host and port: an IPv6 address stands in brackets, as in [::1]:8080")
    return Mode(kind, host or None, parse_port(port))


Side = Literal["client", "server"]
# A value for one side, or for both ("").
Sided = tuple[Literal["", "client", "server"], str]


def parse_sided(text: str) -> Sided:
    """VALUE for both sides, or `client=VALUE`, `server=VALUE` for one. Raises SettingsError."""
    match = re.match(_SIDED, text)
    if not match:
        raise SettingsError("'' is no value")
    return cast(Sided, (match[1] or "", match[2]))


def of_side(values: Sequence[Sided], side: Side) -> str | None:
    """The last of the values that holds for a side, None if none does."""
    return next((value for given, value in reversed(values) if given in ("", side)), None)


def parse_ports(text: str) -> tuple[int, ...]:
    """Ports with commas between them. Raises SettingsError."""
    ports = tuple(parse_port(word) for word in text.split(","))
    if 0 in ports or len(ports) > 15:  # so many fit into one rule of iptables
        raise SettingsError(f"{text!r} are no ports: give up to 15 numbers from 1 to 65535, with commas between them")
    return ports


def parse_mark(text: str) -> int:
    """A mark of packets, decimal or hexadecimal. Raises SettingsError."""
    try:
        mark = int(text, 16 if text[:2] in ("0x", "0X") else 10)
    except ValueError:
        mark = 0
    if not 0 < mark < 2**32:
        raise SettingsError(f"{text!r} is no mark: give a number from 1 to 4294967295, or 0x1 to 0xffffffff")
    return mark


def parse_count(text: str) -> int:
    """A number from 1 up. Raises SettingsError."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**9:
        raise SettingsError(f"{text!r} is no number from 1 up")
    return int(text)


def parse_path(text: str) -> Path:
    """A path, in which ~ stands for the home directory."""
    return Path(text).expanduser()


def parse_file(text: str) -> str:
    """The name of an output; a + in front continues it. Raises SettingsError."""
    if not text.removeprefix("+"):
        raise SettingsError(f"{text!r} is no name of a file")
    return text


def parse_certificate(text: str) -> tuple[str, Path]:
    """[PATTERN=]FILE. A slash belongs to a file, so what stands behind it is no pattern's end. Raises SettingsError."""
    pattern, equals, file = text.partition("=")
    if not equals or "/" in pattern:
        pattern, file = "", text
    return pattern, parse_path(parse_file(file))


def parse_tls_version(text: str) -> Sided:
    """[SIDE=]VERSION. Raises SettingsError."""
    side, version = parse_sided(text)
    return side, one_of("1.0", "1.1", "1.2", "1.3")(version)


def parse_pattern(text: str) -> str:
    """A regular expression for hosts. Raises SettingsError."""
    import re

    from ..filter.regex import compile_search  # only patterns of hosts need it
    from ..filter.words import ArgumentError

    if not text:
        raise SettingsError("'' is found in the name of every host; to mean that, give '.'")
    try:
        compile_search(text, re.IGNORECASE, lambda _: None)
    except ArgumentError as error:
        raise SettingsError(f"{text!r} is no regular expression: {error}, at character {error.offset + 1}") from None
    return text


def parse_redact(text: str) -> tuple[Rule, ...]:
    """Rules of --redact. Raises SettingsError."""
    from ..redaction import parse_rules  # only --redact needs it

    return parse_rules(text)


def some_of(*words: str) -> Callable[[str], tuple[str, ...]]:
    """What parses some of these words with commas between them, and raises SettingsError for any other."""

    def parse(text: str) -> tuple[str, ...]:
        return tuple(map(one_of(*words), text.split(",")))

    return parse


def parse_save(words: tuple[str, str]) -> tuple[str, str]:
    """A file and a filter. Raises SettingsError."""
    return parse_file(words[0]), words[1]


def one_of(*words: str) -> Callable[[str], str]:
    """What parses one of these words, and raises SettingsError for any other."""

    def parse(text: str) -> str:
        if text not in words:
            raise SettingsError(f"{text!r} is none of {', '.join(words)}")
        return text

    return parse


def parse_detail(text: str) -> int:
    """How much of a flow is printed, 0 to 4. Raises SettingsError."""
    return int(one_of("0", "1", "2", "3", "4")(text))
