"""The short way from a map to a flow, for what nearly all records are: an exchange over HTTP that ended well, as
`SectionWriter.write` puts it down.

It takes half the time that the tables in `keys` take, and judges nothing: whatever is not as expected (a key more or
less, a value of another type or out of bounds) gives None, and the tables decide. A test holds the two together: what
comes from here is what the tables make of the same map. The map stays as it is.

In each function the keys that are expected are counted, so one that is not makes the map longer than that.

Still shorter is the way for those who want no flow, but to know that there is one (`is_usual`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..model.body import Body
from ..model.connection import Connection
from ..model.flow import Flow
from ..model.headers import to_str
from ..model.message import Request, Response
from .keys import LAST_TIME, read_fields

Map = dict[str, Any]

# The content of such a frame by its two ends: eight keys, the first five of them, and behind one more the end of the
# flow, and that this was all; over HTTP/2 there are nine. The one more is no error, of which the map ends otherwise.
_BEGIN = rb"\xa2id\xcf.{8}\xa4kind\xa4http\xa6client\xcf.{8}\xa6server\xcf.{8}\xa7request"
_TIMES = rb"\xadtimestamp_end\xcb.{8}" * 2
_STREAMS = [rb"\xa8metadata\x81\xa9stream_id" + number for number in (rb".", rb"\xcc.", rb"\xcd.{2}", rb"\xce.{4}")]
_END, *_ENDS_OF_STREAMS = [rb"(?<=%b%b\xa4done\xc3)" % (_TIMES, stream) for stream in (b"", *_STREAMS)]
_USUAL = rb"(?:\x88|(\x89))%b.*+(?(1)(?:%b)|%b)" % (_BEGIN, b"|".join(_ENDS_OF_STREAMS), _END)
_is_usual = re.compile(_USUAL, re.DOTALL).match


def is_usual(content: bytes) -> bool:
    """Is this the content of a final FLOW frame that tells all of its flow, and of no error? False: perhaps.

    It does not look at what is between the ends, as there is nobody who wants it.
    """
    return _is_usual(content) is not None


def read_usual_flow(content: Any, connection: Callable[[int, str], Connection]) -> Flow | None:
    """The flow in a final FLOW frame, None where it is not a usual one. `connection` finds the connection of an id."""
    try:
        return _flow(content, connection)
    except (KeyError, ValueError, TypeError):
        return None


def _flow(found: Map, connection: Callable[[int, str], Connection]) -> Flow:
    flow_id, client, server, end = found["id"], found["client"], found["server"], found["timestamp_end"]
    metadata = found.get("metadata")
    _expect(
        found["kind"] == "http"
        and found["done"] is True
        and len(found) == 8 + (metadata is not None)
        and (type(flow_id) is type(client) is type(server) is int and flow_id >= 0 and client >= 0 and server >= 0)
        and (type(end) is float and 0 <= end <= LAST_TIME)
    )
    request = _request(found["request"])
    return Flow(
        "http",
        connection(client, "client"),
        connection(server, "server"),
        request,
        _response(found["response"], request.http_version),
        timestamp_start=request.timestamp_start or 0.0,
        timestamp_end=end,
        id=flow_id,
        metadata={} if metadata is None else _metadata(metadata),
    )


def _metadata(found: Map) -> Map:
    """That of an exchange over HTTP/2, which is on which stream it was."""
    stream_id = found["stream_id"]
    _expect(type(stream_id) is int and len(found) == 1)
    return {"stream_id": stream_id}


def _request(found: Map) -> Request:
    method, scheme, host, port, path = found["method"], found["scheme"], found["host"], found["port"], found["path"]
    version, start, end = found["http_version"], found["timestamp_start"], found["timestamp_end"]
    fields, authority, body = found["headers"], found.get("authority", b""), found.get("body")
    _expect(
        len(found) == 9 + ("authority" in found) + (body is not None)
        and (type(method) is type(path) is type(authority) is bytes)
        and (type(scheme) is type(host) is type(version) is str)
        and (type(port) is int and port >= 0)
        and (type(start) is type(end) is float and 0 <= start <= LAST_TIME and 0 <= end <= LAST_TIME)
        and type(fields) is tuple
    )
    headers = read_fields(fields)
    return Request(
        version,
        headers,
        _body(body),
        None,
        start,
        end,
        to_str(method),
        scheme,
        host,
        port,
        to_str(authority),
        to_str(path),
    )


def _response(found: Map, request_version: str) -> Response:
    status, fields = found["status_code"], found["headers"]
    start, end = found["timestamp_start"], found["timestamp_end"]
    version, reason, body = found.get("http_version", request_version), found.get("reason", b""), found.get("body")
    _expect(
        len(found) == 4 + ("http_version" in found) + ("reason" in found) + (body is not None)
        and (type(status) is int and status >= 0)
        and (type(fields) is tuple and type(version) is str and type(reason) is bytes)
        and (type(start) is type(end) is float and 0 <= start <= LAST_TIME and 0 <= end <= LAST_TIME)
    )
    return Response(version, read_fields(fields), _body(body), None, start, end, status, to_str(reason))


def _body(found: Map | None) -> Body:
    if found is None:
        return Body(0, True, None, b"")
    complete, content, length = found["complete"], found.get("content"), found.get("length")
    _expect(complete is True and len(found) == 1 + (content is not None) + (length is not None))
    _expect(content is None or type(content) is bytes)
    if length is None:
        length = len(content or b"")
    _expect(type(length) is int and length >= 0)
    return Body(length, True, None, content)


def _expect(true: bool) -> None:
    if not true:
        raise ValueError
