"""The proxy in one process with its clients and servers, which follow a script.

    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(b"GET http://%b/ HTTP/1.1\r\nHost: x\r\n\r\n" % server.name)
        await server.receives(...)

At the end every connection has to be served out without an error of ours.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from time import time
from typing import Any

from OpenSSL import SSL

from mitmdump.filter import parse
from mitmdump.handlers.base import Handler
from mitmdump.handlers.hooks import Hooks
from mitmdump.model.connection import Address
from mitmdump.model.flow import Flow, Part
from mitmdump.model.message import Message
from mitmdump.proxy.client import serve
from mitmdump.proxy.services import Services
from mitmdump.settings import Settings
from mitmdump.sinks.base import Sink
from mitmdump.sinks.tap import Outlet
from mitmdump.tls.authority import Authority
from mitmdump.tls.contexts import Contexts
from mitmdump.tls.session import Session

from .peers import SECONDS, Peer, connected
from .pki import Identity, make_root
from .tls import make_server


class Recording(Sink):
    """Keeps all flows with all their bytes."""

    def __init__(self) -> None:
        self.begun: list[Flow] = []
        self.finished: asyncio.Queue[Recorded] = asyncio.Queue()
        self.running: dict[int, Recorded] = {}

    def begin(self, flow: Flow) -> None:
        self.begun.append(flow)
        self.running[flow.id] = Recorded(flow)

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        self.running[flow.id].bodies[part] += data

    def message(self, flow: Flow, message: Message) -> None:
        self.running[flow.id].messages.append((message.from_client, message.content))
        self.running[flow.id].kinds.append(message.kind)

    def finish(self, flow: Flow) -> None:
        self.finished.put_nowait(self.running.pop(flow.id))


class Recorded:
    """A flow and the bytes that came with it."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.bodies = {Part.REQUEST: bytearray(), Part.RESPONSE: bytearray()}
        self.messages: list[tuple[bool, bytes]] = []
        self.kinds: list[str] = []

    @property
    def request_body(self) -> bytes:
        return bytes(self.bodies[Part.REQUEST])

    @property
    def response_body(self) -> bytes:
        return bytes(self.bodies[Part.RESPONSE])

    @property
    def error(self) -> str:
        return self.flow.error.msg if self.flow.error else ""


class Server:
    """A server that waits for connections."""

    def __init__(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, 0), family=family)
        self.socket.setblocking(False)
        self.host, self.port = self.socket.getsockname()[:2]
        self.name = (f"[{host}]" if ":" in host else host).encode() + b":%d" % self.port

    async def accepts(self) -> Peer:
        """The next connection."""
        sock, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self.socket), SECONDS)
        return Peer(sock)

    def has_nobody_waiting(self) -> bool:
        """Is there no further connection?"""
        try:
            self.socket.accept()
        except BlockingIOError:
            return True
        return False


@cache
def root() -> Identity:
    """The CA of the servers that the proxy trusts."""
    return make_root("Servers")


@cache
def identity(*names: str) -> Identity:
    """A server's certificate that the proxy trusts."""
    return root().issue(*names)


def tls_server(*names: str, alpn: bytes | None = None) -> Session:
    """A server's end of TLS, with a certificate that the proxy trusts."""
    return make_server(identity(*names), alpn=alpn)


@cache
def contexts() -> tuple[Contexts, Authority]:
    """TLS for the proxy, and its CA."""
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority.load_or_create(Path(directory) / "confdir", key_type="ec", now=time())
        trusted = root().write_certificate(Path(directory) / "root.pem")
        return Contexts(authority, upstream_ca=trusted), authority


def trusting() -> SSL.Context:
    """A client's context that trusts our CA only."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.get_cert_store().add_cert(SSL.X509.from_cryptography(contexts()[1].certificate))
    context.set_verify(SSL.VERIFY_PEER)
    return context


class Going:
    """A lookup that says of every connection that it was going there, or that it cannot tell."""

    def __init__(self, destination: Address | OSError) -> None:
        self._destination = destination

    def prepare(self, _listening: socket.socket, /) -> bool:
        return True

    def find(self, _sock: socket.socket) -> Address:
        if isinstance(self._destination, OSError):
            raise self._destination
        return self._destination


class Proxy:
    """A running proxy, without a listener."""

    def __init__(
        self, filter_: str | None, sinks: Sequence[Sink], handlers: Sequence[Handler] = (), **settings: Any
    ) -> None:
        self.sink = Recording()
        self.warnings: list[str] = []
        self.debugs: list[str] = []
        self.failures: list[BaseException] = []
        self.outlet = Outlet(parse(filter_) if filter_ else None, [self.sink, *sinks], self.failures.append)
        self.services = Services(
            Settings(**settings), self.outlet, contexts()[0], self.warnings.append, self.debugs.append
        )
        self.bugs: list[Exception] = []
        self.handle(*handlers)
        self.tasks: list[asyncio.Task[None]] = []
        self._peers: list[Peer] = []
        self._servers: list[Server] = []

    def handle(self, *handlers: Handler) -> None:
        """Have these handlers from now on."""
        self.services.hooks = Hooks(handlers, self.bugs.append)

    async def client(self, *, buffers: int = 0, going_to: Address | OSError | None = None) -> Peer:
        """A new client, connected; as if redirected on its way to some address, if that can be told."""
        theirs, ours = connected(buffers=buffers)
        lookup = Going(going_to) if going_to else None
        self.tasks.append(asyncio.create_task(serve(self.services, ours, lookup)))
        self._peers.append(Peer(theirs))
        return self._peers[-1]

    async def server(self, host: str = "127.0.0.1") -> Server:
        """A new server."""
        self._servers.append(Server(host))
        return self._servers[-1]

    async def flow(self) -> Recorded:
        """The next flow that ends."""
        return await asyncio.wait_for(self.sink.finished.get(), SECONDS)

    async def ends(self) -> None:
        """All clients have been served."""
        done, pending = await asyncio.wait(self.tasks, timeout=SECONDS)
        assert not pending, "a client is still being served"
        for task in done:
            task.result()

    async def close(self) -> None:
        for peer in self._peers:
            peer.closes()
        for server in self._servers:
            server.socket.close()
        for task in self.tasks:
            task.cancel()
        for result in await asyncio.gather(*self.tasks, return_exceptions=True):
            if isinstance(result, Exception):
                raise result


@asynccontextmanager
async def proxying(filter_: str | None = None, *sinks: Sink, **settings: Any) -> AsyncIterator[Proxy]:
    """A proxy with these settings; `handlers` is one of them."""
    proxy = Proxy(filter_, sinks, **settings)
    try:
        yield proxy
    finally:
        await proxy.close()
    assert proxy.sink.finished.empty(), "flows that the test did not look at"
    assert not proxy.bugs, "bugs of handlers that the test did not look at"


async def exchange_begins(proxy: Proxy, request: bytes) -> tuple[Peer, Peer, Server]:
    """A client sends a request, in which NAME stands for the server's name; the server accepts the connection."""
    client, server = await proxy.client(), await proxy.server()
    await client.sends(request.replace(b"NAME", server.name))
    return client, await server.accepts(), server
