"""What the HTTP/2 codec writes, and when: few frames, in turn, as far as the peer's windows go; read back by h2."""

import h2.config
import h2.connection
import h2.events
import pytest
from support.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    OK,
    POST,
    RST_STREAM,
    WINDOW_UPDATE,
    data,
    frame,
    frames,
    headers,
    make_codec,
    opened,
    opening,
    request,
    settings,
    told,
    window,
)

from mitmdump.errors import LocalError
from mitmdump.wire.events import Data, End, RequestHead, ResponseHead, Role
from mitmdump.wire.http2 import Code, Http2, Limits

SERVER, CLIENT = Role.SERVER, Role.CLIENT


class H2Peer:
    """Another implementation at the other end, as strict as it can be."""

    def __init__(self, role: Role) -> None:
        config = h2.config.H2Configuration(client_side=role is SERVER, header_encoding=None)
        self.codec = Http2(role)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.initiate_connection()
        self.exchange()

    def exchange(self) -> list[h2.events.Event]:
        """Move bytes both ways until nobody has any more; what h2 makes of ours."""
        events: list[h2.events.Event] = []
        while (theirs := self.h2.data_to_send()) or (ours := self.codec.take()):
            if theirs:
                self.codec.receive(theirs)
            else:
                events += self.h2.receive_data(ours)
        return events


def responding(body: bytes, *stream_ids: int) -> list[ResponseHead | Data | End]:
    return [
        event
        for stream_id in stream_ids
        for event in (ResponseHead(200, [], stream_id=stream_id), Data(body, stream_id), End(None, stream_id))
    ]


def asked_for(*stream_ids: int, limits: Limits | None = None, **values: int) -> Http2:
    """A server that has been asked on these streams."""
    codec = opened(SERVER, limits, **values)
    for stream_id in stream_ids:
        codec.receive(headers(stream_id, GET, ends=True))
    codec.take()
    return codec


def send(codec: Http2, *events: RequestHead | ResponseHead | Data | End) -> list[tuple[int, int, int, int]]:
    """Kind, flags, stream and size of the frames that these events become."""
    for event in events:
        codec.send(event)
    return [(found.kind, found.flags, found.stream_id, len(found.payload)) for found in frames(codec.take())]


# -- frames -----------------------------------------------------------------------------------------------------------


def test_a_message_that_is_sent_whole_leaves_in_two_frames():
    [head, body] = send(asked_for(1), *responding(b"hello", 1))

    assert head[:3] == (HEADERS, END_HEADERS, 1)
    assert body == (DATA, END_STREAM, 1, 5)


def test_a_message_without_body_leaves_in_one_frame():
    [head] = send(asked_for(1), ResponseHead(204, [], stream_id=1), End(None, 1))

    assert head[:3] == (HEADERS, END_HEADERS | END_STREAM, 1)


def test_what_is_sent_bit_by_bit_leaves_at_once():
    """2d"""
    codec = asked_for(1)

    assert [found[0] for found in send(codec, ResponseHead(200, [], stream_id=1))] == [HEADERS]
    assert send(codec, Data(b"event", 1)) == [(DATA, 0, 1, 5)]
    assert send(codec, End(None, 1)) == [(DATA, END_STREAM, 1, 0)]
    assert codec.idle


def test_many_small_pieces_leave_in_one_frame():
    codec = asked_for(1)

    written = send(codec, ResponseHead(200, [], stream_id=1), *[Data(b"ab", 1)] * 100, End(None, 1))

    assert written[1:] == [(DATA, END_STREAM, 1, 200)]


def test_trailers_end_the_stream():
    """2d"""
    written = send(asked_for(1), ResponseHead(200, [], stream_id=1), Data(b"x", 1), End([(b"grpc-status", b"0")], 1))

    assert [(kind, flags) for kind, flags, _, _ in written] == [
        (HEADERS, END_HEADERS),
        (DATA, 0),
        (HEADERS, END_HEADERS | END_STREAM),
    ]


def test_interim_heads_leave_before_the_final_one():
    codec = asked_for(1)
    interim = [ResponseHead(status, [], stream_id=1) for status in (100, 103)]

    written = send(codec, *interim, *responding(b"", 1))

    assert [flags for _, flags, _, _ in written] == [END_HEADERS, END_HEADERS, END_HEADERS | END_STREAM]


