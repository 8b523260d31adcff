"""Transparent mode: clients that a packet filter has sent here, and that know of no proxy.

Where such a client was going takes the place of a CONNECT, and all else is as in a tunnel (`tunnel`). Its requests go
to that address, whatever Host they name. Without a server name in its ClientHello, the server's certificate has to be
for that address.

Refused is what would lead in circles (`net.loops`): our own connections to servers, which have been sent back to us,
and clients that were not sent here but have connected to us themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConnectError
from ..model.connection import Address, Connection
from ..model.url import join_host_port
from ..net.loops import is_own
from .target import Origin
from .tunnel import record_failure, speaks_http, tunnel

if TYPE_CHECKING:
    from .client import Client


async def serve_redirected(client: Client, destination: Address) -> None:
    """Serve a client that was going to `destination`. Raises StreamError or TlsError when it breaks off."""
    services, source = client.services, client.stream.peername
    client.stream.patience = services.settings.timeout_quiet
    where = join_host_port(*destination)
    circle = ConnectError(
        f"the packet filter sends mitmdump's own connections back to it, as this one to {where}: it needs a rule that "
        "leaves them out, such as by a mark (--mark N, and mitmdump --print-rules nft --mark N)"
    )
    if source and services.streams.outgoing.end(source, destination, circle):
        services.warn_once("loop", str(circle))
    elif is_own(destination, services.own_addresses):
        await _refuse(client, destination)
    else:
        await tunnel(client, Origin("https", *destination))


async def _refuse(client: Client, destination: Address) -> None:
    """Tell a client that has connected to us what is wrong, if it speaks HTTP, and the user in any case."""
    services = client.services
    where = join_host_port(*destination)
    error = ConnectError(
        f"the connection from {client.name} was made to {where} itself, where mitmdump takes redirected ones only: "
        "what is missing is a packet filter's rule (mitmdump --print-rules), or a port for clients that know of a "
        "proxy (--mode regular)"
    )
    services.warn_once("direct", str(error))
    connection = Connection("server", address=destination)
    client.stream.patience = services.settings.timeout_head
    if await speaks_http(client):
        client.upstreams.failure = (connection, error)
        await client.enter(Origin("http", *destination))
    else:
        record_failure(client, connection, error)
