"""A client's connection to one server, by CONNECT or redirected: we look at what it says in there.

TLS is intercepted, in four steps. The ClientHello is read while it is still plain bytes. With the name and the offers
in it we connect to the server, whose certificate tells under which names it is known. A leaf with those names is signed
by our CA. Only then is the client's handshake taken up, with the bytes that were peeked. So there is one upstream
connection, never two, and a client that trusts our CA sees the server's own names. What a server was like a moment ago
it is expected to be still (`known`); then nobody waits for the other's handshake.

Which version of HTTP is spoken (ALPN) is for the server to say, out of what the client offers and we speak: to the
client we say what the server has said to us. Where a server has changed its mind since a moment ago, each of the two is
spoken to in its own version.

If the server cannot be reached, or its certificate is not accepted, the client gets its handshake all the same, and a
page that says what went wrong in answer to its request.

HTTP is understood without TLS, too; anything else is relayed as it is. A client that keeps silent may be waiting for
the server to speak first, as in SMTP or SSH; after `GREETING_SECONDS` it is given the chance.
"""

from __future__ import annotations

import asyncio
from time import time
from typing import TYPE_CHECKING

from ..errors import CertificateError, ConnectError, PeerError, RemoteError, StreamError, TlsError
from ..filter import Stage
from ..model.connection import Connection
from ..model.flow import Error, Flow
from ..model.url import is_address, join_host_port
from ..net.stream import Stream
from ..tls.clienthello import ClientHello, parse_client_hello, starts_like_tls
from ..tls.names import LeafNames
from ..wire.events import RequestHead, ResponseHead
from ..wire.head import starts_like_http, starts_like_http2
from .handled import new_exchange
from .known import Known
from .policy import PINNED_SECONDS, Treatment, names_of
from .relay import pass_through, relay
from .target import Origin, connect_target
from .upstreams import HTTP_1, Upstreams, alpn_offer

if TYPE_CHECKING:
    from .client import Client
    from .services import Services

GREETING_SECONDS = 0.5
ESTABLISHED = ResponseHead(200, [], b"Connection established")


async def answer_connect(client: Client, head: RequestHead) -> None:
    """Answer a CONNECT, and go on in the tunnel. Raises StreamError when the client is gone."""
    try:
        origin = connect_target(head)
        if head.framing:
            raise RemoteError("the client sent CONNECT with a body", 400)
    except RemoteError as error:
        await new_exchange(client).refuse(error, head)
        return
    client.send(ESTABLISHED)
    await client.flush()
    if rest := client.codec.rest():
        client.stream.unread(rest)
    await tunnel(client, origin)


async def tunnel(client: Client, origin: Origin) -> None:
    """Do what a client that was answered a CONNECT to `origin` wants to do in there, until its end.

    Raises StreamError when the client is gone before it says anything.
    """
    stream, services = client.stream, client.services
    connection = Connection("server", address=(origin.host, origin.port))
    plain = Origin("tcp", origin.host, origin.port)
    names = names_of(origin.host, origin.port)
    opened: Stream | None = None
    try:
        if not services.onboards(origin.host):
            if services.policy.ignores(names):
                await _pass(client, origin, connection, None)
                return
            if not await _sends_within(stream, 1, GREETING_SECONDS):
                opened = await client.upstreams.open(plain, connection)
                await _either_speaks(stream, opened)
        if opened is None or not (opened.has_data or opened.ended):
            if await _is_tls(client):
                await _intercept(client, origin, connection, opened)
                return
            if services.policy.treatment(names) is not Treatment.RAW and await speaks_http(client):
                origin = origin._replace(scheme="http")
                client.upstreams.prior_knowledge = starts_like_http2(await stream.peek(1))
                if opened:
                    client.upstreams.keep(client.upstreams.adopt(opened, connection, origin))
                await client.enter(origin)
                return
        opened = opened or await client.upstreams.open(plain, connection)
        if services.policy.treatment([*names, *_address_of(connection)]) is Treatment.UNTOUCHED:
            await _pass(client, origin, connection, opened)
            return
    except ConnectError as error:
        if services.policy.treatment(names) is not Treatment.UNTOUCHED:
            record_failure(client, connection, error)
        stream.close()
        return
    except BaseException:
        if opened:
            opened.close()
        raise
    flow = Flow("tcp", client.connection, connection, timestamp_start=time())
    await relay(services, flow, stream, opened, b"", b"")


