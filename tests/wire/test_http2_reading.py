"""What the HTTP/2 codec makes of bytes: each case whole, byte by byte, and with data behind it."""

import pytest
from support.codec import bytewise
from support.http2 import (
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    OK,
    PADDED,
    PING,
    POST,
    PRIORITY,
    block,
    data,
    frame,
    goaway,
    headers,
    make_codec,
    opening,
    read,
    reset,
)

from mitmdump.wire.events import Data, End, GoAway, RequestHead, Reset, ResponseHead, Role
from mitmdump.wire.head import CHUNKED

SERVER, CLIENT = Role.SERVER, Role.CLIENT


def asked(method=b"GET", *fields, stream_id=1, framing=CHUNKED, path=b"/"):
    head = RequestHead(method, path, list(fields), b"HTTP/2", stream_id, framing)
    head.scheme, head.authority = b"https", b"a.test"
    return head


def answered(*fields, status=200, stream_id=1, framing=CHUNKED):
    return ResponseHead(status, list(fields), b"", b"HTTP/2", stream_id, framing)


def continued(stream_id, fields, *sizes, flags=0):
    """A head cut into HEADERS and CONTINUATION."""
    whole = block(fields)
    pieces = [whole[sum(sizes[:at]) : sum(sizes[: at + 1])] for at in range(len(sizes))] + [whole[sum(sizes) :]]
    first, *middle, last = pieces
    return b"".join(
        [
            frame(HEADERS, flags, stream_id, first),
            *(frame(9, 0, stream_id, piece) for piece in middle),
            frame(9, END_HEADERS, stream_id, last),
        ]
    )


LENGTH_5 = (b"content-length", b"5")

REQUESTS = {
    "no body": (headers(1, GET, ends=True), [asked(framing=0), End(None, 1)]),
    "order, duplicates and odd values": (
        headers(1, [*GET, (b"b", b"2"), (b"a", b"1"), (b"b", b""), (b"a", b"\x80\xff\t x")], ends=True),
        [asked(b"GET", (b"b", b"2"), (b"a", b"1"), (b"b", b""), (b"a", b"\x80\xff\t x"), framing=0), End(None, 1)],
    ),
    "cookie crumbs stay crumbs": (
        headers(1, [*GET, (b"cookie", b"a=1"), (b"cookie", b"b=2")], ends=True),
        [asked(b"GET", (b"cookie", b"a=1"), (b"cookie", b"b=2"), framing=0), End(None, 1)],
    ),
    "white space around values is not theirs": (
        headers(1, [*GET, (b"x", b" \ta b\t ")], ends=True),
        [asked(b"GET", (b"x", b"a b"), framing=0), End(None, 1)],
    ),
    "a body": (
        headers(1, POST) + data(1, b"he") + data(1, b"llo", ends=True),
        [asked(b"POST"), Data(b"hello", 1), End(None, 1)],
    ),
    "a body of announced length": (
        headers(1, [*POST, LENGTH_5]) + data(1, b"hello", ends=True),
        [asked(b"POST", LENGTH_5, framing=5), Data(b"hello", 1), End(None, 1)],
    ),
    "an empty DATA ends it": (
        headers(1, [*POST, LENGTH_5]) + data(1, b"hello") + data(1, b"", ends=True),
        [asked(b"POST", LENGTH_5, framing=5), Data(b"hello", 1), End(None, 1)],
    ),
    "padding is no content": (
        headers(1, [*POST, LENGTH_5]) + frame(0, END_STREAM | PADDED, 1, b"\x03hello\0\0\0"),
        [asked(b"POST", LENGTH_5, framing=5), Data(b"hello", 1), End(None, 1)],
    ),
    "trailers": (
        headers(1, POST) + data(1, b"x") + headers(1, [(b"checksum", b"1")], ends=True),
        [asked(b"POST"), Data(b"x", 1), End([(b"checksum", b"1")], 1)],
    ),
    "CONTINUATION": (continued(1, GET, 2, 0, 3, flags=END_STREAM), [asked(framing=0), End(None, 1)]),
    "two streams at once": (
        headers(1, POST) + headers(3, POST) + data(3, b"3", ends=True) + data(1, b"1", ends=True),
        [asked(b"POST"), asked(b"POST", stream_id=3), Data(b"3", 3), End(None, 3), Data(b"1", 1), End(None, 1)],
    ),
    "CONNECT": (
        headers(1, [(b":method", b"CONNECT"), (b":authority", b"a.test:443")]) + data(1, b"\0"),
        [
            RequestHead(b"CONNECT", b"a.test:443", [], b"HTTP/2", 1, CHUNKED, authority=b"a.test:443"),
            Data(b"\0", 1),
        ],
    ),
    "Host instead of :authority": (
        headers(1, [*GET[:2], GET[3], (b"host", b"a.test")], ends=True),
        [RequestHead(b"GET", b"/", [(b"host", b"a.test")], b"HTTP/2", 1, 0, scheme=b"https"), End(None, 1)],
    ),
    "OPTIONS *": (
        headers(1, [(b":method", b"OPTIONS"), *GET[1:3], (b":path", b"*")], ends=True),
        [asked(b"OPTIONS", path=b"*", framing=0), End(None, 1)],
    ),
    "a reset": (headers(1, POST) + reset(1, 8), [asked(b"POST"), Reset(8, 1)]),
    "REFUSED_STREAM from a client, who refuses nothing": (
        headers(1, POST) + reset(1, 7),
        [asked(b"POST"), Reset(7, 1)],
    ),
    "what is not understood is ignored": (
        frame(0x7F, 0xFF, 5, b"what") + frame(10, 0, 0, b"altsvc") + headers(1, GET, ends=True),
        [asked(framing=0), End(None, 1)],
    ),
    "priorities are ignored": (
        frame(PRIORITY, 0, 1, b"\0\0\0\1\xff") + headers(1, GET, ends=True),
        [asked(framing=0), End(None, 1)],
    ),
    "GOAWAY from a client, which may go on": (
        goaway(0, 0, b"bye") + headers(1, GET, ends=True),
        [GoAway(0, 0, b"bye"), asked(framing=0), End(None, 1)],
    ),
}
RESPONSES = {
    "no body": (headers(1, OK, ends=True), [answered(framing=0), End(None, 1)]),
    "a body": (headers(1, OK) + data(1, b"hello", ends=True), [answered(), Data(b"hello", 1), End(None, 1)]),
    "interim heads first": (
        headers(1, [(b":status", b"103"), (b"link", b"</x>")])
        + headers(1, [(b":status", b"100")])
        + headers(1, [(b":status", b"404"), LENGTH_5])
        + data(1, b"hello", ends=True),
        [
            answered((b"link", b"</x>"), status=103, framing=0),
            answered(status=100, framing=0),
            answered(LENGTH_5, status=404, framing=5),
            Data(b"hello", 1),
            End(None, 1),
        ],
    ),
    "trailers without a body, as gRPC has them": (
        headers(1, OK) + headers(1, [(b"grpc-status", b"5")], ends=True),
        [answered(), End([(b"grpc-status", b"5")], 1)],
    ),
    "304 has a length and no body": (
        headers(1, [(b":status", b"304"), LENGTH_5], ends=True),
        [answered(LENGTH_5, status=304, framing=0), End(None, 1)],
    ),
    "answers in any order": (
        headers(3, OK, ends=True) + headers(1, OK, ends=True),
        [answered(stream_id=3, framing=0), End(None, 3), answered(framing=0), End(None, 1)],
    ),
    "a refused stream can be asked again": (reset(1, 7), [Reset(7, 1, unprocessed=True)]),
    "a stream that was reset cannot": (reset(1, 2), [Reset(2, 1)]),
    "GOAWAY: what is above its stream can be asked again, what is below goes on": (
        goaway(1, 0, b"later") + headers(1, OK, ends=True),
        [GoAway(1, 0, b"later"), Reset(7, 3, unprocessed=True), answered(framing=0), End(None, 1)],
    ),
    "NO_ERROR behind a complete response": (
        headers(1, OK, ends=True) + reset(1, 0),
        [answered(framing=0), End(None, 1)],
    ),
}
CASES = [
    *(pytest.param(SERVER, *case, id=f"server: {name}") for name, case in REQUESTS.items()),
    *(pytest.param(CLIENT, *case, id=f"client: {name}") for name, case in RESPONSES.items()),
]


