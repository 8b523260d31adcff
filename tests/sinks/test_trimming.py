"""A limit on what is stored of a body: the sink sees no more, and the facts stay those of the whole."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from support.flowfiles import a_flow, a_tcp_flow, live

from mitmdump.model.flow import Flow, Part
from mitmdump.model.message import Message
from mitmdump.sinks.base import Sink
from mitmdump.sinks.trim import Trimming


class Keeper(Sink):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.messages: list[bytes] = []
        self.raw: list[Any] = []

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        self.pieces.append(data)

    def message(self, flow: Flow, message: Message) -> None:
        self.messages.append(message.content)

    def put(self, flow: Flow, raw: Any = None) -> None:
        self.raw.append(raw)


def run(flow: Flow, limit: int, *pieces: bytes) -> list[bytes]:
    """Pass a response's body, and return what is left of its pieces."""
    keeper = Keeper()
    sink = Trimming(keeper, limit)
    sink.begin(live(flow))
    for piece in pieces:
        sink.data(flow, Part.RESPONSE, piece)
    sink.finish(flow)
    return keeper.pieces


@pytest.mark.parametrize(
    ("limit", "left"),
    [(0, []), (1, [b"h"]), (3, [b"hel"]), (4, [b"hel", b"l"]), (5, [b"hel", b"lo"]), (9, [b"hel", b"lo"])],
)
def test_no_more_than_the_limit_passes(limit: int, left: list[bytes]) -> None:
    assert run(a_flow(), limit, b"hel", b"lo") == left


@pytest.mark.parametrize(
    ("limit", "digest"), [(4, sha256(b"hello").digest()), (0, sha256(b"hello").digest()), (5, None)]
)
def test_the_digest_of_a_cut_body_is_that_of_the_whole(limit: int, digest: bytes | None) -> None:
    flow = a_flow()

    run(flow, limit, b"hel", b"lo")

    assert flow.response
    assert (flow.response.body.length, flow.response.body.complete) == (5, True)
    assert flow.response.body.digest == digest


def test_each_body_has_a_limit_of_its_own() -> None:
    keeper, flow = Keeper(), live(a_flow())
    sink = Trimming(keeper, 2)

    sink.begin(flow)
    for part in Part:
        sink.data(flow, part, b"abc")

    assert keeper.pieces == [b"ab", b"ab"]


def test_a_digest_that_was_known_is_not_replaced_by_that_of_a_part() -> None:
    flow = a_flow()
    assert flow.response
    flow.response.body.length, flow.response.body.digest = 9, b"known"

    Trimming(Sink(), 2).put(flow)

    assert flow.response.body.digest == b"known"


def test_messages_are_kept_whole() -> None:
    keeper = Keeper()

    sink, flow = Trimming(keeper, 1), a_tcp_flow(1)
    sink.begin(flow)
    sink.message(flow, Message(True, "raw", 0.0, b"hello"))

    assert keeper.messages == [b"hello"]


@pytest.mark.parametrize(("limit", "raws", "pieces"), [(5, ["raw"], []), (4, [], [b"hell"])])
def test_only_a_flow_of_which_nothing_is_cut_is_copied_from_its_file(
    limit: int, raws: list[str], pieces: list[bytes]
) -> None:
    keeper = Keeper()

    Trimming(keeper, limit).put(a_flow(), "raw")  # type: ignore[arg-type]

    assert (keeper.raw, keeper.pieces) == (raws, pieces)
