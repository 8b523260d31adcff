"""Requests, responses, and the messages of WebSocket and raw connections, as plain data.

Text fields hold what was on the wire: bytes outside UTF-8 are surrogate escapes (see `headers.to_str`), so nothing is
lost. Times are Unix seconds, None while the thing has not happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from . import content, url
from .body import Body
from .headers import Headers


@dataclass(init=False)
class HttpMessage:
    """What requests and responses share. Without `body`, it has an empty one of which nothing has been seen yet."""

    http_version: str
    headers: Headers
    body: Body
    trailers: Headers | None
    timestamp_start: float | None
    timestamp_end: float | None

    @property
    def raw_content(self) -> bytes | None:
        """The body as it was on the wire (chunked framing removed), None if it was not kept."""
        return self.body.read()

    def iter_raw(self) -> Iterator[bytes]:
        """`raw_content` in pieces, in constant memory."""
        return self.body.pieces()

    @property
    def content(self) -> bytes | None:
        """The body with its content codings undone; of what had some, at most `content.DECODED_LIMIT` bytes.

        None if it was not kept. Raises ContentError where the body is not what its Content-Encoding says.
        """
        encoding = self.headers.get("content-encoding", "")
        if not encoding or self.body.source is None:
            return self.body.read()
        return content.decode(self.body.pieces(), encoding).data

    @property
    def text(self) -> str | None:
        """`content` as text, see `content.to_text`; raises what `content` raises."""
        data: bytes | None = self.content
        return data if data is None else content.to_text(data, self.headers.get("content-type", ""))


@dataclass(init=False)
class Request(HttpMessage):
    """An HTTP request.

    `host` and `port` are where it goes, from the request's target or the connection it arrived in; `authority` is the
    authority that the client named in its target ("" for origin-form); `path` the path and query sent to the server.
    """

    method: str
    scheme: str
    host: str
    port: int
    authority: str
    path: str

    def __init__(
        self,
        http_version: str,
        headers: Headers,
        body: Body | None = None,
        trailers: Headers | None = None,
        timestamp_start: float | None = None,
        timestamp_end: float | None = None,
        method: str = "",
        scheme: str = "",
        host: str = "",
        port: int = 0,
        authority: str = "",
        path: str = "",
    ) -> None:
        self.http_version = http_version
        self.headers = headers
        self.body = Body() if body is None else body
        self.trailers = trailers
        self.timestamp_start = timestamp_start
        self.timestamp_end = timestamp_end
        self.method = method
        self.scheme = scheme
        self.host = host
        self.port = port
        self.authority = authority
        self.path = path

    @property
    def url(self) -> str:
        """The URL as a person would type it: host from the Host header, unless the target itself named one.

        Of a request that was refused because its target makes no sense, the target.
        """
        if not self.scheme:
            return self.path
        authority = self.authority or self.headers.get("host", "") or url.join_host_port(self.host, self.port)
        return url.unparse(self.scheme, authority, self.path)


@dataclass(init=False)
class Response(HttpMessage):
    """An HTTP response."""

    status_code: int
    reason: str

    def __init__(
        self,
        http_version: str,
        headers: Headers,
        body: Body | None = None,
        trailers: Headers | None = None,
        timestamp_start: float | None = None,
        timestamp_end: float | None = None,
        status_code: int = 0,
        reason: str = "",
    ) -> None:
        self.http_version = http_version
        self.headers = headers
        self.body = Body() if body is None else body
        self.trailers = trailers
        self.timestamp_start = timestamp_start
        self.timestamp_end = timestamp_end
        self.status_code = status_code
        self.reason = reason


MessageKind = Literal["raw", "text", "binary", "close", "ping", "pong", "continuation"]


@dataclass
class Message:
    """One message of a WebSocket, or one read of a raw connection (`kind` "raw").

    A large one is several: a piece of 1 MiB, and what follows as "continuation". In a WebSocket, "raw" is what could
    not be decompressed. A handler that sets `dropped` keeps it from being passed on.
    """

    from_client: bool
    kind: MessageKind
    timestamp: float
    content: bytes
    dropped: bool = False
