"""Lines that stand in many transcripts of what went through the proxy."""

from __future__ import annotations

from .peers import Peer
from .proxying import Proxy, Server

GET = b"GET http://NAME/path?q HTTP/1.1\r\nHost: NAME\r\n\r\n"
UPLOAD = b"POST http://NAME/ HTTP/1.1\r\nHost: NAME\r\nContent-Length: 5\r\n"
CONNECT = b"CONNECT NAME HTTP/1.1\r\nHost: NAME\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def request(name: bytes, *lines: bytes, method: bytes = b"GET", path: bytes = b"/", version: bytes = b"1.1") -> bytes:
    """What a server gets, in origin-form."""
    return b"\r\n".join([b"%b %b HTTP/%b" % (method, path, version), b"Host: " + name, *lines, b"", b""])


def ask(name: bytes, *lines: bytes, method: bytes = b"GET", path: bytes = b"/", version: bytes = b"1.1") -> bytes:
    """What a client sends, in absolute-form."""
    return request(name, *lines, method=method, path=b"http://" + name + path, version=version)


async def answered_page(client: Peer) -> tuple[int, str]:
    """One of our own pages, which is the last that comes."""
    data = (await client.reads_all()).decode()
    head, _, body = data.partition("\r\n\r\n")
    assert "Connection: close" in head
    assert f"Content-Length: {len(body)}" in head
    return int(head[9:12]), body


async def connects(proxy: Proxy) -> tuple[Peer, Server]:
    """A client is in a tunnel."""
    client, server = await proxy.client(), await proxy.server()
    await client.sends(CONNECT.replace(b"NAME", server.name))
    await client.receives(ESTABLISHED)
    return client, server
