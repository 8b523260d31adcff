"""CONNECT: a client asks for a tunnel, and we look at what it says in there.

TLS is intercepted, in four steps. The ClientHello is read while it is still plain bytes. With the name and the offers
in it we connect to the server, whose certificate tells under which names it is known. A leaf with those names is signed
by our CA. Only then is the client's handshake taken up, with the bytes that were peeked. So there is one upstream
connection, never two, and a client that trusts our CA sees the server's own names.

If the server cannot be reached, or its certificate is not accepted, the client gets its handshake all the same, and a
page that says what went wrong in answer to its request.

Anything else is relayed as it is. A client that keeps silent may be waiting for the server to speak first, as in SMTP
or SSH; after `GREETING_SECONDS` it is given the chance.
"""

from __future__ import annotations

import asyncio
from time import time
from typing import TYPE_CHECKING

from ..errors import CertificateError, ConnectError, PeerError, StreamError, TlsError
from ..filter import Stage
from ..model.connection import Connection
from ..model.flow import Error, Flow
from ..net.stream import Stream
from ..tls.clienthello import ClientHello, parse_client_hello, starts_like_tls
from ..tls.names import LeafNames
from ..wire.events import ResponseHead
from .relay import relay
from .target import Origin
from .upstreams import HTTP_1, Upstreams

if TYPE_CHECKING:
    from .client import Client

GREETING_SECONDS = 0.5
ESTABLISHED = ResponseHead(200, [], b"Connection established")


async def tunnel(client: Client, origin: Origin) -> None:
    """Do what a client that was answered a CONNECT to `origin` wants to do in there, until its end.

    Raises StreamError when the client is gone before it says anything.
    """
    stream = client.stream
    connection = Connection("server", address=(origin.host, origin.port))
    plain = Origin("tcp", origin.host, origin.port)
    opened: Stream | None = None
    try:
        if not await _speaks_within(stream, GREETING_SECONDS):
            opened = await client.upstreams.open(plain, connection)
            await _either_speaks(stream, opened)
        if (opened is None or not (opened.has_data or opened.ended)) and await _is_tls(client):
            await _intercept(client, origin, connection, opened)
            return
        opened = opened or await client.upstreams.open(plain, connection)
    except ConnectError as error:
        _record_failure(client, connection, error)
        stream.close()
        return
    except BaseException:
        if opened:
            opened.close()
        raise
    flow = Flow("tcp", client.connection, connection, timestamp_start=time())
    await relay(client.services, flow, stream, opened, b"", b"")


async def _speaks_within(stream: Stream, seconds: float) -> bool:
    """Does the client send (or end) anything in this time?"""
    try:
        async with asyncio.timeout(seconds):
            await stream.peek(1)
    except TimeoutError:
        return False
    return True


async def _either_speaks(client: Stream, server: Stream) -> None:
    """Wait until one of the two has sent something, or has ended."""
    waits = {asyncio.ensure_future(stream.peek(1)) for stream in (client, server)}
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)  # what broke is broken for the next who reads, too


async def _is_tls(client: Client) -> bool:
    data = await client.stream.peek(1)
    while (answer := starts_like_tls(data)) is None and not client.stream.ended:
        data = await client.stream.peek(len(data) + 1)
    return bool(answer)


def _record_failure(client: Client, connection: Connection, error: PeerError) -> None:
    """A tunnel that never came to be is a flow, too: a raw one with an error."""
    now = time()
    flow = Flow("tcp", client.connection, connection, error=Error(str(error), now), timestamp_start=now)
    flow.timestamp_end = now
    tap = client.services.outlet.tap(flow)
    tap.reached(Stage.REQUEST_HEAD)
    tap.finish()


async def _intercept(client: Client, origin: Origin, connection: Connection, opened: Stream | None) -> None:
    """TLS to the server first, then to the client, then HTTP."""
    asked = origin.host
    upstreams = None
    try:
        hello = await _read_hello(client)
        asked = hello.sni or origin.host
        upstreams = await _reach(client, hello, origin, connection, opened)
        await _be_the_server(client, hello, asked, connection)
    except (TlsError, StreamError, CertificateError) as error:
        advice = (
            f". It has to trust {client.services.tls.ca_file}" if isinstance(error, TlsError) and error.distrust else ""
        )
        client.services.warn(f"no TLS with {client.name} as {asked}: {error}{advice}")
        _record_failure(client, connection, error)
        if upstreams:
            upstreams.close()
        return
    client.upstreams = upstreams
    await client.enter(origin)


async def _read_hello(client: Client) -> ClientHello:
    """The client's first message, which stays in the stream for OpenSSL. Raises TlsError or StreamError."""
    stream = client.stream
    stream.patience, stream.forgiving = client.services.settings.timeout_head, False
    data = await stream.peek(1)
    while (hello := parse_client_hello(data)) is None:
        if stream.ended:
            raise TlsError("the client closed the connection inside its ClientHello")
        data = await stream.peek(len(data) + 1)
    return hello


async def _reach(
    client: Client, hello: ClientHello, origin: Origin, connection: Connection, opened: Stream | None
) -> Upstreams:
    """The server, ready for the client's first request, or the reason why it cannot be reached."""
    upstreams = Upstreams(client.services, hello)
    if not client.services.settings.upstream_cert:
        if opened is not None:
            opened.close()
        return upstreams
    try:
        if opened is None:
            opened = await upstreams.open(origin, connection)
        else:
            await upstreams.secure(opened, origin, connection)
        upstreams.keep(upstreams.adopt(opened, connection, origin))
    except ConnectError as error:
        upstreams.failure = (connection, error)
    return upstreams


async def _be_the_server(client: Client, hello: ClientHello, asked: str, connection: Connection) -> None:
    """The client's handshake, as the server that it asked for. Raises TlsError, StreamError or CertificateError."""
    failed = connection.timestamp_tls_setup is None
    alpn = HTTP_1 if failed and HTTP_1 in hello.alpn else connection.alpn
    names = LeafNames.from_chain(connection.certificate_list, asked)
    session = client.services.tls.session_for_client(names, alpn, time())
    try:
        await client.stream.start_tls(session)
    finally:
        session.describe(client.connection)
        client.connection.sni, client.connection.alpn_offers = hello.sni, hello.alpn
    client.connection.timestamp_tls_setup = time()
