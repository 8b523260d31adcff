"""JSON Lines: a line for each flow, an object whose keys are those of `facts`. Made for jq and the like; only written.

    mitmdump -nr out.flows --json | jq -r 'select(.status >= 400) | .url'

New keys may come at any time; when one is renamed or changes its meaning, `v` counts up. A string whose bytes are not
all UTF-8 has U+FFFD for the others, and its exact bytes beside it, under the name with `_base64` behind.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from ..errors import FlowFileError
from ..model.flow import Flow
from ..model.message import HttpMessage, Message
from . import facts
from .base import Format
from .bodies import content_of
from .jsontext import base64_pieces, dumps, members, quoted

_START = b'{"v":%d,' % facts.VERSION

# Going back from the end of a file, to its last line.
_STEP = 1024 * 1024


class JsonLines:
    """Flows as lines. Without `contents` they lack what may be large: bodies and messages."""

    tail = b""

    def __init__(self, *, contents: bool = True) -> None:
        self.left_out: Counter[str] = Counter()  # nothing: all kinds of flows have their place
        self._contents = contents

    def head(self) -> bytes:
        """A file has none."""
        return b""

    def flow(self, flow: Flow) -> Iterator[bytes]:
        """The line of a flow."""
        yield b"{" + members(facts.told(facts.FLOW, flow))
        if flow.request is not None:
            yield from self._message("request", facts.REQUEST, flow.request)
        if flow.response is not None:
            yield from self._message("response", facts.RESPONSE, flow.response)
        if self._contents:
            yield from _messages(flow)
        yield b"}\n"

    def resume(self, file: BinaryIO) -> int:
        """Behind the last whole line."""
        file.seek(0)
        if not recognise(file.read(len(_START))):
            raise FlowFileError("it does not hold flows as JSON Lines of this version")
        return _end_of_lines(file)

    def _message(self, name: str, table: facts.Table, message: HttpMessage) -> Iterator[bytes]:
        yield b',"%s":{' % name.encode() + members(facts.told(table, message))
        content = content_of(message) if self._contents else None
        if content is not None:
            if content.problem:
                yield b',"problem":' + dumps(content.problem)
            yield b',"base64":' if content.charset is None else b',"text":'
            yield from content.json()
        yield b"}"


def recognise(head: bytes) -> bool:
    """Does a file that begins so hold lines of ours?"""
    return head.startswith(_START)


def _messages(flow: Flow) -> Iterator[bytes]:
    before = b',"messages":['
    for message in flow.messages:
        yield before + b"{" + members(facts.told(facts.MESSAGE, message))
        yield from _content(message)
        yield b"}"
        before = b","
    if before == b",":
        yield b"]"


def _content(message: Message) -> Iterator[bytes]:
    try:
        text = message.content.decode() if message.kind == "text" else None
    except UnicodeDecodeError:
        text = None
    if text is not None:
        yield b',"text":' + dumps(text)
    else:
        yield b',"base64":'
        yield from quoted(base64_pieces([message.content]))


def _end_of_lines(file: BinaryIO) -> int:
    """Where the last line ends that has an end."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - _STEP, 0)
        file.seek(start)
        last = file.read(end - start).rfind(b"\n")
        if last >= 0:
            return start + last + 1
        end = start
    return 0


JSONL = Format("JSON Lines", ".jsonl", recognise, None, JsonLines)