def test_names_are_written_in_lower_case():
    """2a: a handler may have added one that is not."""
    peer = H2Peer(CLIENT)
    codec = peer.codec

    codec.send(request(1, fields=[(b"X-Added", b"Value")]))

    [received] = [event for event in peer.exchange() if isinstance(event, h2.events.RequestReceived)]
    assert (b"x-added", b"Value") in received.headers


def test_a_head_of_many_frames_is_continued():
    codec = make_codec(CLIENT, requests=0)

    written = send(codec, request(1, fields=[(b"etag", bytes([33 + at % 90])) for at in range(20_000)]))

    assert [kind for kind, *_ in written[:1]] == [HEADERS]
    assert len(written) > 2
    assert {kind for kind, *_ in written[1:]} == {9}


# -- windows ----------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_waits_and_leaves_as_there_is_room():
    codec = asked_for(1, initial_window_size=10)

    first = send(codec, *responding(b"0123456789abcdef", 1))
    assert first[1:] == [(DATA, 0, 1, 10)]
    assert codec.unsent(1) == 6

    codec.receive(window(1, 4))
    assert send(codec) == [(DATA, 0, 1, 4)]
    codec.receive(settings(initial_window_size=100))
    assert told(codec, DATA) == [(DATA, END_STREAM, 1, b"ef")]
    assert codec.unsent(1) == 0


def test_nothing_is_lost_or_disordered_in_small_windows():
    codec = asked_for(1, initial_window_size=7)
    body = bytes(range(256)) * 2
    got = b""

    codec.send(ResponseHead(200, [], stream_id=1))
    for at in range(0, len(body), 20):
        codec.send(Data(body[at : at + 20], 1))
    codec.send(End([(b"a", b"b")], 1))
    for _ in range(200):
        got += b"".join(found.payload for found in told(codec, DATA))
        codec.receive(window(1, 7))

    assert got == body
    assert codec.idle


def test_a_window_may_be_less_than_nothing():
    """RFC 9113 section 6.9.2"""
    codec = asked_for(1, initial_window_size=10)
    send(codec, *responding(bytes(20), 1))

    codec.receive(settings(initial_window_size=0) + window(1, 5))
    assert told(codec, DATA) == []
    codec.receive(window(1, 6))

    assert told(codec, DATA) == [(DATA, 0, 1, b"\0")]


def test_a_head_and_an_end_need_no_window():
    codec = asked_for(1, initial_window_size=0)

    written = send(codec, ResponseHead(200, [], stream_id=1), Data(b"", 1), End([(b"a", b"b")], 1))

    assert [kind for kind, *_ in written if kind == HEADERS] == [HEADERS, HEADERS]
    assert codec.idle


def test_streams_take_turns():
    codec = asked_for(1, 3)

    written = send(codec, *responding(bytes(30_000), 1, 3))

    assert [stream_id for kind, _, stream_id, _ in written if kind == DATA] == [1, 3, 1, 3]


def test_a_stream_without_window_does_not_hold_up_another():
    codec = asked_for(1, 3, initial_window_size=0)
    codec.receive(window(3, 100))

    written = send(codec, *responding(b"body", 1, 3))

    assert [stream_id for kind, _, stream_id, _ in written if kind == DATA] == [3]


def test_the_window_of_the_connection_is_shared_by_all():
    codec = asked_for(1, 3, initial_window_size=2**20)

    send(codec, *responding(bytes(50_000), 1, 3))
    assert codec.unsent(1) + codec.unsent(3) == 100_000 - 65_535
    codec.receive(window(0, 100_000))
    codec.take()

    assert codec.unsent(1) + codec.unsent(3) == 0


def test_frames_are_not_larger_than_the_peer_takes_by_default():
    written = send(asked_for(1, max_frame_size=2**20), *responding(bytes(60_000), 1))

    assert max(size for *_, size in written) == 16_384


# -- credit -----------------------------------------------------------------------------------------------------------


