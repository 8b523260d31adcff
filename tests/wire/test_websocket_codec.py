"""The WebSocket codec: each case whole, byte by byte, and with more behind it, in both roles."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.codec import bytewise
from support.websockets import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Deflater, close, frame

from mitmdump.wire import websocket
from mitmdump.wire.events import Role
from mitmdump.wire.handshake import Deflate
from mitmdump.wire.websocket import NO_CLOSE, Event, Fault, Frames, Payload, WebSocket, close_meaning, close_payload

roles = pytest.mark.parametrize("role", list(Role))


def is_masked(role: Role) -> bool:
    """Does the peer of this role mask its frames? Clients do."""
    return role is Role.SERVER


def read(codec: WebSocket, pieces: Iterable[bytes], *, eof: bool = False) -> tuple[list[Payload | Fault], bytes]:
    """What is told of these bytes, and what of them is passed on."""
    events: list[Event] = [event for piece in pieces for event in codec.receive(piece)]
    if eof:
        events += codec.eof()
    passed = b"".join(event.data for event in events if isinstance(event, Frames))
    return [event for event in events if not isinstance(event, Frames)], passed


def told(role: Role, data: bytes, deflate: Deflate | None = None) -> list[tuple[str, bytes]]:
    """The messages in these bytes, which are all right, and are all passed on."""
    found: list[list[tuple[str, bytes]]] = []
    for pieces in ([data], bytewise(data)):
        events, passed = read(WebSocket(role, deflate), pieces)
        assert passed == data
        found.append([(event.kind, event.content) for event in events if isinstance(event, Payload)])
        assert len(found[-1]) == len(events)
    assert found[0] == found[1]
    return found[0]


def fault(role: Role, data: bytes, deflate: Deflate | None = None) -> Fault:
    """What is wrong with these bytes, the same whether they come at once or one by one; none of it is passed on."""
    for pieces in ([data + b"more"], bytewise(data + b"more")):
        events, passed = read(WebSocket(role, deflate), pieces)
        assert passed == b""
        (found,) = events
        assert isinstance(found, Fault)
    return found


# -- messages -------------------------------------------------------------------------------------------------------


@roles
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
def test_a_message_of_any_size_is_told_and_passed_on_as_it_is(role: Role, size: int) -> None:
    content = bytes(range(256)) * 257
    data = frame(BINARY, content[:size], masked=is_masked(role))
    events, passed = read(WebSocket(role), [data])
    assert events == [Payload("binary", content[:size])]
    assert passed == data


@roles
def test_messages_of_all_kinds_are_told_in_order(role: Role) -> None:
    """W2"""
    masked = is_masked(role)
    data = frame(TEXT, "Grüße".encode(), masked=masked) + frame(PING, b"?", masked=masked)
    data += frame(PONG, b"!", masked=masked) + frame(BINARY, b"\xff\0", masked=masked)
    data += close(1000, b"bye", masked=masked)
    assert told(role, data) == [
        ("text", "Grüße".encode()),
        ("ping", b"?"),
        ("pong", b"!"),
        ("binary", b"\xff\0"),
        ("close", b"\x03\xe8bye"),
    ]


@roles
def test_fragments_are_one_message_and_control_frames_come_between(role: Role) -> None:
    """W2"""
    masked = is_masked(role)
    umlaut = "ü".encode()
    data = frame(TEXT, b"a" + umlaut[:1], masked=masked, fin=False) + frame(PING, masked=masked)
    data += frame(CONTINUATION, b"", masked=masked, fin=False) + frame(CONTINUATION, umlaut[1:], masked=masked)
    assert told(role, data) == [("ping", b""), ("text", b"a" + umlaut)]


@roles
def test_what_has_come_of_a_frame_is_passed_on_before_the_rest(role: Role) -> None:
    codec, data = WebSocket(role), frame(BINARY, bytes(1000), masked=is_masked(role))
    assert codec.receive(data[:100]) == [Frames(data[:100])]
    assert codec.inside_frame
    assert codec.receive(data[100:]) == [Payload("binary", bytes(1000)), Frames(data[100:])]
    assert not codec.inside_frame


@roles
def test_a_control_frame_is_passed_on_when_it_is_complete(role: Role) -> None:
    codec, data = WebSocket(role), frame(PING, b"12345", masked=is_masked(role))
    assert codec.receive(data[:-1]) == []
    assert not codec.inside_frame
    assert codec.receive(data[-1:]) == [Payload("ping", b"12345"), Frames(data)]


@roles
def test_a_large_message_is_told_in_pieces_and_no_character_is_cut(role: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PIECE", 4)
    data = frame(TEXT, "aüüüü".encode(), masked=is_masked(role))
    pieces = [("text", "aü"), ("continuation", "üü"), ("continuation", "ü")]
    assert told(role, data) == [(kind, text.encode()) for kind, text in pieces]


@roles
def test_nothing_comes_after_a_close_frame(role: Role) -> None:
    """RFC 6455 section 5.5.1"""
    codec, ending = WebSocket(role), close(1001, masked=is_masked(role))
    events, passed = read(codec, [ending + b"garbage", b"and more"], eof=True)
    assert events == [Payload("close", b"\x03\xe9")]
    assert passed == ending
    assert codec.closed


@roles
def test_the_end_without_a_close_frame_is_a_fault_that_names_the_peer(role: Role) -> None:
    """W3"""
    peer = "client" if role is Role.SERVER else "server"
    assert WebSocket(role).eof() == [Fault(NO_CLOSE, f"the {peer} ended the connection without closing the WebSocket")]


@roles
def test_what_came_of_a_message_is_told_at_the_end(role: Role) -> None:
    """W3"""
    data = frame(TEXT, b"Hello", masked=is_masked(role))
    events, passed = read(WebSocket(role), [data[:-2]], eof=True)
    assert passed == data[:-2]
    assert events[0] == Payload("text", b"Hel")
    assert isinstance(events[1], Fault)
    assert "in the middle of a message" in events[1].message


@roles
def test_what_came_of_a_message_that_is_collected_is_not_told_as_it_was_not_passed_on(role: Role) -> None:
    """W3"""
    codec = WebSocket(role, whole=True)
    codec.receive(frame(TEXT, b"Hello", masked=is_masked(role))[:-2])
    (found,) = codec.eof()
    assert isinstance(found, Fault)


# -- what is against the rules --------------------------------------------------------------------------------------


@roles
@pytest.mark.parametrize(
    ("opcode", "payload", "fin", "bits", "code"),
    [
        (3, b"", True, 0, 1002),  # reserved opcodes
        (11, b"", True, 0, 1002),
        (TEXT, b"", True, 1, 1002),  # reserved bits
        (TEXT, b"", True, 2, 1002),
        (TEXT, b"", True, 4, 1002),
        (CONTINUATION, b"x", True, 0, 1002),  # of nothing
        (PING, b"x", False, 0, 1002),  # control frames are not fragmented, nor long
        (PING, bytes(126), True, 0, 1002),
        (TEXT, b"\xff", True, 0, 1007),
        (TEXT, b"\xc3", True, 0, 1007),  # half a character
        (TEXT, b"\xed\xa0\x80", True, 0, 1007),  # a surrogate
        (CLOSE, b"\x03", True, 0, 1002),
        (CLOSE, b"\x03\xee", True, 0, 1002),  # 1006
        (CLOSE, b"\0\0", True, 0, 1002),
        (CLOSE, b"\x13\x88", True, 0, 1002),  # 5000
        (CLOSE, b"\x03\xe8\xff", True, 0, 1007),
    ],
)
def test_a_broken_rule_is_a_fault_with_its_code_and_goes_nowhere(
    role: Role, opcode: int, payload: bytes, fin: bool, bits: int, code: int
) -> None:
    data = frame(opcode, payload, masked=is_masked(role), fin=fin, bits=bits)
    for pieces in ([data + b"more"], [data, b"more"]):
        events, passed = read(WebSocket(role), pieces)
        assert [event.code for event in events if isinstance(event, Fault)] == [code]
        assert (len(events), passed) == (1, b"")


@roles
def test_a_mask_where_none_may_be_or_none_where_one_must_be_is_a_fault(role: Role) -> None:
    assert fault(role, frame(TEXT, b"Hello", masked=not is_masked(role))).code == 1002


@roles
def test_a_length_in_more_bytes_than_it_needs_is_a_fault(role: Role) -> None:
    """RFC 6455 section 5.2: the minimal number of bytes must be used."""
    masked = 0x80 if is_masked(role) else 0
    assert fault(role, bytes([0x82, 126 | masked, 0, 5])).code == 1002
    assert fault(role, bytes([0x82, 127 | masked]) + (65535).to_bytes(8)).code == 1002
    assert fault(role, bytes([0x82, 127 | masked, 0x80]) + bytes(7)).code == 1002


@roles
def test_a_new_message_inside_another_is_a_fault_and_what_was_right_before_it_is_passed_on(role: Role) -> None:
    masked = is_masked(role)
    right = frame(PING, masked=masked) + frame(TEXT, b"a", masked=masked, fin=False)
    events, passed = read(WebSocket(role), [right + frame(BINARY, b"b", masked=masked)])
    assert passed == right
    assert events[0] == Payload("ping", b"")
    assert isinstance(events[1], Fault)
    assert events[1].code == 1002


@roles
def test_bad_utf8_is_seen_before_the_message_is_complete(role: Role) -> None:
    """RFC 6455 section 8.1, and Autobahn's case 6.4: fail fast."""
    masked = is_masked(role)
    codec = WebSocket(role)
    codec.receive(frame(TEXT, b"a" * 100, masked=masked, fin=False))
    (found,) = codec.receive(frame(CONTINUATION, b"\xff", masked=masked, fin=False))
    assert isinstance(found, Fault)
    assert found.code == 1007


