"""WebSockets between a client and a server, recorded in the flow that opened them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from support.peers import Peer, in_loop
from support.proxying import Proxy, proxying
from support.websockets import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Deflater,
    asking,
    close,
    frame,
    reads_frame,
    switching,
)

from mitmdump.errors import StreamError
from mitmdump.handlers.base import Handler
from mitmdump.handlers.hooks import Hooks
from mitmdump.model.flow import Flow, WebSocket
from mitmdump.model.message import Message
from mitmdump.net import stream as stream_module
from mitmdump.wire import websocket as wire

EXTENSIONS = b"Sec-WebSocket-Extensions: "
HELLO = frame(TEXT, b"Hello", masked=True)
ANSWER = frame(TEXT, b"Hi", masked=False)


class Opened(NamedTuple):
    """A WebSocket, and the head that the server saw."""

    proxy: Proxy
    client: Peer
    server: Peer
    head: bytes


@asynccontextmanager
async def opened(
    *handlers: Handler,
    offer: bytes = b"",
    answer: bytes = b"",
    filter_: str | None = None,
    buffers: int = 0,
    **settings: Any,
) -> AsyncIterator[Opened]:
    """Open one, with these extensions offered and agreed on."""
    async with proxying(filter_, **settings) as proxy:
        proxy.services.hooks = Hooks(handlers)
        client, listening = await proxy.client(buffers=buffers), await proxy.server()
        await client.sends(asking(listening.name, *([EXTENSIONS + offer] if offer else [])))
        server = await listening.accepts()
        head = await server.reads_head()
        await passes(server, client, switching(*([EXTENSIONS + answer] if answer else [])))
        yield Opened(proxy, client, server, head)


async def passes(source: Peer, sink: Peer, data: bytes) -> None:
    """What one sends the other gets, byte for byte."""
    await source.sends(data)
    await sink.receives(data)


async def closes(client: Peer, server: Peer) -> None:
    """The client closes, as both should (RFC 6455 section 7.1.1)."""
    await passes(client, server, close(1000, b"bye", masked=True))
    await passes(server, client, close(1000, masked=False))
    server.ends()
    await client.sees_end()
    client.ends()
    await server.sees_end()


# -- what passes ----------------------------------------------------------------------------------------------------


@in_loop
async def test_messages_pass_as_they_are_and_are_recorded_in_the_flow_of_the_upgrade() -> None:
    """W2, H16"""
    async with opened() as (proxy, client, server, _):
        await passes(client, server, HELLO)
        await passes(server, client, frame(PING, b"?", masked=False))
        await passes(client, server, frame(PONG, b"?", masked=True))
        await passes(server, client, frame(BINARY, b"\0", masked=False, fin=False))
        await passes(server, client, frame(CONTINUATION, b"\xff", masked=False))
        await closes(client, server)
        recorded = await proxy.flow()
        assert recorded.messages == [
            (True, b"Hello"),
            (False, b"?"),
            (True, b"?"),
            (False, b"\0\xff"),
            (True, b"\x03\xe8bye"),
            (False, b"\x03\xe8"),
        ]
        assert recorded.kinds == ["text", "ping", "pong", "binary", "close", "close"]
        flow = recorded.flow
        assert (flow.kind, recorded.error, flow.response.status_code) == ("http", "", 101)
        assert flow.websocket == WebSocket(True, 1000, "bye")
        assert flow.response.timestamp_end <= flow.timestamp_end
        await proxy.ends()


@in_loop
async def test_what_came_with_the_heads_is_not_lost() -> None:
    """H16"""
    async with proxying() as proxy:
        client, listening = await proxy.client(), await proxy.server()
        await client.sends(asking(listening.name) + HELLO)
        server = await listening.accepts()
        await server.reads_head()
        await server.sends(switching() + ANSWER)
        await client.receives(switching() + ANSWER)
        await server.receives(HELLO)
        await closes(client, server)
        assert sorted((await proxy.flow()).messages[:2]) == [(False, b"Hi"), (True, b"Hello")]
        await proxy.ends()


@in_loop
async def test_a_large_frame_passes_before_it_is_complete() -> None:
    async with opened() as (proxy, client, server, _):
        data = frame(BINARY, bytes(100_000), masked=True)
        await passes(client, server, data[:50_000])
        await passes(client, server, data[50_000:])
        await closes(client, server)
        assert (await proxy.flow()).messages[0] == (True, bytes(100_000))


@in_loop
async def test_a_message_is_told_to_the_sinks_when_it_has_passed() -> None:
    """W2"""
    async with opened() as (proxy, client, server, _):
        await passes(client, server, HELLO)
        assert [each.messages for each in proxy.sink.running.values()] == [[(True, b"Hello")]]
        await closes(client, server)
        await proxy.flow()


@in_loop
async def test_a_filter_can_wait_for_a_message() -> None:
    async with opened(filter_="~websocket & ~b Hello") as (proxy, client, server, _):
        await passes(client, server, HELLO)
        await closes(client, server)
        assert (await proxy.flow()).messages[0] == (True, b"Hello")


@in_loop
async def test_a_client_that_reads_slowly_holds_the_server_up() -> None:
    """R1: what waits in us is bounded."""
    async with opened(buffers=8192) as (proxy, client, server, _):
        data = frame(BINARY, bytes(60_000), masked=False) * 200
        sending = asyncio.create_task(server.sends(data))
        stream = next(stream for stream in proxy.services.streams._open if stream.peer == "client")
        while not stream.congested:
            await asyncio.sleep(0.001)
        assert (await asyncio.wait({sending}, timeout=0.2))[1], "somebody takes it all"
        assert await client.reads(len(data)) == data
        await sending
        await closes(client, server)
        assert len((await proxy.flow()).messages) == 202


# -- extensions -----------------------------------------------------------------------------------------------------


@in_loop
async def test_compressed_messages_pass_as_they_are_and_are_recorded_in_plain() -> None:
    """W1"""
    name = b"permessage-deflate"
    async with opened(offer=b"x-unknown, " + name + b"; client_max_window_bits", answer=name) as opening:
        proxy, client, server, head = opening
        assert EXTENSIONS + name + b"; client_max_window_bits\r\n" in head
        deflater = Deflater()
        for _ in range(2):  # the second refers to the first
            await passes(client, server, frame(TEXT, deflater(b"Hello " * 20), masked=True, bits=4))
        await closes(client, server)
        assert [content for _, content in (await proxy.flow()).messages[:2]] == [b"Hello " * 20] * 2


@in_loop
async def test_what_is_agreed_on_without_being_understood_is_relayed_raw() -> None:
    """W1"""
    async with opened(answer=b"x-unknown") as (proxy, client, server, _):
        await passes(client, server, frame(TEXT, b"x", masked=True, bits=2))
        client.ends()
        await server.sees_end()
        server.ends()
        await client.sees_end()
        http, tcp = await proxy.flow(), await proxy.flow()
        assert (http.flow.websocket, tcp.flow.kind) == (None, "tcp")
        assert tcp.messages == [(True, frame(TEXT, b"x", masked=True, bits=2))]


@in_loop
async def test_no_websocket_is_read_that_is_not_to_be_read() -> None:
    """--no-websocket"""
    async with opened(offer=b"x-unknown", websocket=False) as (proxy, client, server, head):
        assert EXTENSIONS + b"x-unknown\r\n" in head
        await passes(client, server, HELLO)
        client.resets()
        await server.sees_reset()
        http, tcp = await proxy.flow(), await proxy.flow()
        assert (http.flow.websocket, tcp.messages) == (None, [(True, HELLO)])


@in_loop
async def test_what_is_ignored_is_neither_read_nor_recorded() -> None:
    async with opened(ignore_hosts=(".",), offer=b"x-unknown") as (proxy, client, server, head):
        assert EXTENSIONS + b"x-unknown\r\n" in head
        await passes(client, server, HELLO)
        client.closes()
        server.closes()
        await proxy.ends()


@in_loop
async def test_a_bomb_passes_and_the_flow_says_that_not_all_of_it_is_recorded() -> None:
    """W1"""
    name = b"permessage-deflate"
    async with opened(offer=name, answer=name) as (proxy, client, server, _):
        await passes(client, server, frame(BINARY, Deflater()(bytes(20 << 20)), masked=True, bits=4))
        await closes(client, server)
        recorded = await proxy.flow()
        assert "when it is decompressed" in recorded.error
        assert recorded.flow.websocket == WebSocket(True, 1000, "bye")


# -- broken rules ---------------------------------------------------------------------------------------------------


@in_loop
@pytest.mark.parametrize(
    ("data", "code", "words"),
    [
        (frame(3, masked=True), 1002, "unknown opcode"),
        (frame(TEXT, b"\xff", masked=True), 1007, "not UTF-8"),
        (frame(TEXT, b"x", masked=False), 1002, "not masked"),
        (frame(TEXT, b"x", masked=True, bits=4), 1002, "reserved bit"),
        (frame(CLOSE, b"\x03\xed", masked=True), 1002, "close code 1005"),
    ],
)
async def test_a_client_that_breaks_a_rule_ends_it_for_both(data: bytes, code: int, words: str) -> None:
    async with opened() as (proxy, client, server, _):
        await client.sends(HELLO + data + b"more")
        await server.receives(HELLO)
        for peer in (client, server):
            opcode, payload = await reads_frame(peer)
            assert (opcode, payload[:2]) == (CLOSE, code.to_bytes(2))
            assert words in payload.decode("latin-1")
            peer.closes()
        recorded = await proxy.flow()
        assert recorded.messages == [(True, b"Hello")]
        assert words in recorded.error
        assert "the client broke" in recorded.error
        assert (recorded.flow.websocket.closed_by_client, recorded.flow.websocket.close_code) == (None, code)
        await proxy.ends()


@in_loop
async def test_a_server_that_breaks_a_rule_ends_it_for_both() -> None:
    async with opened() as (proxy, client, server, _):
        await server.sends(ANSWER + frame(TEXT, b"\xff", masked=False))
        await client.receives(ANSWER)
        for peer in (client, server):
            assert (await reads_frame(peer))[1][:2] == (1007).to_bytes(2)
            peer.closes()
        assert "the server broke" in (await proxy.flow()).error
        await proxy.ends()


@in_loop
async def test_nobody_is_spoken_to_inside_a_frame() -> None:
    """The rest of the frame would be read as its payload."""
    async with opened() as (proxy, client, server, _):
        half = frame(BINARY, bytes(1000), masked=False)[:500]
        await passes(server, client, half)
        await client.sends(frame(3, masked=True))
        assert (await reads_frame(server))[0] == CLOSE
        await client.sees_end()
        client.closes()
        server.closes()
        recorded = await proxy.flow()
        assert recorded.messages == [(False, bytes(496))]
        await proxy.ends()


@in_loop
async def test_an_end_whose_peer_has_left_is_not_spoken_to_after_our_end() -> None:
    async with opened() as (proxy, client, server, _):
        client.ends()
        await server.sees_end()
        await server.sends(frame(3, masked=False))
        assert (await reads_frame(client))[1][:2] == (1002).to_bytes(2)
        server.closes()
        assert (await proxy.flow()).error == "the client ended the connection without closing the WebSocket"
        await proxy.ends()


@in_loop
async def test_after_a_close_frame_nothing_passes() -> None:
    """RFC 6455 section 5.5.1"""
    async with opened() as (proxy, client, server, _):
        ending = close(1001, masked=True)
        await client.sends(ending + HELLO)
        await server.receives(ending)
        await passes(server, client, ANSWER)
        await passes(server, client, close(1001, masked=False))
        server.ends()
        client.ends()
        await server.sees_end()
        recorded = await proxy.flow()
        assert (recorded.kinds, recorded.error) == (["close", "text", "close"], "")
        await proxy.ends()


@in_loop
async def test_who_was_told_of_the_end_by_the_other_is_not_told_again() -> None:
    """RFC 6455 section 5.5.1"""
    async with opened() as (proxy, client, server, _):
        await passes(client, server, close(1001, masked=True))
        await server.sends(frame(3, masked=False))
        assert (await reads_frame(client))[1][:2] == (1002).to_bytes(2)
        await server.sees_end()
        server.closes()
        client.closes()
        assert (await proxy.flow()).flow.websocket == WebSocket(True, 1001)


# -- other ends -----------------------------------------------------------------------------------------------------


@in_loop
@pytest.mark.parametrize("who", ["client", "server"])
async def test_an_end_without_a_close_frame_is_passed_on_and_is_an_error(who: str) -> None:
    """W3"""
    async with opened() as (proxy, client, server, _):
        await passes(client, server, HELLO)
        leaving, staying = (client, server) if who == "client" else (server, client)
        leaving.ends()
        await staying.sees_end()
        staying.closes()
        recorded = await proxy.flow()
        assert recorded.error == f"the {who} ended the connection without closing the WebSocket"
        assert recorded.messages == [(True, b"Hello")]
        assert recorded.flow.websocket == WebSocket(who == "client", 1006)
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("who", ["client", "server"])
async def test_a_reset_is_passed_on_and_is_an_error_and_all_messages_are_there(who: str) -> None:
    """W3"""
    async with opened() as (proxy, client, server, _):
        await passes(client, server, HELLO)
        await passes(client, server, HELLO[:8])
        leaving, staying = (client, server) if who == "client" else (server, client)
        leaving.resets()
        await staying.sees_reset()
        recorded = await proxy.flow()
        assert f"the {who} broke the connection" in recorded.error
        assert recorded.messages == [(True, b"Hello"), (True, b"He")]
        assert recorded.flow.websocket == WebSocket(who == "client", 1006)
        await proxy.ends()


@in_loop
async def test_a_reset_after_a_close_frame_is_no_error() -> None:
    """Browsers do not wait for the answer to it."""
    async with opened() as (proxy, client, server, _):
        await passes(client, server, close(1001, masked=True))
        client.resets()
        await server.sees_reset()
        recorded = await proxy.flow()
        assert (recorded.error, recorded.flow.websocket) == ("", WebSocket(True, 1001))
        await proxy.ends()


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs are looked after more often."""
    monkeypatch.setattr(stream_module, "SWEEP_SECONDS", 0.001)


