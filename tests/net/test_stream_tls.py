"""The stream in TLS, over real connections on loopback, in both event loops."""

import asyncio
from typing import Any, cast

import pytest
from support.peers import Peer, in_each_loop
from support.streams import IDENTITY, open_pair, open_tls_pair, pass_round, until
from support.tls import make_client, make_server

from mitmdump.errors import StreamError, TlsError
from mitmdump.net.stream import HIGH_WATER, TLS_PIECE
from mitmdump.tls.session import PIECE, Session


@in_each_loop
async def test_tls_starts_with_what_was_peeked():
    stream, peer = await open_pair()
    handshake = asyncio.create_task(peer.starts_tls(make_client()))
    assert (await stream.peek(3))[0] == 22
    await stream.start_tls(make_server(IDENTITY))
    await handshake
    await peer.sends(b"question")
    assert await stream.read() == b"question"
    stream.write(b"answer")
    await peer.receives(b"answer")


@in_each_loop
async def test_much_data_passes_through_tls_with_back_pressure():
    stream, peer = await open_tls_pair()
    sending = asyncio.create_task(peer.sends(bytes(8 * HIGH_WATER)))
    await until(lambda: stream._paused)
    assert len(stream._buffer) < 4 * HIGH_WATER
    read = 0
    while read < 8 * HIGH_WATER:
        read += len(await stream.read())
    await sending


@in_each_loop
async def test_a_session_is_given_no_more_at_a_time_than_it_should_keep_room_for():
    stream, peer = await open_tls_pair()
    sent: list[int] = []
    session = stream._session
    assert isinstance(session, Session)
    stream._session = cast(Session, Watched(session, sent))
    stream.write(bytes(3 * TLS_PIECE + 1))
    await peer.receives(bytes(3 * TLS_PIECE + 1))
    assert (sent, TLS_PIECE) == ([TLS_PIECE, TLS_PIECE, TLS_PIECE, 1], PIECE)


class Watched:
    """A session, and how much was sent at a time."""

    def __init__(self, session: Session, sent: list[int]) -> None:
        self._session = session
        self._sent = sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def send(self, data: bytes) -> None:
        self._sent.append(len(data))
        self._session.send(data)


@in_each_loop
async def test_close_notify_is_a_proper_end():
    stream, peer = await open_tls_pair()
    await peer.sends(b"last words")
    peer.ends()
    assert [await stream.read(), await stream.read()] == [b"last words", b""]
    stream.write(b"answer")
    stream.close()
    await peer.receives(b"answer")
    await peer.sees_end()


@in_each_loop
async def test_an_end_without_close_notify_is_an_error():
    """H19: what is delimited by the end could have been truncated by anybody."""
    stream, peer = await open_tls_pair()
    await peer.sends(b"last words")
    peer.ends(notify=False)
    assert await stream.read() == b"last words"
    with pytest.raises(StreamError, match="the client cut the connection off without ending TLS"):
        await stream.read()


@in_each_loop
async def test_our_end_is_told_inside_tls_unless_it_is_to_look_cut_off():
    stream, peer = await open_tls_pair()
    stream.close()
    await peer.sees_end()
    stream, peer = await open_tls_pair()
    stream.close(clean=False)
    await peer.sees_cut()


@in_each_loop
async def test_half_close_in_tls():
    stream, peer = await open_tls_pair()
    stream.write_eof()
    await peer.sees_end()


@in_each_loop
async def test_rubbish_inside_tls_breaks_the_connection_with_an_alert():
    stream, peer = await open_tls_pair()
    await peer.sends_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(TlsError, match="bad record mac"):
        await stream.read()
    with pytest.raises(TlsError, match="alert bad record mac"):
        await peer.reads(1)


@in_each_loop
async def test_rubbish_inside_tls_after_our_end_breaks_only_the_connection():
    stream, peer = await open_tls_pair()
    stream.write_eof()
    await peer.sees_end()
    await peer.sends_raw(b"\x17\x03\x03\x00\x20" + bytes(32))
    with pytest.raises(TlsError, match="bad record mac"):
        await stream.read()


@in_each_loop
@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05rubbish"])
async def test_a_handshake_with_what_is_no_tls_fails(rubbish):
    stream, peer = await open_pair()
    await peer.sends(rubbish)
    with pytest.raises(TlsError):
        await stream.start_tls(make_server(IDENTITY))


@in_each_loop
@pytest.mark.parametrize("end", [Peer.ends, Peer.resets])
async def test_a_handshake_that_is_broken_off_fails(end):
    stream, peer = await open_pair()
    starting = asyncio.create_task(stream.start_tls(make_server(IDENTITY)))
    client = make_client()
    client.handshake()
    await peer.sends(client.take()[:50])
    await pass_round()
    end(peer)
    with pytest.raises((TlsError, StreamError), match="the client (cut|broke|closed)"):
        await starting


@in_each_loop
async def test_a_handshake_has_its_time():
    stream, _peer = await open_pair()
    stream.patience, stream.forgiving = 5, False
    starting = asyncio.create_task(stream.start_tls(make_server(IDENTITY)))
    await pass_round()
    stream.grow_older(6)
    with pytest.raises(StreamError, match="the client was not done within 5 seconds"):
        await starting