@roles
def test_what_comes_after_a_fault_is_not_looked_at(role: Role) -> None:
    codec = WebSocket(role)
    codec.receive(frame(3, masked=is_masked(role)))
    assert codec.receive(frame(TEXT, b"Hello", masked=is_masked(role))) == []
    assert codec.eof() == []


# -- compression ----------------------------------------------------------------------------------------------------


def compressed(role: Role, *messages: bytes, takes_over: bool = True) -> bytes:
    deflater, data = Deflater(), b""
    for message in messages:
        data += frame(TEXT, deflater(message), masked=is_masked(role), bits=4)
        deflater = deflater if takes_over else Deflater()
    return data


@roles
@pytest.mark.parametrize("takes_over", [True, False])
def test_compressed_messages_are_told_in_plain_and_passed_on_as_they_are(role: Role, takes_over: bool) -> None:
    """W1"""
    deflate = Deflate(client_no_context_takeover=not takes_over, server_no_context_takeover=not takes_over)
    words = [b"Hello Hello Hello", b"Hello Hello Hello", b"", b"bye"]
    data = compressed(role, *words, takes_over=takes_over) + frame(TEXT, b"plain", masked=is_masked(role))
    assert told(role, data, deflate) == [("text", word) for word in [*words, b"plain"]]


