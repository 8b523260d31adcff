"""What is agreed on about compression, and what of an offer is passed on."""

from __future__ import annotations

import pytest

from mitmdump.model.headers import Field
from mitmdump.wire.handshake import Deflate, agreed, grants_websocket, with_known_extensions

NAME = b"Sec-WebSocket-Extensions"


@pytest.mark.parametrize(
    ("offer", "passed"),
    [
        (b"permessage-deflate", b"permessage-deflate"),
        (b"permessage-deflate; client_max_window_bits", b"permessage-deflate; client_max_window_bits"),
        (b'Permessage-Deflate;server_max_window_bits = "10" , permessage-deflate',) * 2,
        (b"x-webkit-deflate-frame, permessage-deflate", b"permessage-deflate"),
        (b"permessage-deflate; unheard_of, permessage-deflate", b"permessage-deflate"),
        (b"permessage-deflate; server_no_context_takeover=1", None),
        (b"permessage-deflate; server_max_window_bits", None),
        (b"permessage-deflate; client_max_window_bits=7", None),
        (b"permessage-deflate; client_max_window_bits=9; client_max_window_bits=9", None),
        (b"bbf-usp-protocol", None),
        (b"", None),
    ],
)
def test_only_offers_that_are_understood_are_passed_on(offer: bytes, passed: bytes | None) -> None:
    """W1"""
    fields = [(b"Host", b"a.test"), (NAME, offer), (b"X", b"permessage-foo")]
    found = with_known_extensions(fields)
    assert found == [field for field in [fields[0], passed is not None and (NAME, passed), fields[2]] if field]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([], None),
        ([b""], None),
        ([b"permessage-deflate"], Deflate()),
        (
            [b"permessage-deflate; server_no_context_takeover; client_max_window_bits=10"],
            Deflate(server_no_context_takeover=True, client_max_window_bits=10),
        ),
        (
            [b"permessage-deflate; client_no_context_takeover; server_max_window_bits=8"],
            Deflate(client_no_context_takeover=True, server_max_window_bits=8),
        ),
    ],
)
def test_the_servers_answer_is_what_is_agreed_on(answer: list[bytes], expected: Deflate | None) -> None:
    """W1"""
    assert agreed([(NAME.lower(), value) for value in answer]) == expected


@pytest.mark.parametrize(
    "answer",
    [
        [b"x-webkit-deflate-frame"],
        [b"permessage-deflate, permessage-deflate"],
        [b"permessage-deflate", b"other"],
        [b"permessage-deflate; client_max_window_bits"],
        [b"permessage-deflate; client_max_window_bits=16"],
    ],
)
def test_an_answer_that_is_not_understood_is_an_error(answer: list[bytes]) -> None:
    with pytest.raises(ValueError, match="unknown WebSocket extensions"):
        agreed([(NAME, value) for value in answer])


ASKED = [(b"Upgrade", b"websocket"), (b"Sec-WebSocket-Version", b"13")]
GRANTED = [(b"upgrade", b"WebSocket"), (b"Connection", b"Upgrade")]


@pytest.mark.parametrize(
    ("asked", "granted", "expected"),
    [
        (ASKED, GRANTED, True),
        (ASKED, [*GRANTED, (NAME, b"permessage-deflate")], True),
        (ASKED, [*GRANTED, (NAME, b"other")], False),
        (ASKED, [(b"Upgrade", b"h2c")], False),
        (ASKED, [], False),
        (ASKED[:1], GRANTED, False),  # an older protocol, with other frames
        ([*ASKED[:1], (b"Sec-WebSocket-Version", b"8")], GRANTED, False),
    ],
)
def test_only_what_can_be_read_is_a_websocket(asked: list[Field], granted: list[Field], expected: bool) -> None:
    """H16"""
    assert grants_websocket(asked, granted) is expected
