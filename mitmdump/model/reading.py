"""What every reader of capture files has in common, whatever the format of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from .flow import Flow


class Damage(NamedTuple):
    """A stretch of a file that could not be read: where, how many bytes were skipped, and what is wrong with them."""

    offset: int
    size: int
    reason: str


class FlowSource(Protocol):
    """The flows of a file, in the order in which they stand there; iterating gives each once.

    `name` is what messages call the file. `damage`, `cut_off` (how many flows were delivered without their end) and
    `passed_over` (how many were ruled out undecoded) grow on the way. Only MitmdumpError is raised, whatever the file
    holds; bodies that lie in the file can be read until `close`.
    """

    @property
    def name(self) -> str: ...
    @property
    def damage(self) -> Sequence[Damage]: ...
    @property
    def cut_off(self) -> int: ...
    @property
    def passed_over(self) -> int: ...
    def __iter__(self) -> Iterator[Flow]: ...
    def close(self) -> None:
        """Close the file."""
        ...
