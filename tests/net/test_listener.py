"""Accepting clients: limits, pauses, and giving the port back."""

import asyncio
import errno
import socket

import pytest
from support.peers import in_each_loop

from mitmdump.net import listener as module
from mitmdump.net.binding import bind
from mitmdump.net.listener import Listener


class Clients:
    """Those who were accepted, and what the listener asked and said."""

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []
        self.accepted = asyncio.Queue()
        self.rooms = 0
        self.warnings: list[str] = []

    def serve(self, sock: socket.socket) -> None:
        self.sockets.append(sock)
        self.accepted.put_nowait(sock)

    def make_room(self) -> None:
        self.rooms += 1
        if len(self.sockets) and self.rooms == 2:
            self.sockets.pop(0).close()


def listen(clients: Clients, limit: int = 10) -> Listener:
    sockets = bind(["127.0.0.1"], 0)
    count = lambda: len(clients.sockets)  # noqa: E731
    listener = Listener(
        sockets, clients.serve, limit=limit, count=count, make_room=clients.make_room, warn=clients.warnings.append
    )
    listener.start()
    return listener


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)


@in_each_loop
async def test_clients_are_accepted_and_handed_on():
    clients = Clients()
    listener = listen(clients)
    with socket.create_connection(listener.addresses[0]) as client:
        sock = await clients.accepted.get()
        assert sock.getpeername() == client.getsockname()
    listener.stop()


@in_each_loop
async def test_at_the_limit_clients_wait_until_room_is_made_for_them():
    """R4, R5"""
    clients = Clients()
    listener = listen(clients, limit=1)
    with socket.create_connection(listener.addresses[0]), socket.create_connection(listener.addresses[0]) as second:
        await clients.accepted.get()
        sock = await clients.accepted.get()
        assert sock.getpeername() == second.getsockname()
    assert clients.rooms >= 1
    assert clients.warnings == ["1 clients at a time is the limit, more have to wait (--max-connections)"]
    listener.stop()


@in_each_loop
async def test_while_it_pauses_the_listener_asks_for_nothing(monkeypatch):
    """R5"""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 60)
    clients = Clients()
    listener = listen(clients, limit=0)
    with socket.create_connection(listener.addresses[0]):
        for _ in range(10):
            await asyncio.sleep(0)
        assert (clients.rooms, clients.sockets) == (1, [])
    listener.stop()


@in_each_loop
async def test_running_out_of_descriptors_is_a_pause_and_one_line(monkeypatch):
    """R5"""
    clients = Clients()
    failures = [errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.ENOBUFS]
    accept = socket.socket.accept

    def failing(listening):
        if failures:
            raise OSError(failures.pop(0), "Too many open files")
        return accept(listening)

    monkeypatch.setattr(socket.socket, "accept", failing)
    listener = listen(clients)
    with socket.create_connection(listener.addresses[0]):
        await clients.accepted.get()
    assert failures == []
    assert clients.rooms == 3
    assert clients.warnings == ["cannot accept more clients for now: Too many open files (ulimit -n)"]
    listener.stop()


@in_each_loop
async def test_stopping_gives_the_port_back():
    clients = Clients()
    listener = listen(clients)
    await asyncio.sleep(0)
    listener.stop()
    await asyncio.sleep(0.001)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.addresses[0])
    (again,) = bind(["127.0.0.1"], listener.addresses[0][1])
    again.close()
