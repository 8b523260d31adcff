"""From the model to the maps of a flow file, and back.

The maps are filled straight from the model. Reading is driven by the tables in `keys`, which check every value; a test
holds the two together. (Most flows can do without: see `usual_bytes` and `usual`.) Absent is absent: a value that the
model has by itself (None, "", an empty tuple) is not written. Nor is, since most flows are small, what can be told by
something else in the map: an empty body, the length of a body that is there, a time and a version that are the
request's.

Unknown keys of a flow and of the maps inside it travel in `Flow.extra`, those of a connection in `Connection.extra`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..model.body import Body
from ..model.connection import Connection
from ..model.flow import Error, Flow, WebSocket
from ..model.headers import Headers
from ..model.message import Message, Request, Response
from . import keys
from .packing import plain, to_wire
from .usual import read_usual_flow

Map = dict[str, Any]


def connection_map(connection: Connection) -> Map:
    """The map of a CONNECTION frame."""
    found = {
        "id": connection.id,
        "side": connection.side,
        "peername": connection.peername,
        "sockname": connection.sockname,
        "address": connection.address,
        "timestamp_start": connection.timestamp_start,
        "timestamp_tcp_setup": connection.timestamp_tcp_setup,
        "timestamp_tls_setup": connection.timestamp_tls_setup,
        "timestamp_end": connection.timestamp_end,
        "tls_version": connection.tls_version,
        "cipher": connection.cipher,
        "alpn_offers": connection.alpn_offers or None,
        "alpn": connection.alpn,
        "sni": connection.sni,
        "session_resumed": connection.session_resumed or None,
        "certificate_list": connection.certificate_list or None,
        "verification": connection.verification,
    }
    found = {name: value for name, value in found.items() if value is not None}
    _add_unknown(found, connection.extra, keys.CONNECTION)
    return found


def flow_map(flow: Flow, request_content: bytes | None, response_content: bytes | None) -> Map:
    """The map of a FLOW frame that is not the final one, with the bodies that are to be inline."""
    found: Map = {
        "id": flow.id,
        "kind": flow.kind,
        "client": flow.client_conn.id,
    }
    if flow.server_conn is not None:
        found["server"] = flow.server_conn.id
    if flow.request is None or flow.request.timestamp_start != flow.timestamp_start:
        found["timestamp_start"] = flow.timestamp_start
    if flow.request is not None:
        found["request"] = _request_map(flow.request, request_content)
    if flow.response is not None:
        version = None if flow.request is None else flow.request.http_version
        found["response"] = _response_map(flow.response, response_content, version)
    if flow.error is not None:
        found["error"] = {"msg": flow.error.msg, "timestamp": flow.error.timestamp}
    if flow.websocket is not None:
        found["websocket"] = _websocket_map(flow.websocket)
    if flow.timestamp_end is not None:
        found["timestamp_end"] = flow.timestamp_end
    if flow.is_replay is not None:
        found["is_replay"] = flow.is_replay
    if flow.comment:
        found["comment"] = flow.comment
    if flow.marked:
        found["marked"] = flow.marked
    if flow.metadata:
        found["metadata"] = plain(flow.metadata)
    if flow.extra:
        _add_unknown(found, flow.extra, keys.FLOW)
    return found


def _request_map(request: Request, content: bytes | None) -> Map:
    found: Map = {
        "method": to_wire(request.method),
        "scheme": request.scheme,
        "host": request.host,
        "port": request.port,
        "http_version": request.http_version,
    }
    if request.authority:
        found["authority"] = to_wire(request.authority)
    found["path"] = to_wire(request.path)
    found["headers"] = request.headers.fields
    body = _body_map(request.body, content)
    if body is not None:
        found["body"] = body
    if request.trailers is not None:
        found["trailers"] = request.trailers.fields
    if request.timestamp_start is not None:
        found["timestamp_start"] = request.timestamp_start
    if request.timestamp_end is not None:
        found["timestamp_end"] = request.timestamp_end
    return found


def _response_map(response: Response, content: bytes | None, request_version: str | None) -> Map:
    found: Map = {"status_code": response.status_code}
    if response.reason:
        found["reason"] = to_wire(response.reason)
    if response.http_version != request_version:
        found["http_version"] = response.http_version
    found["headers"] = response.headers.fields
    body = _body_map(response.body, content)
    if body is not None:
        found["body"] = body
    if response.trailers is not None:
        found["trailers"] = response.trailers.fields
    if response.timestamp_start is not None:
        found["timestamp_start"] = response.timestamp_start
    if response.timestamp_end is not None:
        found["timestamp_end"] = response.timestamp_end
    return found


def _body_map(body: Body, content: bytes | None) -> Map | None:
    """The map of a body, None for one that is empty."""
    found: Map = {}
    if content == b"" and body.complete and not body.length and body.digest is None:
        return None
    if body.length and (content is None or len(content) != body.length):
        found["length"] = body.length
    if body.complete:
        found["complete"] = True
    if body.digest is not None:
        found["sha256"] = body.digest
    if content is not None:
        found["content"] = content
    return found


def _websocket_map(websocket: WebSocket) -> Map:
    found: Map = {}
    if websocket.closed_by_client is not None:
        found["closed_by_client"] = websocket.closed_by_client
    if websocket.close_code is not None:
        found["close_code"] = websocket.close_code
    if websocket.close_reason:
        found["close_reason"] = websocket.close_reason
    return found


def _add_unknown(found: Map, extra: Map, table: keys.Table) -> None:
    """Put unknown keys back where they were. The map that they were in may be gone; then so are they.

    Only an empty body is none because it is not worth a map.
    """
    for name, value in extra.items():
        if name not in table:
            found[name] = plain(value)
        elif name == "body" or (name in found and name in _INNER):
            _add_unknown(found.setdefault(name, {"complete": True, "content": b""}), value, _INNER[name])


_INNER = {
    "request": keys.REQUEST,
    "response": keys.RESPONSE,
    "body": keys.BODY,
    "error": keys.ERROR,
    "websocket": keys.WEBSOCKET,
}


class Told(NamedTuple):
    """What a FLOW frame says about the frames around it, and not about the flow.

    `streamed` (bytes in BODY frames, per part) and `messages` (how many MESSAGE frames) are None in a frame that does
    not count them.
    """

    done: bool
    streamed: tuple[int, int] | None
    messages: int | None


_ALL = Told(done=True, streamed=None, messages=None)  # there is nothing but this frame


def read_flow(content: Any, connection: Callable[[int, str], Connection]) -> tuple[Flow, Told]:
    """The flow in a FLOW frame. `connection` finds the connection of an id, on this side.

    Raises ValueError or TypeError where the content is not what a FLOW frame holds.
    """
    flow = read_usual_flow(content, connection)
    if flow is not None:
        return flow, _ALL
    known, unknown = _read(content, keys.FLOW, "id", "kind")
    told = Told(known.pop("done", False), known.pop("streamed", None), known.pop("messages", None))
    client, server = known.pop("client", None), known.pop("server", None)
    if "request" in known and "response" in known:
        known["response"].setdefault("http_version", known["request"].get("http_version", ""))
    for name, make in _MAKERS.items():
        if name in known:
            known[name], inner = make(known[name])
            if inner:
                unknown[name] = inner
    if "timestamp_start" not in known and "request" in known:
        known["timestamp_start"] = known["request"].timestamp_start or 0.0
    if "metadata" in known:
        known["metadata"] = plain(known["metadata"])
    known["client_conn"] = Connection("client") if client is None else connection(client, "client")
    known["server_conn"] = None if server is None else connection(server, "server")
    flow = Flow(**known)
    if unknown:
        flow.extra = plain(unknown)
    return flow, told


def read_connection(content: Any) -> Connection:
    """The connection in a CONNECTION frame. Raises ValueError or TypeError where there is none."""
    known, unknown = _read(content, keys.CONNECTION, "id", "side")
    return Connection(**known, extra=plain(unknown))


def read_section(content: Any) -> int:
    """The version that a SECTION frame announces. Raises ValueError or TypeError where it announces none."""
    known, _ = _read(content, keys.SECTION, "format", "version")
    if known["format"] != FORMAT:
        raise ValueError(f"a section of another format: {known['format']!r:.40}")
    version: int = known["version"]
    return version


def read_piece(content: Any) -> tuple[int, int, bytes]:
    """Flow id, part and bytes of a BODY frame. Raises ValueError or TypeError where there are none."""
    flow_id, part, data = _array(content)
    if part not in (0, 1) or type(data) is not bytes:
        raise ValueError("a BODY without part or bytes")
    return keys.read_unsigned(flow_id), int(part), data


def read_message(content: Any) -> tuple[int, Message]:
    """Flow id and message of a MESSAGE frame. Raises ValueError or TypeError where there is none."""
    flow_id, from_client, kind, timestamp, data = _array(content)
    if type(from_client) is not bool or type(data) is not bytes:
        raise ValueError("a MESSAGE without direction or bytes")
    message = Message(from_client, keys.read_message_kind(kind), keys.read_time(timestamp), data)
    return keys.read_unsigned(flow_id), message


FORMAT = "mitmdump-flows"


def _read(content: Any, table: keys.Table, *required: str) -> tuple[Map, Map]:
    if type(content) is not dict:
        raise ValueError(f"a {table.name} that is not a map")
    known, unknown = table.read(content)
    for name in required:
        if name not in known:
            raise ValueError(f"a {table.name} without {name}")
    return known, unknown


def _array(content: Any) -> tuple[Any, ...]:
    if type(content) is not tuple:
        raise ValueError("not an array")
    return content


def _read_request(content: Map) -> tuple[Request, Map]:
    known, unknown = _read_http(content, keys.REQUEST)
    return Request(**known), unknown


def _read_response(content: Map) -> tuple[Response, Map]:
    known, unknown = _read_http(content, keys.RESPONSE)
    return Response(**known), unknown


def _read_http(content: Map, table: keys.Table) -> tuple[Map, Map]:
    known, unknown = table.read(content)
    known.setdefault("http_version", "")
    if "headers" not in known:
        known["headers"] = Headers()
    if "body" in known:
        known["body"], inner = _read_body(known["body"])
        if inner:
            unknown["body"] = inner
    else:
        known["body"] = Body(complete=True, source=b"")
    return known, unknown


def _read_body(content: Map) -> tuple[Body, Map]:
    known, unknown = keys.BODY.read(content)
    if "content" in known:
        known["source"] = known.pop("content")
        known.setdefault("length", len(known["source"]))
    if "sha256" in known:
        known["digest"] = known.pop("sha256")
    return Body(**known), unknown


def _read_error(content: Map) -> tuple[Error, Map]:
    known, unknown = _read(content, keys.ERROR, "msg", "timestamp")
    return Error(**known), unknown


def _read_websocket(content: Map) -> tuple[WebSocket, Map]:
    known, unknown = keys.WEBSOCKET.read(content)
    return WebSocket(**known), unknown


_MAKERS: dict[str, Callable[[Map], tuple[Any, Map]]] = {
    "request": _read_request,
    "response": _read_response,
    "error": _read_error,
    "websocket": _read_websocket,
}