async def _pass(client: Client, origin: Origin, connection: Connection, opened: Stream | None) -> None:
    """Pass a connection through. That it cannot be made is nobody's business either."""
    services = client.services
    try:
        opened = opened or await client.upstreams.open(origin._replace(scheme="tcp"), connection)
    except ConnectError as error:
        services.debug(f"while passing a connection through: {error}")
        client.stream.close()
        return
    services.debug(f"passing {client.name} through to {join_host_port(origin.host, origin.port)}")
    await pass_through(services, client.stream, opened, b"", b"")


def _address_of(connection: Connection) -> list[str]:
    """What a server is called once we are connected to it."""
    return names_of(*connection.peername) if connection.peername else []


async def _sends_within(stream: Stream, count: int, seconds: float) -> bool:
    """Does the client send so many bytes (or end) in this time?"""
    try:
        async with asyncio.timeout(seconds):
            await stream.peek(count)
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


async def speaks_http(client: Client) -> bool:
    """Does the client send an HTTP request? What could still become one is waited for, but a first word not for long:
    the client of another protocol may be waiting for an answer to it.
    """
    data = await client.stream.peek(1)
    while (answer := starts_like_http(data)) is None and not client.stream.ended:
        seconds = client.services.settings.timeout_head if b" " in data else GREETING_SECONDS
        if not await _sends_within(client.stream, len(data) + 1, seconds):
            return False
        data = await client.stream.peek(1)
    return bool(answer) or (client.services.settings.http2 and starts_like_http2(data))


def record_failure(client: Client, connection: Connection, error: PeerError) -> None:
    """A tunnel that never came to be is a flow, too: a raw one with an error."""
    now = time()
    flow = Flow("tcp", client.connection, connection, error=Error(str(error), now), timestamp_start=now)
    flow.timestamp_end = now
    tap = client.services.outlet.tap(flow)
    tap.reached(Stage.REQUEST_HEAD)
    tap.finish()


async def _intercept(client: Client, origin: Origin, connection: Connection, opened: Stream | None) -> None:
    """TLS to the server and to the client, in this order or at once, then HTTP."""
    asked, hello = origin.host, None
    try:
        hello = await _read_hello(client)
        asked = hello.sni or origin.host
        treatment, reached = await _treatment(client, hello, origin, connection, opened)
        if treatment is Treatment.INTERCEPT:
            client.upstreams = await _handshakes(client, hello, origin, connection, reached)
            client.upstreams.settle(client.connection.alpn)
        elif isinstance(reached, ConnectError):
            raise reached
        elif treatment is Treatment.RAW:
            await _intercept_raw(client, hello, origin, connection, reached)
            return
        else:
            await _pass(client, origin, connection, reached)
            return
    except (TlsError, StreamError, CertificateError) as error:
        _explain(client, asked, error, seen=hello is not None)
        record_failure(client, connection, error)
        return
    await client.enter(origin)
    if client.stream.left and not client.asked:
        _look_back(client, asked)


async def _treatment(
    client: Client, hello: ClientHello, origin: Origin, connection: Connection, opened: Stream | None
) -> tuple[Treatment, Stream | ConnectError | None]:
    """What becomes of a TLS connection; and what came of connecting to the server, if it took that to decide."""
    services = client.services
    names, asked = names_of(origin.host, origin.port, hello.sni), hello.sni or origin.host
    if services.onboards(asked):
        return Treatment.INTERCEPT, opened
    if asked in services.refusals or services.policy.ignores(names):
        return Treatment.UNTOUCHED, opened
    if not services.policy:
        return Treatment.INTERCEPT, opened
    reached: Stream | ConnectError | None = opened
    if opened is None and not is_address(origin.host):
        try:
            reached = await client.upstreams.open(origin._replace(scheme="tcp"), connection)
        except ConnectError as error:
            reached = error
    return services.policy.treatment([*names, *_address_of(connection)]), reached


def _explain(client: Client, asked: str, error: PeerError, *, seen: bool) -> None:
    """Say why there is no TLS with a client. `seen`: it may have seen our certificate."""
    services = client.services
    distrust = isinstance(error, TlsError) and error.distrust
    what = f"no TLS with {client.name} as {asked}: {error}"
    left = seen and isinstance(error, StreamError) and client.stream.left
    if (distrust or left) and services.refused(asked, str(error), certain=distrust):
        services.warn(f"{what}. {asked} is passed through from now on (--fail-open)")
    else:
        services.warn(f"{what}. It has to trust {services.tls.ca_file}" if distrust else what)


