"""The stream, over real connections on loopback, in both event loops."""

import asyncio
import socket

import pytest
from support.counting import count_objects
from support.peers import Peer, in_each_loop
from support.streams import open_pair, pass_round, until

from mitmdump.errors import StreamError
from mitmdump.net import stream as module
from mitmdump.net.stream import HIGH_WATER, Stream, Streams
from mitmdump.net.wakeup import AT_ONCE

# -- reading --------------------------------------------------------------------------------------------------------


@in_each_loop
async def test_a_stream_reads_what_came_and_then_the_end():
    stream, peer = await open_pair()
    await peer.sends(b"hello")
    assert await stream.read() == b"hello"
    peer.ends()
    assert [await stream.read(), await stream.read(), stream.ended, stream.broken] == [b"", b"", True, False]


@in_each_loop
async def test_peeking_takes_nothing():
    stream, peer = await open_pair()
    await peer.sends(b"he")
    peeking = asyncio.create_task(stream.peek(5))
    await until(lambda: stream.has_data)
    assert not peeking.done()
    await peer.sends(b"llo!")
    assert [await peeking, await stream.peek(1), await stream.read()] == [b"hello!"] * 3


@in_each_loop
async def test_peeking_for_more_than_will_come_gives_what_there_is():
    stream, peer = await open_pair()
    await peer.sends(b"he")
    peer.ends()
    assert [await stream.peek(5), await stream.read(), await stream.peek(5)] == [b"he", b"he", b""]


@in_each_loop
async def test_what_was_given_back_is_read_again_first():
    stream, peer = await open_pair()
    stream.unread(b"first ")
    await peer.sends(b"second")
    await until(lambda: stream.has_data and len(stream._buffer) == 12)
    assert await stream.read() == b"first second"


@in_each_loop
async def test_a_cancelled_read_loses_nothing():
    stream, peer = await open_pair()
    for waiting in (stream.read(), stream.peek(5)):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0)
    await peer.sends(b"hello")
    assert await stream.read() == b"hello"


@in_each_loop
async def test_a_reader_that_is_slow_stops_the_peer():
    """R1: what waits unread is bounded, and nothing of it is lost."""
    stream, peer = await open_pair(buffers=8192)
    sending = asyncio.create_task(peer.sends(bytes(4 * HIGH_WATER)))
    await until(lambda: stream._paused)
    held = len(await stream.peek(1))
    assert HIGH_WATER < held < 3 * HIGH_WATER
    read = 0
    while read < 4 * HIGH_WATER:
        read += len(await stream.read())
    await sending


@in_each_loop
async def test_a_peer_that_floods_us_before_it_is_its_turn_is_stopped():
    """R1: likewise for a client that is to wait until others have begun."""
    stream, peer = await open_pair(buffers=8192)
    gate, stream.resting = stream._streams.gate, True
    gate._is_turn, gate._passed = True, AT_ONCE  # in a turn that does not end
    reading = asyncio.create_task(stream.read())
    sending = asyncio.create_task(peer.sends(bytes(4 * HIGH_WATER)))
    await until(lambda: stream._paused)
    assert not reading.done()
    gate._next_turn()
    read = len(await reading)
    assert HIGH_WATER < read < 3 * HIGH_WATER
    while read < 4 * HIGH_WATER:
        read += len(await stream.read())
    await sending


# -- writing --------------------------------------------------------------------------------------------------------


@in_each_loop
async def test_a_peer_that_is_slow_stops_the_writer():
    stream, peer = await open_pair(buffers=8192)
    await stream.drain()
    stream.write(bytes(4 * HIGH_WATER))
    assert stream.congested
    draining = asyncio.create_task(stream.drain())
    await pass_round()
    assert not draining.done()
    reading = asyncio.create_task(peer.reads(4 * HIGH_WATER))
    await draining
    assert not stream.congested
    assert len(await reading) == 4 * HIGH_WATER


@in_each_loop
async def test_a_half_closed_stream_still_reads():
    stream, peer = await open_pair()
    stream.write(b"question")
    stream.write_eof()
    stream.write_eof()
    assert await peer.reads_all() == b"question"
    await peer.sends(b"answer")
    assert await stream.read() == b"answer"


@in_each_loop
async def test_a_half_closed_peer_can_still_be_written_to():
    stream, peer = await open_pair()
    peer.ends()
    assert await stream.read() == b""
    stream.write(b"answer")
    stream.close()
    assert await peer.reads_all() == b"answer"


