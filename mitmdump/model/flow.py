"""A flow: one exchange of messages that a person would point at and say "that one". Plain data.

No event loop, no socket, no file-format version in here; live flows and flows read from a file are the same thing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from .connection import Connection, new_id
from .message import Message, Request, Response

Kind = Literal["http", "tcp", "udp", "dns"]


class Part(IntEnum):
    """Which of a flow's two bodies."""

    REQUEST = 0
    RESPONSE = 1


@dataclass
class Error:
    """Why a flow did not end as it should: one sentence that names the side, and when (Unix seconds)."""

    msg: str
    timestamp: float


@dataclass
class WebSocket:
    """How a WebSocket ended, as far as it has; its messages are those of the flow.

    `close_code` and `close_reason` are those of the first close frame (RFC 6455 section 7.1.5: 1005 if there was none
    in it), and `closed_by_client` says whose it was. 1006: a side ended the connection without one.
    """

    closed_by_client: bool | None = None
    close_code: int | None = None
    close_reason: str = ""


@dataclass(eq=False, init=False)
class Flow:
    """One request and its response ("http"), or one raw connection ("tcp").

    `messages` holds the messages of a raw or WebSocket connection in order; of a flow that is still running it holds
    nothing (they go to the sinks as they pass). `websocket` is there if the exchange has become one. `is_replay` says
    which half was replayed. `metadata` is free for those who annotate flows: JSON-like values under text keys. `extra`
    are keys of the flow file that this program does not know and therefore keeps.
    """

    kind: Kind
    client_conn: Connection
    server_conn: Connection | None
    request: Request | None
    response: Response | None
    error: Error | None
    messages: Iterable[Message]
    metadata: dict[str, Any]
    comment: str
    marked: str
    is_replay: Literal["request", "response"] | None
    timestamp_start: float
    timestamp_end: float | None
    id: int
    websocket: WebSocket | None
    extra: dict[str, Any]

    def __init__(
        self,
        kind: Kind,
        client_conn: Connection,
        server_conn: Connection | None = None,
        request: Request | None = None,
        response: Response | None = None,
        error: Error | None = None,
        messages: Iterable[Message] = (),
        metadata: dict[str, Any] | None = None,
        comment: str = "",
        marked: str = "",
        is_replay: Literal["request", "response"] | None = None,
        timestamp_start: float = 0.0,
        timestamp_end: float | None = None,
        id: int | None = None,  # noqa: A002  # the name of the attribute
        websocket: WebSocket | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.kind = kind
        self.client_conn = client_conn
        self.server_conn = server_conn
        self.request = request
        self.response = response
        self.error = error
        self.messages = messages
        self.metadata = {} if metadata is None else metadata
        self.comment = comment
        self.marked = marked
        self.is_replay = is_replay
        self.timestamp_start = timestamp_start
        self.timestamp_end = timestamp_end
        self.id = new_id() if id is None else id
        self.websocket = websocket
        self.extra = {} if extra is None else extra
