"""What HAR wants to have said once more, taken apart: cookies, query, form; and how long each phase took."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote_plus

from ...model.flow import Flow
from ...model.headers import Headers
from ...model.message import HttpMessage, Request
from ..jsontext import shown, wire_bytes

_NOT_URL = re.compile(r"[^!-~]")

# Attributes of Set-Cookie (RFC 6265 section 4.1.1) and their names in HAR.
_TEXTS = {"path": "path", "domain": "domain", "samesite": "sameSite"}
_FLAGS = {"httponly": "httpOnly", "secure": "secure"}


def url(request: Request) -> str:
    """The URL, with all that cannot stand in one percent-encoded."""
    return _NOT_URL.sub(lambda found: "".join(f"%{byte:02X}" for byte in wire_bytes(found[0])), request.url)


def query(path: str) -> list[dict[str, str]]:
    """The parameters in a path."""
    return pairs(path.partition("?")[2])


def pairs(text: str) -> list[dict[str, str]]:
    """The names and values of a query or a form, decoded."""
    return [
        {"name": _decoded(name), "value": _decoded(value)}
        for name, _, value in (pair.partition("=") for pair in text.split("&") if pair)
    ]


def _decoded(text: str) -> str:
    return shown(unquote_plus(text))


def cookies(headers: Headers) -> list[dict[str, str]]:
    """What the client sent."""
    return [
        {"name": shown(name.strip()), "value": shown(value.strip())}
        for line in headers.get_all("cookie")
        for name, _, value in (pair.partition("=") for pair in line.split(";") if pair.strip())
    ]


def set_cookies(headers: Headers) -> list[dict[str, Any]]:
    """What the server set."""
    return [_set_cookie(line) for line in headers.get_all("set-cookie")]


def _set_cookie(line: str) -> dict[str, Any]:
    pair, *attributes = shown(line).split(";")
    name, _, value = pair.partition("=")
    found: dict[str, Any] = {"name": name.strip(), "value": value.strip()}
    for attribute in attributes:
        key, _, value = (word.strip() for word in attribute.partition("="))
        key = key.lower()
        if key in _TEXTS:
            found[_TEXTS[key]] = value
        elif key in _FLAGS:
            found[_FLAGS[key]] = True
        elif key == "expires" and (when := _iso_date(value)):
            found["expires"] = when
    return found


def _iso_date(text: str) -> str:
    try:
        return parsedate_to_datetime(text).astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, TypeError, IndexError):
        return ""


def head_size(message: HttpMessage, first_line: str) -> int:
    """The bytes of a head up to the body; -1 where it was not sent as text."""
    if not message.http_version.startswith("HTTP/1"):
        return -1
    lines = sum(len(name) + len(value) + len(": \r\n") for name, value in message.headers.fields)
    return len(wire_bytes(first_line)) + len("\r\n") + lines + len("\r\n")


def timings(flow: Flow, request: Request, start: float) -> dict[str, float]:
    """The phases in milliseconds, from the first byte of the request on; -1 for what did not happen.

    Connecting is a phase where it fell between request and response. A server connection that was there before, for
    another request or for the sake of its certificate, took none of this request's time.
    """
    sent = _after(start, request.timestamp_end)
    response = flow.response
    answered = response.timestamp_start if response and response.timestamp_start is not None else flow.timestamp_end
    first = _after(sent, answered)
    last = _after(first, response.timestamp_end if response else None)
    connect = ssl = -1.0
    server = flow.server_conn
    begun = server.timestamp_start if server else None
    ready = (server.timestamp_tls_setup or server.timestamp_tcp_setup) if server else None
    if server and begun is not None and ready is not None and start <= begun <= ready <= first:
        connect = _milliseconds(max(begun, sent), max(ready, sent))
        if server.timestamp_tls_setup is not None and server.timestamp_tcp_setup is not None:
            ssl = _milliseconds(max(server.timestamp_tcp_setup, sent), max(ready, sent))
    return {
        "blocked": -1,
        "dns": -1,
        "connect": connect,
        "ssl": ssl,
        "send": _milliseconds(start, sent),
        "wait": round(_milliseconds(sent, first) - max(connect, 0), 3),
        "receive": _milliseconds(first, last),
    }


def _after(earlier: float, time: float | None) -> float:
    """A time that may be unknown, and is not before another, whatever happened to the clock."""
    return earlier if time is None else max(time, earlier)


def _milliseconds(start: float, end: float) -> float:
    return round(1000 * (end - start), 3)
