"""How much room a flow takes: the aim is under 700 bytes for a small HTTPS exchange besides its body, under 250
compressed.
"""

from __future__ import annotations

import os

import zstandard
from support.flowfiles import START, frames, stored

from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow
from mitmdump.model.headers import Headers
from mitmdump.model.message import Request, Response

# As many as nginx answers over one connection before it closes that.
COUNT = 1000
CLIENT = Connection(
    "client",
    int.from_bytes(os.urandom(8)),
    peername=("127.0.0.1", 50000),
    sockname=("127.0.0.1", 8080),
    timestamp_start=START,
    timestamp_tls_setup=START,
    tls_version="TLSv1.3",
    cipher="TLS_AES_256_GCM_SHA384",
    alpn_offers=(b"h2", b"http/1.1"),
    alpn=b"http/1.1",
    sni="www.example.com",
)
SERVER = Connection(
    "server",
    int.from_bytes(os.urandom(8)),
    peername=("192.0.2.1", 443),
    address=("www.example.com", 443),
    timestamp_start=START,
    timestamp_tcp_setup=START,
    timestamp_tls_setup=START,
    tls_version="TLSv1.3",
    cipher="TLS_AES_256_GCM_SHA384",
    certificate_list=(os.urandom(1200), os.urandom(1300)),
    verification="ok",
)


def an_exchange(number: int) -> Flow:
    """What curl asks and nginx answers, over a connection that is kept."""
    begin = START + number * 0.0123
    request = Request(
        "HTTP/1.1",
        Headers([(b"Host", b"www.example.com"), (b"User-Agent", b"curl/7.88.1"), (b"Accept", b"*/*")]),
        stored(b""),
        timestamp_start=begin,
        timestamp_end=begin + 0.0001,
        method="GET",
        scheme="https",
        host="www.example.com",
        port=443,
        path=f"/items/{number}?page=1",
    )
    fields = [
        (b"Server", b"nginx/1.22.1"),
        (b"Date", b"Mon, 24 Nov 2025 16:00:00 GMT"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"100"),
        (b"Last-Modified", b"Mon, 24 Nov 2025 07:16:39 GMT"),
        (b"Connection", b"keep-alive"),
        (b"ETag", b'"%08x-64"' % number),
        (b"Accept-Ranges", b"bytes"),
    ]
    response = Response(
        "HTTP/1.1",
        Headers(fields),
        stored(os.urandom(100)),
        timestamp_start=begin + 0.002,
        timestamp_end=begin + 0.0021,
        status_code=200,
        reason="OK",
    )
    flow = Flow("http", CLIENT, SERVER, request, response, timestamp_start=begin)
    flow.timestamp_end = begin + 0.0022
    return flow


EXCHANGES = frames(*[an_exchange(number) for number in range(COUNT)])


def test_a_small_https_exchange_takes_less_than_700_bytes_besides_its_body() -> None:
    assert len(b"".join(EXCHANGES)) / COUNT - 100 < 700


def test_compressed_it_takes_less_than_250_bytes_besides_its_body() -> None:
    """The bodies cannot be compressed at all. Each 256 KiB are a Zstandard frame of their own, as in our files."""
    data = b"".join(EXCHANGES)
    frames_of_zstandard = [zstandard.compress(data[at : at + (1 << 18)]) for at in range(0, len(data), 1 << 18)]
    assert sum(map(len, frames_of_zstandard)) / COUNT - 100 < 250


def test_what_flows_share_is_written_once() -> None:
    assert sum(each.count(CLIENT.id.to_bytes(8)) for each in EXCHANGES) == COUNT + 1
    assert sum(each.count(SERVER.certificate_list[0]) for each in EXCHANGES) == 1
