"""What holds for the HTTP/2 codec whatever the bytes are."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from support.codec import bytewise
from support.http2 import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GET,
    GOAWAY,
    HEADERS,
    OK,
    PING,
    POST,
    block,
    data,
    frame,
    goaway,
    headers,
    make_codec,
    opening,
    read,
    reset,
    window,
)
from support.http2 import settings as settings_frame

from mitmdump.errors import RemoteError
from mitmdump.wire.events import Data, End, RequestHead, ResponseHead, Role
from mitmdump.wire.head import parse_request, parse_response, write_request, write_response
from mitmdump.wire.http2 import Http2, Limits
from mitmdump.wire.translate import request_to_http1, response_to_http1

roles = st.sampled_from(Role)
LIMITS = Limits(head=600, fields=8, streams=3)
few = settings(max_examples=100, deadline=None)

# Pieces that are nearly HTTP/2: what is made of them gets far enough to meet every state, and every fault.
FRAGMENTS = [
    headers(1, GET, ends=True),
    headers(1, POST),
    headers(3, POST),
    headers(3, [*POST, (b"content-length", b"3")]),
    headers(5, [*GET, (b"Upper", b"1")]),
    headers(5, [*GET, (b"x", b"y" * 600)]),
    headers(7, GET),
    headers(9, GET),
    headers(1, OK),
    headers(1, OK, ends=True),
    headers(3, [(b":status", b"103")]),
    headers(3, [*OK, (b"content-length", b"3")]),
    headers(1, [(b"trailer", b"1")], ends=True),
    headers(3, [(b"trailer", b"1")]),
    data(1, b"abc"),
    data(3, b"abc", ends=True),
    data(5, b""),
    frame(0, 0x8, 1, b"\x02abc\0\0"),
    frame(0, 0x8, 1, b"\xffabc"),
    frame(HEADERS, 0, 5, block(GET)[:3]),
    frame(HEADERS, END_STREAM, 5, block(GET)[:3]),
    frame(CONTINUATION, END_HEADERS, 5, block(GET)[3:]),
    frame(HEADERS, 0x20 | END_HEADERS, 5, b"\0\0\0\5\0" + block(GET)),
    frame(HEADERS, END_HEADERS, 5, b"\x3f\xe1\x1f" + block(GET)),
    frame(HEADERS, END_HEADERS, 5, b"\x41\x01a\xbe\xbe"),
    reset(1, 8),
    reset(3, 7),
    window(0, 10),
    window(1, 0),
    window(3, 2**31 - 1),
    settings_frame(),
    settings_frame(initial_window_size=1),
    settings_frame(header_table_size=0, max_concurrent_streams=0),
    frame(4, 1),
    frame(PING, 0, 0, bytes(8)),
    frame(GOAWAY, 0, 0, bytes(3)),
    goaway(1, 0, b"bye"),
    frame(5, 4, 1, bytes(4)),
    frame(2, 0, 3, bytes(5)),
    frame(2, 0, 3, b"\0\0\0\3\0"),
    frame(77, 3, 2, b"new"),
    b"\0",
    b"\0\0\4",
]
nearly_http2 = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=12), max_size=14).map(b"".join)


def outcome(role, *pieces):
    """The events, and whether there was a fault: which of several is met first may depend on the split."""
    events = read(make_codec(role, limits=LIMITS), opening(role), *pieces)
    return ["fault" if isinstance(event, str) else _told(event) for event in events]


def _told(event):
    """A Reset without the wording of its error, which is a new exception each time."""
    error = getattr(event, "error", None)
    return (event.stream_id, event.code, str(error)) if error else event


@few
@given(roles, nearly_http2, st.integers(0, 2000))
def test_any_split_of_the_bytes_gives_the_same_events_and_the_same_verdict(role, wire, place):
    place %= len(wire) + 1

    whole = outcome(role, wire)

    assert outcome(role, wire[:place], wire[place:]) == whole
    assert outcome(role, *bytewise(wire)) == whole


@few
@given(roles, st.lists(nearly_http2 | st.binary(max_size=60), max_size=4), st.booleans())
def test_no_bytes_raise_anything_but_remote_error(role, pieces, begins):
    codec = make_codec(role, limits=LIMITS)
    with suppress(RemoteError):
        for piece in [opening(role)] * begins + pieces:
            for event in codec.receive(piece):
                _react(codec, event)
            codec.take()
        codec.eof()
    codec.take()


def _react(codec, event):
    """What a user would do, and a little more."""
    if isinstance(event, RequestHead):
        codec.send(ResponseHead(200, [], stream_id=event.stream_id))
        codec.send(Data(b"a" * 50, event.stream_id))
    elif isinstance(event, Data):
        codec.acknowledge(event.stream_id, len(event.data))
        codec.send(event)
    elif isinstance(event, End):
        codec.send(event)
        codec.reset(event.stream_id - 2)


@few
@given(roles, nearly_http2)
def test_no_stream_gets_more_after_its_end(role, wire):
    """Nor after its Reset; and a body has a head."""
    states: dict[int, str] = {}
    for event in read(make_codec(role, limits=LIMITS), opening(role), wire):
        stream_id = getattr(event, "stream_id", 0)
        if not stream_id:
            continue
        kind, state = type(event).__name__, states.get(stream_id, "")
        if isinstance(event, RequestHead | ResponseHead):
            assert state == ""
            states[stream_id] = "open" if isinstance(event, RequestHead) or event.is_final else ""
        elif isinstance(event, Data | End):
            assert state == "open"
            states[stream_id] = "over" if kind == "End" else "open"
        else:
            assert state != "reset"
            states[stream_id] = "reset"


characters = st.sampled_from([0, 9, 10, 13, 27, 32, 34, 58, 65, 97, 127, 128, 255]).map(lambda code: bytes([code]))
odd = st.lists(characters | st.just(b"a"), max_size=5).map(b"".join)
names = odd | st.sampled_from([b"a", b"te", b"host", b"cookie", b"content-length", b"transfer-encoding", b"connection"])
field = st.tuples(names, odd | st.sampled_from([b"trailers", b"3", b"a.test", b"chunked"]))
fields = st.lists(field, max_size=4)
pseudo = st.sampled_from(GET) | st.tuples(st.sampled_from([b":path", b":method", b":authority", b":status"]), odd)


@settings(max_examples=150, deadline=None)
@given(st.permutations(GET) | st.lists(pseudo, max_size=5), fields, st.booleans())
def test_what_is_written_into_http1_of_a_request_means_there_what_it_meant(start, more, ends):
    """2a: CR, LF, NUL, spaces, colons: whatever was delivered is one head, with these fields, for an HTTP/1 reader."""
    events = read(make_codec(Role.SERVER), opening(Role.SERVER) + headers(1, [*start, *more], ends=ends))
    for event in events:
        if isinstance(event, RequestHead):
            head = request_to_http1(event)
            lines = write_request(head)
            assert lines.endswith(b"\r\n\r\n")
            again = parse_request(lines, 100)
            assert (again.method, again.target, again.fields) == (head.method, head.target, head.fields)
            assert again.framing == head.framing


@settings(max_examples=150, deadline=None)
@given(st.just(OK) | st.lists(pseudo, max_size=2), fields, st.booleans())
def test_what_is_written_into_http1_of_a_response_means_there_what_it_meant(start, more, ends):
    """2a"""
    events = read(make_codec(Role.CLIENT), opening(Role.CLIENT) + headers(1, [*start, *more], ends=ends))
    for event in events:
        if isinstance(event, ResponseHead):
            head = response_to_http1(event, b"GET")
            lines = write_response(head)
            assert lines.count(b"\r\n\r\n") == 1
            again = parse_response(lines, 100)
            assert (again.status, again.fields) == (head.status, head.fields)


token = st.text(st.sampled_from("!#$%&'*+-.^_`|~09az"), min_size=1, max_size=8).map(str.encode)
text = st.lists(st.sampled_from([c for c in range(32, 256) if c != 127]), max_size=20).map(bytes).map(bytes.strip)
OF_CONNECTIONS = {b"te", b"upgrade", b"connection", b"keep-alive"}
message_fields = st.lists(st.tuples(token, text).filter(lambda pair: pair[0] not in OF_CONNECTIONS), max_size=6)
bodies = st.lists(st.binary(max_size=40), max_size=4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(message_fields, bodies, message_fields), min_size=1, max_size=4))
def test_what_one_codec_writes_another_reads(messages):
    """H22: through both tables, several times, so that what is remembered is used, too."""
    client, server = Http2(Role.CLIENT), Http2(Role.SERVER)
    for fields, body, trailers in messages * 2:
        stream_id = client.next_stream_id()
        head = RequestHead(b"POST", b"/x", fields, b"HTTP/2", stream_id, scheme=b"https", authority=b"a.test")
        for event in (head, *(Data(piece, stream_id) for piece in body), End(trailers or None, stream_id)):
            client.send(event)
        got, *rest = read(server, client.take())
        assert (got.method, got.target, got.fields, got.authority) == (b"POST", b"/x", fields, b"a.test")
        whole = b"".join(body)
        assert rest == [*([Data(whole, stream_id)] if whole else []), End(trailers or None, stream_id)]
        server.send(ResponseHead(204, fields, stream_id=stream_id))
        server.send(End(None, stream_id))
        answer, _ = read(client, server.take())
        assert (answer.status, answer.fields) == (204, fields)
    assert client.idle
    assert server.idle
