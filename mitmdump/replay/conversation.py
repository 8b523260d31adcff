"""A recorded raw connection again: what the client said, each time after what it had heard before it said it.

A server's bytes come in other pieces each time, so they are counted (`hearing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import time

from ..errors import PeerError
from ..filter import Stage
from ..model.connection import Connection
from ..model.flow import Error, Flow
from ..model.message import Message
from ..net.stream import Stream
from ..proxy.services import Services
from ..proxy.target import Origin
from ..proxy.upstreams import Upstreams
from .hearing import Hearing

_Note = Callable[[bool, bytes], object]


async def converse(services: Services, upstreams: Upstreams, origin: Origin, recorded: Flow, new: Flow) -> None:
    """Replay the raw connection `recorded` as `new`, which goes to the sinks; `new.error` says what went wrong.

    With `settings.replay_timing` the client also waits as long before it speaks as it did.
    """
    new.server_conn = connection = Connection("server", address=(origin.host, origin.port))
    tap = services.outlet.tap(new)
    tap.reached(Stage.REQUEST_HEAD)

    def note(from_client: bool, data: bytes) -> None:
        tap.message(Message(from_client, "raw", time(), data))

    try:
        stream = await upstreams.open(origin, connection)
        hearing = Hearing()
        listening = asyncio.create_task(_listen(stream, hearing, note))
        try:
            await _speak(stream, hearing, recorded, note, services.settings.replay_timing)
            if listening.done():
                listening.result()
        finally:
            listening.cancel()
            await asyncio.wait({listening})
            stream.close()
    except PeerError as error:
        new.error = Error(str(error), time())
    except asyncio.CancelledError as reason:
        new.error = Error(str(reason) or "the replay was stopped before the connection was closed", time())
        raise
    finally:
        new.timestamp_end = time()
        tap.finish()


async def _speak(stream: Stream, hearing: Hearing, recorded: Flow, note: _Note, speed: float | None) -> None:
    """Say what the client said, then hear the rest. Raises StreamError or TlsError."""
    heard, last = 0, recorded.timestamp_start
    for message in recorded.messages:
        if not message.from_client:
            heard += len(message.content)
        else:
            await hearing.until(heard)
            if speed:
                await asyncio.sleep(max(0.0, message.timestamp - last) / speed)
            note(True, message.content)
            stream.write(message.content)
            if stream.congested:
                await stream.drain()
        last = message.timestamp
    await hearing.until(heard)


async def _listen(stream: Stream, hearing: Hearing, note: _Note) -> None:
    """Take what the server says, whenever it does. Raises StreamError or TlsError."""
    try:
        while data := await stream.read():
            note(False, data)
            hearing.add(len(data))
    finally:
        hearing.end()
