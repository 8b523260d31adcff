"""The keys of every map in a flow file: name, kind of value, meaning. man/mitmdump-flows.5 is tested against this.

Readers take only what these tables allow, whatever a file says; a value of another kind raises ValueError. A key that
is in no table is handed back apart, to be kept and written again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, get_args

from ..model.flow import Kind as FlowKind
from ..model.headers import Headers, to_str
from ..model.message import MessageKind

# Times later than this (a day before the end of year 9999) could not be shown to anybody.
LAST_TIME = 253402214400.0


class Kind(NamedTuple):
    """A kind of value: the man page's word for it, the Python type it must have, and the way into the model.

    Without a type, `read` checks that too.
    """

    word: str
    type: type | None
    read: Callable[[Any], Any] | None = None


class Key(NamedTuple):
    """One key of a map."""

    name: str
    kind: Kind
    meaning: str


class Table:
    """The keys of one map."""

    def __init__(self, name: str, *keys: Key) -> None:
        self.name = name
        self.keys = keys
        self._checks = {key.name: (key.kind.type, key.kind.read) for key in keys}

    def __contains__(self, name: object) -> bool:
        return name in self._checks

    def read(self, found: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Split a map from a file into the known, as values of the model, and the unknown. The map itself is used up.

        Raises ValueError or TypeError where a known key has a value that it cannot have.
        """
        unknown = {}
        checks = self._checks
        for name, value in found.items():
            try:
                wanted, read = checks[name]
            except KeyError:
                unknown[name] = value
                continue
            if wanted is not None and type(value) is not wanted:
                raise ValueError(f"{self.name} has a {type(value).__name__} as {name}")
            if read is not None:
                found[name] = read(value)
        for name in unknown:
            del found[name]
        return found, unknown


def read_unsigned(value: Any) -> int:
    """An integer of at least 0. Raises ValueError."""
    if type(value) is not int or value < 0:
        raise ValueError("not an unsigned integer")
    return value


def read_time(value: Any) -> float:
    """Unix seconds that a calendar can show. Raises ValueError, for NaN too."""
    if type(value) is float and 0 <= value <= LAST_TIME:
        return value
    if type(value) is int and 0 <= value <= LAST_TIME:  # some libraries write whole floats so
        return float(value)
    raise ValueError("a time that is none")


def read_message_kind(value: Any) -> Any:
    """One of the kinds of messages. Raises ValueError."""
    return _MESSAGE_KIND(value)


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"{value!r:.40} is none of {', '.join(words)}")
        return str(value)

    return read


def read_fields(value: Any) -> Headers:
    """Header fields out of the tuples of an array. Raises ValueError or TypeError."""
    for field in value:
        name, content = field
        if type(name) is not bytes or type(content) is not bytes or type(field) is not tuple:
            raise ValueError("a header field that is not of binary")
    return Headers(list(value))


def _read_address(value: tuple[Any, ...]) -> tuple[str, int]:
    host, port = value
    if type(host) is not str or type(port) is not int or not 0 <= port <= 65535:
        raise ValueError("an address that is not a host and a port")
    return host, port


def _read_binaries(value: tuple[Any, ...]) -> tuple[bytes, ...]:
    if not all(type(item) is bytes for item in value):
        raise ValueError("a list that is not of binary")
    return value


def _read_pair(value: tuple[Any, ...]) -> tuple[int, int]:
    first, second = value
    return read_unsigned(first), read_unsigned(second)


_MESSAGE_KIND = _one_of(*get_args(MessageKind))
_BOOLEAN = Kind("boolean", bool)
_STRING = Kind("string", str)
_BINARY = Kind("binary", bytes)
_WIRE = Kind("binary", bytes, to_str)
_INTEGER = Kind("integer", None, read_unsigned)
_TIME = Kind("float", None, read_time)
_MAP = Kind("map", dict)
_ADDRESS = Kind("[string, integer]", tuple, _read_address)
_BINARIES = Kind("array of binary", tuple, _read_binaries)
_FIELDS = Kind("array of [binary, binary]", tuple, read_fields)
_PAIR = Kind("[integer, integer]", tuple, _read_pair)