@roles
def test_what_the_other_side_does_with_its_context_is_its_own_matter(role: Role) -> None:
    """RFC 7692 section 7.1.1"""
    sent_by_client = role is Role.SERVER
    agreement = Deflate(client_no_context_takeover=not sent_by_client, server_no_context_takeover=sent_by_client)
    words = [b"Hello Hello Hello", b"Hello Hello Hello"]
    assert told(role, compressed(role, *words), agreement) == [("text", word) for word in words]


@roles
@pytest.mark.parametrize("bits", [9, 15])
def test_any_window_can_be_read(role: Role, bits: int) -> None:
    """W1"""
    text = b"".join(b"%d," % number for number in range(10_000))
    data = frame(TEXT, Deflater(bits)(text), masked=is_masked(role), bits=4)
    agreement = Deflate(client_max_window_bits=bits, server_max_window_bits=bits)
    assert told(role, data, agreement) == [("text", text)]


@roles
def test_a_compressed_message_may_be_fragmented_anywhere(role: Role) -> None:
    masked, packed = is_masked(role), Deflater()("Grüße".encode())
    data = frame(TEXT, packed[:3], masked=masked, fin=False, bits=4) + frame(PING, masked=masked)
    data += frame(CONTINUATION, packed[3:], masked=masked)
    assert told(role, data, Deflate()) == [("ping", b""), ("text", "Grüße".encode())]


@roles
def test_a_stream_that_ends_may_be_followed_by_another(role: Role) -> None:
    """RFC 7692 section 7.2.3.4"""
    packed = bytes.fromhex("f348cdc9c90700") + b"\0"  # "Hello" in a last block, and an empty stored one
    data = frame(TEXT, packed, masked=is_masked(role), bits=4)
    assert told(role, data + compressed(role, b"again"), Deflate()) == [("text", b"Hello"), ("text", b"again")]


