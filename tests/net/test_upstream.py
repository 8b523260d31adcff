"""Connecting to servers: each failure in one sentence, and no loop back to ourselves."""

import asyncio
import errno
import socket

import pytest
from support.peers import Peer, in_each_loop, in_loop

from mitmdump.errors import ConnectError, StreamError
from mitmdump.net import upstream as module
from mitmdump.net.loops import is_loop
from mitmdump.net.resolver import Resolver
from mitmdump.net.stream import Stream, Streams
from mitmdump.net.upstream import connect

FAMILIES = {socket.AF_INET6: "2001:db8::1", socket.AF_INET: "192.0.2.1"}


async def try_to(host: str, port: int, *, seconds: float = 2, own: list = ()) -> Stream:
    return await connect(host, port, Streams(), Resolver(), seconds=seconds, own=own)


async def failure(host: str, port: int, **options) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await try_to(host, port, **options)
    return caught.value


def server(host: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


@in_each_loop
@pytest.mark.parametrize(("bound", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("127.0.0.1", "localhost")])
async def test_a_connection_is_made_and_known_by_its_addresses(bound, host):
    with server(bound) as listening:
        stream = await try_to(host, listening.getsockname()[1])
        accepted, address = listening.accept()
        assert stream.peername == listening.getsockname()[:2]
        assert stream.sockname == address[:2]
        stream.write(b"hello")
        accepted.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(accepted, 5) == b"hello"
        accepted.close()
        stream.close()


@in_each_loop
@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
async def test_a_refused_connection_says_so(host):
    with server() as listening, socket.socket(socket.AF_INET6) as other:
        port = listening.getsockname()[1]
        other.bind(("::1", port))
        listening.close()
        error = await failure(host, port)
    name = f"[{host}]" if ":" in host else host
    assert (str(error), error.status) == (f"cannot connect to {name}:{port}: connection refused", 502)


@in_each_loop
@pytest.mark.parametrize(
    "host", ["no-such-host.invalid", "a..b", ".", "x" * 64 + ".test", "-", "a_b.invalid", "1.2.3.4.5"]
)
async def test_a_name_that_leads_nowhere_says_so(host):
    error = await failure(host, 80)
    assert (str(error), error.status) == (f"cannot connect to {host}:80: no such host", 502)


@in_loop
async def test_a_name_service_that_fails_is_not_called_no_such_host(monkeypatch):
    async def fail(_resolver, _host, _port):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(Resolver, "addresses", fail)
    error = await failure("a.test", 80)
    assert "name lookup failed" in str(error)
    assert "Temporary failure" in str(error)


@in_each_loop
async def test_a_server_that_does_not_answer_is_given_up():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address):  # the only one that it lets wait; what others send is dropped
            error = await failure(*address, seconds=0.01)
    assert str(error) == f"cannot connect to 127.0.0.1:{address[1]}: no answer within 0.01 seconds"
    assert error.status == 504


@in_loop
async def test_several_addresses_are_raced(monkeypatch):
    """RFC 8305"""
    raced = []

    async def start_connection(addresses, **_options):
        raced.extend(address[4][0] for address in addresses)
        raise OSError(errno.ECONNREFUSED, "x")

    async def both(_resolver, _host, _port):
        return [(family, socket.SOCK_STREAM, 0, "", (host, 80)) for family, host in FAMILIES.items()]

    monkeypatch.setattr(module.aiohappyeyeballs, "start_connection", start_connection)
    monkeypatch.setattr(Resolver, "addresses", both)
    assert "connection refused" in str(await failure("a.test", 80))
    assert raced == list(FAMILIES.values())


LOOPS = [
    ("127.0.0.1", "127.0.0.1"),
    ("127.0.0.1", "localhost"),
    ("127.0.0.1", "0.0.0.0"),
    ("127.0.0.1", "::ffff:127.0.0.1"),
    ("127.0.0.1", "127.1"),
    ("127.0.0.1", "2130706433"),
    ("127.0.0.1", "0x7f000001"),
    ("::1", "::1"),
    ("::1", "::"),
    ("::1", "0:0:0:0:0:0:0:1"),
    ("0.0.0.0", "127.0.0.1"),
    ("0.0.0.0", "127.9.9.9"),
    ("0.0.0.0", "0.0.0.0"),
    ("::", "::1"),
]


@in_loop
@pytest.mark.parametrize(("bound", "host"), LOOPS)
async def test_no_name_of_ours_leads_back_to_ourselves(bound, host):
    """A3"""
    with server(bound) as listening:
        port = listening.getsockname()[1]
        error = await failure(host, port, own=[(bound, port)])
        assert "that is this proxy itself" in str(error)
        assert error.status == 502


@in_loop
async def test_a_dual_stack_wildcard_listener_is_found_by_its_ipv4_address():
    """A3"""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        port = listening.getsockname()[1]
        assert "proxy itself" in str(await failure("127.0.0.1", port, own=[("::", port)]))


@in_loop
async def test_another_server_of_this_machine_is_no_loop():
    with server() as listening, server("127.0.0.2") as other:
        port, own_port = listening.getsockname()[1], other.getsockname()[1]
        own = [("127.0.0.1", own_port), ("127.0.0.2", port), ("::", own_port), ("0.0.0.0", own_port)]
        stream = await try_to("127.0.0.1", port, own=own)
        stream.close()


def test_a_server_that_is_gone_again_was_not_us():
    with socket.socket() as sock:
        assert not is_loop(sock, [("127.0.0.1", 80)])


@in_each_loop
async def test_a_server_that_resets_at_once_is_a_broken_stream(monkeypatch):
    with server() as listening:

        async def connect_socket(sock, address):
            sock.connect(address)
            sock.setblocking(False)
            accepted, _ = listening.accept()
            Peer(accepted).resets()
            return sock

        monkeypatch.setattr(module, "_connect_socket", connect_socket)
        stream = await try_to("127.0.0.1", listening.getsockname()[1])
        with pytest.raises(StreamError, match="the server broke the connection"):
            await stream.read()