SECTION = Table(
    "SECTION",
    Key("format", _STRING, "Always mitmdump-flows. The first key, so that a file can be told by its first bytes."),
    Key("version", _INTEGER, "The version of the format in which the frames of this section are written."),
    Key("created", _TIME, "When the section was begun."),
    Key("software", _STRING, "What wrote it, and which version of that."),
)
CONNECTION = Table(
    "CONNECTION",
    Key("id", _INTEGER, "What flows name it by. Required."),
    Key("side", Kind("string", str, _one_of("client", "server")), "client or server: the peer's role. Required."),
    Key("peername", _ADDRESS, "The address of the peer."),
    Key("sockname", _ADDRESS, "Our own address."),
    Key("address", _ADDRESS, "Where a server connection was asked to go: host name or address, and port."),
    Key("timestamp_start", _TIME, "When it was accepted, or when connecting began."),
    Key("timestamp_tcp_setup", _TIME, "When TCP was connected."),
    Key("timestamp_tls_setup", _TIME, "When the TLS handshake was complete. Absent: there is no TLS."),
    Key("timestamp_end", _TIME, "When it was closed."),
    Key("tls_version", _STRING, "The version of TLS, such as TLSv1.3."),
    Key("cipher", _STRING, "The cipher suite, by OpenSSL's name."),
    Key("alpn_offers", _BINARIES, "The protocols that the connecting side offered (RFC 7301)."),
    Key("alpn", _BINARY, "The protocol that was chosen."),
    Key("sni", _STRING, "The server name that the connecting side asked for (RFC 6066)."),
    Key("session_resumed", _BOOLEAN, "The TLS session continued an earlier one; a server's certificates are of then."),
    Key("certificate_list", _BINARIES, "The certificates of the peer in DER, leaf first."),
    Key("verification", _STRING, "ok, or why the certificate of a server was not accepted. Absent: nothing to check."),
)
FLOW = Table(
    "FLOW",
    Key("id", _INTEGER, "What BODY and MESSAGE frames name it by. Required."),
    Key("kind", Kind("string", str, _one_of(*get_args(FlowKind))), "http, tcp, udp or dns. Required."),
    Key("done", _BOOLEAN, "True in the final FLOW frame of a flow. Absent: more will follow."),
    Key("client", _INTEGER, "The id of the client's connection."),
    Key("server", _INTEGER, "The id of the connection to the server."),
    Key("request", _MAP, "See REQUEST."),
    Key("response", _MAP, "See RESPONSE."),
    Key("error", _MAP, "Why the flow did not end as it should. See ERROR."),
    Key("websocket", _MAP, "The exchange became a WebSocket. See WEBSOCKET."),
    Key("metadata", _MAP, "What scripts noted: string keys, values as in JSON, or binary."),
    Key("comment", _STRING, "A comment for people."),
    Key("marked", _STRING, "A mark: a single character or an emoji name."),
    Key(
        "is_replay",
        Kind("string", str, _one_of("request", "response")),
        "request or response: which of the two was replayed.",
    ),
    Key("timestamp_start", _TIME, "When it began. Absent: with its request."),
    Key("timestamp_end", _TIME, "When it ended."),
    Key("streamed", _PAIR, "Final frame only: how many bytes of request body and response body BODY frames brought."),
    Key("messages", _INTEGER, "Final frame only: how many MESSAGE frames belong to it."),
)
_MESSAGE_KEYS = (
    Key("http_version", _STRING, "The version of HTTP, such as HTTP/1.1. Absent in a response: that of the request."),
    Key("headers", _FIELDS, "The header fields, name and value, as sent, in order."),
    Key("body", _MAP, "See the map of that name. Absent: it is empty, and complete."),
    Key("trailers", _FIELDS, "The trailer fields. Absent: there was no trailer section."),
    Key("timestamp_start", _TIME, "When its first byte came."),
    Key("timestamp_end", _TIME, "When its last byte came."),
)
REQUEST = Table(
    "REQUEST",
    Key("method", _WIRE, "The method."),
    Key("scheme", _STRING, "http or https."),
    Key("host", _STRING, "The host it went to, without brackets."),
    Key("port", _INTEGER, "The port it went to."),
    Key("authority", _WIRE, "The authority that the client named in the target. Absent: none."),
    Key("path", _WIRE, "Path and query."),
    *_MESSAGE_KEYS,
)
RESPONSE = Table(
    "RESPONSE",
    Key("status_code", _INTEGER, "The status."),
    Key("reason", _WIRE, "The reason phrase. Absent: empty, or there is none in this version of HTTP."),
    *_MESSAGE_KEYS,
)
BODY = Table(
    "body",
    Key(
        "length",
        _INTEGER,
        "How many bytes passed, chunked framing removed, content coding not. Absent: as many as content has, or 0.",
    ),
    Key("complete", _BOOLEAN, "The end of the body was seen. Absent: it was cut off, or is still running."),
    Key("sha256", Kind("binary", bytes), "SHA-256 of all that passed. Absent: all was stored, or nobody knows it."),
    Key("content", _BINARY, "The bytes that were stored. Absent: they are in BODY frames, or were not stored."),
)
ERROR = Table(
    "ERROR",
    Key("msg", _STRING, "What went wrong, and on which side."),
    Key("timestamp", _TIME, "When."),
)
WEBSOCKET = Table(
    "WEBSOCKET",
    Key("closed_by_client", _BOOLEAN, "The client closed it first. Absent: nobody did before the recording ended."),
    Key(
        "close_code",
        _INTEGER,
        "The code of the first close frame; 1005: it had none; 1006: the connection ended without one.",
    ),
    Key("close_reason", _STRING, "The reason in that frame."),
)
END = Table(
    "END",
    Key("connections", _INTEGER, "How many CONNECTION frames the section holds."),
    Key("flows", _INTEGER, "How many final FLOW frames."),
    Key("pieces", _INTEGER, "How many BODY frames."),
    Key("messages", _INTEGER, "How many MESSAGE frames."),
)
TABLES = (SECTION, CONNECTION, FLOW, REQUEST, RESPONSE, BODY, ERROR, WEBSOCKET, END)