@roles
@pytest.mark.parametrize(("opcode", "bits"), [(PING, 4), (TEXT, 5), (CONTINUATION, 4)])
def test_only_the_first_frame_of_a_message_is_marked_as_compressed(role: Role, opcode: int, bits: int) -> None:
    """RFC 7692 section 6"""
    masked = is_masked(role)
    codec = WebSocket(role, Deflate())
    codec.receive(
        frame(TEXT, Deflater()(b"x")[:1], masked=masked, fin=False, bits=4) if opcode == CONTINUATION else b""
    )
    (found,) = codec.receive(frame(opcode, b"", masked=masked, bits=bits))
    assert isinstance(found, Fault)
    assert found.code == 1002


@roles
def test_what_is_no_deflate_and_what_is_no_text_are_faults(role: Role) -> None:
    assert fault(role, frame(TEXT, b"\xff\xff\xff", masked=is_masked(role), bits=4), Deflate()).code == 1007
    for text in (b"\xff", b"half a character: \xc3"):
        packed = Deflater()(text)
        events, _ = read(WebSocket(role, Deflate()), [frame(TEXT, packed, masked=is_masked(role), bits=4)])
        assert [event.code for event in events if isinstance(event, Fault)] == [1007]


@roles
def test_of_a_bomb_a_bounded_part_is_told_and_all_of_it_is_passed_on(role: Role) -> None:
    """W1"""
    masked, deflater = is_masked(role), Deflater()
    bomb = frame(BINARY, deflater(bytes(20 << 20)), masked=masked, bits=4)
    after = deflater(b"after")
    data = bomb + frame(TEXT, after, masked=masked, bits=4) + frame(TEXT, b"plain", masked=masked)
    events, passed = read(WebSocket(role, Deflate()), [data])
    assert passed == data
    assert sum(len(event.content) for event in events[:-3] if isinstance(event, Payload)) <= 16 << 20
    assert [event.code for event in events if isinstance(event, Fault)] == [None]
    assert events[-2:] == [Payload("raw", after), Payload("text", b"plain")]


@roles
def test_a_text_after_a_bomb_that_was_left_inside_a_character_is_a_text(role: Role) -> None:
    masked = is_masked(role)
    bomb = frame(TEXT, Deflater()(b"a" + "ü".encode() * (10 << 20)), masked=masked, bits=4)
    events, _ = read(WebSocket(role, Deflate()), [bomb, frame(TEXT, b"plain", masked=masked)])
    assert events[-1] == Payload("text", b"plain")


@roles
def test_the_rest_of_a_bomb_is_told_as_it_came(role: Role) -> None:
    """W1"""
    masked, packed = is_masked(role), Deflater()(bytes(20 << 20))
    data = frame(BINARY, packed[:-3], masked=masked, fin=False, bits=4) + frame(
        CONTINUATION, packed[-3:], masked=masked
    )
    events, passed = read(WebSocket(role, Deflate()), [data])
    assert passed == data
    assert events[-1] == Payload("raw", packed[-3:])


@roles
def test_after_a_bomb_a_sender_without_a_context_is_understood_again(role: Role) -> None:
    """W1"""
    agreement = Deflate(client_no_context_takeover=True, server_no_context_takeover=True)
    bomb = frame(BINARY, Deflater()(bytes(20 << 20)), masked=is_masked(role), bits=4)
    events, _ = read(WebSocket(role, agreement), [bomb + compressed(role, b"after")])
    assert events[-1] == Payload("text", b"after")


@roles
def test_a_message_that_is_large_and_well_compressed_is_no_bomb(role: Role) -> None:
    text = b"".join(b'{"number":%d},' % number for number in range(1_300_000))  # 19 MB, of which a seventh remains
    events, _ = read(WebSocket(role, Deflate()), [compressed(role, text)])
    assert b"".join(event.content for event in events if isinstance(event, Payload)) == text


# -- collecting, and frames of our own ------------------------------------------------------------------------------


def passed_on(events: Iterable[Event], role: Role, deflate: Deflate | None = None) -> bytes:
    """What a codec of this role makes of the messages that the other peer sent."""
    codec = WebSocket(role, deflate, whole=True)
    for event in events:
        assert isinstance(event, Payload)
        codec.send(event)
    return codec.take()


@roles
def test_a_collected_message_keeps_its_fragments(role: Role) -> None:
    masked = is_masked(role)
    data = frame(TEXT, b"abc", masked=masked, fin=False) + frame(PING, b"?", masked=masked)
    data += frame(CONTINUATION, b"", masked=masked, fin=False) + frame(CONTINUATION, b"de", masked=masked)
    events = WebSocket(role, whole=True).receive(data)
    assert events == [Payload("ping", b"?"), Payload("text", b"abcde", (3, 0, 2))]
    expected = frame(PING, b"?", masked=False) + frame(TEXT, b"abc", masked=False, fin=False)
    expected += frame(CONTINUATION, b"", masked=False, fin=False) + frame(CONTINUATION, b"de", masked=False)
    assert passed_on(events, Role.SERVER) == expected


