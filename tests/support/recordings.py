"""Recordings for replays: flows as a proxy would have recorded them, made by hand, in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mitmdump import FlowWriter
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow
from mitmdump.model.headers import Field, Headers
from mitmdump.model.message import Message, Request, Response
from mitmdump.model.url import split_absolute, split_host_port

START = 1_764_000_000.0


def recorded(
    url: str,
    method: str = "GET",
    fields: Sequence[Field] = (),
    body: bytes = b"",
    *,
    at: float = 0.0,
    lasting: float = 0.001,
    answer: Response | None = None,
) -> Flow:
    """A request for a URL that began `at` seconds after START, and its answer."""
    scheme, authority, path = split_absolute(url)
    host, port = split_host_port(authority, 443 if scheme == "https" else 80)
    request = Request(
        "HTTP/1.1",
        Headers([(b"Host", authority.encode()), *fields]),
        Body(len(body), complete=True, source=body),
        timestamp_start=START + at,
        timestamp_end=START + at,
        method=method,
        scheme=scheme,
        host=host,
        port=port,
        path=path,
    )
    ends = START + at + lasting
    server = Connection("server", address=(host, port))
    client = Connection("client", peername=("127.0.0.1", 50000))
    return Flow("http", client, server, request, answer, timestamp_start=START + at, timestamp_end=ends)


def answered(body: bytes = b"hello", status: int = 200, *fields: Field) -> Response:
    """A recorded answer."""
    headers = Headers([(b"Content-Length", b"%d" % len(body)), *fields])
    return Response("HTTP/1.1", headers, Body(len(body), complete=True, source=body), status_code=status, reason="OK")


def said(port: int, *messages: tuple[bool, bytes]) -> Flow:
    """A raw connection to a port of this machine: who spoke (the client?), and what; a moment apart."""
    kept = [Message(by, "raw", START + 0.001 * number, data) for number, (by, data) in enumerate(messages)]
    client = Connection("client", peername=("127.0.0.1", 50000))
    server = Connection("server", address=("127.0.0.1", port))
    return Flow("tcp", client, server, messages=kept, timestamp_start=START, timestamp_end=START + 1)


def record(path: Path, *flows: Flow) -> Path:
    """A capture with these flows."""
    with FlowWriter(path) as capture:
        for flow in flows:
            capture.write(flow)
    return path
