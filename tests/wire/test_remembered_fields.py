"""A head that says word for word what the last one said is not parsed again, nor written again, and nobody can tell."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.codec import make_codec, read

from mitmdump.errors import RemoteError
from mitmdump.wire import head as module
from mitmdump.wire.events import RequestHead, ResponseHead, Role
from mitmdump.wire.head import Fields, Lines, parse_request, parse_response, response_framing, write_fields

LINES = [
    b"GET / HTTP/1.1\r\n",
    b"PUT /x HTTP/1.0\r\n",
    b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\n",
    b"GET / HTTP/2.0\r\n",
]
PLAIN = b"Host: a\r\nConnection: close\r\n"
BLOCKS = [
    PLAIN,
    b"",
    b"Host: a \r\nX: 1\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: x\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"X : 1\r\n",
]
STATUS_LINES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 204 \r\n",
    b"HTTP/1.1 200 " + b"x" * 5000 + b"\r\n",
]


def parse(block: bytes, fields: Fields) -> RequestHead | str:
    try:
        return parse_request(block + b"\r\n", fields)
    except RemoteError as error:
        return f"{error} {error.status}"


def parse_answer(block: bytes, fields: Fields) -> tuple[ResponseHead, int] | str:
    try:
        head = parse_response(block + b"\r\n", fields)
        return head, response_framing(head, b"GET")
    except RemoteError as error:
        return f"{error} {error.status}"


def heads(lines: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.tuples(st.sampled_from(lines), st.sampled_from(BLOCKS)).map(b"".join), max_size=8)


@settings(max_examples=100)
@given(heads(LINES))
def test_a_head_is_what_it_is_whatever_came_before(blocks: list[bytes]) -> None:
    remembering = Fields(10)
    for block in blocks:
        found, alone = parse(block, remembering), parse(block, Fields(10))
        assert found == alone
        if isinstance(found, RequestHead) and isinstance(alone, RequestHead):
            assert (found.framing, found.survey().values) == (alone.framing, alone.survey().values)


@settings(max_examples=100)
@given(heads(STATUS_LINES))
def test_a_response_is_what_it_is_whatever_came_before(blocks: list[bytes]) -> None:
    remembering = Fields(10)
    for block in blocks:
        assert parse_answer(block, remembering) == parse_answer(block, Fields(10))


@pytest.mark.parametrize("line", [LINES[0], b"PUT /other HTTP/1.1\r\n"])
def test_what_was_said_before_is_not_parsed_again(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Fields(10)
    first = parse(LINES[0] + PLAIN, fields)
    assert isinstance(first, RequestHead)
    monkeypatch.setattr(module, "parse_fields", None)
    again = parse(line + PLAIN, fields)
    assert isinstance(again, RequestHead)
    assert (again.fields, again.known) == (first.fields, first.known)


def test_who_changes_the_fields_of_a_head_changes_those_of_no_other() -> None:
    fields = Fields(10)
    for _ in range(3):
        head = parse(LINES[0] + PLAIN, fields)
        assert isinstance(head, RequestHead)
        assert head.fields == [(b"Host", b"a"), (b"Connection", b"close")]
        head.fields.clear()


def test_a_long_head_is_not_kept() -> None:
    fields = Fields(10)
    parse(LINES[0] + b"Cookie: " + bytes(5000).replace(b"\0", b"c") + b"\r\n", fields)
    assert (fields.whole, fields._block, fields._fields) == (b"", None, [])


sent = st.lists(st.tuples(st.sampled_from([b"A", b"B"]), st.sampled_from([b"", b"1", b"x" * 5000])), max_size=3)


@settings(max_examples=100)
@given(st.lists(sent, max_size=6))
def test_what_is_written_is_the_same_whatever_was_written_before(heads: list[list[tuple[bytes, bytes]]]) -> None:
    lines = Lines()
    for fields in heads:
        assert lines.of(fields) == write_fields(fields)
        fields.append((b"C", b"changed by its owner"))
        assert lines.of(fields) == write_fields(fields)


def test_a_head_that_came_in_pieces_leaves_nothing_for_a_shorter_one_behind_it() -> None:
    long, short = b"GET / HTTP/1.1\r\nHost: a\r\nX: 1234567890\r\n\r\n", b"GET /s HTTP/1.1\r\nHost: b\r\n\r\n"
    found = read(make_codec(Role.SERVER), [long, long[:-1], long[-1:], short])
    assert [event.target for event in found if isinstance(event, RequestHead)] == [b"/", b"/", b"/s"]
