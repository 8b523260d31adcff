"""The table of options, out of which come the parser, `--help`, the man page and the settings.

An option turns its text into the value of one field of `Settings`; the functions that do so are in `settings`.

| module | holds |
|---|---|
| `option` | what an option is |
| `capture` | the options of what is recorded, read and printed |
| `replay` | those of replay, both ways |
| `proxy` | those of the proxy |
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..settings import Settings
from ..settings.replay import Latency
from ..settings.texts import parse_duration, parse_size
from .capture import CAPTURE, PRINTING
from .option import Groups, Option
from .proxy import OTHER, PROXY
from .replay import REPLAY

__all__ = ["OPTIONS", "Option", "default_of"]

OPTIONS: Groups = CAPTURE | REPLAY | PRINTING | PROXY | OTHER


def default_of(option: Option) -> str:
    """An option's default as a user would write it, "" where there is none to speak of."""
    if not option.metavar or not option.field or option.multiple:
        return ""
    default: Any = next(f.default for f in fields(Settings) if f.name == option.field)
    if default is None:
        return ""
    if option.field == "confdir":
        return "~/.mitmdump"
    if option.parse is parse_duration:
        return f"{default:g}s"
    if isinstance(default, Latency):
        return "none"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default // 1024}k" if option.parse is parse_size else str(default)
