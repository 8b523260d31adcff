"""Requests and responses: their URL as a person would type it, their body raw, decoded, as text."""

import gzip

import pytest

from mitmdump.errors import ContentError
from mitmdump.model.body import Body
from mitmdump.model.content import DECODED_LIMIT
from mitmdump.model.headers import Headers
from mitmdump.model.message import Request, Response


def response(source: bytes | None, **headers: str) -> Response:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Response("HTTP/1.1", Headers(fields), Body(length=9, complete=True, source=source), status_code=200)


def test_raw_content_is_as_on_the_wire_and_content_is_decoded():
    coded = gzip.compress(b"hello")

    message = response(coded, content_encoding="gzip")

    assert message.raw_content == coded
    assert b"".join(message.iter_raw()) == coded
    assert message.content == b"hello"
    assert message.text == "hello"


def test_a_body_that_was_not_kept_is_none_in_every_form():
    message = response(None, content_encoding="gzip")

    assert message.raw_content is None
    assert message.content is None
    assert message.text is None
    assert list(message.iter_raw()) == []


def test_text_follows_the_stated_charset():
    assert response(b"\xe9t\xe9", content_type="text/plain; charset=iso-8859-1").text == "\u00e9t\u00e9"


def test_codings_in_several_fields_are_one_list():
    message = response(gzip.compress(gzip.compress(b"hello")), content_encoding="gzip")
    message.headers.add("Content-Encoding", "gzip")

    assert message.content == b"hello"


def test_a_body_that_is_not_what_its_coding_says_raises():
    with pytest.raises(ContentError):
        response(b"hello", content_encoding="gzip").content  # noqa: B018  # the property raises


def test_a_body_without_a_coding_is_never_cut():
    assert len(response(bytes(DECODED_LIMIT + 1)).content) == DECODED_LIMIT + 1


def test_a_decompression_bomb_is_cut_at_the_limit():
    """R2"""
    bomb = gzip.compress(bytes(2 * DECODED_LIMIT), compresslevel=1)

    assert len(response(bomb, content_encoding="gzip").content) == DECODED_LIMIT


@pytest.mark.parametrize(
    ("request_", "url"),
    [
        (Request("HTTP/1.1", Headers([(b"Host", b"a.example:80")]), scheme="http", path="/x"), "http://a.example/x"),
        (Request("HTTP/1.1", Headers([(b"Host", b"a")]), scheme="http", authority="b", path="/x"), "http://b/x"),
        (Request("HTTP/1.0", Headers(), scheme="https", host="::1", port=443, path="/"), "https://[::1]/"),
        (Request("HTTP/1.1", Headers([(b"Host", b"a")]), scheme="http", path="*"), "http://a"),
    ],
)
def test_the_host_in_a_url_is_the_one_the_client_named(request_, url):
    assert request_.url == url
