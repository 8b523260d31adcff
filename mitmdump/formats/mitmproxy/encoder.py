"""From the model to mitmproxy's flow file, in the version of mitmproxy 11 and 12.

mitmproxy checks every key and the type of every value, and gives up a whole file over one that is not as it should be,
so all of its keys are written, those too of which we know nothing; and a time that must be there is that of the flow.

Bodies and messages may have any size, but a length goes before what it is the length of. That of a body is known.
Messages are read twice, once for their lengths.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, BinaryIO

from ...errors import FlowFileError
from ...model.body import Body
from ...model.connection import Connection
from ...model.flow import Flow, WebSocket
from ...model.headers import to_bytes, to_str
from ...model.message import HttpMessage, Message, Request, Response
from . import dns
from .frames import Disk, recognise
from .messages import NO_CLOSE, NO_CODE
from .state import NEWEST
from .tnetstring import Bulk, dump

_State = dict[str, Any]

# mitmproxy knows no other.
_TLS_VERSIONS = {
    "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3", "DTLSv0.9", "DTLSv1", "DTLSv1.2", "QUICv1",
}  # fmt: skip

# RFC 6455 section 5.2. There a message has any size; the later pieces of a large one become messages of their own.
_OPCODES = {"text": 1, "binary": 2, "continuation": 2}

# Our ids have 64 bits, UUIDs have 128.
_REST_OF_ID = "-0000-000000000000"


class MitmproxyEncoder:
    """Flows to the bytes of a flow file of mitmproxy; a `formats.base.Encoder`. Raises FlowFileError where a body or a
    message can no longer be read.
    """

    tail = b""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    def head(self) -> bytes:
        """Nothing: the first flow opens the file."""
        return b""

    def flow(self, flow: Flow) -> Iterator[bytes]:
        """See Encoder."""
        try:
            state = _KINDS[flow.kind](flow, self.left_out)
        except _CannotHoldError as error:
            self.left_out[str(error)] += 1
            return
        _count_small_things(flow, self.left_out)
        yield from dump(state)

    def resume(self, file: BinaryIO) -> int:
        """See Encoder. Only a last flow may be torn; behind other damage nobody would find what we add."""
        file.seek(0)
        head = file.read(4096)
        if head and not recognise(head):
            raise FlowFileError("it is no flow file of mitmproxy")
        disk, offset = Disk(file, "the file"), 0
        try:
            while frame := disk.take(offset):
                offset = frame.end
        except ValueError as error:
            if disk.search(offset + 1):
                raise FlowFileError(f"it is damaged at byte {offset}: {error}") from None
        return offset


class _CannotHoldError(Exception):
    """What is the matter with a flow that has no form here, as words for `left_out`."""


def _http(flow: Flow, left_out: Counter[str]) -> _State:
    if flow.request is None:
        raise _CannotHoldError("HTTP flows without a request")
    return _base(flow) | {
        "request": _request(flow.request, flow.timestamp_start),
        "response": _response(flow.response, flow.timestamp_start) if flow.response else None,
        "websocket": _websocket(flow, left_out),
    }


def _raw(flow: Flow, _: Counter[str]) -> _State:
    return _base(flow) | {"messages": _bulk(flow.messages, _raw_message)}


def _dns(flow: Flow, _: Counter[str]) -> _State:
    messages = list(islice(flow.messages, 3))
    if [message.from_client for message in messages] not in ([True], [True, False]):
        raise _CannotHoldError("DNS flows other than a query and its answer")
    try:
        states = [dns.unpack(message.content, message.timestamp) for message in messages]
    except ValueError:
        raise _CannotHoldError("malformed DNS messages") from None
    return _base(flow) | {"request": states[0], "response": states[1] if len(states) == 2 else None}


_KINDS: dict[str, Callable[[Flow, Counter[str]], _State]] = {"http": _http, "tcp": _raw, "udp": _raw, "dns": _dns}


def _base(flow: Flow) -> _State:
    is_udp = flow.kind in ("udp", "dns")
    return {
        "version": NEWEST,
        "type": flow.kind,
        "id": _id(flow.id),
        "error": {"msg": flow.error.msg, "timestamp": float(flow.error.timestamp)} if flow.error else None,
        "client_conn": _client(flow.client_conn, is_udp, flow.timestamp_start),
        "server_conn": _server(flow.server_conn or Connection("server", flow.client_conn.id), is_udp),
        "intercepted": False,
        "is_replay": flow.is_replay,
        "marked": flow.marked,
        "metadata": flow.metadata,
        "comment": flow.comment,
        "timestamp_created": float(flow.timestamp_start),
        "backup": None,
    }


def _id(number: int) -> str:
    digits = f"{number:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:]}{_REST_OF_ID}"


def _client(connection: Connection, is_udp: bool, now: float) -> _State:
    return _connection(connection, is_udp) | {
        "peername": connection.peername or ("", 0),
        "sockname": connection.sockname or ("", 0),
        "timestamp_start": _time(connection.timestamp_start, now),
        "mitmcert": None,
        "proxy_mode": "regular",
    }


def _server(connection: Connection, is_udp: bool) -> _State:
    return _connection(connection, is_udp) | {
        "peername": connection.peername,
        "sockname": connection.sockname,
        "address": connection.address,
        "timestamp_start": _time(connection.timestamp_start),
        "timestamp_tcp_setup": _time(connection.timestamp_tcp_setup),
        "via": None,
    }


def _connection(connection: Connection, is_udp: bool) -> _State:
    version = connection.tls_version if connection.tls_version in _TLS_VERSIONS else None
    is_udp = is_udp or (version or "").startswith(("DTLS", "QUIC"))
    return {
        "id": _id(connection.id),
        "transport_protocol": "udp" if is_udp else "tcp",
        "timestamp_end": _time(connection.timestamp_end),
        "timestamp_tls_setup": _time(connection.timestamp_tls_setup),
        "error": None,
        "tls": connection.tls_established,
        "tls_version": version,
        "cipher": connection.cipher,
        "cipher_list": [],
        "alpn": connection.alpn,
        "alpn_offers": connection.alpn_offers,
        "sni": connection.sni,
        "certificate_list": [_pem(certificate) for certificate in connection.certificate_list],
    }


def _pem(der: bytes) -> bytes:
    lines = b64encode(der)
    parts = [lines[at : at + 64] + b"\n" for at in range(0, len(lines), 64)]
    return b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % b"".join(parts)


def _time(value: float | None, default: float | None = None) -> float | None:
    value = default if value is None else value
    return None if value is None else float(value)


def _request(request: Request, now: float) -> _State:
    return _message(request, now) | {
        "method": to_bytes(request.method),
        "scheme": to_bytes(request.scheme),
        "host": request.host,
        "port": request.port,
        "authority": to_bytes(request.authority),
        "path": to_bytes(request.path),
    }


def _response(response: Response, now: float) -> _State:
    return _message(response, now) | {"status_code": response.status_code, "reason": to_bytes(response.reason)}


def _message(message: HttpMessage, now: float) -> _State:
    return {
        "http_version": b"HTTP/2.0" if message.http_version == "HTTP/2" else to_bytes(message.http_version),
        "headers": message.headers.fields,
        "content": _content(message.body),
        "trailers": message.trailers.fields if message.trailers is not None else None,
        "timestamp_start": _time(message.timestamp_start, now),
        "timestamp_end": _time(message.timestamp_end),
    }


def _content(body: Body) -> Bulk | bytes | None:
    if body.source is None:
        return b"" if body.complete and not body.length else None
    return Bulk(b",", body.stored, body.pieces)


def _websocket(flow: Flow, left_out: Counter[str]) -> _State | None:
    """What mitmproxy calls a WebSocket: its messages, and how it was closed first."""
    closes: list[Message] = []
    kinds: Counter[str] = Counter()
    for message in flow.messages:
        kinds[message.kind] += 1
        if message.kind == "close" and not closes:
            closes.append(message)
    if not kinds and flow.websocket is None:
        return None
    left_out["WebSocket pings and pongs"] += kinds["ping"] + kinds["pong"]
    left_out["second close frames of WebSockets"] += max(kinds["close"] - 1, 0)
    left_out["borders of WebSocket messages above 1 MiB"] += kinds["continuation"]
    left_out["raw messages of HTTP flows"] += kinds["raw"]
    return _closed(closes[0] if closes else None, flow) | {"messages": _bulk(flow.messages, _websocket_message)}


def _closed(close: Message | None, flow: Flow) -> _State:
    if close is None:
        known = flow.websocket if flow.websocket and flow.websocket.close_code == NO_CLOSE else WebSocket()
        return {
            "closed_by_client": known.closed_by_client,
            "close_code": known.close_code,
            "close_reason": known.close_reason or None,
            "timestamp_end": _time(flow.timestamp_end),
        }
    has_code = len(close.content) >= 2  # RFC 6455 section 5.5.1
    return {
        "closed_by_client": close.from_client,
        "close_code": int.from_bytes(close.content[:2]) if has_code else NO_CODE,
        "close_reason": to_str(close.content[2:]),
        "timestamp_end": _time(close.timestamp),
    }


def _websocket_message(message: Message) -> list[object] | None:
    """Its type, direction, content and time; and that it was neither dropped nor made up."""
    opcode = _OPCODES.get(message.kind)
    return [opcode, message.from_client, message.content, float(message.timestamp), False, False] if opcode else None


def _raw_message(message: Message) -> list[object]:
    return [message.from_client, message.content, float(message.timestamp)]


def _bulk(messages: Iterable[Message], state: Callable[[Message], list[object] | None]) -> Bulk:
    """The messages that have a form, as a list that is not held in memory."""

    def pieces() -> Iterator[bytes]:
        for message in messages:
            known = state(message)
            if known is not None:
                yield from dump(known)

    return Bulk(b"]", sum(map(len, pieces())), pieces)


def _count_small_things(flow: Flow, left_out: Counter[str]) -> None:
    """What is lost of a flow that is written."""
    for message in filter(None, (flow.request, flow.response)):
        body = message.body
        if body.source is None:
            left_out["lengths of bodies that were not kept"] += body.length > 0
        elif body.stored < body.length or not (body.complete or (flow.error and message.timestamp_end is None)):
            left_out["marks of bodies that are not whole"] += 1
    refused = flow.server_conn is not None and flow.server_conn.verification not in (None, "ok")
    left_out["reasons why a certificate was not accepted"] += refused
    for what in [what for what, count in left_out.items() if not count]:
        del left_out[what]
