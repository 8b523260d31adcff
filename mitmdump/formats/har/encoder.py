"""Writing HAR 1.2 (http://www.softwareishard.com/blog/har-12-spec/): a flow becomes an entry, on a line of its own.

What HAR has no place for stands under keys that begin with an underscore, which the specification leaves to programs:

| key | of | what |
|---|---|---|
| `_webSocketMessages`, `_resourceType` | entry | as Chromium writes them |
| `_error` | response | why the flow did not end as it should, as Chromium writes it |
| `encoding` | postData | base64; HAR has it for responses only, other programs for both |
| `_raw` | content, postData | a body that has a content coding, as sent, in base64; `text` is without the coding |
| `_mitmdump` | entry | the facts of JSON Lines (see `facts`) that are not told by the rest of the entry |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

from ... import __version__
from ...errors import FlowFileError
from ...model.flow import Flow
from ...model.headers import Headers, to_str
from ...model.message import HttpMessage, Message, MessageKind, Request, Response
from .. import facts
from ..bodies import Content, content_of, is_coded
from ..jsontext import base64, base64_pieces, dumps, members, quoted, shown
from . import views
from .scanner import MARK, Scanner
from .target import Target, target_of

TAIL = b"\n]}}\n"
_CREATOR = {"name": "mitmdump", "version": __version__}
HEAD = b'{"log":{"version":"1.2","creator":%s,"pages":[],"entries":[' % dumps(_CREATOR)

OPCODES: dict[MessageKind, int] = {"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}
_RAW = 2  # what bytes of an unknown protocol pass for; `_kind` says what they are

# The brackets that close a file, and the white space that people put between them.
_LONGEST_END = 4096

_KINDS = {"tcp": "raw TCP connections", "udp": "UDP flows", "dns": "DNS flows"}

# What an entry says of messages by itself, so that `_mitmdump` need not.
_TOLD = ("http_version", "headers", "reason")

# A form of more than this is shown as text only.
_MAX_FORM = 1024 * 1024


class HarEncoder:
    """Flows as entries; see `formats.base.Encoder`."""

    tail = TAIL

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()
        self._before = b"\n"

    def head(self) -> bytes:
        """All up to the entries."""
        return HEAD

    def flow(self, flow: Flow) -> Iterator[bytes]:
        """The entry of a flow. HAR knows requests only, which may have no response."""
        if flow.kind != "http":
            self.left_out[_KINDS[flow.kind]] += 1
        elif flow.request is None:
            self.left_out["flows without a request"] += 1
        else:
            yield self._before
            yield from _entry(flow, flow.request)
            self._before = b",\n"  # not earlier: a flow that could not be written is taken back

    def resume(self, file: BinaryIO) -> int:
        """Behind the last whole entry, in a file of whatever program, if nothing but its end stands there."""
        file.seek(0)
        scanner = Scanner(file.read, _ignore)
        for _ in scanner:
            pass
        if not scanner.found:
            raise FlowFileError("it is no HAR file: it has no log.entries")
        file.seek(scanner.end - 1)
        last, rest = file.read(1), file.read(_LONGEST_END)
        if scanner.ends_well and b"".join(rest.split()) != b"]}}":
            raise FlowFileError("its log has more than entries, which stands behind them")
        self._before = b"\n" if last == b"[" else b",\n"
        return scanner.end


def _ignore(*_: object) -> None:
    """Damage is the matter of readers."""


def _entry(flow: Flow, request: Request) -> Iterator[bytes]:
    start = flow.timestamp_start if request.timestamp_start is None else request.timestamp_start
    timings = views.timings(flow, request, start)
    whole = sum(time for name, time in timings.items() if time > 0 and name != "ssl")  # which is a part of connect
    yield MARK + dumps(_iso(start))
    yield b',"time":' + dumps(round(whole, 3)) + b',"request":'
    yield from _request(request)
    yield b',"response":'
    yield from _no_response(flow) if flow.response is None else _response(flow, flow.response)
    yield b',"cache":{},"timings":' + dumps(timings)
    yield b"," + members(_rest(flow, request))
    yield from _messages(flow)
    yield b"}"


def _iso(timestamp: float) -> str:
    return (
        datetime.fromtimestamp(min(max(timestamp, 0.0), facts.LAST_TIME), UTC)
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z")
    )


def _request(request: Request) -> Iterator[bytes]:
    found = {
        "method": shown(request.method),
        "url": views.url(request),
        **_message(request),
        "cookies": views.cookies(request.headers),
        "queryString": views.query(request.path),
        "headersSize": views.head_size(request, f"{request.method} {request.path} {request.http_version}"),
    }
    yield b"{" + members(found)
    if request.body.length or request.body.stored:
        content = content_of(request)
        form = _form(content, request)
        yield b',"postData":{' + members({"mimeType": _content_type(request), **({"params": form} if form else {})})
        yield from _text(request, content)
        yield b"}"
    yield b"}"


def _response(flow: Flow, response: Response) -> Iterator[bytes]:
    found = {
        "status": response.status_code,
        "statusText": shown(response.reason),
        **_message(response),
        "cookies": views.set_cookies(response.headers),
        "redirectURL": shown(response.headers.get("location", "")),
        "headersSize": views.head_size(response, f"{response.http_version} {response.status_code} {response.reason}"),
    }
    if flow.error:
        found["_error"] = shown(flow.error.msg)
    content, body = content_of(response), response.body
    is_decoded = content is not None and not content.problem and is_coded(response)
    size = content.size if content and is_decoded else body.length
    described = {"size": size, "mimeType": _content_type(response)}
    if is_decoded:
        described["compression"] = size - body.length
    yield b"{" + members(found) + b',"content":{' + members(described)
    yield from _text(response, content)
    yield b"}}"


def _no_response(flow: Flow) -> Iterator[bytes]:
    """What Chromium writes where none came."""
    found = {
        "status": 0,
        "statusText": "",
        "httpVersion": "",
        "headers": [],
        "cookies": [],
        "content": {"size": 0, "mimeType": ""},
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": -1,
        "_error": shown(flow.error.msg) if flow.error else "no response",
    }
    yield dumps(found)


def _message(message: HttpMessage) -> dict[str, Any]:
    fields = [{"name": shown(to_str(name)), "value": shown(to_str(value))} for name, value in message.headers.fields]
    return {"httpVersion": shown(message.http_version), "headers": fields, "bodySize": message.body.length}


def _content_type(message: HttpMessage) -> str:
    return shown(message.headers.get("content-type", ""))


def _form(content: Content | None, request: Request) -> list[dict[str, str]]:
    """The fields of a form, as HAR has them besides its text."""
    is_form = request.headers.get("content-type", "").lower().startswith("application/x-www-form-urlencoded")
    if not is_form or content is None or content.charset is None or content.size > _MAX_FORM:
        return []
    return views.pairs(b"".join(content.pieces()).decode(content.charset))


def _text(message: HttpMessage, content: Content | None) -> Iterator[bytes]:
    """What `content` and `postData` say of a body."""
    body = message.body
    if content is None:
        if body.length:
            yield b',"comment":"the body was not recorded"'
        return
    if body.stored < body.length:
        yield b',"comment":' + dumps(f"only the first {body.stored} of {body.length} bytes were recorded")
    elif content.problem:
        yield b',"comment":' + dumps(f"the body is in _raw, as sent: {content.problem}")
    if not content.problem:
        yield b',"encoding":"base64","text":' if content.charset is None else b',"text":'
        yield from content.json()
    if is_coded(message) and body.stored:
        yield b',"_raw":'
        yield from quoted(base64_pieces(body.pieces()))


def _rest(flow: Flow, request: Request) -> dict[str, Any]:
    """What an entry says besides its request and its response."""
    found: dict[str, Any] = {}
    server = flow.server_conn
    if server:
        found["connection"] = facts.hex_id(server.id)
        if server.peername:
            found["serverIPAddress"] = shown(server.peername[0])
    if flow.comment:
        found["comment"] = shown(flow.comment)
    found["_mitmdump"] = own = {
        name: value
        for name, value in facts.told(facts.FLOW, flow).items()
        if name not in ("kind", "method", "url", "status", "duration", "comment")
    }
    own["request"] = _own(facts.REQUEST, request)
    for name in _same_target(request):
        own["request"].pop(name, None)
    if flow.response is not None:
        own["response"] = _own(facts.RESPONSE, flow.response)
    return found


def _own(table: facts.Table, message: HttpMessage) -> dict[str, Any]:
    found = {name: value for name, value in facts.told(table, message).items() if name not in _TOLD}
    if not _can_hold(message.headers):
        found["headers_base64"] = facts.exact_fields(message.headers)
    return found


def _can_hold(headers: Headers) -> bool:
    """Will a reader take the fields for what they are? A line feed divides values, pseudo-header fields are none."""
    return not any(b"\n" in value or name.startswith(b":") for name, value in headers.fields)


def _same_target(request: Request) -> tuple[str, ...]:
    """Which of the parts of a request's target a reader gets from the URL."""
    told = Target(request.scheme, request.host, request.port, request.authority, request.path)
    return Target._fields if target_of(views.url(request)) == told else ()


def _messages(flow: Flow) -> Iterator[bytes]:
    before = b',"_resourceType":"websocket","_webSocketMessages":['
    for message in flow.messages:
        yield before
        yield dumps(_websocket_message(message))
        before = b","
    if before == b",":
        yield b"]"


def _websocket_message(message: Message) -> dict[str, Any]:
    """As Chromium has it: what is not text is in base64."""
    found: dict[str, Any] = {
        "type": "send" if message.from_client else "receive",
        "time": message.timestamp,
        "opcode": OPCODES.get(message.kind, _RAW),
    }
    if message.kind == "raw":
        found["_kind"] = "raw"
    if message.kind == "text":
        try:
            return {**found, "data": message.content.decode()}
        except UnicodeDecodeError:
            found["_encoding"] = "base64"
    return {**found, "data": base64(message.content)}
