"""The other end of a connection, for tests that read like a transcript, and a way to run these tests."""

from __future__ import annotations

import asyncio
import functools
import inspect
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from mitmdump.tls.session import Session

SECONDS = 3.0  # a test that waits longer waits for what will never come
LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
AsyncTest = Callable[..., Awaitable[None]]


def in_loop(test: AsyncTest) -> Callable[..., None]:
    """Run an async test in an event loop, the one that mitmdump runs in."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        _run(LOOPS["uvloop"], test, arguments)

    return run


def in_each_loop(test: AsyncTest) -> Callable[..., None]:
    """Run an async test in each kind of event loop that mitmdump can run in."""

    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop], **arguments: Any) -> None:
        _run(loop_factory, test, arguments)

    functools.update_wrapper(run, test)
    signature = inspect.signature(test)
    factory = inspect.Parameter("loop_factory", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__signature__ = signature.replace(parameters=[factory, *signature.parameters.values()])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop_factory", LOOPS.values(), ids=LOOPS)(run)


def _run(factory: Callable[[], asyncio.AbstractEventLoop], test: AsyncTest, arguments: dict[str, Any]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(3 * SECONDS):
            await test(**arguments)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(bounded())


def connected(*, buffers: int = 0) -> tuple[socket.socket, socket.socket]:
    """The two ends of a TCP connection on loopback; `buffers` bounds what the kernel holds between them."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.socket()
        if buffers:
            for sock in (listening, one):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        one.connect(listening.getsockname())
        other, _ = listening.accept()
    one.setblocking(False)
    other.setblocking(False)
    return one, other


class Peer:
    """One end of a connection, as bytes: `sends` and `receives` are the lines of a transcript."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._session: Session | None = None
        self._plain = b""

    async def sends(self, data: bytes) -> None:
        """Send all of it."""
        if self._session:
            self._session.send(data)
            data = self._session.take()
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receives(self, expected: bytes) -> None:
        """Exactly these bytes come next."""
        got = await self.reads(len(expected))
        assert got == expected

    async def reads(self, size: int) -> bytes:
        """So many bytes, fewer at the end of the connection or if no more come."""
        got = bytearray()
        try:
            async with asyncio.timeout(SECONDS):
                while len(got) < size and (data := await self._receive(size - len(got))):
                    got += data
        except TimeoutError:
            got += b" ...and then nothing"
        return bytes(got)

    async def reads_head(self) -> bytes:
        """Everything up to an empty line."""
        got = b""
        while not got.endswith(b"\r\n\r\n"):
            data = await self.reads(1)
            assert len(data) == 1, got + data
            got += data
        return got

    async def reads_all(self) -> bytes:
        """Everything up to the end of the connection."""
        return await self.reads(1 << 30)

    async def sees_end(self) -> None:
        """The other side ends properly, and nothing comes before that."""
        assert await self.reads(100) == b""
        if self._session:
            assert self._session.closed, "TLS was cut off"

    async def sees_cut(self) -> None:
        """The other side ends inside TLS."""
        assert await self.reads(100) == b""
        assert self._session
        assert not self._session.closed

    async def sees_reset(self) -> None:
        """The connection breaks, whatever else came before."""
        with pytest.raises(ConnectionResetError):
            while await asyncio.wait_for(self._receive(1 << 16), SECONDS):
                pass

    async def starts_tls(self, session: Session) -> None:
        """Do a handshake with the other side."""
        loop = asyncio.get_running_loop()
        self._session = session
        session.handshake()
        while not session.established:
            await loop.sock_sendall(self.socket, session.take())
            data = await asyncio.wait_for(loop.sock_recv(self.socket, 1 << 16), SECONDS)
            assert data, "the connection ended in the handshake"
            self._plain += session.receive(data)
        await loop.sock_sendall(self.socket, session.take())

    async def sends_raw(self, data: bytes) -> None:
        """Send bytes past TLS."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    def ends(self, *, notify: bool = True) -> None:
        """End this side; in TLS with `notify`, or as if cut off."""
        if self._session and notify:
            self._session.close()
            self.socket.send(self._session.take())
        self.socket.shutdown(socket.SHUT_WR)

    def closes(self) -> None:
        """Close both sides."""
        self.socket.close()

    def resets(self) -> None:
        """Break the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def _receive(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        if self._session is None:
            return await loop.sock_recv(self.socket, size)
        while not self._plain and not self._session.closed:
            data = await loop.sock_recv(self.socket, 1 << 16)
            if not data:
                return b""
            self._plain += self._session.receive(data)
        data, self._plain = self._plain[:size], self._plain[size:]
        return data
