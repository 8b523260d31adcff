"""What an option is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option. `metavar` names its arguments ("" for a switch), `parse` turns them into the value of `field`.

    A switch sets its field to `value`.
    """

    flags: str
    field: str
    help: str
    metavar: str = ""
    parse: Callable[[Any], Any] = str
    value: Any = True
    multiple: bool = False

    @property
    def name(self) -> str:
        """The name of its text."""
        return self.field or self.flags.split("--")[1].replace("-", "_")


# By the heading that they stand under.
Groups = dict[str, tuple[Option, ...]]
