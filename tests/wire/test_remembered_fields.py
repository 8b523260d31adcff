"""A head that says word for word what the last one said is not parsed again, nor written again, and nobody can tell."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.codec import make_codec, read

from mitmdump.errors import RemoteError
from mitmdump.model.headers import Field
from mitmdump.wire import head as module
from mitmdump.wire.events import RequestHead, ResponseHead, Role
from mitmdump.wire.head import parse_request, parse_response, response_framing, write_fields, write_response

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


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    forget()


def forget() -> None:
    for memory in (module._requests, module._responses, module._surveys):
        memory.clear()


def parse(block: bytes, max_fields: int = 10) -> RequestHead | str:
    try:
        return parse_request(block + b"\r\n", max_fields)
    except RemoteError as error:
        return f"{error} {error.status}"


def parse_answer(block: bytes) -> tuple[ResponseHead, int] | str:
    try:
        head = parse_response(block + b"\r\n", 10)
        return head, response_framing(head, b"GET")
    except RemoteError as error:
        return f"{error} {error.status}"


def heads(lines: list[bytes]) -> st.SearchStrategy[list[bytes]]:
    return st.lists(st.tuples(st.sampled_from(lines), st.sampled_from(BLOCKS)).map(b"".join), max_size=8)


@settings(max_examples=100)
@given(heads(LINES))
def test_a_head_is_what_it_is_whatever_came_before(blocks: list[bytes]) -> None:
    forget()
    found = [parse(block) for block in blocks]
    for block, head in zip(blocks, found, strict=True):
        forget()
        alone = parse(block)
        assert head == alone
        if isinstance(head, RequestHead) and isinstance(alone, RequestHead):
            assert (head.framing, head.survey().values) == (alone.framing, alone.survey().values)


@settings(max_examples=100)
@given(heads(STATUS_LINES))
def test_a_response_is_what_it_is_whatever_came_before(blocks: list[bytes]) -> None:
    forget()
    found = [parse_answer(block) for block in blocks]
    for block, head in zip(blocks, found, strict=True):
        forget()
        assert head == parse_answer(block)


@pytest.mark.parametrize("line", [LINES[0], b"PUT /other HTTP/1.1\r\n"])
def test_what_was_said_before_is_not_parsed_again(line: bytes) -> None:
    first, again = parse(LINES[0] + PLAIN), parse(line + PLAIN)
    assert isinstance(first, RequestHead)
    assert isinstance(again, RequestHead)
    assert again.known is first.known


def test_connections_share_what_they_remember_but_not_what_is_allowed_to_each() -> None:
    parse(LINES[0] + PLAIN, 2)
    assert parse(LINES[0] + PLAIN, 1) == parse(b"PUT /other HTTP/1.1\r\n" + PLAIN, 1)
    assert parse(LINES[0] + PLAIN, 1) == "the client sent more than 1 header fields 431"


def test_a_head_that_a_server_sent_is_still_no_request() -> None:
    block = STATUS_LINES[0] + PLAIN
    assert isinstance(parse_answer(block), tuple)
    assert "request line" in str(parse(block))


@pytest.mark.parametrize("role", Role)
def test_who_changes_the_fields_of_a_head_changes_those_of_no_other(role: Role) -> None:
    line = LINES[0] if role is Role.SERVER else STATUS_LINES[0]
    for _ in range(3):
        codec = make_codec(role)
        head = read(codec, [line + PLAIN + b"\r\n"])[0]
        assert isinstance(head, RequestHead | ResponseHead)
        assert head.fields == [(b"Host", b"a"), (b"Connection", b"close")]
        head.fields.clear()


def test_the_fields_of_a_head_that_was_refused_are_of_no_other_either() -> None:
    bad = LINES[0] + PLAIN + b"Content-Length: x\r\n\r\n"
    for _ in range(2):
        with pytest.raises(RemoteError) as caught:
            parse_request(bad, 10)
        assert isinstance(caught.value.head, RequestHead)
        assert len(caught.value.head.fields) == 3
        caught.value.head.fields.clear()


@pytest.mark.parametrize("fields", [b"Cookie: " + b"c" * 5000 + b"\r\n", b"a:b\r\n" * 65])
def test_a_large_head_is_not_kept(fields: bytes) -> None:
    codec = make_codec(Role.SERVER)
    assert len(read(codec, [LINES[0] + fields + b"\r\n"])) == 2
    assert not module._requests
    assert not module._surveys
    assert codec._last is None


def test_no_more_than_some_heads_are_kept() -> None:
    for number in range(1000):
        parse(b"GET /%d HTTP/1.1\r\nX: %d\r\n" % (number, number))
        parse_answer(b"HTTP/1.1 200 %d\r\n" % number)
        assert max(len(module._requests), len(module._responses), len(module._surveys)) <= 256


fields = st.lists(st.tuples(st.sampled_from([b"A", b"B"]), st.sampled_from([b"", b"1"])), max_size=3)


@given(fields, fields)
def test_what_is_written_is_what_the_fields_are_now(first: list[Field], second: list[Field]) -> None:
    head = ResponseHead(200, first, b"OK")
    head.survey()
    for _ in range(2):
        assert write_response(head) == b"HTTP/1.1 200 OK\r\n" + write_fields(first)
    head.fields = second
    assert write_response(head) == b"HTTP/1.1 200 OK\r\n" + write_fields(second)


def test_a_head_that_came_in_pieces_leaves_nothing_for_a_shorter_one_behind_it() -> None:
    long, short = b"GET / HTTP/1.1\r\nHost: a\r\nX: 1234567890\r\n\r\n", b"GET /s HTTP/1.1\r\nHost: b\r\n\r\n"
    found = read(make_codec(Role.SERVER), [long, long[:-1], long[-1:], short])
    assert [event.target for event in found if isinstance(event, RequestHead)] == [b"/", b"/", b"/s"]
