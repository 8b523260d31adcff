"""A stream that is read widely is the same stream, over real connections on loopback, in both event loops."""

import asyncio
from random import Random

import pytest
from support.peers import in_each_loop
from support.streams import open_pair, open_tls_pair, pass_round, until

from mitmdump.errors import StreamError
from mitmdump.net.stream import HIGH_WATER
from mitmdump.net.wide import PLENTY, SIZE, Wide, read_widely


@in_each_loop
async def test_a_peer_that_fills_a_read_is_read_widely_from_then_on():
    stream, _ = await open_pair()
    stream.data_received(bytes(PLENTY - 1))
    assert stream.transport.get_protocol() is stream
    await stream.read()
    stream.data_received(bytes(PLENTY))
    widely = stream.transport.get_protocol()
    assert isinstance(widely, Wide)
    await stream.read()
    stream.data_received(bytes(PLENTY))
    assert stream.transport.get_protocol() is widely


@in_each_loop
@pytest.mark.parametrize("opening", [open_pair, open_tls_pair])
async def test_what_is_read_widely_is_what_was_sent_and_then_the_end(opening):
    stream, peer = await opening()
    read_widely(stream)
    sent, received = Random(1).randbytes(4 * SIZE), []
    sending = asyncio.create_task(peer.sends(sent))
    while sum(map(len, received)) < len(sent):
        received.append(await stream.read())
    await sending
    assert b"".join(received) == sent
    peer.ends()
    assert await stream.read() == b""


@in_each_loop
async def test_much_at_a_time_is_read_only_for_somebody_who_waits():
    stream, peer = await open_pair()
    widely = Wide(stream)
    assert len(widely.get_buffer(-1)) == HIGH_WATER
    reading = asyncio.create_task(stream.read())
    await pass_round()
    assert len(widely.get_buffer(-1)) == SIZE
    await peer.sends(b"hello")
    assert await reading == b"hello"


@in_each_loop
async def test_who_reads_widely_still_holds_little_that_nobody_reads():
    stream, peer = await open_pair()
    read_widely(stream)
    sending = asyncio.create_task(peer.sends(bytes(4 * SIZE)))
    await until(lambda: stream._paused)
    held = len(stream._buffer)
    assert HIGH_WATER < held <= 2 * HIGH_WATER
    read = 0
    while read < 4 * SIZE:
        read += len(await stream.read())
    await sending


@in_each_loop
async def test_writers_still_wait_for_a_slow_peer():
    stream, peer = await open_pair()
    read_widely(stream)
    stream.write(bytes(8 * SIZE))
    await until(lambda: stream.congested)
    reading = asyncio.create_task(peer.reads(8 * SIZE))
    await stream.drain()
    assert [stream.congested, len(await reading)] == [False, 8 * SIZE]


@in_each_loop
async def test_a_broken_connection_is_still_told():
    stream, peer = await open_pair()
    read_widely(stream)
    peer.resets()
    with pytest.raises(StreamError, match="the client broke the connection"):
        await stream.read()