@in_each_loop
async def test_what_was_written_before_close_leaves():
    stream, peer = await open_pair(buffers=8192)
    stream.write(bytes(HIGH_WATER))
    stream.close()
    assert len(await peer.reads_all()) == HIGH_WATER
    assert stream.broken


@in_each_loop
async def test_writing_after_the_end_is_an_error():
    stream, _ = await open_pair()
    stream.close()
    with pytest.raises(StreamError, match="closed"):
        stream.write(b"x")


# -- the end --------------------------------------------------------------------------------------------------------


@in_each_loop
@pytest.mark.parametrize("wait", [Stream.read, lambda stream: stream.peek(1)], ids=["read", "peek"])
async def test_closing_wakes_who_waits(wait):
    stream, _peer = await open_pair()
    waiting = asyncio.create_task(wait(stream))
    await pass_round()
    stream.close()
    with pytest.raises(StreamError, match="we closed the connection to the client"):
        await waiting


@in_each_loop
async def test_aborting_resets_the_connection_and_says_why_to_who_waits():
    """H19"""
    stream, peer = await open_pair()
    waiting = asyncio.create_task(stream.read())
    await pass_round()
    stream.abort(StreamError("because"))
    with pytest.raises(StreamError, match="because"):
        await waiting
    await peer.sees_reset()


@in_each_loop
async def test_aborting_resets_the_connection_of_a_slow_reader_too():
    stream, peer = await open_pair(buffers=8192)
    stream.write(bytes(2 * HIGH_WATER))
    draining = asyncio.create_task(stream.drain())
    await pass_round()
    stream.abort(StreamError("because"))
    with pytest.raises(StreamError, match="because"):
        await draining
    await peer.sees_reset()


@in_each_loop
@pytest.mark.parametrize(
    "act", [Stream.read, lambda stream: stream.peek(1), Stream.drain], ids=["read", "peek", "drain"]
)
async def test_a_reset_by_the_peer_is_an_error_to_who_waits(act):
    stream, peer = await open_pair(buffers=8192)
    if act is Stream.drain:
        stream.write(bytes(2 * HIGH_WATER))
    waiting = asyncio.create_task(act(stream))
    await pass_round()
    peer.resets()
    with pytest.raises(StreamError, match="the client broke the connection"):
        await waiting
    assert stream.broken


@in_each_loop
async def test_ending_our_side_of_a_connection_that_was_reset_just_now_is_no_error_of_its_own():
    stream, peer = await open_pair()
    peer.resets()
    stream.write_eof()  # the loop has not seen it yet
    with pytest.raises(StreamError, match="the client broke the connection"):
        await stream.read()


@in_each_loop
@pytest.mark.parametrize("act", [Peer.ends, Peer.resets])
async def test_a_peer_that_ends_or_resets_has_left_and_we_who_close_after_it_have_not(act):
    stream, peer = await open_pair()
    assert not stream.left
    act(peer)
    await until(lambda: stream.ended)
    stream.close()
    assert stream.left


@in_each_loop
@pytest.mark.parametrize("act", [Stream.close, lambda stream: stream.abort(StreamError("too slow"))])
async def test_a_peer_whom_we_have_closed_has_not_left(act):
    stream, peer = await open_pair()
    act(stream)
    peer.closes()
    assert stream.ended
    assert not stream.left


@in_each_loop
async def test_what_came_before_a_reset_is_still_read():
    stream, peer = await open_pair()
    await peer.sends(b"last words")
    await stream.peek(10)
    peer.resets()
    await until(lambda: stream.broken)
    assert await stream.read() == b"last words"
    with pytest.raises(StreamError):
        await stream.read()


@in_each_loop
@pytest.mark.parametrize("end", [Peer.ends, Peer.resets])
async def test_the_end_is_told_at_once_to_who_asked(end):
    stream, peer = await open_pair()
    told = asyncio.Event()
    stream.on_end = told.set
    end(peer)
    await told.wait()
    assert stream.ended


@in_each_loop
async def test_lingering_lets_the_peer_read_our_last_words():
    """RFC 9112 section 9.6: with its bytes unread in our kernel, a plain close would destroy them."""
    stream, peer = await open_pair()
    await peer.sends(bytes(100_000))
    stream.write(b"last words")
    lingering = asyncio.create_task(stream.linger(2))
    assert await peer.reads_all() == b"last words"
    await peer.sends(bytes(100_000))
    peer.closes()
    await lingering
    assert stream.broken


@in_each_loop
async def test_lingering_ends_whatever_the_peer_sends():
    """R4"""
    stream, _peer = await open_pair()
    stream._quiet = 100.0  # of what was before
    lingering = asyncio.create_task(stream.linger(2))
    await pass_round()
    for _ in range(3):
        stream.data_received(b"more")
        await pass_round()
        assert not stream.has_data
        stream.grow_older(1)
        await pass_round()
    assert lingering.done()
    assert stream.broken