@pytest.mark.parametrize(("role", "wire", "expected"), CASES)
def test_bytes_become_these_events_whole_and_byte_by_byte(role, wire, expected):
    whole = opening(role) + wire

    assert read(make_codec(role), whole) == expected
    assert read(make_codec(role), *bytewise(whole)) == expected


@pytest.mark.parametrize(("role", "wire", "expected"), CASES)
def test_data_behind_a_case_is_the_next_one(role, wire, expected):
    behind = {SERVER: headers(9, GET, ends=True), CLIENT: frame(PING, 1, 0, bytes(8))}[role]
    more = [asked(stream_id=9, framing=0), End(None, 9)] if role is SERVER else []

    assert read(make_codec(role), opening(role) + wire + behind) == expected + more


def test_a_head_response_has_a_length_and_no_body():
    codec = make_codec(CLIENT, b"HEAD")

    assert read(codec, opening(CLIENT) + headers(1, [*OK, LENGTH_5], ends=True)) == [
        answered(LENGTH_5, framing=0),
        End(None, 1),
    ]


def test_the_same_head_again_gives_a_head_of_its_own():
    first, _, second, _ = read(
        make_codec(SERVER), opening(SERVER) + headers(1, GET, ends=True) + headers(3, GET, ends=True)
    )

    first.fields.append((b"x", b"y"))

    assert second.fields == []
    assert (first.stream_id, second.stream_id) == (1, 3)


def test_what_is_never_to_be_indexed_stays_so():
    """RFC 7541 section 6.2.3: a secret that a client marked as such is marked on the next hop, too."""
    [head, _] = read(make_codec(SERVER), opening(SERVER) + headers(1, [*GET, (b"x-key", b"secret")], ends=True))
    upstream = make_codec(CLIENT, requests=0)
    for stream_id in (1, 3):
        head.stream_id = stream_id
        upstream.send(head)

    assert upstream.take().count(b"\x10" + block([(b"x-key", b"secret")])[1:]) == 2


def test_a_block_that_changes_the_size_of_the_table_is_read_each_time():
    """RFC 7541 section 6.3"""
    codec = make_codec(SERVER)
    empty, full = b"\x20" + block(GET), b"\x3f\xe1\x1f" + block(GET)
    adds = block(GET) + b"\x40\x01x\x01y\xbe"

    *_, text = read(
        codec,
        opening(SERVER),
        *(frame(HEADERS, 5, at, piece) for at, piece in ((1, empty), (3, full), (5, empty), (7, adds))),
    )

    assert text == "the client sent a field block that is none: Invalid table index 62"


def test_a_peer_that_leaves_with_nothing_open_leaves_in_peace():
    codec = make_codec(SERVER)
    read(codec, opening(SERVER))

    assert codec.idle
    assert codec.eof() == []