@in_loop
async def test_after_two_close_frames_the_end_is_proper_however_one_goes() -> None:
    """Some servers do not end TLS, some reset; to browsers that would look like a failure."""
    async with opened() as (proxy, client, server, _):
        await passes(client, server, close(masked=True))
        await passes(server, client, close(masked=False))
        server.resets()
        await client.sees_end()
        assert (await proxy.flow()).error == ""
        await proxy.ends()


@in_loop
@pytest.mark.usefixtures("fast_clock")
async def test_an_end_that_is_not_answered_is_not_waited_for_as_long_as_a_message() -> None:
    """R4"""
    async with opened(timeout_head=0.05) as (proxy, client, server, _):
        await passes(client, server, close(masked=True))
        await passes(server, client, close(masked=False))
        await client.sees_end()
        await server.sees_end()
        assert (await proxy.flow()).error == ""
        await proxy.ends()


@in_loop
@pytest.mark.usefixtures("fast_clock")
async def test_a_server_that_stays_when_the_client_has_gone_is_given_up() -> None:
    """R4"""
    async with opened(timeout_head=0.05) as (proxy, client, server, _):
        client.ends()
        await client.sees_end()
        await server.sees_end()
        recorded = await proxy.flow()
        assert recorded.error == "the client ended the connection without closing the WebSocket"
        await proxy.ends()