# -- time-outs ------------------------------------------------------------------------------------------------------


@in_each_loop
async def test_a_peer_that_sends_nothing_is_given_up():
    stream, peer = await open_pair()
    stream.patience = 5
    reading = asyncio.create_task(stream.read())
    await pass_round()
    stream.grow_older(5)
    await pass_round()
    assert not reading.done()
    stream.grow_older(1)
    with pytest.raises(StreamError, match="^the client sent nothing for 5 seconds$") as caught:
        await reading
    assert caught.value.status == 504
    await peer.sees_reset()


@in_each_loop
async def test_a_peer_that_takes_nothing_is_given_up():
    stream, _peer = await open_pair(buffers=8192)
    stream.patience = 5
    stream.write(bytes(2 * HIGH_WATER))
    draining = asyncio.create_task(stream.drain())
    await pass_round()
    stream.grow_older(6)
    with pytest.raises(StreamError, match="^the client took no data for 5 seconds$"):
        await draining


@in_each_loop
async def test_time_does_not_count_while_nobody_waits():
    stream, peer = await open_pair()
    stream.patience = 5
    stream.grow_older(100)
    await peer.sends(b"hello")
    assert await stream.read() == b"hello"


@in_each_loop
@pytest.mark.parametrize("forgiving", [True, False])
async def test_a_byte_now_and_then_buys_time_only_from_the_forgiving(forgiving):
    """R4: slowloris"""
    stream, peer = await open_pair()
    stream.patience, stream.forgiving = 5, forgiving
    peeking = asyncio.create_task(stream.peek(10))
    for count in range(1, 3):
        await peer.sends(b"x")
        await until(lambda count=count: len(stream._buffer) == count)
        stream.grow_older(3)
        await pass_round()
    assert peeking.done() is not forgiving
    stream.close()
    with pytest.raises(StreamError):
        await peeking


@in_each_loop
async def test_a_closed_stream_whose_last_bytes_nobody_takes_goes_in_the_end(monkeypatch):
    """R4"""
    streams = Streams()
    stream, _peer = await open_pair(streams, buffers=8192)
    stream.write(bytes(4 * HIGH_WATER))
    stream.close()
    assert len(streams) == 1
    stream.grow_older(module.CLOSE_SECONDS)
    await pass_round()
    assert len(streams) == 1
    stream.grow_older(1)
    await until(lambda: not len(streams))


@in_each_loop
async def test_one_timer_watches_over_all_streams_and_stops_with_the_last(monkeypatch):
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.001)
    streams = Streams()
    stream, _peer = await open_pair(streams)
    stream.patience = 0.0
    with pytest.raises(StreamError, match="sent nothing"):
        await stream.read()
    await until(lambda: streams._timer is None)
    assert len(streams) == 0
    again, _peer = await open_pair(streams)
    assert streams._timer
    again.close()


# -- names ----------------------------------------------------------------------------------------------------------


@in_each_loop
async def test_a_stream_knows_both_ends():
    stream, peer = await open_pair()
    assert stream.peername == peer.socket.getsockname()
    assert stream.sockname == peer.socket.getpeername()


@in_each_loop
async def test_an_address_that_is_mapped_into_ipv6_is_the_ipv4_address():
    """A1"""
    with socket.socket(socket.AF_INET6) as listening:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(("::", 0))
        listening.listen()
        with socket.create_connection(("127.0.0.1", listening.getsockname()[1])) as client:
            sock, address = listening.accept()
            assert address[0] == "::ffff:127.0.0.1"
            loop = asyncio.get_running_loop()
            _, stream = await loop.connect_accepted_socket(lambda: Stream("client", Streams()), sock)
            assert stream.peername == client.getsockname()
            stream.close()


@in_each_loop
@pytest.mark.parametrize(
    "act", [Stream.read, lambda stream: stream.peek(1), Stream.drain], ids=["read", "peek", "drain"]
)
async def test_a_broken_stream_is_freed_with_its_last_user_and_not_by_the_garbage_collector(act, without_collector):
    before = count_objects(Stream)
    stream, peer = await open_pair(buffers=8192)
    if act is Stream.drain:
        stream.write(bytes(2 * HIGH_WATER))
    waiting = asyncio.create_task(act(stream))
    await pass_round()
    peer.resets()
    with pytest.raises(StreamError):
        await waiting
    del stream, waiting
    await until(lambda: count_objects(Stream) == before)
