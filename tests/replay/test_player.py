"""Whose turn it is in a recorded WebSocket that is played."""

import pytest

from mitmdump.model.message import Message
from mitmdump.replay import player
from mitmdump.replay.player import turns

CLIENT, SERVER = True, False
LARGE = b"x" * 100_000


def taken(*said):
    """The turns of what was said, as it is written here."""
    messages = (Message(from_client, kind, 1.0, content) for from_client, kind, content in said)
    return [(message.from_client, message.kind, message.content) for message in turns(messages)]


def test_the_client_is_waited_for_and_the_server_speaks():
    said = [(SERVER, "text", b"a"), (CLIENT, "text", b"b"), (SERVER, "ping", b"c"), (SERVER, "close", b"")]

    assert taken(*said) == [(SERVER, "text", b"a"), (CLIENT, "text", b""), *said[2:]]


def test_what_peers_do_by_themselves_is_nobodys_turn():
    assert taken((SERVER, "pong", b""), (CLIENT, "pong", b""), (CLIENT, "ping", b"")) == []


def test_a_large_message_is_one_whatever_came_in_between():
    assert taken(
        (SERVER, "text", LARGE),
        (CLIENT, "text", b"1"),
        (SERVER, "ping", b"2"),
        (SERVER, "continuation", b"yz"),
        (SERVER, "binary", b"3"),
    ) == [
        (SERVER, "text", LARGE + b"yz"),
        (CLIENT, "text", b""),
        (SERVER, "ping", b"2"),
        (SERVER, "binary", b"3"),
    ]


@pytest.mark.parametrize("after", [(SERVER, "text", b"1"), (SERVER, "close", b""), (SERVER, "binary", LARGE)])
def test_a_large_message_may_be_whole(after):
    assert taken((SERVER, "text", LARGE), after) == [(SERVER, "text", LARGE), after]


def test_a_large_message_of_the_client_is_waited_for_once():
    assert taken((CLIENT, "binary", LARGE), (SERVER, "text", b"a"), (CLIENT, "continuation", LARGE)) == [
        (CLIENT, "binary", b""),
        (SERVER, "text", b"a"),
    ]


def test_a_message_without_end_is_said_in_several(monkeypatch):
    monkeypatch.setattr(player, "LARGEST", 2 * len(LARGE))

    assert [
        len(content) for *_, content in taken((SERVER, "binary", LARGE), *[(SERVER, "continuation", LARGE)] * 4)
    ] == [
        2 * len(LARGE),
        2 * len(LARGE),
        len(LARGE),
    ]


def test_nothing_is_read_ahead_of_a_message_that_cannot_go_on():
    def messages():
        yield Message(SERVER, "text", 1.0, b"a")
        pytest.fail("read ahead")

    assert next(turns(messages())).content == b"a"
