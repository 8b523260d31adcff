"""Bytes both ways between two streams, recorded as a raw connection: a flow of kind "tcp".

Each direction is a loop of its own, so each has its own back-pressure and its own end: a half-closed connection stays
half open.
"""

from __future__ import annotations

import asyncio
from time import time

from ..errors import PeerError, StreamError
from ..filter import Stage
from ..model.flow import Error, Flow
from ..model.message import Message
from ..net.stream import Stream
from ..sinks.tap import AnyTap
from .services import Services


async def relay(services: Services, flow: Flow, client: Stream, server: Stream, first: bytes, reply: bytes) -> None:
    """Relay until both sides have ended, then close both; `first` and `reply` were read of them already."""
    client.patience = server.patience = services.settings.timeout_quiet
    tap = services.outlet.tap(flow)
    tap.reached(Stage.REQUEST_HEAD)
    try:
        try:
            async with asyncio.TaskGroup() as directions:
                directions.create_task(_pass(tap, client, server, first, from_client=True))
                directions.create_task(_pass(tap, server, client, reply, from_client=False))
        except* PeerError as errors:
            error = errors.exceptions[0]
            flow.error = Error(str(error), time())
            for stream in (client, server):  # what broke on one side breaks on the other, or it would look complete
                stream.abort(StreamError(str(error)))
    except asyncio.CancelledError:
        flow.error = Error("the proxy was stopped before the connection was closed", time())
        raise
    finally:
        flow.timestamp_end = time()
        tap.finish()
        client.close()
        server.close()


async def _pass(tap: AnyTap, source: Stream, sink: Stream, data: bytes, *, from_client: bool) -> None:
    """One direction, until its end, which is passed on as well."""
    data = data or await source.read()
    while data:
        tap.message(Message(from_client, "raw", time(), data))
        sink.write(data)
        if sink.congested:
            await sink.drain()
        data = await source.read()
    sink.write_eof()
