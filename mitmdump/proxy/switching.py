"""What follows when a request and its response were the last of HTTP on both sides: 101, or its like in HTTP/2."""

from __future__ import annotations

from contextlib import suppress
from time import time
from typing import TYPE_CHECKING

from ..errors import PeerError
from ..model.flow import Flow
from .exchange import Exchange
from .http2server import ServerLane
from .relay import pass_through, relay
from .upstreams import Upstream

if TYPE_CHECKING:
    from .client import Client
    from .http2client import ClientLane


async def relay_switched(client: Client | ClientLane, exchange: Exchange) -> None:
    """Relay what the two sides of an exchange speak now, until both have ended."""
    server, services = exchange.switched, client.services
    assert isinstance(server, Upstream | ServerLane)
    (ours, first), (theirs, reply) = client.leave_http(), server.leave_http()
    if not exchange.recorded:
        await pass_through(services, ours, theirs, first, reply)
    elif exchange.flow.websocket:
        from .websocket import WebSocketRelay  # and with it a library that few runs need

        await WebSocketRelay(services, exchange.flow, exchange.tap, ours, theirs).run(first, reply)
    else:
        flow = Flow("tcp", client.connection, server.connection, timestamp_start=time())
        flow.metadata["upgraded_from"] = f"{exchange.flow.id:016x}"
        await relay(services, flow, ours, theirs, first, reply)
    if isinstance(server, ServerLane):
        with suppress(PeerError):
            await server.drain()
        server.close()
