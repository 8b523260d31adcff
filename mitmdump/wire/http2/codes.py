"""The error codes of HTTP/2, and what is raised inside the codec when a connection cannot go on."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Why a stream or a connection ended (RFC 9113 section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13

    @staticmethod
    def name_of(code: int) -> str:
        """The name that RFC 9113 gives a code, or its number, for people."""
        return Code(code).name if code in _NAMED else f"error code {code}"


_NAMED = frozenset(Code)


class Http2Error(Exception):
    """The peer broke a rule that no single stream can answer for; the text goes on where "the client" ended.

    `announced`: the GOAWAY that says so is already queued.
    """

    def __init__(self, code: Code, text: str, *, announced: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.announced = announced
