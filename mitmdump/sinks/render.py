"""A finished flow as text for a person. Pure functions: no stream, no clock, no settings.

    127.0.0.1:51234: GET http://example.com/          the flow starts at the margin
            host: example.com                         what belongs to the request
        << 200 OK 1.2k 35ms                           its answer
            content-type: text/plain                  what belongs to the answer

            the body, every line of it indented

Everything that came from the network goes through `harmless`, and only line breaks that are set here reach the output.
Nothing but a flow starts at the margin and nothing but an answer four columns in, so no header and no body can pass
for either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..errors import ContentError
from ..model.content import DECODED_LIMIT, decode
from ..model.flow import Flow, Part
from ..model.headers import Headers, to_str
from ..model.message import HttpMessage, Message, Response
from ..model.url import join_host_port
from . import pretty
from .words import duration, harmless, size

_ANSWER = " " * 4
_INSIDE = " " * 8


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one body is shown, and of all messages: bytes, decoded or not; lines; characters a line.

    `dumped`: bytes of what is no text.
    """

    bytes: int
    lines: int
    columns: int
    dumped: int


# By detail. At 3, what a person will scroll through. At 4 everything, up to what holding and printing it may cost.
LIMITS = {
    3: Limits(bytes=256 * 1024, lines=200, columns=1000, dumped=256),
    4: Limits(bytes=DECODED_LIMIT, lines=100_000, columns=DECODED_LIMIT, dumped=DECODED_LIMIT),
}


@dataclass(slots=True)
class Passed:
    """What a sink saw pass, as the flow itself does not hold it.

    `bodies`: the first bytes of the request's and of the response's body; `messages`: the first messages, their
    content perhaps cut, each with its true length; `count`, `up` and `down`: all messages, and their bytes from the
    client and from the server.
    """

    bodies: tuple[bytearray, bytearray] = field(default_factory=lambda: (bytearray(), bytearray()))
    messages: list[tuple[Message, int]] = field(default_factory=list)
    count: int = 0
    up: int = 0
    down: int = 0


def render(flow: Flow, detail: int, color: bool, passed: Passed | None = None) -> str:
    """The flow as lines of text, each with its line feed.

    `detail` is 0 (nothing), 1 (a line each for request and answer), 2 (also headers), 3 (also bodies and messages, made
    readable and cut to LIMITS) or 4 (the same within wider limits). `color`: with ANSI colours.
    """
    if detail <= 0:
        return ""
    paint = _colored if color else _plain
    lines = (_http if flow.kind == "http" else _raw)(flow, detail, passed or Passed(), paint)
    if detail > 1:
        lines.append("")
    return "\n".join(lines) + "\n"


def _http(flow: Flow, detail: int, passed: Passed, paint: Paint) -> list[str]:
    lines = [_request_line(flow, paint)]
    if flow.request and detail > 1:
        lines += _inside(flow.request, passed.bodies[Part.REQUEST], detail, paint)
    if flow.response:
        lines.append(_response_line(flow, flow.response, paint))
        if detail > 1:
            lines += _inside(flow.response, passed.bodies[Part.RESPONSE], detail, paint)
    if passed.count or flow.websocket:
        lines.append(f"{_ANSWER}websocket: {_traffic(flow, passed)}{_closing(flow)}")
        lines += _messages(passed, detail, paint)
    return lines + _end(flow, paint)


def _raw(flow: Flow, detail: int, passed: Passed, paint: Paint) -> list[str]:
    server = flow.server_conn
    address = server and (server.address or server.peername)
    name = harmless(join_host_port(*address)) if address else "(no server)"
    traffic = f"{harmless(flow.kind)}, {_traffic(flow, passed)}"
    return [
        f"{_client(flow, paint)} <-> {paint('url', name)} {traffic}",
        *_messages(passed, detail, paint),
        *_end(flow, paint),
    ]


def _client(flow: Flow, paint: Paint) -> str:
    if flow.is_replay == "request":
        return paint("replay", "[replay]")
    address = flow.client_conn.peername
    return harmless(join_host_port(*address)) if address else "(no client)"


def _request_line(flow: Flow, paint: Paint) -> str:
    request = flow.request
    if request is None:
        return f"{_client(flow, paint)}: (no valid request)"
    method, url = paint("method", harmless(request.method)), paint("url", harmless(request.url))
    version = "" if request.http_version == "HTTP/1.1" else " " + harmless(request.http_version)
    return f"{_client(flow, paint)}: {method} {url}{version}"


def _response_line(flow: Flow, response: Response, paint: Paint) -> str:
    status = f"{response.status_code} {harmless(response.reason)}".rstrip()
    words = [_ANSWER + "<<", paint(f"{response.status_code // 100}xx", status), size(response.body.length)]
    if flow.is_replay == "response":
        words.insert(1, paint("replay", "[replay]"))
    if response.http_version != "HTTP/1.1":
        words.insert(1, harmless(response.http_version))
    if not response.body.complete:
        words.append("(cut off)")
    start = flow.request.timestamp_start if flow.request else None
    if start is not None and response.timestamp_end is not None:
        words.append(duration(response.timestamp_end - start))
    return " ".join(words)


