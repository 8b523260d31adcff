"""What a foreign format has to bring: how a file of it is told from others, read, and written flow by flow.

An encoder turns flows into the bytes of one file:

    head   flow flow flow ...   tail

`tail` is what makes a valid file of all that stands before it. Where the file can be written at any place, the tail is
written after each flow and overwritten by the next one, so the file is valid at any time; down a pipe it goes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, Protocol

from ..model.flow import Flow
from ..model.reading import FlowSource


class Encoder(Protocol):
    """Flows to the bytes of one file.

    `left_out` counts what the format cannot hold, under words that finish "... cannot be held by <format>": "raw TCP
    flows". Those who write the file say so at the end.
    """

    tail: bytes
    left_out: Counter[str]

    def head(self) -> bytes:
        """What opens a file."""
        ...

    def flow(self, flow: Flow) -> Iterator[bytes]:
        """A flow with all that it holds, in pieces, so that bodies of any size take little memory; nothing for a flow
        that the format cannot hold.

        Bodies are read from `flow.request.body` and `flow.response.body`, messages from `flow.messages`.
        """
        ...

    def resume(self, file: BinaryIO) -> int:
        """Go on in a file that was written before: the offset at which the next flow is to be written.

        What stands after it (the tail, or a flow that was torn) is to be cut off. Raises FlowFileError where the file
        is none of this format.
        """
        ...


class Format(NamedTuple):
    """A capture format of somebody else. `recognise` is shown the first 4 KiB of a file; `read` takes it from its start
    and gives it a name for messages. None: we only write it.
    """

    name: str
    suffix: str
    recognise: Callable[[bytes], bool]
    read: Callable[[BinaryIO, str], FlowSource] | None
    encoder: Callable[[], Encoder]
