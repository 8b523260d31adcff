"""A stream and the other end of its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mitmdump.net.stream import Stream, Streams

from .peers import Peer, connected
from .pki import make
from .tls import make_client, make_server

IDENTITY = make("a.test")


async def open_pair(streams: Streams | None = None, *, buffers: int = 0) -> tuple[Stream, Peer]:
    theirs, ours = connected(buffers=buffers)
    streams = Streams() if streams is None else streams
    loop = asyncio.get_running_loop()
    _, stream = await loop.connect_accepted_socket(lambda: Stream("client", streams), ours)
    return stream, Peer(theirs)


async def open_tls_pair() -> tuple[Stream, Peer]:
    stream, peer = await open_pair()
    await asyncio.gather(stream.start_tls(make_server(IDENTITY)), peer.starts_tls(make_client()))
    return stream, peer


async def pass_round() -> None:
    """Let everything happen that is ready to."""
    for _ in range(3):
        await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)
