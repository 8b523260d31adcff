"""A recorded request, made ready to be sent again: is it whole, where does it go, and with which fields.

The fields are those that were recorded, in their order and spelling, but for what has to be new: what spoke of the
recorded connection only is gone (RFC 9110 section 7.6.1), Host follows the server where that is another, and the
framing follows the body that is sent: chunked where it was chunked, with its length where it had one.

A capture may come from anybody, and say anything: a head that a proxy would have refused is not sent either, for a line
end in a value would be a second request, on a connection that others share.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import RemoteError
from ..model import url
from ..model.flow import Flow
from ..model.headers import Field, to_bytes
from ..model.message import Request
from ..proxy.target import Origin
from ..settings.replay import Place
from ..wire.events import RequestHead
from ..wire.head import CHUNKED, parse_request, write_request
from ..wire.hop import asks_for_upgrade, end_to_end, with_upgrade, without

_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Destination(NamedTuple):
    """Where a request goes: the server, the server name for TLS (None: the server's own), and the Host field to set."""

    origin: Origin
    sni: str | None
    host: str


def unfit(flow: Flow) -> str:
    """Why a flow cannot be replayed, as a short sentence; "" if it can."""
    if flow.kind == "tcp":
        return _unfit_connection(flow)
    request = flow.request
    if flow.kind != "http" or request is None:
        return f"no HTTP request (kind {flow.kind})" if flow.kind != "http" else "without a valid request"
    if request.scheme not in url.DEFAULT_PORTS or not request.host:
        return "without a server that is known"
    if request.method == "CONNECT":
        return "opens a tunnel"
    if is_switched(flow) and not is_websocket(flow):
        return "switched to another protocol"
    if not _is_sound(request):
        return "with a head that is no valid HTTP"
    body = request.body
    if not body.complete:
        return "cut off before its end was recorded"
    if body.stored != body.length:
        return "without its body, which was not kept" if not body.stored else "with only a part of its body kept"
    return ""


def _unfit_connection(flow: Flow) -> str:
    if "upgraded_from" in flow.metadata:
        return "goes on from an HTTP request that switched protocols"
    if flow.server_conn is None or not (flow.server_conn.address or flow.server_conn.peername):
        return "without a server that is known"
    return "" if any(message.from_client for message in flow.messages) else "without a message from the client"


def _is_sound(request: Request) -> bool:
    """Does the head read back as what it is? What frames the body does not matter, it is made anew."""
    trailers = request.trailers.fields if request.trailers else []
    fields = without([*request.headers.fields, *trailers], _FRAMING)
    head = RequestHead(to_bytes(request.method), to_bytes(request.path), fields, b"HTTP/1.1")
    try:
        url.split_host_port(host_of(request), 0)
        read = parse_request(write_request(head), len(fields))
    except (RemoteError, ValueError):
        return False
    same = (read.method, read.target, len(read.fields)) == (head.method, head.target, len(fields))
    return same and (head.target.startswith(b"/") or head.target == b"*")


def is_switched(flow: Flow) -> bool:
    """Did both sides leave HTTP?"""
    return flow.response is not None and flow.response.status_code == 101


def is_websocket(flow: Flow) -> bool:
    """Did a WebSocket follow?"""
    return is_switched(flow) and bool(
        flow.websocket or (flow.request and flow.request.headers.get("upgrade", "").lower() == "websocket")
    )


def destination_of(flow: Flow, place: Place | None = None, *, keep_host: bool = False) -> Destination:
    """Where a flow that is not `unfit` goes, to its own server or to `place`; `keep_host`: under its own name."""
    server, request = flow.server_conn, flow.request
    recorded = server.sni if server else None
    if request is None:
        origin = _server_of(flow)
        return Destination(Origin(*place) if place else origin, None if place and not keep_host else recorded, "")
    if place is None:
        return Destination(Origin(request.scheme, request.host, request.port), recorded, host_of(request))
    if not keep_host:
        return Destination(Origin(*place), None, url.join_host_port(place.host, place.port, place.scheme))
    return Destination(Origin(*place), recorded or _name_of(request), host_of(request))


def _server_of(flow: Flow) -> Origin:
    """The server of a raw connection."""
    server = flow.server_conn
    assert server
    address = server.address or server.peername
    assert address
    return Origin("https" if server.tls_established else "http", *address)


def host_of(request: Request) -> str:
    """What Host said, or would have said in a version that has it in another place."""
    authority = request.authority or request.headers.get("host", "")
    return authority or url.join_host_port(request.host, request.port, request.scheme)


def _name_of(request: Request) -> str | None:
    """The server name that fits a Host field; None where that is an address, or no host at all."""
    try:
        name, _ = url.split_host_port(host_of(request), 0)
    except ValueError:
        return None
    return None if url.is_address(name) else name


def is_http2(flow: Flow) -> bool:
    """Was this asked in HTTP/2, or in what came after it?

    A WebSocket counts as HTTP/1.1, in whose words it is recorded in any case: in HTTP/2 it may only be asked for once
    the server has said that it takes it (RFC 8441 section 3), which it may not have yet on a connection of ours.
    """
    return bool(flow.request and not is_websocket(flow) and flow.request.http_version.startswith(("HTTP/2", "HTTP/3")))


def asks_in_http2(flow: Flow, to: Destination) -> bool:
    """Is it to be asked in HTTP/2, where the server speaks it? Without TLS nobody can agree on that: there it is only
    where the recorded client knew it, too (RFC 9113 section 3.3), not where it had agreed on it with a server for TLS.
    """
    without_tls = to.origin.scheme == "http"
    return is_http2(flow) and not (without_tls and flow.request and flow.request.scheme != "http")


def head_of(flow: Flow, scheme: str, host: str) -> RequestHead:
    """The head of an HTTP flow's request, in its version of HTTP, to a server of this scheme and with this Host."""
    request = flow.request
    assert request
    if is_http2(flow):
        return _http2_head(request, scheme, host)
    version = b"HTTP/1.0" if request.http_version == "HTTP/1.0" else b"HTTP/1.1"
    recorded = RequestHead(to_bytes(request.method), to_bytes(request.path), request.headers.fields, version)
    switching = is_websocket(flow) and asks_for_upgrade(recorded)
    fields = with_upgrade(recorded) if switching else end_to_end(recorded)
    fields = _framed(_hosted(fields, to_bytes(host), recorded), request, recorded)
    return RequestHead(recorded.method, recorded.target, fields, version)


def _http2_head(request: Request, scheme: str, host: str) -> RequestHead:
    fields = [(name.lower(), value) for name, value in request.headers.fields]
    recorded = RequestHead(to_bytes(request.method), to_bytes(request.path), fields, b"HTTP/2")
    kept = without(end_to_end(recorded), {b"host", *_FRAMING})
    framing = CHUNKED if request.trailers else request.body.length
    if framing > 0 or (not framing and b"content-length" in recorded.survey().values):
        kept.append((b"content-length", b"%d" % framing))
    head = RequestHead(recorded.method, recorded.target, kept, b"HTTP/2", 0, framing)  # in no stream of a client's
    head.scheme, head.authority = to_bytes(scheme), to_bytes(host)
    return head


def _hosted(fields: list[Field], host: bytes, recorded: RequestHead) -> list[Field]:
    """The fields with this Host where it stood, or first; HTTP/1.0 need not have one (RFC 9112 section 3.2)."""
    hosts = recorded.survey().values.get(b"host")
    if hosts == [host]:
        return fields
    if not hosts:
        return [*fields] if recorded.version == b"HTTP/1.0" else [(b"Host", host), *fields]
    place = next(at for at, (name, _) in enumerate(fields) if name.lower() == b"host")
    kept = [field for field in fields if field[0].lower() != b"host"]
    kept.insert(place, (fields[place][0], host))
    return kept


def _framed(fields: list[Field], request: Request, recorded: RequestHead) -> list[Field]:
    """The fields with one that frames the body that is sent (RFC 9112 section 6), in the place of those that did."""
    found, length = recorded.survey().values, request.body.length
    was_chunked = b"transfer-encoding" in found or bool(request.trailers)
    if was_chunked and recorded.version == b"HTTP/1.1":
        field = (b"Transfer-Encoding", b"chunked")
    elif b"content-length" in found or b"transfer-encoding" in found or length:
        field = (b"Content-Length", b"%d" % length)
    else:
        return fields
    kept = [each for each in fields if each[0].lower() not in _FRAMING]
    place = next((at for at, each in enumerate(fields) if each[0].lower() in _FRAMING), len(kept))
    spelling = next((name for name, _ in fields if name.lower() == field[0].lower()), field[0])
    kept.insert(place, (spelling, field[1]))
    return kept
