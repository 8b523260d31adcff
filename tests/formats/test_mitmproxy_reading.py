"""Damage, hostile files, pipes and large flows."""

from __future__ import annotations

import tracemalloc
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.flowfiles import a_flow, a_tcp_flow, values
from support.mitmfiles import CONNECTION, a_state, packed, paths, piped, reader, written

from mitmdump.errors import FlowFileError
from mitmdump.formats.mitmproxy import MITMPROXY, MitmproxyReader

THREE = [packed(a_state(number)) for number in (1, 2, 3)]
MIB = 1024 * 1024


def a_response(content: bytes) -> dict[str, Any]:
    return {"status_code": 200, "headers": [], "content": content, "timestamp_start": 3.0, "timestamp_end": 4.0}


# What the files are told by


@pytest.mark.parametrize("state", [a_state(), {"type": "tcp", "version": 21}, {"websocket": None, "version": 15}])
def test_a_file_is_told_by_its_first_bytes(state):
    assert MITMPROXY.recognise(packed(state)[:4096])


@pytest.mark.parametrize(
    "head",
    [
        b"", b"12", b"<html>", b"12:30 lunch, with: a", b"12:4 type", b"123:hello,", b'{"log": {}}',
        b"5:hello,7:version;", b"\xc912:4:type;",
    ],
)  # fmt: skip
def test_what_is_something_else_is_not_taken_for_it(head):
    assert not MITMPROXY.recognise(head)


# Damage


def test_every_truncation_leaves_the_flows_before_it():
    """S2"""
    data = b"".join(THREE)
    ends = [sum(map(len, THREE[:count])) for count in range(4)]

    for size in range(len(data)):
        found = reader(data[:size])

        whole = sum(end <= size for end in ends) - 1
        assert paths(found) == ["/1", "/2", "/3"][:whole]
        start = ends[whole]
        assert [damage[:2] for damage in found.damage] == ([(start, size - start)] if size > start else [])


def test_every_damaged_byte_costs_at_most_the_flow_it_is_in():
    """S5"""
    data = b"".join(THREE)
    start, end = len(THREE[0]), len(THREE[0]) + len(THREE[1])

    for place in range(start, end):
        for flip in (0x01, 0x10, 0xFF):
            damaged = data[:place] + bytes([data[place] ^ flip]) + data[place + 1 :]
            found = paths(reader(damaged))

            assert (found[0], found[-1]) == ("/1", "/3")


@pytest.mark.parametrize("between", [b"x", b"garbage 12:34", b"99999:4:type;", b"9" * 100_000, THREE[0][:-9]])
def test_the_next_flow_is_found_behind_garbage(between):
    data = THREE[0] + between + THREE[1]
    found = reader(data)

    assert paths(found) == ["/1", "/2"]
    assert [damage[:2] for damage in found.damage] == [(len(THREE[0]), len(between))]


def test_a_flow_across_the_border_of_two_searches_is_found():
    for size in range(65_480, 65_680, 3):
        assert paths(reader(b"?" * size + THREE[0])) == ["/1"]


def test_how_a_flow_was_before_it_was_changed_is_not_taken_for_one():
    torn = packed(a_state(1, backup=a_state(7), comment="x" * 100))[:-50]

    assert paths(reader(torn + THREE[1])) == ["/2"]


def test_a_flow_with_a_sound_frame_and_no_sense_is_passed_over():
    found = reader(THREE[0] + packed({"type": "http", "version": 21, "request": 1}) + THREE[1])

    assert paths(found) == ["/1", "/2"]
    assert [damage.reason for damage in found.damage] == ["something else where a dict should be"]


def test_a_pipe_is_searched_too():
    data = THREE[0] + THREE[1][:-20] + THREE[2]
    found = piped(data, step=7)

    assert paths(found) == ["/1", "/3"]
    assert [damage[:2] for damage in found.damage] == [(len(THREE[0]), len(THREE[1]) - 20)]


def test_a_newer_version_is_refused_clearly():
    """S7"""
    found = reader(packed(a_state(1, version=22)) + THREE[1])

    with pytest.raises(FlowFileError, match=r"test\.mitm: it was written by a newer mitmproxy, as version 22"):
        paths(found)


def test_a_newer_flow_behind_others_is_passed_over():
    found = reader(THREE[0] + packed(a_state(2, version=22)) + THREE[2])

    assert paths(found) == ["/1", "/3"]
    assert [damage.reason for damage in found.damage] == ["a flow of version 22, where 21 is the newest known"]


# Values that are not what they should be


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", None), ("version", []), ("version", True), ("version", "21"), ("type", "ftp"), ("type", 1),
        ("client_conn", []), ("client_conn", CONNECTION | {"peername": ["a"]}), ("comment", 1), ("id", 5),
        ("client_conn", CONNECTION | {"peername": ["a", 65536]}), ("client_conn", CONNECTION | {"peername": "ab"}),
        ("client_conn", CONNECTION | {"certificate_list": [1]}), ("client_conn", CONNECTION | {"timestamp_end": "now"}),
        ("client_conn", CONNECTION | {"timestamp_start": float("nan")}), ("timestamp_created", -1), ("metadata", 1),
        ("timestamp_created", 1e300), ("error", "x"), ("error", {"msg": []}), ("request", {"headers": [1]}),
        ("request", {"headers": [[b"a"]]}), ("request", {"headers": [[b"a", b"b", b"c"]]}), ("request", {"content": 7}),
        ("request", {"content": []}), ("request", {"port": -1}), ("request", {"httpversion": 1}),
        ("response", {"status_code": "200"}), ("websocket", {"messages": None}),
        ("websocket", {"messages": [[1, True]]}), ("websocket", {"messages": [[1, 1, b"", 1.0]]}),
        ("websocket", {"messages": [[9, True, b"", 1.0]]}), ("client_conn", 1),
        ("websocket", {"messages": [[1, True, None, 1.0]]}), ("websocket", {"messages": [], "closed_by_client": 1}),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_damage(name, value):
    """S5"""
    found = reader(packed(a_state(1, **{name: value})) + THREE[1])

    assert paths(found) == ["/2"]
    assert len(found.damage) == 1


