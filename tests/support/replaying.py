"""Requests, recorded flows, and files of them, for tests of server replay."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mitmdump import FlowWriter
from mitmdump.model import url
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow
from mitmdump.model.headers import Headers
from mitmdump.model.message import Request, Response
from mitmdump.replay.answers import Answers
from mitmdump.replay.match import Matching

from .flowfiles import START, stored

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def a_request(target: str = "http://a.test/", method: str = "GET", content: bytes = b"", **fields: str) -> Request:
    """A request for a URL; fields by name, with _ for -."""
    scheme, authority, path = url.split_absolute(target)
    host, port = url.split_host_port(authority, url.DEFAULT_PORTS[scheme])
    headers = Headers([(b"Host", authority.encode())])
    for name, value in fields.items():
        headers[name.replace("_", "-")] = value
    return Request(
        "HTTP/1.1",
        headers,
        stored(content),
        timestamp_start=START,
        timestamp_end=START,
        method=method,
        scheme=scheme,
        host=host,
        port=port,
        path=path,
    )


def recorded(request: Request, content: bytes = b"hello", status: int = 200, **fields: str) -> Flow:
    """A flow with this request and such a response, half a second later."""
    headers = Headers([(b"Content-Length", b"%d" % len(content))])
    for name, value in fields.items():
        headers[name.replace("_", "-")] = value
    times = {"timestamp_start": START + 0.5, "timestamp_end": START + 1}
    response = Response("HTTP/1.1", headers, stored(content), status_code=status, reason="Fine", **times)
    known: dict[str, Any] = {"client_conn": Connection("client"), "server_conn": Connection("server")}
    return Flow("http", request=request, response=response, timestamp_start=START, **known)


def written(path: Path, flows: Iterable[Flow]) -> Path:
    """A capture of these flows."""
    with FlowWriter(path) as file:
        for flow in flows:
            file.write(flow)
    return path


def answers_of(path: Path, *flows: Flow, matching: Matching | None = None) -> Answers:
    """What these flows, in a file there, can answer."""
    answers = Answers(matching or Matching())
    answers.load(str(written(path, flows)))
    return answers