@in_loop
@pytest.mark.usefixtures("fast_clock")
async def test_who_sends_nothing_for_too_long_is_given_up() -> None:
    """R4"""
    async with opened(timeout_quiet=0.05) as (proxy, client, _server, _):
        await client.sees_reset()
        recorded = await proxy.flow()
        assert "sent nothing for 0.05 seconds" in recorded.error
        assert recorded.flow.websocket == WebSocket(None, 1006)
        await proxy.ends()


@in_loop
async def test_a_websocket_that_is_stopped_says_so() -> None:
    """R7, W3"""
    async with opened() as (proxy, client, server, _):
        await passes(client, server, HELLO)
        proxy.tasks[0].cancel()
        recorded = await proxy.flow()
        assert recorded.error == "the proxy was stopped before the WebSocket was closed"
        assert (recorded.messages, recorded.flow.websocket) == (
            [(True, b"Hello")],
            WebSocket(None, 1001, recorded.error),
        )
        for peer in (client, server):
            assert (await reads_frame(peer))[1] == (1001).to_bytes(2) + recorded.error.encode()
            await peer.sees_end()


@in_loop
async def test_a_websocket_that_is_stopped_while_it_is_closed_for_a_broken_rule_is_closed_once() -> None:
    """R7"""
    async with opened() as (proxy, client, server, _):
        await client.sends(frame(3, masked=True))
        for peer in (client, server):
            assert (await reads_frame(peer))[1][:2] == (1002).to_bytes(2)
        proxy.tasks[0].cancel()
        for peer in (client, server):
            await peer.sees_end()
        assert (await proxy.flow()).flow.websocket.close_code == 1002


