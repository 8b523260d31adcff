"""What a field block says as a head, and the other way round: the rules of RFC 9113 sections 8.2 and 8.3.

Strict as `wire.head` is, and for the same reason: what passes here can be written into HTTP/1. A block that breaks a
rule raises RemoteError, which is the end of its stream (section 8.1.1); its `head` is what could be read of a request.
"""

from __future__ import annotations

import re

from ...errors import RemoteError
from ...model import url
from ...model.headers import Field, to_str
from ..events import RequestHead, ResponseHead
from ..head import CHUNKED, TEXT, UNTIL_CLOSE, request_framing, response_framing
from ..http1 import Limits

VERSION = b"HTTP/2"

# RFC 9113 section 8.2.1 with RFC 9110's token, which is what HTTP/1 can say, in lower case.
_NAME = rb"[!#$%&'*+\-.^_`|~0-9a-z]++"
# All fields in one go, with what cannot be in any of them between names, values and each other.
_LINES = re.compile(rb"(?:" + _NAME + rb"\0" + TEXT + rb"\n)*+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE = re.compile(rb"[^\x00-\x20\x7f]+")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")
_UPPER = re.compile(rb"[A-Z]")

# RFC 9113 section 8.2.2.
_OF_CONNECTIONS = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})

_OF_REQUESTS = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})
_OF_RESPONSES = frozenset({b":status"})


class Block:
    """A field block as decoded; `head` is what it says, once somebody has looked, for the next who sends the same."""

    __slots__ = ("fields", "head")

    def __init__(self, fields: list[Field]) -> None:
        self.fields = fields
        self.head: RequestHead | ResponseHead | None = None


def request_of(block: Block, stream_id: int, limits: Limits) -> RequestHead:
    """The request's head that a block is. Raises RemoteError."""
    if block.head is None:
        block.head = read_request(block.fields, limits)
    head = block.head
    assert isinstance(head, RequestHead)
    return head.again(stream_id)


def response_of(block: Block, stream_id: int, method: bytes, limits: Limits) -> ResponseHead:
    """The response's head that a block is, to a request of this method. Raises RemoteError."""
    if block.head is None:
        block.head = read_response(block.fields, limits)
    head = block.head
    assert isinstance(head, ResponseHead)
    copy = head.again(stream_id)
    framing = response_framing(copy, method)
    copy.framing = CHUNKED if framing == UNTIL_CLOSE else framing
    return copy


def read_request(fields: list[Field], limits: Limits) -> RequestHead:
    """A request's head, on stream 0; CHUNKED is its framing if no Content-Length says more. Raises RemoteError."""
    pseudo, regular = _split(fields)
    found = dict(reversed(pseudo))
    head = RequestHead(
        found.get(b":method", b""),
        found.get(b":path", b""),
        regular,
        VERSION,
        stream_id=0,
        scheme=found.get(b":scheme", b""),
        authority=found.get(b":authority", b""),
        protocol=found.get(b":protocol", b""),
    )
    try:
        _check_size(fields, limits, "client", 431)
        _check_pseudo(pseudo, _OF_REQUESTS, "client", 400)
        head.fields = _checked(regular, "client", 400)
        _check_request(head, found)
        head.framing = request_framing(head) if b"content-length" in head.survey().values else CHUNKED
    except RemoteError as error:
        error.head = head
        raise
    return head


def read_response(fields: list[Field], limits: Limits) -> ResponseHead:
    """A response's head, on stream 0, without its framing. Raises RemoteError (502)."""
    pseudo, regular = _split(fields)
    _check_size(fields, limits, "server", 502)
    _check_pseudo(pseudo, _OF_RESPONSES, "server", 502)
    if not pseudo or not _STATUS.fullmatch(pseudo[0][1]):
        raise RemoteError("the server sent a response without a valid :status", 502)
    status = int(pseudo[0][1])
    if status == 101:
        raise RemoteError("the server sent status 101, which HTTP/2 does not have (RFC 9113 section 8.6)", 502)
    head = ResponseHead(status, _checked(regular, "server", 502), version=VERSION, stream_id=0)
    response_framing(head, b"")
    return head


def read_trailers(fields: list[Field], limits: Limits, peer: str, status: int) -> list[Field]:
    """The fields behind a body, in which nothing may begin with a colon. Raises RemoteError."""
    _check_size(fields, limits, peer, status)
    return _checked(fields, peer, status)


def write_request(head: RequestHead) -> list[Field]:
    """A request's fields, the pseudo-header fields first."""
    lines = [(b":method", head.method)]
    if head.method != b"CONNECT" or head.protocol:
        lines += [(b":scheme", head.scheme), (b":path", head.target)]
    if authority := head.authority or (head.target if head.method == b"CONNECT" else b""):
        lines.append((b":authority", authority))
    if head.protocol:
        lines.append((b":protocol", head.protocol))
    return lines + head.fields


def write_response(head: ResponseHead) -> list[Field]:
    """A response's fields, :status first."""
    return [(b":status", b"%d" % head.status), *head.fields]


def _split(fields: list[Field]) -> tuple[list[Field], list[Field]]:
    """The pseudo-header fields, which come first, and the others."""
    at = 0
    while at < len(fields) and fields[at][0][:1] == b":":
        at += 1
    return fields[:at], fields[at:]