def _end(flow: Flow, paint: Paint) -> list[str]:
    if flow.error:
        return [f"{_ANSWER}<< {paint('error', f'error: {harmless(flow.error.msg)}')}"]
    return [f"{_ANSWER}<< (no response)"] if flow.kind == "http" and flow.response is None else []


def _closing(flow: Flow) -> str:
    """Who closed a WebSocket, and how."""
    websocket = flow.websocket
    if websocket is None or websocket.closed_by_client is None:
        return ""
    words = f", closed by the {'client' if websocket.closed_by_client else 'server'}: {websocket.close_code or ''}"
    return f"{words} {harmless(websocket.close_reason)}".rstrip(": ")


def _traffic(flow: Flow, passed: Passed) -> str:
    words = [f"{passed.count} message{'' if passed.count == 1 else 's'}", f"{size(passed.up)} up"]
    words.append(f"{size(passed.down)} down")
    if flow.timestamp_end is not None:
        words.append(duration(flow.timestamp_end - flow.timestamp_start))
    return ", ".join(words)


# What is inside a message


def _inside(message: HttpMessage, kept: bytearray, detail: int, paint: Paint) -> Iterator[str]:
    yield from _fields(message.headers, paint)
    if detail > 2:
        yield from _indented(_body(message, kept, LIMITS[min(detail, 4)], paint))
    if message.trailers:
        yield ""
        yield _INSIDE + paint("note", "(trailers)")
        yield from _fields(message.trailers, paint)


def _fields(headers: Headers, paint: Paint) -> Iterator[str]:
    for name, value in headers.fields:
        yield f"{_INSIDE}{paint('name', harmless(to_str(name)))}: {harmless(to_str(value))}"


def _indented(lines: Iterable[str]) -> Iterator[str]:
    """Lines set off from what stands above them by an empty one, if there are any."""
    for number, line in enumerate(lines):
        if number == 0:
            yield ""
        yield _INSIDE + line if line else ""


def _body(message: HttpMessage, kept: bytearray, limits: Limits, paint: Paint) -> Iterator[str]:
    length = message.body.length
    if not kept:
        if length:
            yield paint("note", f"({length} bytes, not kept)")
        return
    data = bytes(kept)
    content_type = message.headers.get("content-type", "")
    try:
        decoded = decode(data, message.headers.get("content-encoding", ""), limits.bytes)
    except ContentError as error:
        yield paint("note", f"({error})")
        yield from _cut(pretty.hex_dump(data, limits.dumped), limits, paint)
        return
    yield from _cut(pretty.lines(decoded.data, content_type, limits.dumped), limits, paint)
    if len(kept) < length:
        yield paint("note", f"(only the first {len(kept)} of {length} bytes)")
    elif decoded.truncated:
        yield paint("note", f"(only the first {len(decoded.data)} decoded bytes)")


def _messages(passed: Passed, detail: int, paint: Paint) -> list[str]:
    if detail < 3:
        return []
    limits = LIMITS[min(detail, 4)]
    lines = list(_indented(_cut(_message_lines(passed, limits), limits, paint)))
    if len(passed.messages) < passed.count:
        note = f"(only the first {len(passed.messages)} of {passed.count} messages)"
        lines.append(_INSIDE + paint("note", note))
    return lines


def _message_lines(passed: Passed, limits: Limits) -> Iterator[str]:
    for message, length in passed.messages:
        arrow, kept = "->" if message.from_client else "<-", len(message.content)
        if message.kind == "close" and kept == length and length != 1:
            code, reason = int.from_bytes(message.content[:2]), to_str(message.content[2:])
            yield f"{arrow} close {code} {reason}".rstrip() if length else f"{arrow} close"
            continue
        much = f"{length} bytes" if kept == length else f"the first {kept} of {length} bytes"
        yield f"{arrow} {message.kind}, {much}"
        for line in pretty.lines(message.content, "", limits.dumped):
            yield f"   {line}" if line else ""


def _cut(lines: Iterable[str], limits: Limits, paint: Paint) -> Iterator[str]:
    """Lines from the network, each made harmless, as many and as much of each as the limits say."""
    for number, line in enumerate(lines):
        if number == limits.lines:
            yield paint("note", f"(cut off after {number} lines)")
            return
        if len(line) > limits.columns:
            line = f"{line[: limits.columns]} (and {len(line) - limits.columns} characters more)"
        yield harmless(line.expandtabs(4))


# Colours

Paint = Callable[[str, str], str]

# SGR parameters (ECMA-48 section 8.3.117).
STYLES = {
    "method": "1",
    "url": "1",
    "1xx": "36",
    "2xx": "32",
    "3xx": "36",
    "4xx": "31",
    "5xx": "1;31",
    "error": "1;31",
    "replay": "33",
    "name": "34",
    "note": "2",
}


def _colored(style: str, text: str) -> str:
    return f"\x1b[{STYLES.get(style, '0')}m{text}\x1b[0m"


def _plain(_style: str, text: str) -> str:
    return text
