"""The addresses of names are remembered, but not for long."""

import asyncio
import socket

import pytest
from support.peers import in_each_loop, in_loop

from mitmdump.net import resolver as module
from mitmdump.net.resolver import MAX_AGE, Resolver

FOUND = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("192.0.2.1", 80))]


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, int]]:
    """What the system was asked, which has an answer to everything."""
    names = []

    async def look_up(host, port):
        names.append((host, port))
        return FOUND

    monkeypatch.setattr(module, "_look_up", look_up)
    return names


@in_loop
async def test_a_name_is_looked_up_once(asked):
    resolver = Resolver()
    assert [await resolver.addresses("a.test", 80) for _ in range(3)] == [FOUND] * 3
    await resolver.addresses("a.test", 81)
    assert asked == [("a.test", 80), ("a.test", 81)]


@in_loop
async def test_a_name_is_looked_up_again_after_a_moment(asked, monkeypatch):
    resolver, loop = Resolver(), asyncio.get_running_loop()
    await resolver.addresses("a.test", 80)
    later = loop.time() + MAX_AGE + 1
    monkeypatch.setattr(loop, "time", lambda: later)
    await resolver.addresses("a.test", 80)
    assert len(asked) == 2


@in_loop
async def test_a_name_that_leads_nowhere_is_looked_up_again(asked):
    resolver = Resolver()
    await resolver.addresses("a.test", 80)
    resolver.forget("a.test", 80)
    await resolver.addresses("a.test", 80)
    assert len(asked) == 2


@in_loop
async def test_the_name_that_was_not_looked_up_for_longest_is_forgotten_first(asked):
    resolver = Resolver(max_names=2)
    for host in ("a.test", "b.test", "c.test", "b.test", "a.test"):
        await resolver.addresses(host, 80)
    assert [host for host, _ in asked] == ["a.test", "b.test", "c.test", "a.test"]


@in_each_loop
@pytest.mark.parametrize(
    ("host", "family", "address"),
    [("192.0.2.1", socket.AF_INET, ("192.0.2.1", 80)), ("2001:db8::1", socket.AF_INET6, ("2001:db8::1", 80, 0, 0))],
)
async def test_an_address_is_its_own(asked, host, family, address):
    (found,) = await Resolver().addresses(host, 80)
    assert (found[0], found[4]) == (family, address)
    assert asked == []


@in_each_loop
async def test_the_system_knows_this_machine():
    found = await Resolver().addresses("localhost", 80)
    assert {address[4][0] for address in found} <= {"127.0.0.1", "::1"}
