"""Mixed traffic: all that clients and servers do to a proxy on a long day, a round of it at a time.

A round begins with slow clients, which are in the middle of something while everybody else comes and goes, and end
after them. Nothing of it is left when the round is over: whoever is not closed by the proxy closes itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from random import Random
from ssl import PROTOCOL_TLS_CLIENT, SSLContext, SSLError

from .clients import ask, connect, get, open_tls, open_tunnel
from .program import Proxy
from .servers import Peer, Serve, response
from .tools import refusing_port

MIB = 1 << 20
SMALL = 25  # exchanges of one client
AT_A_TIME = 8
GREETING, FAREWELL = b"220 mail.test ready\r\n", b"221 bye\r\n"
# What clients send to a proxy by mistake, or to see whether it falls over.
BAD = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET http://[ HTTP/1.1\r\nHost: [\r\n\r\n",
    b"GET http://a/ HTTP/1.1\r\nHost: a\r\nX: " + bytes(70_000),
    b"POST http://a/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"CONNECT a:b HTTP/1.1\r\nHost: a:b\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x05\x01\x00",
)


def serve_all(peer: Peer) -> None:
    """A server for all of it: what it does, and with how many bytes, stands in the path."""
    while head := peer.read_head():
        kind, _, size = head.split(b" ")[1].decode().strip("/").partition("/")
        _ANSWERS[kind](peer, int(size or 0))


def _send_chunked(peer: Peer, size: int) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(size // MIB):
        peer.send(b"100000\r\n" + bytes(MIB) + b"\r\n")
    peer.send(b"0\r\n\r\n")


def _take(peer: Peer, size: int) -> None:
    peer.digest(size)
    peer.send(response(b"thanks"))


def _cut_off(peer: Peer, size: int) -> None:
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * size) + bytes(size))
    peer.reset()


def _echo(peer: Peer, _: int) -> None:
    peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
    while data := peer.socket.recv(65536):
        peer.send(data)


_ANSWERS: dict[str, Callable[[Peer, int], object]] = {
    "small": lambda peer, size: peer.send(response(bytes(size))),
    "large": _send_chunked,
    "upload": _take,
    "cut": _cut_off,
    "upgrade": _echo,
}


def serve_mail(peer: Peer) -> None:
    """A server that speaks first, and no TLS."""
    peer.send(GREETING)
    while peer.read_line():
        peer.send(FAREWELL)


class Traffic:
    """Clients of one proxy, and the servers that they ask; `round` is some seconds of it."""

    def __init__(self, proxy: Proxy, serve: Serve, tls: SSLContext) -> None:
        self._proxy = proxy
        self._plain, self._tls, self._mail = serve(serve_all), serve(serve_all, tls), serve(serve_mail)
        self._authority = f"localhost:{self._tls.port}"
        self._random = Random(6)
        self.clients = 0

    def round(self) -> None:
        """One round of everything, in an order of its own."""
        slow = [self._begin_head() for _ in range(4)] + [self._begin_download() for _ in range(2)]
        quick = [kind for kind, times in _MIX.items() for _ in range(times)]
        self._random.shuffle(quick)
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for done in [pool.submit(kind, self) for kind in quick]:
                done.result()
        for end in slow:
            end()
        self.clients += len(quick) + len(slow)

    # -- those who are slow -------------------------------------------------------------------------------------------

    def _begin_head(self) -> Callable[[], object]:
        """A client that takes its time over a request; the proxy loses its patience with it, or does not."""
        sock = connect(self._proxy)
        sock.sendall(b"GET http://127.0.0.1:%d/small/100 HTTP/1.1\r\nHost: " % self._plain.port)

        def end() -> None:
            with closing(sock), suppress(OSError):
                sock.sendall(b"127.0.0.1:%d\r\n\r\n" % self._plain.port)
                Peer(sock).read_head()

        return end

    def _begin_download(self) -> Callable[[], object]:
        """A client that does not read what it has asked for until much later."""
        sock = connect(self._proxy)
        sock.sendall(self._get(f"/large/{4 * MIB}"))

        def end() -> None:
            with closing(sock):
                client = Peer(sock)
                assert client.read_head()
                client.read(4 * MIB)

        return end

    # -- those who are quick ------------------------------------------------------------------------------------------

    def _small(self) -> None:
        with closing(connect(self._proxy)) as sock:
            for _ in range(SMALL):
                assert ask(sock, self._get("/small/1024"))[0].status == 200

    def _small_in_tls(self) -> None:
        with open_tls(self._proxy, self._authority) as sock:
            for _ in range(SMALL):
                assert ask(sock, get(self._authority, "/small/1024"))[0].status == 200

    def _one_in_tls(self) -> None:
        with open_tls(self._proxy, self._authority) as sock:
            assert ask(sock, get(self._authority, "/small/10"))[1] == bytes(10)

    def _large(self) -> None:
        with closing(connect(self._proxy)) as sock:
            assert len(ask(sock, self._get(f"/large/{3 * MIB}"))[1]) == 3 * MIB

    def _large_in_tls(self) -> None:
        with open_tls(self._proxy, self._authority) as sock:
            assert len(ask(sock, get(self._authority, f"/large/{2 * MIB}"))[1]) == 2 * MIB

    def _upload(self) -> None:
        with open_tls(self._proxy, self._authority) as sock:
            head = get(self._authority, f"/upload/{2 * MIB}", f"Content-Length: {2 * MIB}", method="PUT")
            assert ask(sock, head + bytes(2 * MIB))[1] == b"thanks"

    def _abort(self) -> None:
        """A client that breaks the connection in the middle of a download."""
        client = Peer(connect(self._proxy))
        client.send(self._get(f"/large/{3 * MIB}"))
        client.read(100_000)
        client.reset()

    def _abort_upload(self) -> None:
        client = Peer(connect(self._proxy))
        head = get(f"127.0.0.1:{self._plain.port}", self._plain.url(f"/upload/{MIB}"), f"Content-Length: {MIB}")
        client.send(head + bytes(100_000))
        client.reset()

    def _abort_handshake(self) -> None:
        client = Peer(open_tunnel(self._proxy, self._authority))
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        client.reset()

    def _distrust(self) -> None:
        """A client that does not know our CA."""
        with closing(open_tunnel(self._proxy, self._authority)) as sock, suppress(SSLError):
            _STRANGER.wrap_socket(sock, server_hostname="localhost")

    def _cut(self) -> None:
        """A server that breaks the connection in the middle of a download."""
        with closing(connect(self._proxy)) as sock, suppress(OSError):
            sock.sendall(self._get("/cut/100000"))
            Peer(sock).read_all()

    def _raw(self) -> None:
        """A tunnel with a protocol that is neither TLS nor HTTP."""
        with closing(open_tunnel(self._proxy, f"127.0.0.1:{self._mail.port}")) as sock:
            client = Peer(sock)
            assert client.read_line() == GREETING
            for _ in range(10):
                client.send(b"NOOP\r\n")
                assert client.read_line() == FAREWELL

    def _upgraded(self) -> None:
        with closing(connect(self._proxy)) as sock:
            client = Peer(sock)
            client.send(self._get("/upgrade", "Connection: upgrade", "Upgrade: echo"))
            assert client.read_head().startswith(b"HTTP/1.1 101 ")
            for _ in range(10):
                client.send(bytes(1000))
                assert client.read(1000) == bytes(1000)

    def _nobody(self) -> None:
        """A request to where nobody listens."""
        with refusing_port() as port, closing(connect(self._proxy)) as sock:
            assert ask(sock, get(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}/"))[0].status == 502

    def _bad(self) -> None:
        for data in BAD:
            with closing(connect(self._proxy)) as sock, suppress(OSError):
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                Peer(sock).read_all()

    def _get(self, path: str, *fields: str) -> bytes:
        return get(f"127.0.0.1:{self._plain.port}", self._plain.url(path), *fields)


_STRANGER = SSLContext(PROTOCOL_TLS_CLIENT)  # trusts nobody

# How many of each there are in a round.
_MIX = {
    Traffic._small: 20,
    Traffic._small_in_tls: 20,
    Traffic._one_in_tls: 20,
    Traffic._large: 4,
    Traffic._large_in_tls: 4,
    Traffic._upload: 4,
    Traffic._abort: 6,
    Traffic._abort_upload: 6,
    Traffic._abort_handshake: 6,
    Traffic._distrust: 6,
    Traffic._cut: 6,
    Traffic._raw: 10,
    Traffic._upgraded: 6,
    Traffic._nobody: 4,
    Traffic._bad: 4,
}
