"""The short way from a flow to the bytes of its record, for what nearly all flows are: an exchange over HTTP that ended
well, with all bytes of its bodies at hand.

To pack a map of maps, key by key, costs more than all else that recording does. Here the keys are constants, `struct`
puts numbers between them, and what flows have in common is remembered as it was packed before: where a request goes, a
status, header fields, of which HTTP/2's compression knows how seldom they change (RFC 7541 section 2.3).

What is not usual gives None, and `schema.flow_map` decides. A test holds the two together: what comes from here unpacks
to the map that comes from there, with its keys in the same order.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ..model.body import Body
from ..model.flow import Flow
from ..model.headers import Field
from .packing import header_of_array, header_of_bytes, plain, to_wire

# What is remembered of each kind: so many, of so many bytes at most, which makes 256 KiB, and what they were before.
_ENTRIES: Final = 1024
_LONGEST: Final = 256

_MAPS: Final = [b"%c" % (0x80 + size) for size in range(16)]

_ids: Final = struct.Struct(">1s4sQ18sQ8sQ8s").pack
_times: Final = struct.Struct(">17sd15sd").pack
_last_times: Final = struct.Struct(">17sd15sd15sd").pack
_ID: Final = b"\xa2id\xcf"
_CLIENT: Final = b"\xa4kind\xa4http\xa6client\xcf"
_SERVER: Final = b"\xa6server\xcf"
_START: Final = b"\xaftimestamp_start\xcb"
_END: Final = b"\xadtimestamp_end\xcb"
_BODY: Final = b"\xa4body\x82\xa8complete\xc3\xa7content"

_Target = tuple[str, str, str, int, str, str]
_Status = tuple[int, str, str | None]


class UsualFlows:
    """Packs usual flows; it is not for use by several threads. `pack` packs any value."""

    def __init__(self, pack: Callable[[Any], bytes]) -> None:
        self._pack = pack
        # Not methods of our own, or we would hold ourselves, and the packer, until the garbage collector comes.
        self._targets = _Remembered(partial(_pack_target, pack))
        self._statuses = _Remembered(partial(_pack_status, pack))
        field = _Remembered(_pack_field)
        self._request_fields, self._response_fields = _Fields(field), _Fields(field)

    def pack(self, flow: Flow, request_content: bytes | None, response_content: bytes | None) -> bytes | None:
        """The content of the final FLOW frame of a flow with these bodies, None where it is not a usual one."""
        request, response, server, metadata = flow.request, flow.response, flow.server_conn, flow.metadata
        if request is None or response is None or server is None or not _is_plain(flow):
            return None
        asked, answered = _front_of(request.body, request_content), _front_of(response.body, response_content)
        start, authority, version = request.timestamp_start, request.authority, request.http_version
        if asked is None or answered is None or start != flow.timestamp_start:
            return None
        if request.trailers is not None or response.trailers is not None:
            return None
        other_version = None if response.http_version == version else response.http_version
        try:
            path = to_wire(request.path)
            return b"".join(
                (
                    _ids(
                        _MAPS[9 if metadata else 8],
                        _ID,
                        flow.id,
                        _CLIENT,
                        flow.client_conn.id,
                        _SERVER,
                        server.id,
                        b"\xa7request",
                    ),
                    _MAPS[9 + (authority != "") + (asked != b"")],
                    self._targets[request.method, request.scheme, request.host, request.port, version, authority],
                    header_of_bytes(len(path)),
                    path,
                    b"\xa7headers",
                    self._request_fields.pack(request.headers.fields),
                    asked,
                    request_content or b"",
                    _times(_START, start, _END, request.timestamp_end),
                    b"\xa8response",
                    _MAPS[4 + (response.reason != "") + (other_version is not None) + (answered != b"")],
                    self._statuses[response.status_code, response.reason, other_version],
                    self._response_fields.pack(response.headers.fields),
                    answered,
                    response_content or b"",
                    _last_times(
                        _START, response.timestamp_start, _END, response.timestamp_end, _END, flow.timestamp_end
                    ),
                    self._pack({"metadata": plain(metadata)})[1:] if metadata else b"",
                    b"\xa4done\xc3",
                )
            )
        except (struct.error, TypeError, ValueError, OverflowError):  # a value of another type, or out of bounds
            return None


class _Remembered(dict[Any, bytes]):
    """What values were packed to; `pack` packs those that are not there."""

    def __init__(self, pack: Callable[[Any], bytes]) -> None:
        self._pack = pack

    def __missing__(self, value: Any) -> bytes:
        packed = self._pack(value)
        if len(packed) <= _LONGEST:
            if len(self) == _ENTRIES:
                self.clear()
            self[value] = packed
        return packed


class _Fields:
    """Packs the fields of heads. Often they are word for word those of the head before, and are there already."""

    def __init__(self, remembered: _Remembered) -> None:
        self._remembered = remembered
        self._last: list[Field] = []
        self._packed = header_of_array(0)

    def pack(self, fields: list[Field]) -> bytes:
        """The array of the fields, each an array. Raises TypeError or ValueError for what are no fields."""
        if fields != self._last:
            remembered = self._remembered
            self._packed = header_of_array(len(fields)) + b"".join([remembered[field] for field in fields])
            self._last = list(fields)
        return self._packed


def _is_plain(flow: Flow) -> bool:
    return (
        flow.kind == "http"
        and flow.error is None
        and flow.websocket is None
        and flow.is_replay is None
        and not (flow.comment or flow.marked or flow.extra)
    )


def _front_of(body: Body, content: bytes | None) -> bytes | None:
    """What stands before the content of a body: nothing if that is empty. None: not all of it is here."""
    if content is None or not body.complete or body.digest is not None or len(content) != body.length:
        return None
    return _BODY + header_of_bytes(len(content)) if content else b""


def _pack_field(field: Field) -> bytes:
    name, value = field
    return b"\x92" + header_of_bytes(len(name)) + name + header_of_bytes(len(value)) + value


def _pack_target(pack: Callable[[Any], bytes], target: _Target) -> bytes:
    """What a request's map begins with: all that is the same in requests to one server, and the key of `path`."""
    method, scheme, host, port, version, authority = target
    found = {"method": to_wire(method), "scheme": scheme, "host": host, "port": port, "http_version": version}
    if authority:
        found["authority"] = to_wire(authority)
    return pack(found)[1:] + b"\xa4path"


def _pack_status(pack: Callable[[Any], bytes], status: _Status) -> bytes:
    """What a response's map begins with: all before the fields, and their key."""
    code, reason, version = status
    found: dict[str, Any] = {"status_code": code}
    if reason:
        found["reason"] = to_wire(reason)
    if version is not None:
        found["http_version"] = version
    return pack(found)[1:] + b"\xa7headers"
