"""From what mitmproxy writes of a flow to the model, whatever version of mitmproxy wrote it.

Versions are told by a number since 4 (mitmproxy 3), before that by mitmproxy's own, (0, 9) to (3, 0). Most changes are
of names and shapes, and `state` sees to them. What differs beyond that:

| until | what was different |
|---|---|
| (0, 10) | the request holds the client connection, and what was known of the server's; flows have no id |
| (0, 17) | a body that was not kept is the number 0 |
| 4 | connections have no id |
| 8 | the two messages say themselves whether they were replayed |
| 11 | the messages of a WebSocket are a flow of their own, after that of its handshake (see `reader`) |

What the model has no place for is left behind: an upstream proxy (`via`), the certificate shown to the client, whether
the flow was intercepted, and how it was before somebody changed it (`backup`).
"""

from __future__ import annotations

from binascii import a2b_base64
from hashlib import sha256
from typing import Any, Literal, TypeVar
from uuid import UUID

from ...model.body import Body
from ...model.connection import Connection
from ...model.flow import Error, Flow, Kind
from ...model.headers import Headers
from ...model.message import HttpMessage, Message, Request, Response
from ...model.url import join_host_port
from . import dns
from .messages import Messages, close_message, ending, old_close_message, old_ending, raw_message, websocket_message
from .state import State, as_bytes, as_list
from .tnetstring import Large, Value

_Time = TypeVar("_Time", float, float | None)


def read_flow(state: State, place: str) -> Flow:
    """The flow in a dict that a file holds. `place` says where it stood, for the id of one that has none.

    A WebSocket that is a flow of its own comes as one of kind "http", without a request unless it has one within.
    Raises ValueError where this is no flow.
    """
    kind = state.text("type") or "http"
    if kind == "websocket":
        return _websocket(state, place)
    if kind == "http":
        return _http(state, place)
    if kind in ("tcp", "udp"):
        return _raw(state, "tcp" if kind == "tcp" else "udp", place)
    if kind == "dns":
        return _dns(state, place)
    raise ValueError(f"a flow of the unknown type {kind!a:.40}")


def handshake_id(state: State) -> int | None:
    """Of a WebSocket that is a flow of its own: the id of the flow that it belongs to, if that is said."""
    within = state.map("handshake_flow")
    told = within.text("id") if within else State("metadata", state.metadata()).text("websocket_handshake")
    return _id(told) if told else None


def is_handshake(state: State) -> bool:
    """Was this flow's WebSocket to be a flow of its own?"""
    return "websocket" not in state.found and state.metadata().get("websocket") is True


def _http(state: State, place: str) -> Flow:
    request, response = state.map("request"), state.map("response")
    flow = _base(state, "http", place, request)
    flow.request = _request(request) if request else None
    flow.response = _response(response) if response else None
    if flow.is_replay is None:
        replayed = [message for message in (request, response) if message and message.get("is_replay") is True]
        flow.is_replay = None if not replayed else "request" if replayed[0] is request else "response"
    messages: list[HttpMessage] = [message for message in (flow.request, flow.response) if message]
    _mark_incomplete(flow, messages)
    ends = [message.timestamp_end for message in messages if message.timestamp_end is not None]
    flow.timestamp_end = flow.error.timestamp if flow.error else max(ends, default=None)
    websocket = state.map("websocket")
    if websocket:
        flow.timestamp_end = _first(websocket.time("timestamp_end"), default=flow.timestamp_end)
        last = close_message(websocket, _first(flow.timestamp_end, default=flow.timestamp_start))
        flow.messages = Messages(websocket.found.get("messages"), websocket_message, last)
        flow.websocket = ending(websocket)
    return flow


def _mark_incomplete(flow: Flow, messages: list[HttpMessage]) -> None:
    """mitmproxy does not say whether a body is whole, but what broke off has no time at which it ended."""
    for message in messages:
        if flow.error is not None and message.timestamp_end is None:
            message.body.complete = False


def _websocket(state: State, place: str) -> Flow:
    within = state.map("handshake_flow")
    flow = _http(within or state, place)
    server_end = flow.server_conn.timestamp_end if flow.server_conn else None
    flow.timestamp_end = _first(server_end, flow.client_conn.timestamp_end, default=flow.timestamp_end)
    last = old_close_message(state, _first(flow.timestamp_end, default=flow.timestamp_start))
    flow.messages = Messages(state.found.get("messages"), websocket_message, last)
    flow.websocket = old_ending(last)
    return flow


def _raw(state: State, kind: Kind, place: str) -> Flow:
    flow = _base(state, kind, place)
    flow.messages = Messages(state.found.get("messages"), raw_message)
    flow.timestamp_end = flow.client_conn.timestamp_end
    return flow


def _dns(state: State, place: str) -> Flow:
    flow = _base(state, "dns", place)
    messages = []
    for from_client, name in ((True, "request"), (False, "response")):
        message = state.map(name)
        if message:
            content = dns.pack({key: message.get(key) for key in message.found})
            messages.append(
                Message(from_client, "raw", _first(message.time("timestamp"), default=flow.timestamp_start), content)
            )
    flow.messages = messages
    flow.timestamp_end = messages[-1].timestamp if messages else None
    return flow