# -- handlers -------------------------------------------------------------------------------------------------------


class Changing(Handler):
    """Puts what it is told in the place of messages; None drops them."""

    def __init__(self, **answers: str | None) -> None:
        self.seen: list[tuple[bool, str, bytes]] = []
        self.errors: list[Flow] = []
        self._answers = answers

    async def websocket_message(self, flow: Flow, message: Message) -> None:
        assert flow.websocket
        self.seen.append((message.from_client, message.kind, message.content))
        text = message.content.decode()
        answer = self._answers.get(text, text)
        if answer is None:
            message.dropped = True
        else:
            message.content = answer.encode()

    async def error(self, flow: Flow) -> None:
        self.errors.append(flow)


@in_loop
@pytest.mark.parametrize("compressed", [False, True])
async def test_a_handler_can_change_and_drop_messages(compressed: bool) -> None:
    name, handler = b"permessage-deflate" if compressed else b"", Changing(Hello="Goodbye", secret=None)
    deflater = Deflater()

    def sent(text: bytes) -> bytes:
        return frame(TEXT, deflater(text) if compressed else text, masked=True, bits=4 if compressed else 0)

    async with opened(handler, offer=name, answer=name) as (proxy, client, server, _):
        inflater = zlib.decompressobj(-15)
        for text, expected in ((b"Hello", b"Goodbye"), (b"secret", None), (b"Hello again", b"Hello again")):
            await client.sends(sent(text))
            if expected:
                opcode, payload = await reads_frame(server)
                content = inflater.decompress(payload + b"\0\0\xff\xff") if compressed else payload
                assert (opcode, content) == (TEXT, expected)
        await client.sends(close(1000, b"bye", masked=True))
        assert await reads_frame(server) == (CLOSE, b"\x03\xe8bye")
        await passes(server, client, close(1000, masked=False))
        client.closes()
        server.closes()
        recorded = await proxy.flow()
        assert [content for _, content in recorded.messages[:2]] == [b"Goodbye", b"Hello again"]
        assert recorded.kinds == ["text", "text", "close", "close"]
        assert handler.seen == [(True, "text", text) for text in (b"Hello", b"secret", b"Hello again")]


