"""A head that says word for word what the last one said is not parsed again, and nobody can tell."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.errors import RemoteError
from mitmdump.wire import head as module
from mitmdump.wire.events import RequestHead
from mitmdump.wire.head import Fields, parse_request

PLAIN = b"Host: a\r\nConnection: close\r\n"
BLOCKS = [PLAIN, b"", b"Host: a \r\nX: 1\r\n", b"Content-Length: 3\r\n", b"Content-Length: x\r\n", b"X : 1\r\n"]


def parse(block: bytes, fields: Fields) -> RequestHead | str:
    try:
        return parse_request(b"GET / HTTP/1.1\r\n" + block, fields)
    except RemoteError as error:
        return f"{error} {error.status}"


@settings(max_examples=50)
@given(st.lists(st.sampled_from(BLOCKS), max_size=6))
def test_a_head_is_what_it_is_whatever_came_before(blocks: list[bytes]) -> None:
    remembering = Fields(10)
    for block in blocks:
        found, alone = parse(block, remembering), parse(block, Fields(10))
        assert found == alone
        if isinstance(found, RequestHead) and isinstance(alone, RequestHead):
            assert (found.framing, found.survey.values) == (alone.framing, alone.survey.values)


def test_what_was_said_before_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Fields(10)
    first = parse(PLAIN, fields)
    monkeypatch.setattr(module, "parse_fields", None)
    assert parse(PLAIN, fields) == first


def test_who_changes_the_fields_of_a_head_changes_those_of_no_other() -> None:
    fields = Fields(10)
    for _ in range(3):
        head = parse(PLAIN, fields)
        assert isinstance(head, RequestHead)
        assert head.fields == [(b"Host", b"a"), (b"Connection", b"close")]
        head.fields.clear()


def test_a_long_head_is_not_kept() -> None:
    fields = Fields(10)
    parse(b"Cookie: " + bytes(5000).replace(b"\0", b"c") + b"\r\n", fields)
    assert (fields._block, fields._fields) == (None, [])
