"""What ends an HTTP/2 connection, what floods cost, and what is left of a stream when it is over."""

import gc

import pytest
from support.codec import bytewise
from support.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GET,
    GOAWAY,
    HEADERS,
    OK,
    PING,
    POST,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    data,
    frame,
    frames,
    goaway,
    headers,
    make_codec,
    opened,
    opening,
    read,
    request,
    reset,
    settings,
    told,
    window,
)

from mitmdump.errors import LocalError, RemoteError
from mitmdump.wire.events import Data, End, GoAway, RequestHead, Reset, ResponseHead, Role
from mitmdump.wire.http2 import Code, Http2, Limits
from mitmdump.wire.http2.frames import BURST, MAX_CONTINUATIONS, PER_SECOND

SERVER, CLIENT = Role.SERVER, Role.CLIENT
STATUS = {SERVER: 400, CLIENT: 502}
both = pytest.mark.parametrize("role", Role)

CONNECTION_ERRORS = {
    "DATA on no stream": (data(0, b"x"), Code.PROTOCOL_ERROR),
    "DATA on a stream that is not open": (data(9, b"x"), Code.PROTOCOL_ERROR),
    "HEADERS on no stream": (headers(0, GET), Code.PROTOCOL_ERROR),
    "HEADERS on a stream of the other's": (headers(2, GET), Code.PROTOCOL_ERROR),
    "CONTINUATION without HEADERS": (frame(CONTINUATION, END_HEADERS, 1), Code.PROTOCOL_ERROR),
    "a frame inside a field block": (frame(HEADERS, 0, 1) + frame(PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "an unknown frame inside a field block": (frame(HEADERS, 0, 1) + frame(99, 0, 1), Code.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (frame(HEADERS, 0, 1) + frame(CONTINUATION, 4, 3), Code.PROTOCOL_ERROR),
    "a field block that is none": (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "an index beyond the table": (frame(HEADERS, END_HEADERS, 1, b"\xfe"), Code.COMPRESSION_ERROR),
    "padding longer than its frame": (frame(HEADERS, 0x8 | END_HEADERS, 1, b"\xff"), Code.PROTOCOL_ERROR),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(3) + b"\2" + block(GET)), Code.PROTOCOL_ERROR),
    "a frame that is too large": (frame(DATA, 0, 1, bytes(16385)), Code.FRAME_SIZE_ERROR),
    "SETTINGS of a wrong size": (frame(SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "a window setting beyond 2**31": (settings(initial_window_size=2**31), Code.FLOW_CONTROL_ERROR),
    "a frame size below 2**14": (settings(max_frame_size=16383), Code.PROTOCOL_ERROR),
    "PING of a wrong size": (frame(PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "PING on a stream": (frame(PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "PRIORITY on no stream": (frame(PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "PRIORITY of a wrong size": (frame(PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
    "RST_STREAM on no stream": (reset(0, 0), Code.PROTOCOL_ERROR),
    "RST_STREAM on a stream that is not open": (reset(9, 0), Code.PROTOCOL_ERROR),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "GOAWAY of a wrong size": (frame(GOAWAY, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of nothing": (window(0, 0), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE beyond 2**31": (window(0, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE of a wrong size": (frame(WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE on a stream that is not open": (window(9, 1), Code.PROTOCOL_ERROR),
}


@both
@pytest.mark.parametrize(("wire", "code"), CONNECTION_ERRORS.values(), ids=CONNECTION_ERRORS.keys())
def test_a_fault_of_no_single_stream_ends_the_connection(role, wire, code):
    codec = opened(role)

    with pytest.raises(RemoteError) as caught:
        for byte in bytewise(wire):
            codec.receive(byte)

    [last] = told(codec, GOAWAY)
    assert caught.value.status == STATUS[role]
    assert int.from_bytes(last.payload[4:8]) == code


BEGINNINGS = {
    "HTTP/1": (SERVER, b"GET / HTTP/1.1\r\n"),
    "another preface": (SERVER, b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
    "no SETTINGS": (SERVER, opening(SERVER)[:24] + headers(1, GET)),
    "an acknowledgement of SETTINGS": (SERVER, opening(SERVER)[:24] + frame(SETTINGS, ACK)),
    "no SETTINGS from a server": (CLIENT, headers(1, OK)),
    "HTTP/1 from a server": (CLIENT, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
}


@pytest.mark.parametrize(("role", "wire"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_peer_that_does_not_begin_with_http2_is_refused(role, wire):
    codec = make_codec(role)

    with pytest.raises(RemoteError):
        for byte in bytewise(wire):
            codec.receive(byte)


def test_what_came_before_a_fault_goes_first():
    codec = opened(SERVER)

    events = codec.receive(headers(1, GET, ends=True) + data(0, b"x"))

    assert [type(event) for event in events] == [RequestHead, End]
    assert codec.has_rest
    with pytest.raises(RemoteError):
        codec.receive(b"")


def test_after_a_fault_nothing_is_said_but_goaway():
    codec = opened(SERVER)
    read(codec, headers(1, GET, ends=True) + data(0, b"x"))

    codec.send(ResponseHead(200, [], stream_id=1))
    codec.acknowledge(1, 5)
    codec.reset(1, Code.CANCEL)
    codec.close()

    assert [found.kind for found in frames(codec.take())] == [GOAWAY]
    assert codec.take() == b""


@both
@pytest.mark.parametrize("rest", [b"", b"\0\0"], ids=["at a border", "inside a frame"])
def test_an_end_in_the_middle_is_an_error(role, rest):
    codec = opened(role)
    codec.receive(headers(1, {SERVER: POST, CLIENT: OK}[role]) + rest)

    with pytest.raises(RemoteError, match="closed the connection"):
        codec.eof()


# -- windows that go wrong in one stream ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "code"),
    [(window(1, 0), Code.PROTOCOL_ERROR), (window(1, 2**31 - 1), Code.FLOW_CONTROL_ERROR)],
    ids=["by nothing", "too far"],
)
def test_a_window_that_is_opened_wrongly_is_the_end_of_its_stream(wire, code):
    codec = opened(SERVER)

    _, _, fault, head, _ = read(codec, headers(1, GET, ends=True) + wire + headers(3, GET, ends=True))

    assert (fault.code, fault.stream_id, head.stream_id) == (code, 1, 3)
    assert told(codec, RST_STREAM)


def test_more_data_than_the_window_allows_ends_the_connection():
    codec = opened(SERVER, Limits(stream_window=65535))

    *_, text = read(codec, headers(1, POST) + data(1, bytes(16384)) * 4)

    assert text == "the client exceeded a flow-control window"


@pytest.mark.parametrize("wire", [data(1, b"x"), headers(1, [(b"a", b"b")], ends=True)], ids=["DATA", "HEADERS"])
def test_what_comes_behind_the_end_is_the_end_of_the_stream(wire):
    """RFC 9113 section 5.1, half-closed (remote)."""
    codec = opened(SERVER)

    *_, fault, head, _ = read(codec, headers(1, GET, ends=True) + wire + headers(3, GET, ends=True))

    assert (fault.code, head.stream_id) == (Code.STREAM_CLOSED, 3)


# -- streams ----------------------------------------------------------------------------------------------------------


def test_more_streams_than_allowed_are_refused_and_the_others_go_on():
    codec = opened(SERVER, Limits(streams=2))

    events = read(codec, b"".join(headers(stream_id, POST) for stream_id in (1, 3, 5)) + data(3, b"x"))

    assert [event.stream_id for event in events] == [1, 3, 3]
    assert [(found.stream_id, found.payload[3]) for found in told(codec, RST_STREAM)] == [(5, Code.REFUSED_STREAM)]


def test_a_client_may_give_up_a_stream_while_it_is_refused():
    codec = opened(SERVER, Limits(streams=1))

    assert len(read(codec, headers(1, POST) + headers(3, POST) + reset(3, 8) + data(1, b"x"))) == 2


def test_a_client_that_was_let_through_sends_whatever_the_server_says_meanwhile():
    codec = make_codec(CLIENT, requests=0)
    codec.receive(settings())
    codec.send(request(1))

    codec.receive(settings(max_concurrent_streams=0))

    assert codec.capacity == 0
    assert [found.stream_id for found in told(codec, HEADERS)] == [1]


def test_what_is_still_on_its_way_to_a_stream_that_we_have_reset_is_ignored():
    codec = opened(SERVER)
    codec.receive(headers(1, POST))
    codec.reset(1, Code.CANCEL)

    assert read(codec, data(1, b"x") + headers(1, [(b"a", b"b")], ends=True) + reset(1, 8)) == []
    assert codec.idle


def test_after_goaway_of_ours_what_is_open_goes_on_and_what_is_new_is_refused():
    codec = opened(SERVER)
    codec.receive(headers(1, POST))
    codec.close(text=b"bye")

    assert frames(codec.take())[-1] == (GOAWAY, 0, 0, bytes([0, 0, 0, 1, 0, 0, 0, 0]) + b"bye")
    assert read(codec, data(1, b"x", ends=True) + headers(3, GET)) == [Data(b"x", 1), End(None, 1)]
    assert told(codec, RST_STREAM)[0].stream_id == 3


def test_a_client_opens_as_many_streams_as_both_allow():
    codec = make_codec(CLIENT, requests=0, limits=Limits(streams=3))
    assert codec.capacity == 3

    codec.receive(settings(max_concurrent_streams=1))
    codec.send(request(codec.next_stream_id()))

    assert codec.capacity == 0
    with pytest.raises(LocalError):
        codec.next_stream_id()


def test_after_goaway_a_client_opens_no_stream():
    codec = opened(CLIENT)
    assert codec.capacity

    codec.receive(goaway(3))

    assert codec.capacity == 0


def test_goaway_takes_away_what_was_not_even_written_yet():
    codec = make_codec(CLIENT, requests=0)
    codec.receive(settings())
    codec.send(request(1))

    events = codec.receive(goaway(0))

    assert events == [GoAway(0, 0), Reset(Code.REFUSED_STREAM, 1, unprocessed=True)]
    assert told(codec, HEADERS) == []


def test_ids_run_out_before_they_overflow():
    codec = make_codec(CLIENT, requests=0)
    codec._next_id = 2**31 + 1

    assert codec.capacity == 0


def test_a_server_says_whether_it_takes_extended_connect():
    """RFC 8441"""
    codec = make_codec(CLIENT)
    assert not codec.settled

    codec.receive(frame(SETTINGS, 0, 0, b"\0\x08\0\0\0\x01"))

    assert codec.settled
    assert codec.extended_connect


# -- floods -----------------------------------------------------------------------------------------------------------

FLOODS = {
    "PING": frame(PING, 0, 0, bytes(8)),
    "acknowledgements of PING": frame(PING, ACK, 0, bytes(8)),
    "SETTINGS": settings(initial_window_size=1),
    "empty SETTINGS": settings(),
    "PRIORITY": frame(PRIORITY, 0, 1, b"\0\0\0\3\0"),
    "WINDOW_UPDATE": window(0, 1),
    "GOAWAY": goaway(3),
    "empty DATA": data(1, b""),
    "DATA that is all padding": frame(DATA, 0x8, 1, b"\2\0\0"),
    "unknown frames": frame(77),
    "DATA on a stream that was reset": data(5, b"x"),
    "RST_STREAM": reset(5, 8),
}


@pytest.mark.parametrize("piece", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_of_frames_that_do_nothing_ends_the_connection(piece):
    """2c"""
    codec = opened(SERVER)
    codec.receive(headers(1, POST) + headers(5, POST))
    codec.reset(5, Code.CANCEL)
    codec.take()

    assert "too many" in str(read(codec, piece * (BURST + 2))[-1])
    last = told(codec, GOAWAY)[-1]
    assert last.payload[7] == Code.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("piece", FLOODS.values(), ids=FLOODS.keys())
def test_the_same_frames_now_and_then_do_no_harm(piece):
    """2c: what a quiet connection sends in a day is not a flood."""
    codec = opened(SERVER)
    codec.receive(headers(1, POST) + headers(5, POST), 0.0)
    codec.reset(5, Code.CANCEL)

    for at in range(3 * BURST):
        codec.receive(piece, at / PER_SECOND)
        codec.take()


def rapid_resets(count):
    return b"".join(headers(at, GET, ends=True) + reset(at, 8) for at in range(1, 2 * count, 2))


def faults(count):
    return b"".join(headers(at, GET, ends=True) + window(at, 0) for at in range(1, 2 * count, 2))


def refusals(count):
    return b"".join(headers(at, GET, ends=True) for at in range(1, 2 * count, 2))


@pytest.mark.parametrize("attack", [rapid_resets, faults, refusals], ids=["rapid reset", "MadeYouReset", "refusals"])
def test_streams_that_only_come_to_be_reset_end_the_connection(attack):
    """2c: CVE-2023-44487, CVE-2025-8671."""
    codec = opened(SERVER)

    assert "resets" in str(read(codec, attack(BURST + codec.limits.streams + 2))[-1])
    assert told(codec, GOAWAY)[-1].payload[7] == Code.ENHANCE_YOUR_CALM


def test_a_browser_may_leave_many_pages():
    """2c: some hundred requests are cancelled with each."""
    codec = opened(SERVER)

    codec.receive(rapid_resets(BURST - 1))

    assert codec.idle


@both
def test_continuation_without_end_is_cut_short(role):
    """2c"""
    codec = opened(role)

    outcome = read(codec, frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * (MAX_CONTINUATIONS + 1))

    assert "without end" in outcome[-1]
    assert told(codec, GOAWAY)[-1].payload[7] == Code.ENHANCE_YOUR_CALM


def test_a_field_block_that_grows_and_grows_is_cut_short():
    """2c: as bytes, and as a bomb that only grows when it is decoded."""
    large = frame(HEADERS, 0, 1, bytes(1000)) + frame(CONTINUATION, 0, 1, bytes(1000)) * 8
    entry = b"\x40\x01x\x7f\xa1\x1e" + b"y" * 4000  # put into the table, 62 from now on
    bomb = frame(HEADERS, END_HEADERS, 1, entry + b"\xbe" * 500)

    for wire in (large, bomb):
        codec = opened(SERVER, Limits(head=2000))
        assert "without end" in read(codec, wire)[-1]
        assert told(codec, GOAWAY)[-1].payload[7] == Code.ENHANCE_YOUR_CALM


def test_window_updates_of_a_byte_each_are_no_work_done():
    """2c: CVE-2019-9511, data dribble."""
    codec = opened(SERVER, initial_window_size=0)
    codec.receive(headers(1, GET, ends=True))
    codec.send(ResponseHead(200, [], stream_id=1))
    codec.send(Data(bytes(10_000), 1))

    with pytest.raises(RemoteError, match="too many"):
        for _ in range(BURST + 1):
            codec.receive(window(1, 1))
            codec.take()


def test_a_long_download_takes_as_many_window_updates_as_it_needs():
    """2c"""
    codec = opened(SERVER)
    codec.receive(headers(1, GET, ends=True))
    codec.send(ResponseHead(200, [], stream_id=1))

    for _ in range(2 * BURST):
        codec.send(Data(b"a message", 1))
        codec.take()
        codec.receive(window(1, 9) + window(0, 9))


# -- memory -----------------------------------------------------------------------------------------------------------


def exchange(client, server, body):
    """One request and its response between two codecs."""
    stream_id = client.next_stream_id()
    client.send(request(stream_id, fields=[(b"x-id", b"%d" % stream_id)]))
    client.send(End(None, stream_id))
    server.receive(client.take())
    server.send(ResponseHead(200, [(b"etag", b"%d" % stream_id)], stream_id=stream_id))
    server.send(Data(body, stream_id))
    server.send(End(None, stream_id))
    events = client.receive(server.take())
    client.acknowledge(stream_id, len(body))
    return [type(event) for event in events]


def test_a_stream_that_is_over_leaves_nothing_behind():
    """R3: thousands of requests over one connection do not grow the codec."""
    client, server = make_codec(CLIENT, requests=0), make_codec(SERVER)
    server.receive(opening(SERVER))
    client.receive(opening(CLIENT))
    for _ in range(20 * 64):  # h2 remembers the last 1000, and we 64 blocks
        exchange(client, server, b"x")
    gc.collect()
    before = len(gc.get_objects())

    for _ in range(5 * 64):
        assert exchange(client, server, b"x") == [ResponseHead, Data, End]

    gc.collect()
    assert len(gc.get_objects()) - before < 20
    assert len(server._h2._closed_streams) <= 1000
    assert client.idle
    assert server.idle


def test_settings_that_nobody_knows_are_not_kept():
    """2c: there are 65,536 of them."""
    codec = opened(SERVER)
    known = len(codec._h2.remote_settings)

    codec.receive(frame(SETTINGS, 0, 0, b"".join(number.to_bytes(2) + bytes(4) for number in range(100, 2000))))

    assert len(codec._h2.remote_settings) == known


def test_a_peer_cannot_make_our_table_larger():
    """hpack searches it from end to end for every field."""
    codec = make_codec(CLIENT, requests=0)
    codec.receive(settings(header_table_size=2**32 - 1))

    for at in range(200):
        stream_id = codec.next_stream_id()
        codec.send(request(stream_id, fields=[(b"x-%d" % at, b"y" * 100)]))
        codec.take()
        codec.reset(stream_id)

    assert codec._h2.encoder.header_table._current_size <= 4096


def test_roles_are_told_apart_in_the_texts():
    server, client = opened(SERVER), opened(CLIENT)

    assert read(server, data(0, b"x"))[-1].startswith("the client ")
    assert read(client, data(0, b"x"))[-1].startswith("the server ")
    assert isinstance(server, Http2)