@in_loop
async def test_a_handler_is_given_a_message_when_it_is_whole_and_pings_go_by() -> None:
    async with opened(Changing()) as (proxy, client, server, _):
        await server.sends(frame(TEXT, b"a", masked=False, fin=False) + frame(PING, b"?", masked=False))
        await client.receives(frame(PING, b"?", masked=False))
        await server.sends(frame(CONTINUATION, b"b", masked=False))
        fragments = frame(TEXT, b"a", masked=False, fin=False) + frame(CONTINUATION, b"b", masked=False)
        await client.receives(fragments)
        client.resets()
        await server.sees_reset()
        assert (await proxy.flow()).messages == [(False, b"?"), (False, b"ab")]


@in_loop
async def test_a_message_that_is_too_large_for_handlers_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "LARGEST", 1000)
    handler = Changing()
    async with opened(handler) as (proxy, client, server, _):
        await server.sends(frame(BINARY, bytes(1001), masked=False))
        for peer in (client, server):
            assert (await reads_frame(peer))[1][:2] == (1009).to_bytes(2)
            peer.closes()
        recorded = await proxy.flow()
        assert "more than 1000 bytes" in recorded.error
        assert handler.errors == [recorded.flow]
        assert handler.seen == []


@in_loop
async def test_a_handler_that_refuses_ends_the_websocket() -> None:
    class Refusing(Handler):
        async def websocket_message(self, _flow: Flow, _message: Message) -> None:
            raise StreamError("a handler does not want this")

    async with opened(Refusing()) as (proxy, client, server, _):
        await client.sends(HELLO)
        await client.sees_reset()
        await server.sees_reset()
        recorded = await proxy.flow()
        assert (recorded.error, recorded.messages) == ("a handler does not want this", [])
        assert recorded.flow.websocket == WebSocket(None, 1006)
