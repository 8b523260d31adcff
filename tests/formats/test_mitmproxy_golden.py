"""Flow files that releases of mitmproxy wrote (of their own test flows, with their `tflow`), and one that we wrote and
mitmproxy 12.2.3 was seen to read. mitmproxy-<release>.mitm; which flows are in it depends on what the release knew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.flowfiles import stored
from support.mitmfiles import reader, written

from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow
from mitmdump.model.headers import Headers
from mitmdump.model.message import Message, Request, Response

GOLDEN = Path(__file__).parent.parent / "golden"
RELEASES = sorted(GOLDEN.glob("mitmproxy-*.*.*.mitm"), key=lambda path: int(path.stem.split("-")[1].split(".")[0]))

# The tests' flows of mitmproxy: what of them is the same in all releases.
WEBSOCKET = [
    (True, "binary", b"hello binary"),
    (True, "text", b"hello text"),
    (False, "text", b"it's me"),
]
RAW = [(True, "raw", b"hello"), (False, "raw", b"it's me")]


def flows_of(path: Path) -> list[Flow]:
    found = reader(path.read_bytes())
    flows = list(found)
    assert not found.damage
    return flows


def of_kind(path: Path, wanted: Callable[[Flow], bool]) -> Flow:
    return next(filter(wanted, flows_of(path)))


def contents(flow: Flow) -> list[tuple[bool, str, bytes]]:
    return [(message.from_client, message.kind, message.content) for message in flow.messages]


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_an_exchange_of_every_release_is_read(path):
    flow = flows_of(path)[0]

    assert flow.request is not None
    assert flow.response is not None
    assert (flow.request.method, flow.request.host, flow.request.port) == ("GET", "address", 22)
    assert flow.request.http_version == flow.response.http_version == "HTTP/1.1"
    assert flow.request.headers["header"] == "qvalue"
    assert (flow.request.raw_content, flow.response.raw_content) == (b"content", b"message")
    assert (flow.response.status_code, flow.response.reason) == (200, "OK")
    assert flow.response.headers["header-response"] == "svalue"
    assert flow.response.body.complete


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_an_error_of_every_release_is_read(path):
    flow = flows_of(path)[1]

    assert flow.error is not None
    assert flow.error.msg == "error"
    assert flow.error.timestamp > 0
    assert flow.response is None


@pytest.mark.parametrize("path", RELEASES, ids=lambda path: path.stem)
def test_the_connections_of_every_release_are_read(path):
    flow = flows_of(path)[0]

    assert flow.client_conn.peername in (("127.0.0.1", 22), ("address", 22))  # the latter until 2
    assert flow.server_conn is not None
    assert flow.server_conn.address == ("address", 22)
    assert flow.client_conn.id != flow.server_conn.id


@pytest.mark.parametrize("path", RELEASES[2:], ids=lambda path: path.stem)
def test_websockets_of_every_release_are_one_flow(path):
    sockets = [flow for flow in flows_of(path) if flow.response and flow.response.status_code == 101]

    assert [contents(flow)[:3] for flow in sockets] == [WEBSOCKET]


@pytest.mark.parametrize("path", RELEASES[2:], ids=lambda path: path.stem)
def test_raw_connections_of_every_release_are_read(path):
    assert contents(of_kind(path, lambda flow: flow.kind == "tcp")) == RAW


def test_what_only_new_releases_know_is_read():
    path = GOLDEN / "mitmproxy-12.2.3.mitm"

    udp = of_kind(path, lambda flow: flow.kind == "udp")
    dns = of_kind(path, lambda flow: flow.kind == "dns")

    assert contents(udp) == RAW
    assert [content[2:12] for _, _, content in contents(dns)] == [
        b"\x01\0\0\1\0\0\0\0\0\0",
        b"\x81\x80\0\1\0\2\0\0\0\0",
    ]


def an_example() -> list[Flow]:
    """One flow of each kind, with all that there is to be known of it."""
    known: dict[str, Any] = {
        "peername": ("192.0.2.1", 443), "sockname": ("192.0.2.2", 50000), "timestamp_start": 1.0,
        "timestamp_tls_setup": 1.25, "timestamp_end": 9.0, "tls_version": "TLSv1.3", "cipher": "TLS_AES_256_GCM_SHA384",
        "alpn_offers": (b"h2", b"http/1.1"), "alpn": b"h2", "sni": "example.com",
    }  # fmt: skip
    client = Connection("client", 0x0123456789ABCDEF, **known)
    server = Connection("server", 2**64 - 1, address=("example.com", 443), timestamp_tcp_setup=1.125, **known)
    request = Request(
        "HTTP/2", Headers([(b"Content-Type", b"text/plain"), (b"X-Caf\xe9", b"\xff")]), stored(b"body\0"), Headers(),
        timestamp_start=2.0, timestamp_end=2.5, method="POST", scheme="https", host="example.com", port=443,
        authority="example.com", path="/caf\udce9",
    )  # fmt: skip
    response = Response("HTTP/1.1", Headers([(b"A", b"b")] * 2), timestamp_start=3.0, status_code=101, reason="Go")
    messages = [
        Message(True, "text", 4.0, b"a"),
        Message(False, "binary", 4.5, b""),
        Message(False, "close", 5.0, b"\3\xe8bye"),
    ]
    raw = [Message(True, "raw", 6.0, b"\0\1"), Message(False, "raw", 6.5, b"")]
    question = b"\0\x2a\1\0\0\1\0\0\0\0\0\0\7example\3com\0\0\1\0\1"
    notes = {"list": [1, 2.5, None, True, b"\xff"], "map": {"key": "\u00e9"}}
    return [
        Flow(
            "http",
            client,
            server,
            request,
            response,
            None,
            messages,
            notes,
            "a comment",
            ":star:",
            "request",
            2.0,
            5.0,
            1,
        ),
        Flow("http", client, None, request, None, Error("it broke", 3.0), timestamp_start=2.0, id=2),
        Flow("tcp", client, server, messages=raw, timestamp_start=1.0, id=3),
        Flow("udp", client, server, messages=raw, timestamp_start=1.0, id=4),
        Flow("dns", client, server, messages=[Message(True, "raw", 7.0, question)], timestamp_start=1.0, id=5),
    ]


def test_what_we_write_is_what_mitmproxy_was_seen_to_read():
    assert written(*an_example()) == (GOLDEN / "mitmproxy-ours.mitm").read_bytes()
