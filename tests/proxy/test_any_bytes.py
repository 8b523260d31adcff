"""Whatever clients and servers send, the proxy serves to the end, records what began, and never fails itself."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.peers import LOOPS
from support.proxying import Proxy, Server, proxying

from mitmdump.proxy import exchange, tunnel

GET = b"GET http://NAME/ HTTP/1.1\r\nHost: NAME\r\n\r\n"
FROM_CLIENTS = [
    GET,
    GET.replace(b"GET", b"HEAD"),
    b"POST http://NAME/ HTTP/1.1\r\nHost: NAME\r\nContent-Length: 3\r\n\r\n",
    b"PUT http://NAME/ HTTP/1.1\r\nHost: NAME\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET http://NAME/ HTTP/1.0\r\n\r\n",
    b"CONNECT NAME HTTP/1.1\r\nHost: NAME\r\n\r\n",
    GET[:-2] + b"Upgrade: x\r\nConnection: Upgrade\r\n\r\n",
    GET[:-2] + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
]
FROM_SERVERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 100 Go\r\n\r\n",
    b"HTTP/1.1 101 X\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
]
PIECES = [
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nA: b\r\n\r\n",
    b"\r\n",
    b"\0",
    b"\x16\x03\x01\x00\x05hello",
    b"x: y\r\n",
]


def some(openings: list[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(openings) | st.sampled_from(PIECES), min_size=1, max_size=6).map(b"".join)


async def answer(server: Server, data: bytes, *, resets: bool) -> None:
    """Send these bytes to whoever comes."""
    with suppress(TimeoutError):
        while True:
            peer = await server.accepts()
            with suppress(OSError):
                await peer.sends(data)
                peer.resets() if resets else peer.closes()


async def play(proxy: Proxy, from_client: bytes, from_server: bytes, *, resets: bool) -> None:
    client, server = await proxy.client(), await proxy.server()
    answering = asyncio.create_task(answer(server, from_server, resets=resets))
    with suppress(OSError):
        await client.sends(from_client.replace(b"NAME", server.name))
        client.ends()
        await client.reads_all()
    client.closes()
    await proxy.ends()
    answering.cancel()
    assert proxy.sink.finished.qsize() == len(proxy.sink.begun) == proxy.outlet.tally.seen
    while not proxy.sink.finished.empty():
        recorded = await proxy.flow()
        assert recorded.error or recorded.flow.kind == "tcp" or recorded.flow.response
        assert recorded.flow.timestamp_end
    assert proxy.failures == []


@pytest.mark.parametrize("loop_factory", LOOPS.values(), ids=LOOPS)
@settings(max_examples=50, deadline=None)
@given(some(FROM_CLIENTS), some(FROM_SERVERS), st.booleans())
def test_whatever_is_sent_is_served_to_its_end_and_recorded(loop_factory, from_client, from_server, resets):
    """L3, R8"""

    async def run() -> None:
        async with asyncio.timeout(9), proxying() as proxy:
            await play(proxy, from_client, from_server, resets=resets)

    with pytest.MonkeyPatch.context() as patch, asyncio.Runner(loop_factory=loop_factory) as runner:
        patch.setattr(tunnel, "GREETING_SECONDS", 0.005)
        patch.setattr(exchange, "LINGER_SECONDS", 0.5)
        runner.run(run())
