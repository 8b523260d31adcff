"""Reading what older versions of mitmdump wrote: one small step per version, a table of them.

`STEPS[n]` is a function (frame type, decoded content) -> content. It takes the content of one frame as version n wrote
it and returns it as version n + 1 would have; to leave a type alone it returns what it got. `upgrade` walks the steps
up to the version that `schema` reads, so `schema` knows one version only, the newest.

A step is never edited once the version after it is in anybody's hands: its golden file in tests/golden/ proves that
it still works. Version 1 is the first, so there is no step yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import FlowFileError

VERSION = 1

STEPS: dict[int, Callable[[int, Any], Any]] = {}


def check(version: int) -> None:
    """Raises FlowFileError for a version that this program does not know yet."""
    if version > VERSION:
        raise FlowFileError(
            f"its format is version {version}, and this mitmdump reads up to version {VERSION}. "
            "Read it with a newer mitmdump"
        )


def upgrade(version: int, code: int, content: Any) -> Any:
    """The decoded content of a frame of type `code` from a file of `version`, as VERSION would have written it."""
    for step in range(version, VERSION):
        content = STEPS[step](code, content)
    return content