@pytest.mark.parametrize("kind", ["tcp", "udp", "websocket", "dns"])
def test_messages_that_cannot_be_are_damage(kind):
    found = reader(packed(a_state(1, type=kind, messages=7, request={"id": 1})) + THREE[1])

    assert paths(found) == ["/2"]
    assert len(found.damage) == 1


_hostile = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 70_000) | st.floats() | st.binary(max_size=4) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(a_state())), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100)
@given(
    st.dictionaries(st.sampled_from(sorted({*a_state(), "messages", "type", "metadata", "error", "marked"})), _hostile)
)
def test_whatever_a_flow_holds_it_is_read_or_damage(known):
    """S5"""
    found = reader(packed(a_state(1) | known) + THREE[1])
    try:
        assert "/2" in paths(found)
    except FlowFileError as error:
        assert "newer" in str(error)  # noqa: PT017  # or else damage


@settings(max_examples=100)
@given(st.binary(max_size=200), st.integers(0, len(THREE[0])))
def test_garbage_is_damage(garbage, place):
    """S5"""
    for found in (reader(THREE[0][:place] + garbage), piped(THREE[0][:place] + garbage)):
        values(found)

        assert all(damage.size > 0 for damage in found.damage)


def test_lengths_allocate_nothing():
    """S6"""
    data = THREE[0] + b"999999999999:7:version;2:21#"
    tracemalloc.start()
    try:
        found = reader(data), piped(data)
        for each in found:
            assert paths(each) == ["/1"]
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()


def test_a_header_of_any_size_does_not_get_into_memory():
    """S6"""
    request = {"headers": [[b"a", b"b" * (5 * MIB)]], "port": 1}
    found = reader(packed(a_state(1, request=request)))

    assert paths(found) == []
    assert "where 4194304 are plenty" in found.damage[0].reason


def test_a_dict_of_any_number_of_keys_does_not_get_into_memory():
    """S6"""
    found = reader(packed(a_state(1, request={str(number): b"x" * 30 for number in range(3000)})))

    assert paths(found) == []
    assert found.damage[0].reason == "a dict with more keys than a flow has"


# Large flows


@pytest.mark.parametrize("open_", [reader, piped])
def test_a_large_body_stays_where_it_is(open_):
    """R1"""
    body = bytes(range(256)) * 4096 * 8
    data = packed(a_state(1, response=a_response(body))) + THREE[1]
    tracemalloc.start()
    try:
        flow, _ = open_(data)
        assert flow.response is not None
        assert max(map(len, flow.response.iter_raw())) <= 64 * 1024
        assert tracemalloc.get_traced_memory()[1] < len(body) // (4 if open_ is reader else 1)
    finally:
        tracemalloc.stop()
    assert flow.response.body.length == len(body)
    assert flow.response.raw_content == body


def test_a_large_body_of_a_pipe_can_be_read_after_the_pipe():
    found = piped(packed(a_state(1, response=a_response(b"x" * 2 * MIB))))
    (flow,) = found
    found.close()

    assert flow.response is not None
    assert flow.response.raw_content == b"x" * 2 * MIB


def test_a_body_of_a_closed_file_is_an_error_of_ours():
    found = reader(packed(a_state(1, response=a_response(b"x" * MIB))))
    (flow,) = found
    found.close()

    assert flow.response is not None
    with pytest.raises(FlowFileError, match="was closed"):
        list(flow.response.iter_raw())


def test_a_body_of_a_file_that_was_cut_meanwhile_is_an_error_of_ours():
    file = BytesIO(packed(a_state(1, response=a_response(b"x" * MIB))))
    (flow,) = MitmproxyReader(file, "test.mitm")
    file.truncate(MIB // 2)

    assert flow.response is not None
    with pytest.raises(FlowFileError, match="shorter"):
        list(flow.response.iter_raw())


@pytest.mark.parametrize("open_", [reader, piped])
def test_many_messages_are_read_one_by_one_and_anew(open_):
    sent = a_tcp_flow(1, *(b"%d" % number for number in range(5000)))
    (flow,) = open_(written(sent))

    assert [message.content for message in flow.messages] == [message.content for message in sent.messages]
    assert len(list(flow.messages)) == 5000


def test_a_large_message_is_delivered_as_several():
    content = bytes(range(256)) * 10_000
    (flow,) = reader(written(a_tcp_flow(1, content, b"next")))

    contents = [message.content for message in flow.messages]
    assert max(map(len, contents)) <= MIB
    assert b"".join(contents) == content + b"next"


def test_a_file_is_read_from_where_it_stands():
    file = BytesIO(b"before" + THREE[0])
    file.seek(6)

    assert paths(MitmproxyReader(file, "test.mitm")) == ["/1"]


@pytest.mark.parametrize("step", [13, 100_000])
def test_a_pipe_gives_what_a_file_gives(step):
    data = written(*(a_flow(number, b"x" * number * 20_000) for number in range(1, 6)))

    assert values(piped(data, step)) == values(reader(data))
