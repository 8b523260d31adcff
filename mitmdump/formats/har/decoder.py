"""Reading an entry of a HAR file, whoever wrote it: browsers, other proxies, people.

Fields may be missing or null; a value of another type than HAR's is damage. Where HAR tells of something else than the
wire, the flow is made to agree with itself:

- `content.text` and `postData.text` are without their content coding, so the field Content-Encoding is left out of a
  message with such a body, unless `_raw` holds the body as it was sent.
- HTTP/2's pseudo-header fields, as Chromium lists them, become the parts of the request that they are.
- Several fields in one, as Chromium lists Set-Cookie, with line feeds between their values, are several again.
- A response with status 0 is none; the flow has an error.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from ...errors import ContentError
from ...model.body import Body
from ...model.connection import Connection
from ...model.content import decode
from ...model.flow import Error, Flow
from ...model.headers import Headers
from ...model.message import HttpMessage, Message, MessageKind, Request, Response
from .. import facts
from ..bodies import encoded, is_coded
from ..jsontext import from_base64, shown
from .encoder import OPCODES
from .target import Target, target_of

Object = dict[str, Any]

# What browsers call the versions of HTTP.
_VERSIONS = {"H2": "HTTP/2", "HTTP/2.0": "HTTP/2", "H3": "HTTP/3", "HTTP/3.0": "HTTP/3", "UNKNOWN": ""}

_PSEUDO_FIELDS = (b":authority", b":method", b":path", b":protocol", b":scheme", b":status")
_KINDS: dict[int, MessageKind] = {opcode: kind for kind, opcode in OPCODES.items()}

# Milliseconds of a phase, and bytes of a body: more than these are certainly wrong.
_MAX_PHASE = 1e13
_MAX_SIZE = 2**53


def read_entry(entry: Object) -> Flow:
    """The flow of an entry. Raises ValueError where it is none."""
    own = _object(entry, "_mitmdump")
    is_own = own.get("v") == facts.VERSION  # otherwise it is of a program to come
    flow = Flow("http", Connection("client"))
    flow.request = _request(_object(entry, "request"), _object(own, "request") if is_own else None)
    flow.response = _response(
        _object(entry, "response"), _object(own, "response") if is_own and "response" in own else None
    )
    flow.messages = [_websocket_message(_typed(item, dict)) for item in _list(entry, "_webSocketMessages")]
    flow.comment = _text(entry, "comment")
    if is_own:
        _add_own(flow, facts.read(facts.FLOW, own))
    else:
        _conclude(flow, flow.request, entry)
    return flow


def _add_own(flow: Flow, known: Object) -> None:
    """What an entry of ours says besides: all that was known, and nothing that was not."""
    flow.client_conn = known.get("client", flow.client_conn)
    flow.server_conn = known.get("server")
    for name in ("id", "timestamp_start", "timestamp_end", "error", "websocket", "marked", "is_replay", "metadata"):
        if name in known:
            setattr(flow, name, known[name])
    if flow.request and "method" in known:
        flow.request.method = known["method"]


def _conclude(flow: Flow, request: Request, entry: Object) -> None:
    """What the entry of another program tells of times, server and failure."""
    clock = _Clock(entry)
    flow.timestamp_start, flow.timestamp_end = clock.start, clock.end
    request.timestamp_start, request.timestamp_end = clock.start, clock.sent
    if flow.response:
        flow.response.timestamp_start, flow.response.timestamp_end = clock.answered, clock.end
    flow.server_conn = _server(entry, request, clock)
    flow.error = _error(_object(entry, "response"), clock)


def _error(response: Object, clock: _Clock) -> Error | None:
    reason = _text(response, "_error")
    if not reason and _integer(response, "status"):
        return None
    return Error(reason or "the file holds no response", clock.end)


def _server(entry: Object, request: Request, clock: _Clock) -> Connection | None:
    """What is known of the server. A browser's cache has no address."""
    host = _text(entry, "serverIPAddress").strip("[]")
    if not host:
        return None
    server = Connection("server", peername=(host, request.port), address=(request.host, request.port))
    if clock.connected > clock.connecting:
        server.timestamp_start = clock.connecting
        server.timestamp_tcp_setup = clock.connected - clock.tls
        server.timestamp_tls_setup = clock.connected if clock.tls else None
    return server


