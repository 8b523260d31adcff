"""The short way to a flow and the tables agree on every map; nearly all flows take the short one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.flowfiles import a_flow, value

from mitmdump.flowfile import keys, schema
from mitmdump.flowfile.keys import LAST_TIME
from mitmdump.flowfile.usual import read_usual_flow
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow


def find(connection_id: int, side: Any) -> Connection:
    return Connection(side, connection_id)


def a_map(flow: Flow | None = None, request: bytes | None = b"", response: bytes | None = b"hello") -> dict[str, Any]:
    """A final FLOW frame as it is unpacked."""
    return as_unpacked(schema.flow_map(flow or a_flow(), request, response) | {"done": True})  # type: ignore[no-any-return]


def as_unpacked(found: Any) -> Any:
    if isinstance(found, dict):
        return {name: as_unpacked(inner) for name, inner in found.items()}
    return tuple(map(as_unpacked, found)) if isinstance(found, list | tuple) else found


def by_the_tables(found: Any) -> Any:
    """What the tables make of a map, None if they refuse it."""
    with patch.object(schema, "read_usual_flow", lambda *_: None):
        try:
            flow, told = schema.read_flow(deepcopy(found), find)
        except (ValueError, TypeError):
            return None
    return value(flow), told


NUMBERS = (0, 1, -1, 2**70, 5.0, -1.0, LAST_TIME, 1e300, float("nan"), float("inf"))
TEXTS = ("", "http", "tcp", "\ud800", b"", b"\xff")
ARRAYS = ((), ((b"a", b"b"),), ((b"a", "b"),), ((b"a",),), ({b"a": 1, b"c": 1},), (b"ab",), ("ab",))
MAPS = (
    {},
    {"complete": True},
    {"content": b"x"},
    {"complete": True, "content": b"x"},
    {"length": 7, "complete": True},
    {"stream_id": 1},
    {"stream_id": True},
    {"stream_id": 1, "note": ("a",)},
)
VALUES = (None, True, False, *NUMBERS, *TEXTS, *ARRAYS, *MAPS)
PLACES = {
    (): keys.FLOW,
    ("request",): keys.REQUEST,
    ("response",): keys.RESPONSE,
    ("request", "body"): keys.BODY,
    ("response", "body"): keys.BODY,
}
# Where, under what name, and what is there instead; REMOVED: nothing.
REMOVED = object()
CHANGES = [
    (path, name, instead)
    for path, table in PLACES.items()
    for name in ("later", *(key.name for key in table.keys))
    for instead in (REMOVED, *VALUES)
]


def with_changes(changes: list[Any]) -> dict[str, Any]:
    found = a_map(request=b"question")
    for path, name, instead in changes:
        place: Any = found
        for step in path:
            place = place.get(step) if isinstance(place, dict) else None
        if isinstance(place, dict):
            _ = place.pop(name, None) if instead is REMOVED else place.update({name: deepcopy(instead)})
    return found


def check(changes: list[Any]) -> None:
    found = with_changes(changes)
    usual = read_usual_flow(found, find)
    assert repr(found) == repr(with_changes(changes))
    assert usual is None or repr((value(usual), schema.Told(True, None, None))) == repr(by_the_tables(found)), changes


@pytest.mark.parametrize("path", PLACES)
def test_what_the_short_way_gives_is_what_the_tables_give(path: tuple[str, ...]) -> None:
    for change in CHANGES:
        if change[0] == path:
            check([change])


@given(st.lists(st.sampled_from(CHANGES), min_size=2, max_size=3))
def test_the_same_where_several_things_are_odd(changes: list[Any]) -> None:
    check(changes)


def changed(part: str, **values: Any) -> Flow:
    flow = a_flow()
    for name, given_value in values.items():
        setattr(getattr(flow, part), name, given_value)
    return flow


@pytest.mark.parametrize(
    "found",
    [
        a_map(),
        a_map(response=None),
        a_map(changed("request", authority="a.test:80")),
        a_map(changed("response", http_version="HTTP/1.0")),
        a_map(changed("response", reason="")),
        a_map(a_flow(metadata={"stream_id": 7})),
    ],
    ids=["plain", "body not kept", "with an authority", "another version", "no reason", "HTTP/2"],
)
def test_an_exchange_that_ended_well_takes_the_short_way(found: dict[str, Any]) -> None:
    usual = read_usual_flow(found, find)
    assert usual
    assert value(usual) == by_the_tables(found)[0]


@pytest.mark.parametrize("content", [None, 1, "id", b"id", (), ("id",), {}, {"id": 1}])
def test_what_is_no_flow_is_left_to_the_tables(content: Any) -> None:
    assert read_usual_flow(content, find) is None
