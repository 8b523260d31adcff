import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.flowfiles import value
from support.mitmfiles import packed, reader, written

from mitmdump.formats.mitmproxy import MitmproxyEncoder
from mitmdump.formats.mitmproxy.dns import pack, unpack
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow
from mitmdump.model.message import Message

QUESTION = b"\7example\3com\0\0\x0f\0\1"
QUERY = b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + QUESTION
# MX 10 mail.example.com, with names that point back; and what it is with names in full.
POINTING = b"\xc0\x0c\0\x0f\0\1\0\0\1\0\0\x09\0\x0a\4mail\xc0\x0c"
FULL = b"\7example\3com\0\0\x0f\0\1\0\0\1\0\0\x14\0\x0a\4mail\7example\3com\0"
ANSWER = b"\x12\x34\x81\x80\0\1\0\1\0\0\0\0" + QUESTION


def a_dns_flow(*contents: bytes) -> Flow:
    messages = [Message(not place, "raw", 5.0 + place, content) for place, content in enumerate(contents)]
    client = Connection("client", 7, peername=("127.0.0.1", 53), timestamp_start=5.0)
    return Flow("dns", client, messages=messages, timestamp_start=5.0, timestamp_end=messages[-1].timestamp, id=9)


def test_a_query_is_taken_apart_as_mitmproxy_does():
    assert unpack(QUERY, 5.0) == {
        "id": 0x1234, "query": True, "op_code": 0, "authoritative_answer": False, "truncation": False,
        "recursion_desired": True, "recursion_available": False, "reserved": 0, "response_code": 0, "timestamp": 5.0,
        "questions": [{"name": "example.com", "type": 15, "class_": 1}], "answers": [], "authorities": [],
        "additionals": [],
    }  # fmt: skip


def test_names_that_point_back_are_written_in_full():
    assert pack(unpack(ANSWER + POINTING, 5.0)) == ANSWER + FULL


def test_a_query_and_its_answer_are_a_flow():
    """S7"""
    flow = a_dns_flow(QUERY, ANSWER + FULL)

    (found,) = reader(written(flow))

    assert value(found) == value(flow)


def test_a_name_beyond_ascii_is_written_in_its_ascii_form():
    state = unpack(QUERY, 5.0)
    state["questions"][0]["name"] = "b\u00fccher.example"

    assert b"\x0dxn--bcher-kva\7example\0" in pack(state)


_label = st.text("abcz0-_", min_size=1, max_size=63)
_name = st.lists(_label, max_size=3).map(".".join)
_short = st.integers(0, 65535)


@given(_short, _short, st.lists(st.tuples(_name, _short, _short)), st.lists(st.tuples(_name, _short, st.binary())))
def test_every_message_with_full_names_stays_as_it_is(identity, flags, questions, records):
    """S7"""
    question_states = [{"name": name, "type": kind, "class_": class_} for name, kind, class_ in questions]
    states = [
        {"name": name, "type": 16, "class_": class_, "ttl": 2**32 - 1, "data": data} for name, class_, data in records
    ]
    sections = {"questions": question_states, "answers": [], "authorities": states, "additionals": states}
    data = bytearray(pack({"id": identity, **sections}))
    data[2:4] = flags.to_bytes(2)

    assert pack(unpack(bytes(data), 1.0)) == data


@pytest.mark.parametrize(
    "data",
    [
        b"", QUERY[:-1], QUERY + b"x", ANSWER, ANSWER + FULL[:-1], QUERY[:12] + b"\xc0\x0c" + QUERY[-4:],
        QUERY[:12] + b"\x40" + b"a" * 64 + QUERY[-5:], QUERY[:12] + b"\1.\0" + QUERY[-4:],
        QUERY[:12] + b"\1\xff\0" + QUERY[-4:], QUERY[:12] + b"\1a" * 200 + b"\0" + QUERY[-4:],
        QUERY[:12] + b"\1a\xc0\x0c" + QUERY[-4:],
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(data):
    """S5"""
    with pytest.raises(ValueError, match="DNS"):
        unpack(data, 5.0)


@given(st.binary(max_size=60))
def test_whatever_comes_it_is_a_message_or_refused(data):
    """S5"""
    for whole in (data, ANSWER + data):
        try:
            unpack(whole, 5.0)
        except ValueError:
            continue


@pytest.mark.parametrize(
    "known",
    [
        {"id": 65536}, {"id": "1"}, {"op_code": 16}, {"reserved": -1}, {"questions": None}, {"questions": [{}]},
        {"questions": [{"name": "a..b", "type": 1, "class_": 1}]}, {"answers": [1]},
        {"questions": [{"name": "a" * 64, "type": 1, "class_": 1}]}, {"questions": [{"name": 5}]},
        {"questions": [{"name": "\u00fc" * 63, "type": 1, "class_": 1}]}, {"query": []} | {"id": None},
        {"answers": [{"name": "a", "type": 1, "class_": 1, "ttl": 1, "data": None}]},
    ],
)  # fmt: skip
def test_a_message_that_has_no_wire_form_is_damage(known):
    """S5"""
    state = {"type": "dns", "version": 21, "client_conn": {}, "request": unpack(QUERY, 5.0) | known}
    found = reader(packed(state))

    assert list(found) == []
    assert len(found.damage) == 1


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ((QUERY[:-1],), "malformed DNS messages"),
        ((QUERY, QUERY, QUERY), "DNS flows other than a query and its answer"),
    ],
)
def test_what_is_no_query_with_its_answer_is_left_out(contents, words):
    encoder = MitmproxyEncoder()

    assert list(encoder.flow(a_dns_flow(*contents))) == []
    assert encoder.left_out == {words: 1}