def _base(state: State, kind: Kind, place: str, request: State | None = None) -> Flow:
    """What flows of all kinds have."""
    client, server = state.map("client_conn"), state.map("server_conn")
    if client is None and request:  # until (0, 10)
        client, server = request.map("client_conn"), _server_in(state, request)
    client_conn = _connection("client", client or State("client_conn", {}))
    server_conn = _connection("server", server) if server else None
    requested = request.time("timestamp_start") if request else None
    started = _first(state.time("timestamp_created"), requested, client_conn.timestamp_start, default=0.0)
    replayed, error = state.text("is_replay"), state.map("error")
    return Flow(
        kind,
        client_conn,
        # mitmproxy has a connection to a server in every flow, if there was one or not.
        server_conn if server_conn and (server_conn.address or server_conn.peername) else None,
        error=Error(error.text("msg") or "", _first(error.time("timestamp"), default=started)) if error else None,
        metadata=state.metadata(),
        comment=state.text("comment") or "",
        marked=_marked(state),
        is_replay="request" if replayed == "request" else "response" if replayed == "response" else None,
        timestamp_start=started,
        id=_id(state.text("id") or f"{place} {started}"),
    )


def _first(*times: float | None, default: _Time) -> float | _Time:
    """The first time that is known."""
    return next((time for time in times if time is not None), default)


def _marked(state: State) -> str:
    """A word since 13, before that whether it is; the word for that was chosen then."""
    value = state.get("marked")
    if isinstance(value, bool):
        return ":default:" if value else ""
    return state.text("marked") or ""


def _server_in(state: State, request: State) -> State:
    """The connection to the server, as the messages told of it until (0, 10)."""
    response, port, address = state.map("response"), request.get("port"), request.get("ip")
    found: dict[str, Value] = {
        "address": [request.get("host"), port],
        "peername": [address, port] if address else None,
        "timestamp_tcp_setup": request.get("tcp_setup_timestamp"),
        "timestamp_tls_setup": request.get("ssl_setup_timestamp"),
        "cert": response.get("cert") if response else None,
    }
    return State("server_conn", found)


def _connection(side: Literal["client", "server"], state: State) -> Connection:
    is_client = side == "client"
    # A client's `address` was its peername; a server's is where it was asked to go.
    peername = state.address("peername", *(("address",) if is_client else ("ip_address", "peer_address")))
    address = None if is_client else state.address("address")
    connection = Connection(
        side,
        peername=peername,
        sockname=state.address("sockname", "source_address"),
        address=address,
        timestamp_start=state.time("timestamp_start"),
        timestamp_tcp_setup=state.time("timestamp_tcp_setup"),
        timestamp_tls_setup=state.time("timestamp_tls_setup", "timestamp_ssl_setup"),
        timestamp_end=state.time("timestamp_end"),
        tls_version=_tls_version(state),
        cipher=state.text("cipher", "cipher_name"),
        alpn_offers=tuple(state.strings("alpn_offers")),
        alpn=state.raw("alpn", "alpn_proto_negotiated"),
        sni=_sni(state, address[0] if address else None),
        certificate_list=tuple(map(_der, state.strings("certificate_list", "clientcert" if is_client else "cert"))),
    )
    facts = (side, connection.timestamp_start, peername, connection.sockname, address)
    connection.id = _id(state.text("id") or repr(facts))
    return connection


def _sni(state: State, host: str | None) -> str | None:
    """Until 18 it could be true: the host."""
    return host if state.get("sni") is True else state.text("sni")


def _tls_version(state: State) -> str | None:
    """Until 20 that of QUIC had no number."""
    version = state.text("tls_version")
    return "QUICv1" if version == "QUIC" else version


def _der(pem: bytes) -> bytes:
    """A certificate as DER (RFC 7468 section 3). Raises ValueError where that is no base64."""
    return a2b_base64(pem.partition(b"-----BEGIN CERTIFICATE-----")[2].partition(b"-----END")[0])


def _id(text: str) -> int:
    """Ours have 64 bits: of a UUID the first, so that the same flow is told to be the same, otherwise a digest's."""
    try:
        return UUID(text).int >> 64
    except ValueError:
        return int.from_bytes(sha256(text.encode("utf-8", "replace")).digest()[:8])


def _request(state: State) -> Request:
    host, port, authority = state.text("host") or "", state.number("port"), state.text("authority") or ""
    if not authority and state.text("first_line_format", "form_in") == "authority":
        authority = join_host_port(host, port)  # the target of CONNECT, until 8
    return Request(
        **_message(state),
        method=state.text("method") or "",
        scheme=state.text("scheme") or "",
        host=host,
        port=port,
        authority=authority,
        path=state.text("path") or "",
    )


def _response(state: State) -> Response:
    return Response(
        **_message(state),
        status_code=state.number("status_code", "code"),
        reason=state.text("reason", "msg") or "",
    )


def _message(state: State) -> dict[str, Any]:
    return {
        "http_version": _http_version(state),
        "headers": state.headers("headers") or Headers(),
        "body": _body(state.found.get("content", state.found.get("body"))),
        "trailers": state.headers("trailers"),
        "timestamp_start": state.time("timestamp_start"),
        "timestamp_end": state.time("timestamp_end"),
    }


def _http_version(state: State) -> str:
    """Until (0, 13) it was two numbers. mitmproxy gives HTTP/2 a minor version, which has none (RFC 9113 section 1)."""
    numbers = state.get("httpversion")
    if numbers is not None:
        return "HTTP/" + ".".join(map(str, as_list(numbers)[:2]))
    version = state.text("http_version") or ""
    return "HTTP/2" if version == "HTTP/2.0" else version


def _body(value: Value) -> Body:
    if value is None or value == 0:
        return Body()
    if not isinstance(value, Large):
        value = as_bytes(value)
    elif value.tag not in (b",", b";"):
        raise ValueError("something else where a body should be")
    return Body(len(value), complete=True, source=value)
