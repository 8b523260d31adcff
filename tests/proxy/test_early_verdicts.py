"""Verdicts come as early as they can: what nobody wants is never stored, counted in bytes on their way to disk."""

from __future__ import annotations

import pytest
from support.peers import Peer, in_loop
from support.proxying import Proxy, proxying

from mitmdump.model.flow import Flow, Part
from mitmdump.sinks import spool
from mitmdump.sinks.base import Sink
from mitmdump.sinks.spool import Spool

SENT, ANSWERED = b"q" * 5000, b"a" * 7000


class Counting(Sink):
    """How many bytes of each body reached the sinks."""

    def __init__(self) -> None:
        self.bytes = {Part.REQUEST: 0, Part.RESPONSE: 0}

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        self.bytes[part] += len(data)


@pytest.fixture
def spooled(monkeypatch: pytest.MonkeyPatch) -> dict[Part, int]:
    """How many bytes of each body were ever put into a spool."""
    counts = {Part.REQUEST: 0, Part.RESPONSE: 0}

    class CountingSpool(Spool):
        def add(self, part: Part, data: bytes) -> None:
            counts[part] += len(data)
            super().add(part, data)

    monkeypatch.setattr(spool, "Spool", CountingSpool)
    return counts


async def ask(proxy: Proxy, host: str) -> tuple[Peer, Peer]:
    """A client sends a whole request with a body to a server on this address, which receives it."""
    client, server = await proxy.client(), await proxy.server(host)
    head = b"POST http://%b/ HTTP/1.1\r\nHost: %b\r\nContent-Length: %d\r\n\r\n"
    await client.sends(head % (server.name, server.name, len(SENT)) + SENT)
    peer = await server.accepts()
    await peer.reads_head()
    await peer.receives(SENT)
    return client, peer


async def answer(client: Peer, peer: Peer, status: int) -> None:
    """The server's answer to it reaches the client."""
    data = b"HTTP/1.1 %d Yes\r\nContent-Length: %d\r\n\r\n" % (status, len(ANSWERED)) + ANSWERED
    await peer.sends(data)
    await client.receives(data)


@in_loop
async def test_of_hosts_that_nobody_asked_for_no_byte_of_a_body_is_stored(spooled):
    sink = Counting()
    async with proxying("~d ^127.0.0.2$", sink) as proxy:
        await answer(*await ask(proxy, "127.0.0.1"), 200)
        assert (spooled, sink.bytes) == ({Part.REQUEST: 0, Part.RESPONSE: 0}, {Part.REQUEST: 0, Part.RESPONSE: 0})
        await answer(*await ask(proxy, "127.0.0.2"), 200)
        await proxy.flow()
    assert spooled == {Part.REQUEST: 0, Part.RESPONSE: 0}
    assert sink.bytes == {Part.REQUEST: len(SENT), Part.RESPONSE: len(ANSWERED)}


@in_loop
@pytest.mark.parametrize(("status", "wanted"), [(200, False), (503, True)])
async def test_a_request_body_waits_for_the_status_and_a_response_body_never(spooled, status, wanted):
    sink = Counting()
    async with proxying("~c 5xx", sink) as proxy:
        client, peer = await ask(proxy, "127.0.0.1")
        assert (spooled[Part.REQUEST], sink.bytes[Part.REQUEST]) == (len(SENT), 0)
        await answer(client, peer, status)
        if wanted:
            await proxy.flow()
    assert spooled == {Part.REQUEST: len(SENT), Part.RESPONSE: 0}
    assert sink.bytes == {Part.REQUEST: wanted * len(SENT), Part.RESPONSE: wanted * len(ANSWERED)}
    assert proxy.outlet.tally.seen == 1
