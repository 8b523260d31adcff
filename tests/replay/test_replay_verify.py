"""Where an answer differs from the recorded one, and that it is said in a way that a person can read."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.model.body import Body
from mitmdump.model.headers import Headers
from mitmdump.model.message import Response
from mitmdump.replay.verify import MAX_ALIGNED, MAX_LINES, MAX_WIDTH, Verifier

ALL = ("status", "headers", "body")


def answer(body: bytes = b"", *fields: tuple[bytes, bytes], status: int = 200) -> Response:
    return Response("HTTP/1.1", Headers(fields), Body(len(body), complete=True, source=body), status_code=status)


def differences(recorded: Response | None, replayed: Response, parts=ALL, **ignored) -> list[str]:
    return Verifier(parts, **ignored).differences(recorded, replayed)


def bodies(old: object, new: object, **ignored) -> list[str]:
    return differences(answer(json.dumps(old).encode()), answer(json.dumps(new).encode()), **ignored)


def test_the_same_answer_does_not_differ():
    assert differences(answer(b"x", (b"A", b"1")), answer(b"x", (b"a", b"1"))) == []


def test_another_status_is_told():
    assert differences(answer(status=200), answer(status=500)) == ["status: 500, recorded 200"]


def test_only_the_parts_that_are_asked_for_are_compared():
    assert differences(answer(b"a", (b"A", b"1")), answer(b"b", status=404), parts=("headers",)) == [
        "header a: missing, recorded 1"
    ]


def test_fields_are_told_that_changed_came_or_went():
    found = differences(answer(b"", (b"A", b"1"), (b"B", b"1")), answer(b"", (b"B", b"2"), (b"C", b"")))

    assert found == ["header a: missing, recorded 1", "header b: 2, recorded 1", "header c: (empty), not recorded"]


def test_fields_that_differ_between_equal_answers_are_left_out():
    assert differences(answer(b"", (b"Date", b"1")), answer(b"", (b"Transfer-Encoding", b"chunked"))) == []


def test_fields_can_be_left_out_by_name_in_any_case():
    assert differences(answer(b"", (b"ETag", b"1")), answer(b"", (b"etag", b"2")), headers=["Etag"]) == []


def test_repeated_fields_are_compared_one_by_one():
    one, two = (b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")

    assert differences(answer(b"", one, two), answer(b"", one)) == ["header set-cookie: a=1, recorded a=1, b=2"]


def test_json_is_compared_by_path():
    old = {"items": [{"price": 10}, 2], "gone": None, "kind": 1}

    assert bodies(old, {"items": [{"price": 12}], "a b": {"c": 1}, "kind": True}) == [
        "body $.items[0].price: 12, recorded 10",
        "body $.items[1]: missing, recorded 2",
        "body $.gone: missing, recorded null",
        "body $.kind: true, recorded 1",
        'body $["a b"]: an object of 1, not recorded',
    ]


def test_an_object_in_place_of_an_array_is_one_difference():
    assert bodies([1], {"a": 1}) == ["body $: an object of 1, recorded an array of 1"]


def test_values_of_a_path_can_be_left_out():
    assert bodies({"id": 1, "in": {"id": 2}}, {"id": 3, "in": {"id": 4}}, paths=["$.id"]) == [
        "body $.in.id: 4, recorded 2"
    ]
    assert bodies({"id": 1, "in": {"id": 2}}, {"id": 3, "in": {}}, paths=["$..id"]) == []


def test_text_is_compared_line_by_line():
    old, new = "".join(f"line {n}\n" for n in range(9)), "".join(f"line {n * (n != 4)}\n" for n in range(9))

    assert differences(answer(old.encode()), answer(new.encode())) == ["body, line 5 on:", "-line 4", "+line 0"]


def test_of_long_lines_the_place_is_told():
    old, new = "a" * 1000, "a" * 600 + "b" + "a" * 399

    (line,) = differences(answer(old.encode()), answer(new.encode()))

    assert line.startswith("body, character 601: ...aaa")
    assert "b" in line[20:]


def test_line_ends_are_a_difference_of_their_own():
    assert differences(answer(b"a\n"), answer(b"a\r\n")) == ["body: differs in line ends only"]


def test_bytes_are_compared_by_length_and_digest():
    (line,) = differences(answer(b"\0\xff"), answer(b"\0"))

    assert line.startswith("body: 1 bytes, sha256 6e340b9c")
    assert "; recorded 2 bytes, sha256 " in line


def test_content_codings_are_undone_before_bodies_are_compared():
    coded = (b"Content-Encoding", b"gzip")

    assert (
        differences(answer(gzip.compress(b"x", mtime=1), coded), answer(gzip.compress(b"x", 1, mtime=2), coded)) == []
    )
    assert differences(answer(gzip.compress(b"x"), coded), answer(b"x"), parts=("body",)) == []


def test_a_body_that_is_broken_in_its_coding_is_compared_as_it_is():
    coded = (b"Content-Encoding", b"gzip")

    assert differences(answer(b"not gzip", coded), answer(b"nor this", coded))[0].startswith("body: 8 bytes, sha256 ")


def test_of_a_body_that_was_not_kept_the_length_is_compared():
    recorded = answer()
    recorded.body = Body(5, complete=True)

    assert differences(recorded, answer(b"hello")) == []
    assert differences(recorded, answer(b"bye")) == [
        "body: 3 bytes, sha256 b49f425a7e1f9cff3856329ada223f2f9d368f15a00cf48df16ca95986137fe8; recorded 5 bytes"
    ]


def test_a_recording_that_was_cut_off_differs_from_what_is_complete():
    recorded = answer(b"hel")
    recorded.body.complete = False

    assert differences(recorded, answer(b"hello")) == ["body: complete, recorded only in part"]
    assert differences(None, answer(b"hello")) == ["an answer, and none was recorded"]


def test_lines_are_bounded():
    found = bodies({str(n): "x" * 1000 for n in range(1000)}, {})

    assert len(found) == MAX_LINES + 1
    assert found[-1] == f"and {1000 - MAX_LINES} more"
    assert max(map(len, found)) < 3 * MAX_WIDTH


@pytest.mark.parametrize("hostile", [b"[" * 100_000, b"[" + b"1" * 5000 + b"]", b'{"a":' * 5000 + b"1" + b"}" * 5000])
def test_hostile_json_is_text(hostile: bytes):
    assert differences(answer(b"[]"), answer(hostile))


def test_of_very_many_lines_that_differ_the_first_are_aligned():
    old, new = ("\n".join(f"{side}{n}" for n in range(100_000)).encode() for side in "ab")

    assert differences(answer(old), answer(new))[-1] == f"and {2 * MAX_ALIGNED + 1 - MAX_LINES} more"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(max_size=3), values, max_size=4)


@given(objects)
@settings(max_examples=50)
def test_order_and_white_space_make_no_difference_in_json(value):
    turned = dict(reversed(value.items()))

    assert differences(answer(json.dumps(value).encode()), answer(json.dumps(turned, indent=3).encode())) == []


@given(objects, objects)
@settings(max_examples=50)
def test_different_values_differ(one, other):
    is_same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)

    assert bool(bodies(one, other)) is not is_same or one == other
