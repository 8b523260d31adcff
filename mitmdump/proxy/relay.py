"""Bytes both ways between two streams: recorded as a raw connection, a flow of kind "tcp", or passed through untouched.

Each direction is a loop of its own, so each has its own back-pressure and its own end: a half-closed connection stays
half open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import time

from ..errors import PeerError, StreamError
from ..filter import Stage
from ..model.flow import Error, Flow
from ..model.message import Message
from ..net.stream import Stream
from .services import Services

# Called with who sent some bytes (the client?), and with them.
Note = Callable[[bool, bytes], object]
# The same, where handlers look at them: gives what is to be passed on.
Offer = Callable[[bool, bytes], Awaitable[bytes]]


async def relay(services: Services, flow: Flow, client: Stream, server: Stream, first: bytes, reply: bytes) -> None:
    """Relay until both sides have ended, then close both; `first` and `reply` were read of them already."""
    tap, hooks = services.outlet.tap(flow), services.hooks
    tap.reached(Stage.REQUEST_HEAD)

    def note(from_client: bool, data: bytes) -> None:
        tap.message(Message(from_client, "raw", time(), data))

    async def offer(from_client: bool, data: bytes) -> bytes:
        message = Message(from_client, "raw", time(), data)
        for hook in hooks.tcp_message:
            await hook(flow, message)
            if message.dropped:
                return b""
        tap.message(message)
        return message.content

    try:
        seen = offer if hooks.tcp_message else None
        if error := await _both_ways(services, client, server, first, reply, note, seen):
            flow.error = Error(str(error), time())
            for hook in hooks.error:
                await hook(flow)
    except asyncio.CancelledError:
        flow.error = Error("the proxy was stopped before the connection was closed", time())
        raise
    finally:
        flow.timestamp_end = time()
        tap.finish()


async def pass_through(services: Services, client: Stream, server: Stream, first: bytes, reply: bytes) -> None:
    """The same, but that nobody looks: only that it happened is counted."""
    services.outlet.pass_through()
    if error := await _both_ways(services, client, server, first, reply, None):
        services.debug(f"while passing a connection through: {error}")


async def _both_ways(
    services: Services,
    client: Stream,
    server: Stream,
    first: bytes,
    reply: bytes,
    note: Note | None,
    offer: Offer | None = None,
) -> PeerError | None:
    """Relay until both sides have ended, then close both; gives what broke them, if something did."""
    for stream in (client, server):
        stream.patience, stream.forgiving = services.settings.timeout_quiet, True
    broken: PeerError | None = None
    try:
        async with asyncio.TaskGroup() as directions:
            directions.create_task(_pass(client, server, first, note, offer, from_client=True))
            directions.create_task(_pass(server, client, reply, note, offer, from_client=False))
    except* PeerError as errors:
        error = errors.exceptions[0]
        assert isinstance(error, PeerError)
        broken = error
        for stream in (client, server):  # what broke on one side breaks on the other, or it would look complete
            stream.abort(StreamError(str(error)))
    finally:
        client.close()
        server.close()
    return broken


async def _pass(
    source: Stream, sink: Stream, data: bytes, note: Note | None, offer: Offer | None, *, from_client: bool
) -> None:
    """One direction, until its end, which is passed on as well."""
    data = data or await source.read()
    while data:
        if offer:
            data = await offer(from_client, data)
        elif note:
            note(from_client, data)
        if data:
            sink.write(data)
        if sink.congested:
            await sink.drain()
        data = await source.read()
    sink.write_eof()