def _check_size(fields: list[Field], limits: Limits, peer: str, status: int) -> None:
    if len(fields) > limits.fields:
        raise RemoteError(f"the {peer} sent more than {limits.fields} header fields", status)
    # RFC 9113 section 6.5.2 counts 32 bytes for each field besides its own.
    if sum(map(len, map(b"".join, fields))) + 32 * len(fields) > limits.head:
        raise RemoteError(f"the {peer} sent header fields of more than {limits.head} bytes", status)


def _check_pseudo(pseudo: list[Field], allowed: frozenset[bytes], peer: str, status: int) -> None:
    names = [name for name, _ in pseudo]
    if unknown := [name for name in names if name not in allowed]:
        raise RemoteError(f"the {peer} sent {to_str(unknown[0][:60])!a}, which has no place in its head", status)
    if len(set(names)) < len(names):
        raise RemoteError(f"the {peer} sent a pseudo-header field twice", status)


def _checked(fields: list[Field], peer: str, status: int) -> list[Field]:
    """The fields, if HTTP/1 could say them, and they are of the message and not of a connection. Raises RemoteError.

    White space around a value is not part of it and is taken away, as in HTTP/1: servers send it, although they must
    not (RFC 9113 section 8.2.1), curl and others take it, and no two readers differ on it.
    """
    text = b"".join([b"%b\0%b\n" % field for field in fields])
    if not _LINES.fullmatch(text) or text.count(b"\n") != len(fields):
        raise RemoteError(f"the {peer} sent {_blame(fields)}", status)
    if b"\0 " in text or b"\0\t" in text or b" \n" in text or b"\t\n" in text:
        fields = [
            field if field[1] == field[1].strip(b" \t") else (field[0], field[1].strip(b" \t")) for field in fields
        ]
    for name, value in fields:
        if name in _OF_CONNECTIONS or (name == b"te" and value.lower() != b"trailers"):
            raise RemoteError(f"the {peer} sent {to_str(name)!a}, which is of HTTP/1 connections only", status)
    return fields


def _blame(fields: list[Field]) -> str:
    """The rule that the first bad field breaks; a value is never quoted, it may be a secret."""
    for name, value in fields:
        shown = to_str(name[:60])
        if name[:1] == b":":
            return f"{shown!a} behind other fields"
        if not re.fullmatch(_NAME, name):
            kind = "an upper-case letter" if _UPPER.search(name) else "a character that cannot stand"
            return f"{kind} in a field name: {shown!a}" if name else "a field without a name"
        if not re.fullmatch(TEXT, value):
            return f"a control character in the value of {shown!a}"
    raise AssertionError("one of them is bad")


def _check_request(head: RequestHead, found: dict[bytes, bytes]) -> None:
    """RFC 9113 sections 8.3.1 and 8.5, RFC 8441 section 4. Raises RemoteError."""
    if not _METHOD.fullmatch(head.method):
        raise RemoteError("the client sent a request without a valid :method", 400)
    if head.method == b"CONNECT" and b":protocol" not in found:
        _check_connect(head, found)
        return
    if b":protocol" in found and (head.method != b"CONNECT" or not _METHOD.fullmatch(head.protocol)):
        raise RemoteError("the client sent :protocol in a request that is no extended CONNECT", 400)
    if not _SCHEME.fullmatch(head.scheme):
        raise RemoteError("the client sent a request without a valid :scheme", 400)
    if not _VISIBLE.fullmatch(head.target):
        raise RemoteError("the client sent a request without a valid :path", 400)
    if head.scheme in _HTTP and head.target[:1] != b"/" and not (head.target == b"*" and head.method == b"OPTIONS"):
        raise RemoteError("the client sent a :path that does not begin with a slash", 400)
    _check_authority(head, found)


def _check_connect(head: RequestHead, found: dict[bytes, bytes]) -> None:
    if b":scheme" in found or b":path" in found:
        raise RemoteError("the client sent CONNECT with :scheme or :path", 400)
    try:
        url.split_host_port(to_str(head.authority), None)
    except ValueError as error:
        raise RemoteError(f"the client sent CONNECT to what is no host and port: {error}", 400) from None
    head.target = head.authority


def _check_authority(head: RequestHead, found: dict[bytes, bytes]) -> None:
    """There is one authority, and if Host says it, too, it says the same (RFC 9113 section 8.3.1)."""
    hosts = head.survey().values.get(b"host", [])
    if len(hosts) > 1:
        raise RemoteError("the client sent more than one Host field", 400)
    said = ([head.authority] if b":authority" in found else []) + hosts
    if head.scheme not in _HTTP:
        said = [authority for authority in said if authority]
    elif not said:
        raise RemoteError("the client sent a request with neither :authority nor Host", 400)
    port = url.DEFAULT_PORTS.get(to_str(head.scheme), 0)
    try:
        named = [url.split_host_port(to_str(authority), port) for authority in said]
    except ValueError as error:
        raise RemoteError(f"the client sent a bad :authority or Host: {error}", 400) from None
    if len({(host.lower(), number) for host, number in named}) > 1:
        raise RemoteError("the client sent an :authority and a Host that differ", 400)


_HTTP = frozenset({b"http", b"https"})
