"""What JSON Lines say of a flow: each key's name, kind of value and meaning. The manual is made from these tables.

`told` goes from the model to JSON by a table, `read` back again: a HAR entry keeps under `_mitmdump` those of the facts
that HAR itself has no place for. Absent is absent: what is not known, "", False and an empty list are not written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple, get_args

from ..model.connection import Connection
from ..model.flow import Error, Flow, WebSocket
from ..model.headers import Headers, to_str
from ..model.message import HttpMessage, MessageKind
from .jsontext import base64, from_base64, plain, shown, wire_bytes

VERSION = 1

# The last second of the year 9999: later times could not be shown to anybody.
LAST_TIME = 253402300799.0

_ID = re.compile("[0-9a-f]{16}")


class Kind(NamedTuple):
    """A kind of value: the manual's word for it, the way from the model to JSON and, raising ValueError, back.

    `exact`, where there is one, gives what stands beside the value under NAME_base64, None where that is not needed;
    `read_exact` is its way back.
    """

    word: str
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    exact: Callable[[Any], Any] | None = None
    read_exact: Callable[[Any], Any] | None = None


class Key(NamedTuple):
    """One key of an object. `get` takes its value from the thing described; by default the attribute of its name."""

    name: str
    kind: Kind
    meaning: str
    get: Callable[[Any], Any] | None = None


Table = tuple[Key, ...]


def told(table: Table, thing: Any) -> dict[str, Any]:
    """What a table says of a thing of the model, as JSON."""
    found = {}
    for name, kind, _, get in table:
        value = get(thing) if get else getattr(thing, name)
        if value is None or value is False or value == "" or value == ():
            continue
        found[name] = kind.write(value)
        exact = kind.exact and kind.exact(value)
        if exact is not None:
            found[f"{name}_base64"] = exact
    return found


def read(table: Table, found: dict[str, Any]) -> dict[str, Any]:
    """The other way round: values of the model by their names; keys that are in no table are passed over.

    Raises ValueError where a key has a value that it cannot have.
    """
    known = {}
    for name, kind, _, _ in table:
        try:
            if kind.read_exact and f"{name}_base64" in found:
                known[name] = kind.read_exact(found[f"{name}_base64"])
            elif name in found:
                known[name] = kind.read(found[name])
        except (ValueError, TypeError) as error:
            raise ValueError(f"{name}: {error}") from None
    return known


def hex_id(number: int) -> str:
    """An id as text: numbers of 64 bits are too large for many who read JSON."""
    return f"{number:016x}"


def duration(flow: Flow) -> float | None:
    """From the first byte of the request to the last of the response, else of the flow as a whole; in seconds."""
    start = flow.request.timestamp_start if flow.request else None
    end = flow.response.timestamp_end if flow.response else None
    start = flow.timestamp_start if start is None else start
    end = flow.timestamp_end if end is None else end
    return None if end is None else round(max(end - start, 0.0), 6)


def _typed(value: Any, type_: type) -> Any:
    if type(value) is not type_:
        raise ValueError(f"a {type_.__name__} is wanted, not a {type(value).__name__}")
    return value


def _read_text(value: Any) -> str:
    return shown(_typed(value, str))


def _read_integer(value: Any) -> int:
    if not 0 <= _typed(value, int) < 2**63:
        raise ValueError("an integer that is too large, or negative")
    return int(value)


def read_time(value: Any) -> float:
    """Unix seconds that a calendar can show. Raises ValueError, for NaN too."""
    if type(value) in (int, float) and 0 <= value <= LAST_TIME:
        return float(value)
    raise ValueError("not a time")


def _read_id(value: Any) -> int:
    if not _ID.fullmatch(_typed(value, str)):
        raise ValueError("not an id of 16 hexadecimal digits")
    return int(value, 16)


def _read_address(value: Any) -> tuple[str, int]:
    host, port = _typed(value, list)
    if not 0 <= _typed(port, int) <= 65535:
        raise ValueError("not a port")
    return _read_text(host), port


def _read_base64(value: Any) -> bytes:
    return from_base64(_typed(value, str))


def _one_of(*words: str) -> Callable[[Any], str]:
    def read_word(value: Any) -> str:
        if value not in words:
            raise ValueError(f"none of {', '.join(words)}")
        return str(value)

    return read_word


def _exact_wire(text: str) -> str | None:
    return None if shown(text) == text else base64(wire_bytes(text))


def _write_fields(headers: Headers) -> list[list[str]]:
    return [[shown(to_str(name)), shown(to_str(value))] for name, value in headers.fields]


def _exact_fields(headers: Headers) -> list[list[str]] | None:
    is_exact = all(_is_utf8(name) and _is_utf8(value) for name, value in headers.fields)
    return None if is_exact else exact_fields(headers)


def exact_fields(headers: Headers) -> list[list[str]]:
    """Header fields byte for byte."""
    return [[base64(name), base64(value)] for name, value in headers.fields]


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fields_reader(read_one: Callable[[Any], bytes]) -> Callable[[Any], Headers]:
    def read_fields(value: Any) -> Headers:
        return Headers([(read_one(name), read_one(content)) for name, content in _typed(value, list)])

    return read_fields


def _same(value: Any) -> Any:
    return value


_STRING = Kind("string", shown, _read_text)
_WIRE = Kind("string", shown, _read_text, _exact_wire, lambda value: to_str(_read_base64(value)))
_LATIN = Kind("string", lambda data: data.decode("latin-1"), lambda value: _read_text(value).encode("latin-1"))
_BASE64 = Kind("string", base64, _read_base64)
_HEX = Kind("string", bytes.hex, lambda value: bytes.fromhex(_typed(value, str)))
_INTEGER = Kind("integer", _same, _read_integer)
_BOOLEAN = Kind("boolean", _same, lambda value: _typed(value, bool))
_TIME = Kind("number", _same, read_time)
_IDENTITY = Kind("string", hex_id, _read_id)
_ADDRESS = Kind("[string, integer]", list, _read_address)
_ANY = Kind("object", plain, lambda value: _typed(value, dict))
_FIELDS = Kind(
    "array of [string, string]",
    _write_fields,
    _fields_reader(lambda value: _read_text(value).encode()),
    _exact_fields,
    _fields_reader(_read_base64),
)
_REPLAYED = Kind("string", _same, _one_of("request", "response"))
_KIND = Kind("string", _same, _one_of("http", "tcp", "udp", "dns"))
_MESSAGE_KIND = Kind("string", _same, _one_of(*get_args(MessageKind)))


def _apart(word: str) -> Kind:
    """A value that is written in pieces, not by `told`."""
    return Kind(word, _same, _same)


def _nothing(_: Any) -> None:
    return None


def _sha256(message: HttpMessage) -> bytes | None:
    return message.body.sha256 if message.body.length else None


def _is_cut(message: HttpMessage) -> bool:
    body = message.body
    return body.source is not None and body.stored < body.length


CONNECTION: Table = (
    Key("id", _IDENTITY, "The same in all flows of a connection: 16 hexadecimal digits."),
    Key("peername", _ADDRESS, "The address of the peer."),
    Key("sockname", _ADDRESS, "Our own address."),
    Key("address", _ADDRESS, "Where a server connection was asked to go: host name or address, and port."),
    Key("timestamp_start", _TIME, "When it was accepted, or when connecting began."),
    Key("timestamp_tcp_setup", _TIME, "When TCP was connected."),
    Key("timestamp_tls_setup", _TIME, "When the TLS handshake was complete. Absent: there is no TLS."),
    Key("timestamp_end", _TIME, "When it was closed."),
    Key("tls_version", _STRING, "The version of TLS, such as TLSv1.3."),
    Key("cipher", _STRING, "The cipher suite, by OpenSSL's name."),
    Key("alpn", _LATIN, "The protocol that was chosen (RFC 7301)."),
    Key("sni", _STRING, "The server name that the connecting side asked for (RFC 6066)."),
    Key("session_resumed", _BOOLEAN, "The TLS session continued an earlier one."),
    Key("verification", _STRING, "ok, or why the certificate of a server was not accepted."),
)


def _closed_by(websocket: WebSocket) -> str | None:
    """Not the boolean of the model, as False would be absent."""
    return None if websocket.closed_by_client is None else "client" if websocket.closed_by_client else "server"


ERROR: Table = (
    Key("msg", _STRING, "What went wrong, and on which side."),
    Key("timestamp", _TIME, "When."),
)


def _read_error(value: Any) -> Error:
    return Error(**{"msg": "", "timestamp": 0.0, **read(ERROR, _typed(value, dict))})


WEBSOCKET: Table = (
    Key(
        "closed_by", Kind("string", _same, _one_of("client", "server")), "client or server: who closed it.", _closed_by
    ),
    Key("close_code", _INTEGER, "The code of the first close frame; 1005: it had none; 1006: there was none."),
    Key("close_reason", _STRING, "The reason in that frame."),
)


def _read_websocket(value: Any) -> WebSocket:
    known = read(WEBSOCKET, _typed(value, dict))
    closed_by = known.pop("closed_by", None)
    return WebSocket(None if closed_by is None else closed_by == "client", **known)


def _connection(side: Any) -> Kind:
    def read_connection(value: Any) -> Connection:
        return Connection(side, **read(CONNECTION, _typed(value, dict)))

    return Kind("object", lambda connection: told(CONNECTION, connection), read_connection)


_status: Callable[[Flow], Any] = attrgetter("response.status_code")
FLOW: Table = (
    Key("v", _INTEGER, "The version of this schema.", lambda _: VERSION),
    Key("id", _IDENTITY, "16 hexadecimal digits, the same as in a flow file."),
    Key("kind", _KIND, "http, tcp, udp or dns."),
    Key("method", _WIRE, "The method of the request.", lambda flow: flow.request and flow.request.method),
    Key("url", _STRING, "The URL of the request.", lambda flow: flow.request and flow.request.url),
    Key("status", _INTEGER, "The status of the response.", lambda flow: flow.response and _status(flow)),
    Key("timestamp_start", _TIME, "When it began."),
    Key("timestamp_end", _TIME, "When it ended."),
    Key("duration", _TIME, "Seconds to the end of the response, or of the flow where there is none.", duration),
    Key("error", Kind("object", lambda error: told(ERROR, error), _read_error), "Why it did not end as it should."),
    Key(
        "websocket",
        Kind("object", lambda websocket: told(WEBSOCKET, websocket), _read_websocket),
        "How the WebSocket ended. Absent: the exchange did not become one.",
    ),
    Key("comment", _STRING, "A comment for people."),
    Key("marked", _STRING, "A mark."),
    Key("is_replay", _REPLAYED, "request or response: which of the two was replayed."),
    Key("metadata", _ANY, "What scripts noted.", lambda flow: flow.metadata or None),
    Key("client", _connection("client"), "The connection of the client.", attrgetter("client_conn")),
    Key("server", _connection("server"), "The connection to the server.", attrgetter("server_conn")),
    Key("request", _apart("object"), "The request.", _nothing),
    Key("response", _apart("object"), "The response.", _nothing),
    Key("messages", _apart("array of objects"), "The messages of a WebSocket or a raw connection.", _nothing),
)
_MESSAGE_KEYS: Table = (
    Key("http_version", _STRING, "The version of HTTP, such as HTTP/1.1."),
    Key("headers", _FIELDS, "The header fields, name and value, as sent, in order."),
    Key("trailers", _FIELDS, "The trailer fields. Absent: there was no trailer section."),
    Key("timestamp_start", _TIME, "When its first byte came."),
    Key("timestamp_end", _TIME, "When its last byte came."),
    Key("size", _INTEGER, "Bytes of the body as sent, with its content coding.", lambda message: message.body.length),
    Key("complete", _BOOLEAN, "The end of the body was seen.", lambda message: message.body.complete),
    Key("sha256", _HEX, "SHA-256 of the body as sent, hexadecimal.", _sha256),
    Key("truncated", _BOOLEAN, "Only the beginning of the body was recorded.", _is_cut),
)
BODY: Table = (
    Key("text", _apart("string"), "The body without its content coding, if it is text.", _nothing),
    Key("base64", _apart("string"), "The same, if it is not.", _nothing),
    Key("problem", _apart("string"), "Why base64 still has the content coding.", _nothing),
)
REQUEST: Table = (
    Key("scheme", _STRING, "http or https."),
    Key("host", _STRING, "The host it went to, without brackets."),
    Key("port", _INTEGER, "The port it went to."),
    Key("authority", _WIRE, "The authority that the client named in the target."),
    Key("path", _WIRE, "Path and query."),
    *_MESSAGE_KEYS,
)
RESPONSE: Table = (Key("reason", _WIRE, "The reason phrase."), *_MESSAGE_KEYS)
MESSAGE: Table = (
    Key("from_client", _BOOLEAN, "The client sent it. Absent: the server did."),
    Key(
        "kind",
        _MESSAGE_KIND,
        "text, binary, close, ping or pong; continuation for the next 1 MiB of a large message; raw for a read of a "
        "raw connection, and for what could not be decompressed.",
    ),
    Key("timestamp", _TIME, "When it came."),
    Key("text", _apart("string"), "What it holds, if that is text.", _nothing),
    Key("base64", _apart("string"), "The same, if it is not.", _nothing),
)
OBJECTS = (
    ("flow", FLOW),
    ("client, server", CONNECTION),
    ("request", REQUEST + BODY),
    ("response", RESPONSE + BODY),
    ("error", ERROR),
    ("websocket", WEBSOCKET),
    ("messages", MESSAGE),
)
