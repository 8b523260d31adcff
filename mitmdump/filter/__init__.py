"""The filter language: one expression decides what is printed, written, replayed.

A filter is asked for its verdict at the stages of a flow, and says True, False, or None while it does not know yet. So
what nobody wants is never stored, and what somebody wants is passed on as soon as that is known: `~d example.com` is
decided at the request head, `~c 500` at the response head, `~b error` when the flow is over.

| module | holds |
|---|---|
| `stages` | the stages, and Kleene's logic |
| `words` | cutting a text into tokens; quoting |
| `arguments` | kinds of arguments: what is expected, how it is read |
| `regex` | searches that end |
| `predicates`, `bodies`, `connections`, `certificate` | what operators look at |
| `clues` | what tells without decoding that a flow does not match |
| `operators` | the table of operators |
| `expression` | parsed expressions, and the filter |
| `parser` | from text to filter |

The language itself is loaded when `parse` or `Filter` is first asked for: most runs of the program have no filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .stages import Needs as Needs
from .stages import Stage as Stage

if TYPE_CHECKING:
    from .expression import Filter as Filter
    from .parser import parse as parse


def __getattr__(name: str) -> Any:
    """`Filter` or `parse`, loaded when it is first asked for."""
    if name not in ("Filter", "parse"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import expression, parser

    globals().update(Filter=expression.Filter, parse=parser.parse)
    return globals()[name]