class _Clock:
    """The moments of an entry, in Unix seconds: out of its start and the milliseconds of its phases."""

    def __init__(self, entry: Object) -> None:
        phases = _object(entry, "timings")
        blocked, dns, connect, self.tls, send, wait, receive = (
            _seconds(phases, name) for name in ("blocked", "dns", "connect", "ssl", "send", "wait", "receive")
        )
        self.start = _timestamp(_text(entry, "startedDateTime"))
        self.connecting = self.start + blocked + dns
        self.connected = self.connecting + connect
        self.sent = self.connected + send
        self.answered = self.sent + wait if phases else self.start + _seconds(entry, "time")
        self.end = facts.read_time(self.answered + receive)


def _timestamp(text: str) -> float:
    if not text:
        return 0.0
    when = datetime.fromisoformat(text)
    return facts.read_time((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


# Messages. Of an entry of ours, `own` is what `_mitmdump` says of the message; of others it is None.


def _request(told: Object, own: Object | None) -> Request:
    if not told:
        raise ValueError("an entry without a request")
    known = facts.read(facts.REQUEST, own or {})
    headers = known.get("headers") or _fields(told)
    pseudo = {} if "headers" in known else _take_pseudo_fields(headers)
    if "port" in known:  # ours, and the URL does not tell all
        target = Target(**{name: known.get(name, "") for name in Target._fields})
    else:
        target = target_of(_text(told, "url"))
        if target.scheme:
            authority, path = (pseudo.get(name, getattr(target, name)) for name in ("authority", "path"))
            target = target._replace(authority=authority, path=path)
    request = Request(_version(told), headers, method=_text(told, "method"), **target._asdict())
    post = _object(told, "postData")
    if not post.keys() & {"text", "_raw"} and (fields := _list(post, "params")):
        post = {"text": _form(fields)}
    _add_body(request, post, _integer(told, "bodySize"))
    if own is not None:
        _add_known(request, known)
    return request


def _response(told: Object, own: Object | None) -> Response | None:
    status = _integer(told, "status")
    if own is None and not status:
        return None
    if status > 999:
        raise ValueError("a status of more than three digits")
    known = facts.read(facts.RESPONSE, own or {})
    headers = known.get("headers") or _fields(told)
    if "headers" not in known:
        _take_pseudo_fields(headers)
    response = Response(_version(told), headers, status_code=status)
    response.reason = known.get("reason") or _text(told, "statusText")
    content = _object(told, "content")
    _add_body(response, content, max(_integer(told, "bodySize"), _integer(content, "size")))
    if own is not None:
        _add_known(response, known)
    return response


def _version(told: Object) -> str:
    version = _text(told, "httpVersion")
    return _VERSIONS.get(version.upper(), version.upper() if version.startswith("http/") else version)


def _fields(told: Object) -> Headers:
    """Header fields, as objects or, as some have it, as pairs."""
    return Headers(
        [
            (name.encode(), value.encode())
            for field in _list(told, "headers")
            for name, values in (_field(field),)
            for value in values.split("\n")
        ]
    )


def _field(field: Any) -> tuple[str, str]:
    if isinstance(field, list):
        name, value = field
        return shown(_typed(name, str)), shown(_typed(value, str))
    return _text(_typed(field, dict), "name"), _text(field, "value")


def _take_pseudo_fields(headers: Headers) -> dict[str, str]:
    """Take the pseudo-header fields out (RFC 9113 section 8.3), and give their values by their names."""
    taken = {name[1:].decode(): value.decode() for name, value in headers.fields if name in _PSEUDO_FIELDS}
    headers.fields = [field for field in headers.fields if field[0] not in _PSEUDO_FIELDS]
    return taken


def _form(fields: list[Any]) -> str:
    """A form of which only the fields are there."""
    return urlencode([(_text(_typed(field, dict), "name"), _text(field, "value")) for field in fields])


def _add_body(message: HttpMessage, told: Object, size: int) -> None:
    """The body that `content` or `postData` tells of; `size` is for one that is not there."""
    text, raw = _body_text(message, told), from_base64(_text(told, "_raw"))
    if raw and (text is None or _is_decoded(text, raw, message.headers.get("content-encoding", ""))):
        source: bytes | None = raw
    else:
        source = text
        if text and is_coded(message):
            del message.headers["content-encoding"]
    if source is None and not size:
        source = b""
    message.body = Body(size if source is None else len(source), complete=True, source=source)


def _body_text(message: HttpMessage, told: Object) -> bytes | None:
    if told.get("text") is None:
        return None
    text = _text(told, "text")
    if "base64" in (_text(told, "encoding"), _text(told, "_encoding")):
        return from_base64(text)
    return encoded(text, message.headers.get("content-type", "") or _text(told, "mimeType"))


def _is_decoded(text: bytes, raw: bytes, encoding: str) -> bool:
    """Is the text what the body says? If not, somebody has edited it, and means it."""
    try:
        return decode(raw, encoding).data == text
    except ContentError:
        return False


def _add_known(message: HttpMessage, known: Object) -> None:
    """What our own entries say besides."""
    message.trailers = known.get("trailers")
    message.timestamp_start, message.timestamp_end = known.get("timestamp_start"), known.get("timestamp_end")
    body = message.body
    body.complete = known.get("complete", False)
    if known.get("truncated"):
        body.length = max(known.get("size", 0), body.stored)
    if body.stored < body.length:
        body.digest = known.get("sha256")


def _websocket_message(told: Object) -> Message:
    opcode, data = _integer(told, "opcode"), _text(told, "data")
    kind: MessageKind = "raw" if told.get("_kind") == "raw" else _KINDS.get(opcode, "text")
    is_text = kind == "text" and told.get("_encoding") != "base64"
    content = data.encode() if is_text else from_base64(data)
    return Message(_text(told, "type") == "send", kind, facts.read_time(told.get("time")), content)


# Values of JSON. Absent and null are the same, and have a default; another type raises ValueError.


def _typed(value: Any, type_: type) -> Any:
    if type(value) is not type_:
        raise ValueError(f"a {type(value).__name__} where a {type_.__name__} should be")
    return value


def _get(told: Object, name: str, type_: type, default: Any) -> Any:
    value = told.get(name)
    if value is None:
        return default
    if type(value) is not type_:
        raise ValueError(f"{name} is a {type(value).__name__}, not a {type_.__name__}")
    return value


def _object(told: Object, name: str) -> Object:
    found: Object = _get(told, name, dict, {})
    return found


def _list(told: Object, name: str) -> list[Any]:
    found: list[Any] = _get(told, name, list, [])
    return found


def _text(told: Object, name: str) -> str:
    return shown(_get(told, name, str, ""))


def _integer(told: Object, name: str) -> int:
    """A number of something; -1, HAR's word for unknown, is 0."""
    value = told.get(name)
    if isinstance(value, float) and value.is_integer():  # as Safari has it
        value = int(value)
    found: int = max(_get({name: value}, name, int, 0), 0)
    if found > _MAX_SIZE:
        raise ValueError(f"{name} is too large")
    return found


def _seconds(told: Object, name: str) -> float:
    """A time that is told in milliseconds; -1, HAR's word for what did not happen, is 0."""
    value = told.get(name)
    if value is None:
        return 0.0
    if type(value) not in (int, float) or not value <= _MAX_PHASE:
        raise ValueError(f"{name} is no time")
    return max(float(value), 0.0) / 1000
