"""What a peer may make an HTTP/2 connection hold."""

from __future__ import annotations

from dataclasses import dataclass

from ..http1 import Limits as HeadLimits


@dataclass(frozen=True)
class Limits(HeadLimits):
    """How much a peer may make us hold; `head` and `fields` count what a field block holds when it is decoded.

    `streams`: how many may be open at once (nginx has 128, RFC 9113 section 6.5.2 advises no less than 100).
    `stream_window`: bytes that may be on their way to, or wait for, the reader of one stream: 512 KiB are 5 MB/s over
    100 ms. `window`: those of all streams together, so that 16 readers must be asleep before they hold up the others.
    """

    streams: int = 100
    stream_window: int = 512 * 1024
    window: int = 8 * 1024 * 1024
