"""Handlers of raw connections: they may change or drop what is relayed, and it is recorded as it was passed on."""

import pytest
from support.handling import handling
from support.peers import in_loop
from support.proxying import proxying
from support.transcripts import connects

from mitmdump.proxy import tunnel as module


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Servers that speak first are given their chance at once."""
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.02)


def change(_flow, message):
    message.dropped = b"drop" in message.content
    message.content = message.content.upper()


async def begins(proxy, data):
    client, server = await connects(proxy)
    await client.sends(data)
    return client, await server.accepts()


@in_loop
async def test_what_was_changed_is_passed_on_and_recorded_both_ways():
    async with proxying(handlers=[handling(tcp_message=change)]) as proxy:
        client, peer = await begins(proxy, b"\0hello")
        await peer.receives(b"\0HELLO")
        await peer.sends(b"welcome")
        await client.receives(b"WELCOME")
        client.ends()
        peer.ends()
        await client.sees_end()
        assert (await proxy.flow()).messages == [(True, b"\0HELLO"), (False, b"WELCOME")]


@in_loop
async def test_what_was_dropped_is_not_passed_on_nor_recorded_nor_shown_to_the_next_handler():
    seen = []
    handlers = [handling(tcp_message=change), handling(tcp_message=lambda _, message: seen.append(message.content))]
    async with proxying(handlers=handlers) as proxy:
        client, peer = await begins(proxy, b"\0drop it")
        await peer.sends(b"welcome")
        await client.receives(b"WELCOME")
        await client.sends(b"thanks")
        await peer.receives(b"THANKS")
        client.ends()
        peer.ends()
        await client.sees_end()
        assert (await proxy.flow()).messages == [(False, b"WELCOME"), (True, b"THANKS")]
    assert seen == [b"WELCOME", b"THANKS"]


@in_loop
async def test_a_handler_that_fails_breaks_the_connection_and_that_is_recorded():
    def fail(_flow, _message):
        raise ValueError("a secret")

    errors = []
    async with proxying(handlers=[handling(tcp_message=fail, error=errors.append)]) as proxy:
        client, peer = await begins(proxy, b"\0hello")
        await client.sees_reset()
        await peer.sees_reset()
        recorded = await proxy.flow()
        assert recorded.error == "a handler of the proxy failed (ValueError)"
        assert errors == [recorded.flow]
        assert str(proxy.bugs.pop()) == "a secret"
        await proxy.ends()


@in_loop
async def test_what_is_passed_through_is_not_shown():
    async with proxying(handlers=[handling(tcp_message=pytest.fail)], ignore_hosts=(r"^127",)) as proxy:
        client, peer = await begins(proxy, b"\0hello")
        await peer.receives(b"\0hello")
        client.closes()
        peer.closes()
        await proxy.ends()
