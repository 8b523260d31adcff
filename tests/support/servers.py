"""Servers on loopback: scripted ones, which do what no honest server does, and nginx."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from .pki import Identity
from .tools import accepts, free_port, tool, wait_until


class Peer:
    """One end of a connection in a script: raw bytes out, bytes, lines and message heads in."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, size: int) -> bytes:
        """So many bytes, fewer only at the end of the connection."""
        pieces, missing = [self._buffer], size - len(self._buffer)
        while missing > 0 and (data := self.socket.recv(65536)):
            pieces.append(data)
            missing -= len(data)
        data = b"".join(pieces)
        self._buffer = data[size:]
        return data[:size]

    def digest(self, size: int) -> bytes:
        """The SHA-256 of so many bytes, which are not kept; EOFError if they do not come."""
        digest, room = hashlib.sha256(), memoryview(bytearray(256 * 1024))
        digest.update(self._buffer[:size])
        missing, self._buffer = size - len(self._buffer[:size]), self._buffer[size:]
        while missing:
            count = self.socket.recv_into(room, min(missing, len(room)))
            if not count:
                raise EOFError(f"the connection ended {missing} bytes too early")
            digest.update(room[:count])
            missing -= count
        return digest.digest()

    def read_line(self) -> bytes:
        """A line with its end."""
        return self._read_to(b"\n")

    def read_head(self) -> bytes:
        """A message head with the empty line behind it; b"" at the end of the connection."""
        return self._read_to(b"\r\n\r\n")

    def read_all(self) -> bytes:
        """Everything up to the end of the connection."""
        return self.read(1 << 62)

    def reset(self) -> None:
        """Break the connection, so that the other end sees it broken."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_to(self, end: bytes) -> bytes:
        while (at := self._buffer.find(end)) < 0:
            data = self.socket.recv(65536)
            if not data:
                return b""
            self._buffer += data
        data, self._buffer = self._buffer[: at + len(end)], self._buffer[at + len(end) :]
        return data


Script = Callable[[Peer], object]


class Server:
    """A server that plays `script` on each connection, in a thread, and closes it when the script has ended.

    A script may fail when its peer goes away; any other exception in it fails the test at `close`.
    """

    def __init__(self, script: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._script = script
        self._context = context
        self._listening = socket.create_server(
            (host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=1024
        )
        self._open: set[socket.socket] = set()
        self._faults: list[Exception] = []
        self.port: int = self._listening.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._context else 'http'}://{host}:{self.port}{path}"

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for sock in list(self._open):
            sock.close()
        self._thread.join(10)
        if self._faults:
            raise self._faults[0]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._play, args=(sock,), daemon=True).start()

    def _play(self, sock: socket.socket) -> None:
        self._open.add(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(60)
            if self._context:
                self._open.discard(sock)
                sock = self._context.wrap_socket(sock, server_side=True)
                self._open.add(sock)
            self._script(Peer(sock))
        except (OSError, ValueError):  # ValueError: an operation on a socket that `close` has closed
            pass
        except Exception as fault:  # noqa: BLE001  # for the test to see
            self._faults.append(fault)
        finally:
            self._open.discard(sock)
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


# What the fixtures of these names are: starting a scripted server, and a server's TLS with a certificate.
Serve = Callable[..., Server]
ContextOf = Callable[[Identity], ssl.SSLContext]


def answering(*responses: bytes) -> Script:
    """A script: one response to each request head, whatever it asks, and the last one to all that follow."""

    def script(peer: Peer) -> None:
        waiting = list(responses)
        while peer.read_head():
            peer.send(waiting.pop(0) if len(waiting) > 1 else waiting[0])

    return script


def response(body: bytes = b"", status: str = "200 OK", *fields: str) -> bytes:
    """A response with a Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields, "", ""]
    return "\r\n".join(lines).encode() + body


HELLO = response(b"hello")

_NGINX = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_timeout 60s;
    client_max_body_size 0;
    types {{ text/html html; text/css css; text/javascript js; application/json json; image/svg+xml svg; }}
    server {{
        listen 127.0.0.1:{http};
        listen 127.0.0.1:{https} ssl;
        listen 127.0.0.1:{http2} ssl http2;
        listen 127.0.0.1:{clear} http2;
        keepalive_requests 1000000;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3;
        root {root};
        gzip on;
        gzip_min_length 1;
        gzip_types text/css application/json;
        location /echo {{ return 200 "$request_method $request_uri $http_x_test\\n"; }}
        location /small {{ client_max_body_size 10; dav_methods PUT; }}
        location /status/204 {{ return 204; }}
        location /redirect {{ return 302 /echo; }}
        location /upload/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
    }}
}}
"""


class Nginx:
    """nginx with HTTP, HTTPS, HTTPS with HTTP/2, and HTTP/2 without TLS (`clear`), on the same files below `root`."""

    def __init__(self, directory: Path, certificate: Path, key: Path) -> None:
        self.root = directory / "root"
        self.root.mkdir()
        self.http_port, self.https_port, self.http2_port = free_port(), free_port(), free_port()
        self.http, self.https = f"http://localhost:{self.http_port}", f"https://localhost:{self.https_port}"
        self.http2 = f"https://localhost:{self.http2_port}"
        self.clear_port = free_port()
        self.clear = f"http://localhost:{self.clear_port}"
        configuration = directory / "nginx.conf"
        configuration.write_text(
            _NGINX.format(
                directory=directory,
                root=self.root,
                http=self.http_port,
                https=self.https_port,
                http2=self.http2_port,
                clear=self.clear_port,
                certificate=certificate,
                key=key,
            )
        )
        command = [tool("nginx"), "-p", str(directory), "-c", str(configuration), "-e", str(directory / "error.log")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            wait_until(lambda: accepts(self.https_port) or self._process.poll() is not None, "nginx listens")
            assert self._process.poll() is None, (directory / "error.log").read_text()
        except BaseException:
            self.close()
            raise

    def put(self, name: str, content: bytes) -> str:
        """Make a file, and give its path in URLs."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return f"/{name}"

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        finally:
            self._process.kill()
