"""Every setting, in one frozen dataclass; and the texts of sizes and durations, parsed or refused.

Sizes: k, M and G (either case, with or without a B) are powers of 1024. Durations: ms, s, m, h; a bare number is
seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .errors import SettingsError

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)\s*([kmgKMG]?)[iI]?[bB]?\Z")
_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]+)?)\s*(ms|s|m|h|)\Z")
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DURATION_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_size(text: str) -> int:
    """A size in bytes. Raises SettingsError."""
    match = _SIZE.match(text)
    if not match:
        raise SettingsError(f"{text!r} is no size: give a number of bytes, or one with k, M or G, such as 64k")
    return int(float(match[1]) * _SIZE_UNITS[match[2].lower()])


def parse_duration(text: str) -> float:
    """A duration in seconds. Raises SettingsError."""
    match = _DURATION.match(text)
    if not match:
        raise SettingsError(f"{text!r} is no duration: give a number with ms, s, m or h, such as 500ms or 2m")
    return float(match[1]) * _DURATION_UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. Durations are seconds, sizes bytes; filters are still text.

    The time-outs, and why they are what they are: `timeout_connect` is below the two minutes after which Linux gives up
    by itself, so that a client learns why. `timeout_head` ends who sends a request head or a TLS handshake drop by drop
    (slowloris). `timeout_idle` is how long a client's connection may stay without a request, more than browsers keep
    theirs (Chromium 300). `timeout_quiet` is for everything that has begun: a server at a breakpoint, a long poll or a
    WebSocket may well be quiet for long.

    `max_connections` is more than a person or a test suite opens; an intercepted client with its server takes some
    70 KiB, so 2,000 take 140 MiB. Who is above it waits, nobody is refused. The limits on heads have their reasons in
    `wire.http1.Limits`.
    """

    write: tuple[str, ...] = ()
    save: tuple[tuple[str, str], ...] = ()
    read: tuple[str, ...] = ()
    server: bool = True
    filter: str | None = None
    case_sensitive: bool = False
    flow_detail: int = 1
    quiet: bool = False
    verbose: bool = False
    color: Literal["auto", "always", "never"] = "auto"
    fsync: bool = False
    listen_hosts: tuple[str, ...] = ("127.0.0.1", "::1")
    listen_port: int = 8080
    ready_file: Path | None = None
    confdir: Path = field(default_factory=lambda: Path("~/.mitmdump").expanduser())
    ca_key: Literal["ec", "rsa"] = "ec"
    upstream_cert: bool = True
    ssl_insecure: bool = False
    upstream_ca: Path | None = None
    block_global: bool = True
    max_connections: int = 2000
    max_header_size: int = 64 * 1024
    max_header_count: int = 1000
    timeout_connect: float = 20.0
    timeout_head: float = 60.0
    timeout_idle: float = 330.0
    timeout_quiet: float = 3600.0
    timeout_stop: float = 5.0
    debug: bool = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """The flow files to be written."""
        return (*self.write, *(file for file, _ in self.save))