def credit(codec: Http2) -> dict[int, int]:
    return {found.stream_id: int.from_bytes(found.payload) for found in told(codec, WINDOW_UPDATE)}


def test_a_peer_may_send_more_when_what_it_sent_is_acknowledged():
    codec = opened(SERVER, Limits(stream_window=65_536))
    codec.receive(headers(1, POST) + data(1, bytes(16_384)) * 3)
    assert credit(codec) == {}

    codec.acknowledge(1, 3 * 16_384)

    assert credit(codec) == {1: 3 * 16_384}


def test_a_stream_that_nobody_reads_does_not_hold_up_another():
    """2d"""
    codec = opened(SERVER, Limits(stream_window=65_536, window=3 * 65_536))
    codec.receive(headers(1, POST) + headers(3, POST) + data(1, bytes(16_384)) * 4)

    for _ in range(50):
        codec.receive(data(3, bytes(16_384)))
        codec.acknowledge(3, 16_384)

    assert set(credit(codec)) == {0, 3}


def test_padding_is_credited_although_nobody_reads_it():
    codec = opened(SERVER, Limits(stream_window=65_536))
    codec.receive(headers(1, POST))

    for _ in range(200):
        codec.receive(frame(DATA, 0x8, 1, b"\xff" + bytes(255)))

    assert credit(codec)[1] >= 200 * 256 - 65_536 // 2


def test_what_comes_to_a_stream_that_is_gone_is_credited_to_the_connection():
    codec = opened(SERVER, Limits(window=65_536))
    codec.receive(headers(1, POST))
    codec.reset(1, Code.CANCEL)

    codec.receive(data(1, bytes(16_384)) * 2)

    assert credit(codec) == {0: 2 * 16_384}


def test_a_body_that_is_too_long_is_credited_to_the_connection():
    codec = opened(SERVER, Limits(window=65_536))

    for stream_id in (1, 3):
        codec.receive(headers(stream_id, [*POST, (b"content-length", b"1")]) + data(stream_id, bytes(16_384)))

    assert credit(codec) == {0: 2 * 16_384}


# -- streams ----------------------------------------------------------------------------------------------------------


def test_ids_of_requests_go_up():
    codec = make_codec(CLIENT, requests=0)

    for expected in (1, 3, 5):
        assert codec.next_stream_id() == expected
        codec.send(request(expected))
    with pytest.raises(LocalError):
        codec.send(request(5))


def test_what_is_sent_to_a_stream_that_is_over_goes_nowhere():
    codec = asked_for(1)
    codec.receive(frame(RST_STREAM, 0, 1, bytes(4)))

    assert send(codec, *responding(b"late", 1)) == []


def test_what_is_sent_behind_an_end_goes_nowhere():
    codec = opened(SERVER)
    codec.receive(headers(1, POST))

    send(codec, *responding(b"x", 1))

    assert send(codec, Data(b"more", 1), End(None, 1)) == []


def test_reset_takes_what_waits_with_it():
    codec = asked_for(1, initial_window_size=0)
    send(codec, *responding(bytes(100), 1))

    codec.reset(1, Code.INTERNAL_ERROR)
    codec.reset(1, Code.INTERNAL_ERROR)

    assert frames(codec.take()) == [(RST_STREAM, 0, 1, bytes([0, 0, 0, Code.INTERNAL_ERROR]))]
    assert codec.idle
    assert codec.unsent(1) == 0


def test_a_request_that_was_given_up_before_it_left_never_leaves():
    codec = make_codec(CLIENT, requests=0)
    codec.take()
    codec.send(request(1))
    codec.reset(1)
    codec.send(request(3))

    assert [found.stream_id for found in frames(codec.take())] == [3]


def test_an_answer_may_be_complete_before_the_request_is():
    """RFC 9113 section 8.1"""
    codec = opened(SERVER)
    codec.receive(headers(1, POST))
    send(codec, *responding(b"no", 1))
    assert not codec.idle

    codec.reset(1, Code.NO_ERROR)

    assert told(codec, RST_STREAM)
    assert codec.idle


# -- against h2 -------------------------------------------------------------------------------------------------------