def _look_back(client: Client, asked: str) -> None:
    """A client has left without a request: because of our certificate? Some look at it after the handshake only."""
    services, error = client.services, client.stream.error
    distrust = isinstance(error, TlsError) and error.distrust
    stayed = time() - (client.connection.timestamp_tls_setup or 0)
    if not distrust and stayed > PINNED_SECONDS:
        return
    reason = str(error) if distrust else "the client closed the connection right after the handshake"
    if services.refused(asked, reason, certain=distrust):
        services.warn(
            f"no request from {client.name} to {asked}: {reason}. {asked} is passed through from now on (--fail-open)"
        )


async def _intercept_raw(
    client: Client, hello: ClientHello, origin: Origin, connection: Connection, opened: Stream | None
) -> None:
    """TLS to the server, with all that the client offers, and then to the client; what is inside is not understood.

    Raises ConnectError, TlsError or StreamError.
    """
    upstreams = Upstreams(client.services, hello, hello.alpn)
    if opened is None:
        opened = await upstreams.open(origin, connection)
    else:
        await upstreams.secure(opened, origin, connection)
    asked = hello.sni or origin.host
    try:
        await _be_the_server(client, hello, asked, _found(client.services, connection, hello, asked))
    except BaseException:
        opened.close()
        raise
    flow = Flow("tcp", client.connection, connection, timestamp_start=time())
    await relay(client.services, flow, client.stream, opened, b"", b"")


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


async def _handshakes(
    client: Client, hello: ClientHello, origin: Origin, connection: Connection, opened: Stream | ConnectError | None
) -> Upstreams:
    """The handshakes with both sides. Raises TlsError, StreamError or CertificateError where the client's fails."""
    services, asked = client.services, hello.sni or origin.host
    if services.onboards(asked):
        await _be_the_server(client, hello, asked, _found(services, connection, hello, asked))
        return Upstreams(services, hello)
    stands_in = services.recorded if not isinstance(opened, Stream) else None
    offers = alpn_offer(hello, http2=services.settings.http2)
    if stands_in and (recorded := stands_in.server(asked, origin.port, offers)):
        await _be_the_server(client, hello, asked, recorded)
        return Upstreams(services, hello)
    server = (origin, hello.sni, hello.alpn)
    known = services.known.get(server, time()) if services.settings.upstream_cert else None
    reaching = asyncio.create_task(_reach(client, hello, origin, connection, opened))
    try:
        if known is None:
            await reaching
        await _be_the_server(client, hello, asked, known or _found(services, connection, hello, asked))
        upstreams = await reaching
        found = _found(services, connection, hello, asked)
    except BaseException:
        await _give_up(reaching)
        if isinstance(opened, Stream):  # where that was cancelled before it began
            opened.close()
        raise
    if connection.verification == "ok" and known in (None, found):
        services.known.put(server, found, time())
    else:
        services.known.forget(server)
    return upstreams


async def _give_up(reaching: asyncio.Task[Upstreams]) -> None:
    """A client that is lost needs no server."""
    reaching.cancel()
    await asyncio.wait({reaching})
    if not reaching.cancelled() and not reaching.exception():
        reaching.result().close()


async def _reach(
    client: Client, hello: ClientHello, origin: Origin, connection: Connection, opened: Stream | ConnectError | None
) -> Upstreams:
    """The server, ready for the client's first request, or the reason why it cannot be reached."""
    upstreams = Upstreams(client.services, hello)
    if isinstance(opened, ConnectError):
        upstreams.failure = (connection, opened)
        return upstreams
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
        upstreams.failure = (connection, error.again())
    return upstreams


def _found(services: Services, connection: Connection, hello: ClientHello, asked: str) -> Known:
    """What a server is like, or what we have to be like if it could not be reached. Raises CertificateError."""
    alpn = connection.alpn
    if connection.timestamp_tls_setup is None:
        offers = alpn_offer(hello, http2=services.settings.http2)
        is_open = not services.settings.upstream_cert and HTTP_1 in offers  # which every server speaks
        alpn = HTTP_1 if is_open else next(iter(offers), None)
    return Known(LeafNames.from_chain(connection.certificate_list, asked), alpn)


async def _be_the_server(client: Client, hello: ClientHello, asked: str, server: Known) -> None:
    """The client's handshake, as the server that it asked for. Raises TlsError or StreamError."""
    if client.stream.ended:
        raise TlsError("the client closed the connection before its handshake could be answered")
    session = client.services.tls.session_for_client(server.names, server.alpn, time(), asked)
    try:
        await client.stream.start_tls(session)
    finally:
        session.describe(client.connection)
        client.connection.sni, client.connection.alpn_offers = hello.sni, hello.alpn
    client.connection.timestamp_tls_setup = time()
