"""Connections that leave HTTP: Upgrade, and CONNECT to what is not TLS."""

from __future__ import annotations

import base64
import hashlib
import socket
from contextlib import closing

from support.clients import ask, connect, get, open_tunnel
from support.program import Start, statuses
from support.servers import Peer, Serve, answering, response
from support.tools import refusing_port


def _masked(payload: bytes) -> bytes:
    """A WebSocket text frame of a client (RFC 6455 section 5.2)."""
    mask = b"\x01\x02\x03\x04"
    return bytes([0x81, 0x80 | len(payload)]) + mask + bytes(b ^ mask[at % 4] for at, b in enumerate(payload))


def test_a_websocket_is_relayed_after_its_handshake(start: Start, serve: Serve) -> None:
    """H16"""
    key = base64.b64encode(bytes(16))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())

    def script(server: Peer) -> None:
        assert b"upgrade: websocket" in server.read_head().lower()
        switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        server.send(switch + b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n\x81\x05hello")
        while frame := server.read(11):
            payload = bytes(b ^ frame[2 + at % 4] for at, b in enumerate(frame[6:]))
            server.send(b"\x81\x05" + payload)

    server = serve(script)
    with start() as proxy, closing(connect(proxy)) as sock:
        asking = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        sock.sendall(get(f"127.0.0.1:{server.port}", server.url(), *asking, f"Sec-WebSocket-Key: {key.decode()}"))
        client = Peer(sock)
        head = client.read_head()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert accept in head
        assert client.read(7) == b"\x81\x05hello"
        for word in (b"first", b"other"):
            client.send(_masked(word))
            assert client.read(7) == b"\x81\x05" + word
        sock.shutdown(socket.SHUT_WR)
        assert client.read_all() == b""
    flows = proxy.flows()
    upgrade = next(flow for flow in flows if flow.kind == "http")
    assert upgrade.response and upgrade.response.status_code == 101
    messages = [message for flow in flows for message in flow.messages]
    sent = b"".join(message.content for message in messages if message.from_client)
    received = b"".join(message.content for message in messages if not message.from_client)
    assert len(messages) == 5
    assert received.count(b"hello") == 1
    assert sent in (_masked(b"first") + _masked(b"other"), b"firstother")


def test_an_upgrade_that_is_refused_stays_http(start: Start, serve: Serve) -> None:
    """H16"""
    server = serve(answering(response(b"no", "403 Forbidden"), response(b"yes")))
    with start() as proxy, closing(connect(proxy)) as sock:
        authority = f"127.0.0.1:{server.port}"
        asking = ("Upgrade: websocket", "Connection: Upgrade")
        refused, _ = ask(sock, get(authority, server.url(), *asking))
        answered, body = ask(sock, get(authority, server.url()))
    assert (refused.status, answered.status, body) == (403, 200, b"yes")
    assert statuses(proxy.flows()) == [403, 200]


def test_a_tunnel_to_a_server_that_speaks_first_is_a_raw_flow_with_both_directions(start: Start, serve: Serve) -> None:
    def smtp(server: Peer) -> None:
        server.send(b"220 mail.test ESMTP\r\n")
        assert server.read_line() == b"EHLO client.test\r\n"
        server.send(b"250 mail.test\r\n")
        assert server.read_line() == b"QUIT\r\n"
        server.send(b"221 bye\r\n")

    server = serve(smtp)
    with start() as proxy, closing(open_tunnel(proxy, f"localhost:{server.port}")) as sock:
        client = Peer(sock)
        assert client.read_line() == b"220 mail.test ESMTP\r\n"
        client.send(b"EHLO client.test\r\n")
        assert client.read_line() == b"250 mail.test\r\n"
        client.send(b"QUIT\r\n")
        assert client.read_all() == b"221 bye\r\n"
    flow = proxy.flow()
    assert (flow.kind, flow.error) == ("tcp", None)
    assert flow.server_conn and flow.server_conn.address == ("localhost", server.port)
    messages = list(flow.messages)
    assert [(message.from_client, message.content) for message in messages] == [
        (False, b"220 mail.test ESMTP\r\n"),
        (True, b"EHLO client.test\r\n"),
        (False, b"250 mail.test\r\n"),
        (True, b"QUIT\r\n"),
        (False, b"221 bye\r\n"),
    ]
    times = [message.timestamp for message in messages]
    assert times == sorted(times)
    assert flow.timestamp_end and flow.timestamp_start <= times[0] <= times[-1] <= flow.timestamp_end


def test_a_tunnel_to_an_echo_is_relayed_and_a_half_closed_one_stays_half_open(start: Start, serve: Serve) -> None:
    server = serve(lambda each: each.send(each.read_all()[::-1]))  # answers when the client has ended its side
    with start() as proxy, closing(open_tunnel(proxy, f"127.0.0.1:{server.port}")) as sock:
        sock.sendall(b"\x00\x01 not TLS, not HTTP")
        sock.shutdown(socket.SHUT_WR)
        assert Peer(sock).read_all() == b"PTTH ton ,SLT ton \x01\x00"
    assert [message.from_client for message in proxy.flow().messages] == [True, False]


def test_a_tunnel_to_a_port_where_nobody_listens_is_a_flow_with_an_error(start: Start) -> None:
    with refusing_port() as port, start() as proxy, closing(open_tunnel(proxy, f"127.0.0.1:{port}")) as sock:
        assert Peer(sock).read_all() == b""
    flow = proxy.flow()
    assert flow.kind == "tcp"
    assert flow.error and f"cannot connect to 127.0.0.1:{port}: connection refused" in flow.error.msg
