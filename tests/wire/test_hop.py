"""What of a message's fields goes on to the next hop."""

import pytest

from mitmdump.wire.events import RequestHead, ResponseHead
from mitmdump.wire.hop import asks_for_upgrade, end_to_end, with_upgrade

HOST = (b"Host", b"a.test")


def request(*fields: tuple[bytes, bytes], version: bytes = b"HTTP/1.1") -> RequestHead:
    return RequestHead(b"GET", b"/", list(fields), version)


def lines(text: str) -> list[tuple[bytes, bytes]]:
    return [tuple(part.strip() for part in line.encode().split(b":", 1)) for line in text.split(" | ")]


HOP_BY_HOP = ["Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Upgrade", "HTTP2-Settings"]


@pytest.mark.parametrize("name", [*HOP_BY_HOP, *map(str.upper, HOP_BY_HOP), *map(str.lower, HOP_BY_HOP)])
def test_what_speaks_of_one_connection_goes_no_further(name):
    """H9"""
    head = request(HOST, (name.encode(), b"a"), (b"X", b"y"), (name.encode(), b"b"))
    assert end_to_end(head) == [HOST, (b"X", b"y")]


def test_what_connection_lists_goes_no_further_in_any_spelling_or_field():
    """H9"""
    head = request(*lines("A: 1 | connection: a,\tB ,, | X: 2 | Connection: c | b: 3 | C: 4 | ab: 5"))
    assert end_to_end(head) == lines("X: 2 | ab: 5")


KEPT = [
    "Host",
    "Content-Length",
    "Transfer-Encoding",
    "Content-Type",
    "Content-Encoding",
    "Content-Range",
    "Authorization",
    "Cookie",
    "Set-Cookie",
    "Expect",
    "Range",
    "Cache-Control",
    "Trailer",
]


@pytest.mark.parametrize("name", KEPT)
def test_connection_cannot_remove_what_decides_about_the_message(name):
    """H9"""
    field = (name.encode(), b"x")
    assert end_to_end(request(field, (b"Connection", name.lower().encode() + b", close"))) == [field]


def test_everything_else_goes_on_in_its_order_and_spelling():
    """H22"""
    fields = lines(
        "b: 2 | HOST: a.test | A: 1 | b: 2 | Via: x | Trailer: y | Proxy-Authenticate: z | Transfer-Encoding: chunked"
    )
    assert end_to_end(request(*fields)) == fields
    assert end_to_end(request(*fields, (b"Connection", b"close"))) == fields


def test_the_fields_that_go_on_are_a_list_of_their_own():
    head = request(HOST)
    end_to_end(head).append((b"X", b"y"))
    assert head.fields == [HOST]


@pytest.mark.parametrize("passing_on", [end_to_end, with_upgrade])
def test_a_content_length_that_was_repeated_goes_on_once(passing_on):
    """H2"""
    head = request(*lines("A: 1 | Content-Length: 5 | A: 1 | content-length: 5 | Content-Length: 5 | B: 2"))
    assert passing_on(head) == lines("A: 1 | Content-Length: 5 | A: 1 | B: 2")


@pytest.mark.parametrize(
    ("fields", "passed"),
    [
        ("Upgrade: websocket | Connection: Upgrade", "Upgrade: websocket | Connection: Upgrade"),
        (
            "A: 1 | connection: keep-alive, upgrade | upgrade: x | B: 2",
            "A: 1 | connection: Upgrade | upgrade: x | B: 2",
        ),
        ("Connection: a, Upgrade | A: 1 | Upgrade: x | TE: trailers", "Connection: Upgrade | Upgrade: x"),
        (
            "Connection: Upgrade | Upgrade: x | Connection: close | Proxy-Authorization: b",
            "Connection: Upgrade | Upgrade: x",
        ),
    ],
)
def test_an_upgrade_goes_on_and_nothing_else_of_the_connection(fields, passed):
    """H9"""
    head = request(*lines(fields))
    assert asks_for_upgrade(head)
    assert with_upgrade(head) == lines(passed)


def test_an_upgrade_to_http2_takes_its_settings_along():
    head = request(*lines("Connection: Upgrade, HTTP2-Settings | Upgrade: h2c | HTTP2-Settings: AAMAAABk"))
    passed = dict(with_upgrade(head))
    assert (passed[b"Upgrade"], passed[b"HTTP2-Settings"]) == (b"h2c", b"AAMAAABk")
    assert passed[b"Connection"].lower() == b"upgrade, http2-settings"


@pytest.mark.parametrize(
    "head",
    [
        request(*lines("Upgrade: x")),
        request(*lines("Upgrade: x | Connection: keep-alive")),
        request(*lines("Connection: Upgrade")),
        request(*lines("Upgrade: x | Connection: Upgrade"), version=b"HTTP/1.0"),
        ResponseHead(426, lines("Upgrade: x")),
    ],
)
def test_only_a_message_that_says_so_twice_asks_for_an_upgrade(head):
    """H16"""
    assert not asks_for_upgrade(head)