def test_a_message_that_has_changed_is_one_frame() -> None:
    assert passed_on([Payload("text", b"changed", (3, 0, 2))], Role.SERVER) == frame(TEXT, b"changed", masked=False)


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_an_empty_message_is_one_frame(kind: str) -> None:
    assert passed_on([Payload(kind, b"")], Role.SERVER) == frame(TEXT if kind == "text" else BINARY, masked=False)


def test_text_of_a_handler_goes_out_as_utf8_whatever_it_is() -> None:
    assert passed_on([Payload("text", b"\xff")], Role.SERVER) == frame(TEXT, "\ufffd".encode(), masked=False)


@pytest.mark.parametrize("content", [b"", b"\x03\xe8", b"\x03\xe8bye"])
def test_a_close_frame_is_made_as_it_was(content: bytes) -> None:
    assert passed_on([Payload("close", content)], Role.SERVER) == frame(CLOSE, content, masked=False)


def test_a_collected_message_has_a_limit() -> None:
    codec = WebSocket(Role.SERVER, whole=True)
    piece = frame(BINARY, bytes(9 << 20), masked=False, fin=False)
    codec = WebSocket(Role.CLIENT, whole=True)
    assert codec.receive(piece) == []
    (found,) = codec.receive(frame(CONTINUATION, bytes(9 << 20), masked=False))
    assert isinstance(found, Fault)
    assert found.code == 1009


def test_a_bomb_is_not_collected() -> None:
    """W1"""
    bomb = frame(BINARY, Deflater()(bytes(20 << 20)), masked=True, bits=4)
    (found,) = WebSocket(Role.SERVER, Deflate(), whole=True).receive(bomb)
    assert isinstance(found, Fault)
    assert found.code == 1009


def test_countless_fragments_are_not_counted() -> None:
    codec = WebSocket(Role.CLIENT, whole=True)
    codec.receive(frame(TEXT, b"a", masked=False, fin=False))
    codec.receive(frame(CONTINUATION, masked=False, fin=False) * 3000)
    (message,) = codec.receive(frame(CONTINUATION, b"b", masked=False))
    assert isinstance(message, Payload)
    assert (message.content, len(message.sizes)) == (b"ab", 1000)
    assert passed_on([message], Role.SERVER) == frame(TEXT, b"ab", masked=False)


@pytest.mark.parametrize("agreement", [None, Deflate(), Deflate(True, True, 9, 9), Deflate(False, False, 8, 8)])
@settings(max_examples=30)
@given(contents=st.lists(st.binary(max_size=300), max_size=5), cut=st.integers(0, 300))
def test_what_one_codec_makes_another_reads(agreement: Deflate | None, contents: list[bytes], cut: int) -> None:
    """Both roles, with every kind of compression."""
    sent = [Payload("binary", content, (min(cut, len(content)), max(len(content) - cut, 0))) for content in contents]
    for ours, theirs in ((Role.CLIENT, Role.SERVER), (Role.SERVER, Role.CLIENT)):
        events = WebSocket(theirs, agreement, whole=True).receive(passed_on(sent, ours, agreement))
        assert [event.content for event in events if isinstance(event, Payload)] == contents
        assert len(events) == len(contents)


def test_a_reason_that_is_too_long_is_cut_at_a_character() -> None:
    message = close_payload(1002, "ü" * 100)
    assert len(message.content) == 124
    assert close_meaning(message.content) == (1002, "ü" * 61)


# -- whatever comes -------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(data=st.binary(max_size=80), cuts=st.lists(st.integers(0, 80), max_size=4), role=st.sampled_from(list(Role)))
def test_any_bytes_cut_anywhere_give_the_same_messages(data: bytes, cuts: list[int], role: Role) -> None:
    borders = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[start:end] for start, end in pairwise(borders)]
    whole, passed = read(WebSocket(role, Deflate()), [data], eof=True)
    cut, passed_in_pieces = read(WebSocket(role, Deflate()), pieces, eof=True)
    assert [event for event in cut if isinstance(event, Payload)] == [
        event for event in whole if isinstance(event, Payload)
    ]
    assert data.startswith(passed)
    assert data.startswith(passed_in_pieces)
