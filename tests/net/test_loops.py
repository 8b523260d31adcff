"""Connections that lead back to ourselves are known as such."""

import asyncio
import socket
from contextlib import closing

import pytest
from support.peers import in_each_loop

from mitmdump.errors import ConnectError, StreamError
from mitmdump.net import upstream as module
from mitmdump.net.loops import Attempt, Outgoing, is_own
from mitmdump.net.resolver import Resolver
from mitmdump.net.stream import Stream, Streams
from mitmdump.net.upstream import connect

LOOP = ConnectError("in circles")


@pytest.mark.parametrize(
    ("destination", "own", "expected"),
    [
        (("192.0.2.1", 8080), ("192.0.2.1", 8080), True),
        (("192.0.2.1", 80), ("192.0.2.1", 8080), False),
        (("192.0.2.1", 8080), ("192.0.2.2", 8080), False),
        (("127.0.0.1", 8080), ("0.0.0.0", 8080), True),
        (("::1", 8080), ("::", 8080), True),
        (("127.0.0.1", 80), ("0.0.0.0", 8080), False),
        (("192.0.2.1", 8080), ("0.0.0.0", 8080), False),  # another machine's
        (("2001:db8::1", 8080), ("::", 8080), False),
        (("::ffff:127.0.0.1", 8080), ("127.0.0.1", 8080), True),
        (("fe80::1%lo", 8080), ("fe80::1", 8080), True),
    ],
)
def test_an_address_is_our_own_if_we_listen_on_it(destination, own, expected):
    """A3"""
    assert is_own(destination, [("198.51.100.9", 1), own]) is expected


@in_each_loop
async def test_an_open_connection_is_known_by_both_its_ends():
    """T15"""
    streams = Streams()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stream = await connect("127.0.0.1", listening.getsockname()[1], streams, Resolver(), seconds=2, own=[])
        ends = (stream.sockname, stream.peername)
        other_port = (ends[0], ("127.0.0.1", 1))
        assert not streams.outgoing.end(*other_port, LOOP)
        assert streams.outgoing.end(*ends, LOOP)
        with pytest.raises(ConnectError, match="in circles"):
            await stream.read()
        await asyncio.sleep(0)
        assert not streams.outgoing.end(*ends, LOOP)


@in_each_loop
async def test_a_connection_is_known_before_it_is_open(monkeypatch):
    """T15"""
    streams, start = Streams(), module._connect_socket

    async def connect_socket(sock, address):
        await start(sock, address)
        assert streams.outgoing.end(sock.getsockname(), sock.getpeername(), LOOP)
        return sock

    monkeypatch.setattr(module, "_connect_socket", connect_socket)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with pytest.raises(ConnectError, match=f"refused to connect to 127.0.0.1:{port}: in circles"):
            await connect("127.0.0.1", port, streams, Resolver(), seconds=2, own=[])
        accepted, _ = listening.accept()
        assert accepted.recv(1) == b""
        accepted.close()


@in_each_loop
async def test_a_connection_that_is_found_out_at_the_last_moment_is_ended(monkeypatch):
    streams, start, ends = Streams(), module._connect_socket, []

    async def connect_socket(sock, address):
        await start(sock, address)
        ends.extend((sock.getsockname(), sock.getpeername()))
        return sock

    def late(peer, streams):
        assert streams.outgoing.end(*ends, LOOP)
        return Stream(peer, Streams())  # so `streams` never learns that it is open

    monkeypatch.setattr(module, "_connect_socket", connect_socket)
    monkeypatch.setattr(module, "Stream", late)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stream = await connect("127.0.0.1", listening.getsockname()[1], streams, Resolver(), seconds=2, own=[])
        with pytest.raises(ConnectError, match="in circles"):
            await stream.read()


def test_an_attempt_outlives_a_socket_that_lost_the_race():
    attempt, lost, sock = Attempt(), socket.socket(), socket.socket()
    attempt.add(lost, ("192.0.2.1", 80))
    lost.close()
    with closing(sock):
        sock.bind(("127.0.0.1", 0))
        attempt.add(sock, ("192.0.2.1", 80))
        assert attempt.has(sock.getsockname(), ("192.0.2.1", 80))
        assert not attempt.has(sock.getsockname(), ("192.0.2.2", 80))
        assert not attempt.has(("127.0.0.1", 1), ("192.0.2.1", 80))


def test_an_attempt_that_is_over_is_forgotten():
    outgoing = Outgoing()
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        ends = (sock.getsockname(), ("192.0.2.1", 80))
        with outgoing.attempt() as attempt:
            attempt.add(sock, ends[1])
            assert outgoing.end(*ends, StreamError("x"))
        assert not outgoing.end(*ends, StreamError("x"))
