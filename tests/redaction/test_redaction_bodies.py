"""Which bodies may hold a secret, and how they read without it."""

import pytest

from mitmdump.errors import RedactionError
from mitmdump.redaction import Redactor, parse_rules

KEY = bytes(32)
FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=xyz"
JSON = "application/json; charset=utf-8"


def bodies(rules="json:$..pin,form:pin"):
    return Redactor(parse_rules(rules), KEY).bodies


STANDIN = Redactor((), KEY).pseudonym(b"1234")


@pytest.mark.parametrize(
    ("content_type", "start", "wanted"),
    [
        (JSON, b"", True),
        (FORM, b"", True),
        ("application/problem+json", b"\x89PNG", True),
        ("text/html", b"", None),
        ("", b" \r\n", None),
        ("text/html", b'\n {"a"', True),
        ("text/plain", b"\xef\xbb\xbf[{", True),
        ("", b'\xff\xfe{\0"\0', True),
        ("", b"{", True),
        ("text/plain", b"pin=1234&a=b", True),
        ("text/plain", b"oauth_token", True),
        ("text/css", b"{ color: red", False),
        ("text/html", b"<!doctype html>", False),
        ("image/png", b"\x89PNG\r\n", False),
        ("text/plain", b"hello world = 1", False),
    ],
)
def test_a_body_is_looked_into_for_its_type_or_its_looks(content_type, start, wanted):
    assert bodies().concerns(content_type, start) is wanted


def test_a_kind_of_body_that_no_rule_is_about_is_left_alone():
    assert bodies("json:$.pin").concerns(FORM, b"pin=1") is False
    assert bodies("form:pin").concerns(JSON, b'{"pin"') is False


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        (JSON, b'{"a":[{"pin":"1234"}]}'),
        (JSON, rb'{"p\u0069n":"\u0031234"}'),
        (FORM, b"a=b&pin=1234&c="),
        (FORM, b'{"pin": "1234"}'),  # as curl -d sends it
        ("text/html", b'[{"pin":1234}]'),
        ("text/plain", b"pin=12%334"),
        ("application/json-seq", b'\x1e{"pin":1234}\n\x1e{"pin":"1234"}\n'),
        (PARTS, b'--xyz\r\nContent-Disposition: form-data; name="pin"\r\n\r\n1234\r\n--xyz--\r\n'),
        (PARTS, b"--xyz\nContent-Disposition: form-data; name=pin\n\n1234\n--xyz--\n"),
    ],
)
def test_a_secret_is_replaced_by_the_same_pseudonym_everywhere(content_type, data):
    redacted = bodies().rewrite(content_type, data)

    assert STANDIN in redacted
    assert b"1234" not in redacted.replace(STANDIN, b"")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"])
def test_json_keeps_its_unicode_encoding(encoding):
    text = '{"pin": "1234", "name": "\u00e9"}'

    redacted = bodies().rewrite(JSON, text.encode(encoding))

    assert redacted == text.replace("1234", STANDIN.decode()).encode(encoding)


def test_parts_of_a_form_end_at_whole_boundaries_only():
    data = (
        b'--x\r\nContent-Disposition: form-data; name="pin"; filename="pin"\r\n\r\n12\r\n--xy\r\n34\r\n'
        b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\nhello\r\n--x--\r\n'
    )

    redacted = bodies().rewrite("multipart/form-data; boundary=x", data)

    assert b"34" not in redacted.replace(Redactor((), KEY).pseudonym(b"12\r\n--xy\r\n34"), b"")
    assert b'name="other"\r\n\r\nhello\r\n--x--\r\n' in redacted


def test_a_body_without_the_names_is_not_even_read():
    for content_type, data in ((JSON, b'{"broken'), ("multipart/form-data", b"no boundary")):
        assert bodies().rewrite(content_type, data) == data


@pytest.mark.parametrize(
    ("content_type", "data"),
    [
        (JSON, b'{"pin": "12'),
        (JSON, b'{"pin": 1234}, trailing'),
        (JSON, b'{"pin": "\xe9"}'),
        ("multipart/form-data", b"pin"),
        ("multipart/form-data; boundary=x", b"name=pin"),
    ],
)
def test_where_nobody_can_tell_it_says_so(content_type, data):
    with pytest.raises(RedactionError):
        bodies().rewrite(content_type, data)


def test_a_message_is_redacted_if_it_is_json():
    redact = bodies().message

    assert redact(b'{"pin": "1234"}') == b'{"pin": "%b"}' % STANDIN
    assert redact(b"hello pin") == b"hello pin"
    assert redact(b'{"pin": 1234').startswith(b"redacted-")
