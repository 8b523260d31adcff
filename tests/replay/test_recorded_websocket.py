"""The client of a recorded WebSocket, as the relay between it and the server sees it."""

import asyncio

import pytest
from support.filter_flows import a_request, a_response, an_exchange
from support.peers import in_loop
from support.websockets import BINARY, PING, TEXT, close, frame

from mitmdump.errors import StreamError
from mitmdump.model.flow import Flow
from mitmdump.model.message import Message
from mitmdump.replay.recorded_websocket import RecordedWebSocket, Words, script
from mitmdump.wire.events import Role
from mitmdump.wire.websocket import Payload, WebSocket

CLIENT, SERVER = True, False


def talk(*messages: tuple[bool, str, bytes]) -> Flow:
    """A WebSocket in which this was said, a second apart."""
    flow = an_exchange(a_request(), a_response(101))
    flow.timestamp_start = 0.0
    flow.messages = [Message(by, kind, float(at), content) for at, (by, kind, content) in enumerate(messages)]
    return flow


class Heard:
    """The server's ear."""

    def __init__(self, client: RecordedWebSocket) -> None:
        self._client = client
        self._codec = WebSocket(Role.SERVER)

    async def hears(self) -> list[tuple[str, bytes]]:
        """What the client says next."""
        data = await asyncio.wait_for(self._client.read(), 3)
        return [(each.kind, each.content) for each in self._codec.receive(data) if isinstance(each, Payload)]


@in_loop
async def test_each_message_comes_after_those_of_the_server_that_came_before_it():
    client = RecordedWebSocket(
        talk((CLIENT, "text", b"a"), (SERVER, "text", b"1"), (SERVER, "binary", b"2"), (CLIENT, "binary", b"b")),
        None,
        speed=None,
    )
    server = Heard(client)

    assert await server.hears() == [("text", b"a")]
    client.write(frame(TEXT, b"other", masked=False))
    waiting = asyncio.create_task(server.hears())
    await asyncio.sleep(0)
    assert not waiting.done()
    client.write(frame(BINARY, b"words", masked=False))
    assert await waiting == [("binary", b"b"), ("close", b"\x03\xe8")]
    client.write_eof()
    assert await client.read() == b""


@in_loop
async def test_a_ping_is_answered_and_a_recorded_answer_is_not_repeated():
    client = RecordedWebSocket(
        talk((SERVER, "ping", b"x"), (CLIENT, "pong", b"x"), (SERVER, "text", b"1")), None, speed=None
    )
    server = Heard(client)

    client.write(frame(PING, b"new", masked=False))
    assert await server.hears() == [("pong", b"new")]
    client.write(frame(TEXT, b"1", masked=False))
    assert await server.hears() == [("close", b"\x03\xe8")]
    client.close()


@in_loop
async def test_a_server_that_closes_is_answered_and_ends_it():
    client = RecordedWebSocket(talk((SERVER, "text", b"1"), (CLIENT, "text", b"2")), None, speed=None)

    client.write(close(1001, masked=False))

    assert await Heard(client).hears() == [("close", b"\x03\xe9")]
    client.write_eof()
    assert await client.read() == b""


@in_loop
async def test_a_client_that_only_answered_the_close_frame_of_the_server_lets_it_close_again():
    recorded = talk((CLIENT, "text", b"1"), (SERVER, "close", b"\x0f\xa1"), (CLIENT, "close", b"\x0f\xa1"))
    client = RecordedWebSocket(recorded, None, speed=None)
    server = Heard(client)

    assert await server.hears() == [("text", b"1")]
    client.write(close(4000, masked=False))
    assert await server.hears() == [("close", b"\x0f\xa0")]
    client.close()


@in_loop
async def test_a_server_that_does_not_close_as_it_did_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mitmdump.replay.recorded_websocket.PATIENCE", 0.01)
    client = RecordedWebSocket(talk((SERVER, "close", b"")), None, speed=None)

    assert await Heard(client).hears() == [("close", b"\x03\xe8")]
    assert await asyncio.wait_for(client.read(), 3) == b""


@in_loop
async def test_a_broken_connection_is_told_to_who_reads():
    client = RecordedWebSocket(talk((SERVER, "text", b"1")), None, speed=None)

    client.abort(StreamError("broken"))

    with pytest.raises(StreamError, match="broken"):
        await client.read()
    client.close()


@in_loop
async def test_a_server_that_does_not_close_is_not_waited_for_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mitmdump.replay.recorded_websocket.PATIENCE", 0.01)
    client = RecordedWebSocket(talk(), None, speed=None)

    assert await Heard(client).hears() == [("close", b"\x03\xe8")]
    assert await asyncio.wait_for(client.read(), 3) == b""


def test_a_message_in_pieces_is_one_whatever_came_in_between():
    flow = talk(
        (SERVER, "text", b"0"),
        (CLIENT, "text", b"ab"),
        (SERVER, "text", b"1"),
        (CLIENT, "continuation", b"cd"),
        (CLIENT, "close", b"\x0b\xb8bye"),
    )

    assert list(script(flow)) == [
        Words(Payload("text", b"abcd"), 1, 1.0),
        Words(Payload("close", b"\x0b\xb8bye"), 2, 1.0),
    ]


@pytest.mark.parametrize("content", [b"\x00", b"\x00\x00", b"\x03\xe8\xff"])
def test_a_close_frame_that_may_not_be_sent_is_not(content: bytes):
    assert list(script(talk((CLIENT, "close", content)))) == [Words(Payload("close", b"\x03\xe8"), 0, 0.0)]


def test_only_messages_are_waited_for():
    told = [(SERVER, "ping", b""), (SERVER, "text", b"1"), (SERVER, "pong", b""), (CLIENT, "text", b"a")]

    assert [words.heard for words in script(talk(*told))] == [1, 1]
