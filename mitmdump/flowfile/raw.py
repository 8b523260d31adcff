"""A flow as it stands in a file: the frames that tell of it, undecoded.

Who copies flows from file to file moves these, which costs little and loses nothing: not the order of keys, nor keys
that this program does not know. It works only where nobody has changed the flow on its way.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class RawFlow(NamedTuple):
    """The frames of one flow that is complete.

    `connections`: of those that it names, the id and the content of the CONNECTION frame. `before`: whole frames, those
    that stand before the final one, in order (BODY, MESSAGE, and FLOW frames that are not final); iterating reads them,
    for as long as the file is open. `final`: the content of the final FLOW frame. `place`: where in the file that
    content begins, for `Shelf`; None where the file cannot be read at any place.
    """

    connections: tuple[tuple[int, bytes], ...]
    before: Iterable[bytes]
    final: bytes
    place: int | None = None