def test_h2_reads_a_response_as_it_was_written():
    peer = H2Peer(SERVER)
    codec = peer.codec
    peer.h2.send_headers(1, GET, end_stream=True)
    peer.exchange()

    codec.send(ResponseHead(200, [(b"a", b"1"), (b"set-cookie", b"x=y"), (b"a", b"2")], stream_id=1))
    codec.send(Data(bytes(100), 1))
    codec.send(End([(b"t", b"3")], 1))
    events = peer.exchange()

    found = {type(event).__name__: event for event in events}
    assert found["ResponseReceived"].headers == [*OK, (b"a", b"1"), (b"set-cookie", b"x=y"), (b"a", b"2")]
    assert found["DataReceived"].data == bytes(100)
    assert found["TrailersReceived"].headers == [(b"t", b"3")]
    assert "StreamEnded" in found


def test_h2_takes_a_large_upload_of_ours_and_we_a_large_answer():
    peer = H2Peer(CLIENT)
    codec = peer.codec
    up, down = 0, 0
    codec.send(request(1, b"POST"))
    for _ in range(20):
        codec.send(Data(bytes(16_000), 1))
    codec.send(End(None, 1))
    while codec.unsent(1) or not up:
        for event in peer.exchange():
            if isinstance(event, h2.events.DataReceived):
                up += len(event.data)
                peer.h2.acknowledge_received_data(event.flow_controlled_length, 1)
    peer.h2.send_headers(1, OK)
    for _ in range(20):
        peer.h2.send_data(1, bytes(16_000))
        received = [event for event in codec.receive(peer.h2.data_to_send()) if isinstance(event, Data)]
        down += sum(len(event.data) for event in received)
        codec.acknowledge(1, 16_000)
        peer.exchange()

    assert (up, down) == (320_000, 320_000)


def test_a_table_that_the_peer_makes_smaller_is_smaller():
    """RFC 7541 section 4.2: the next block says so, or h2 refuses it."""
    peer = H2Peer(CLIENT)
    codec = peer.codec
    for at, size in enumerate((4096, 64, 0, 2**20)):
        peer.h2.update_settings({1: size})
        peer.exchange()
        codec.send(request(2 * at + 1, fields=[(b"x-%d" % at, b"y" * 30)] * 2))
        events = peer.exchange()
        assert [type(event) for event in events].count(h2.events.RequestReceived) == 1


@pytest.mark.parametrize(
    ("sizes", "start"),
    [((0, 4096), b"\x20\x3f\xe1\x1f"), ((100, 100), b"\x3f\x45"), ((4096,), b"\x82")],
    ids=["smallest and last", "the same again", "none"],
)
def test_a_change_of_the_table_is_told_once(sizes, start):
    """RFC 7541 section 4.2"""
    codec = make_codec(CLIENT, requests=0)

    codec.receive(b"".join(settings(header_table_size=size) for size in sizes))
    codec.send(request(1))
    codec.send(request(3))
    first, second = told(codec, HEADERS)

    assert first.payload.startswith(start)
    assert second.payload.startswith(b"\x82")


def test_what_fell_out_of_the_table_is_not_referred_to():
    peer = H2Peer(CLIENT)
    fields = [(b"x-a", b"y" * 30), (b"x-b", b"y" * 30)]
    for stream_id in (1, 3):
        peer.codec.send(request(stream_id, fields=fields))
    peer.exchange()

    peer.h2.update_settings({1: 70})  # which is room for the last one
    peer.exchange()
    peer.codec.send(request(5, fields=fields))

    [received] = [event for event in peer.exchange() if isinstance(event, h2.events.RequestReceived)]
    assert received.headers[-2:] == fields


def test_preface_and_settings_come_first():
    client, server = frames(Http2(CLIENT).take()[24:]), frames(Http2(SERVER).take())

    for written in (client, server):
        assert [found.kind for found in written] == [4, WINDOW_UPDATE]
        values = {written[0].payload[at : at + 2]: written[0].payload[at + 2 : at + 6] for at in range(0, 42, 6)}
        assert values[b"\0\x02"] == bytes(4)  # no push
        assert int.from_bytes(values[b"\0\x03"]) == 100
    assert Http2(CLIENT).take().startswith(opening(SERVER)[:24])
