"""Clients that go through a proxy: curl, and bare sockets for what no proper client does."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from http.client import HTTPResponse
from pathlib import Path

from .program import Proxy
from .tools import run


def curl(proxy: Proxy, *arguments: str | Path, status: int | None = 0) -> subprocess.CompletedProcess[bytes]:
    """curl through the proxy, trusting its CA and nothing else."""
    ours = ["-q", "-sS", "--max-time", "60", "--proxy", proxy.url, "--noproxy", "", "--cacert", proxy.ca]
    return run("curl", *ours, *arguments, status=status)


def connect(proxy: Proxy) -> socket.socket:
    """A connection to the proxy."""
    sock = socket.create_connection(("127.0.0.1", proxy.port), timeout=30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def open_tunnel(proxy: Proxy, authority: str) -> socket.socket:
    """A connection to `authority` (host:port) that CONNECT has made."""
    sock = connect(proxy)
    sock.sendall(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):  # byte by byte, as a server may have spoken already
        byte = sock.recv(1)
        assert byte, f"the proxy closed the connection after {answer!r}"
        answer += byte
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    return sock


def trusting(certificate: Path, *, alpn: tuple[str, ...] = ("http/1.1",)) -> ssl.SSLContext:
    """What a strict client has: one trusted root, and Python 3.13's default flags."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def open_tls(proxy: Proxy, authority: str, name: str = "localhost") -> ssl.SSLSocket:
    """TLS inside a tunnel, for a server that should be `name`."""
    return trusting(proxy.ca).wrap_socket(open_tunnel(proxy, authority), server_hostname=name)


def ask(sock: socket.socket, request: bytes, method: str = "GET") -> tuple[HTTPResponse, bytes]:
    """Send bytes, and read one response and its body."""
    sock.sendall(request)
    with HTTPResponse(sock, method=method) as answer:
        answer.begin()
        return answer, answer.read()


def check_page(answer: HTTPResponse, page: bytes, *words: str) -> None:
    """Is this the proxy's page about a server that did not do its part, with these words?"""
    assert (answer.status, answer.getheader("content-type")) == (502, "text/html; charset=utf-8")
    for word in words:
        assert word in page.decode()


def get(authority: str, path: str = "/", *fields: str, method: str = "GET") -> bytes:
    """A request without a body, in origin-form if `path` is a path."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {authority}", *fields, "", ""]).encode()


class Shim:
    """A local port whose connections lead to `authority` through a tunnel: for programs that know no proxy."""

    def __init__(self, proxy: Proxy, authority: str) -> None:
        self._proxy, self._authority = proxy, authority
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Shim:
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
                server = open_tunnel(self._proxy, self._authority)
            except OSError:
                return
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pass, args=(source, sink), daemon=True).start()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()
