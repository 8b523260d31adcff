"""Secrets in heads: which are replaced, by what, and what stays."""

from base64 import b64encode
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.model.headers import Headers, to_str
from mitmdump.redaction import Redactor, parse_rules

KEY = bytes(range(32))
RULES = "header:authorization,header:x-key,cookie,query:token,form:token,json:$..token"


def redactor(rules=RULES, key=KEY):
    return Redactor(parse_rules(rules), key)


STANDIN = redactor().pseudonym(b"secret")


def value(field_value, name=b"X-Key", rules=RULES):
    ((_, redacted),) = redactor(rules).headers(Headers([(name, field_value)])).fields
    return redacted


def test_a_pseudonym_depends_on_the_secret_and_the_key_alone():
    """The expected one is from openssl dgst -mac HMAC."""
    assert redactor().pseudonym(b"secret") == redactor("cookie").pseudonym(b"secret") == b"redacted-723f228d66d0f98d"
    assert redactor().pseudonym(b"secret") != redactor().pseudonym(b"Secret")
    assert redactor(key=bytes(32)).pseudonym(b"secret") != STANDIN


def test_nothing_and_a_pseudonym_stay_what_they_are():
    assert redactor().pseudonym(b"") == b""
    assert redactor().pseudonym(STANDIN) == STANDIN


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"Bearer secret", b"Bearer "),
        (b"bearer  secret ", b"bearer "),
        (b"secret", b""),
    ],
)
def test_credentials_keep_their_scheme(sent, kept):
    assert value(sent, b"Authorization") == kept + STANDIN


def test_a_word_that_is_no_known_scheme_may_be_a_secret():
    assert b"secret" not in value(b"secret secret", b"Authorization")
    assert b"Bearer" not in value(b"Bearer secret", b"X-Key")


@pytest.mark.parametrize(
    ("sent", "redacted"),
    [
        (b"a=secret; b=secret", b"a=%b; b=%b" % (STANDIN, STANDIN)),
        (b'a="secret"', b"a=" + STANDIN),
        (b"a=;b", b"a=;" + redactor().pseudonym(b"b")),
        (b"secret", STANDIN),
    ],
)
def test_cookies_keep_their_names(sent, redacted):
    assert value(sent, b"Cookie") == redacted


def test_a_cookie_that_is_set_keeps_its_attributes():
    sent = b"a=secret; Path=/; Secure; Max-Age=5"

    assert value(sent, b"Set-Cookie") == b"a=%b; Path=/; Secure; Max-Age=5" % STANDIN


def test_one_cookie_of_many():
    assert value(b"a=secret; b=other", b"Cookie", "cookie:a") == b"a=%b; b=other" % STANDIN


@pytest.mark.parametrize("name", [b"Referer", b"Location", b"Link", b"X-Original-URL"])
def test_a_url_in_a_header_is_redacted_like_the_path(name):
    assert value(b"https://h/?token=secret", name) == b"https://h/?token=" + STANDIN
    assert redactor().target("/?token=secret#x") == f"/?token={STANDIN.decode()}#x"


def test_digests_of_bodies_go_where_bodies_are_redacted():
    assert value(b"sha-256=:abc=:", b"Content-Digest", "json:$.a") != b"sha-256=:abc=:"
    assert value(b"sha-256=:abc=:", b"Content-Digest", "cookie") == b"sha-256=:abc=:"


def test_a_remark_may_be_any_text():
    assert redactor().remark("see /?token=secret \ud800\udcff") == f"see /?token={STANDIN.decode()} \ud800\udcff"


_secrets = st.binary(max_size=12).map(b"Zq7~%\xf3".__add__)  # which nothing else has in it


@given(_secrets, st.integers(0, 3))
def test_no_spelling_of_a_secret_is_left(secret, level):
    spelled = quote(secret) if level else quote_plus(secret, safe="")
    basic = b64encode(b"user:" + secret)
    cookie = bytes(byte for byte in secret if byte not in b'; \t"') or b"x"
    fields = [(b"Authorization", b"Basic " + basic), (b"X-Key", secret), (b"Cookie", b"a=" + cookie)]
    fields += [(b"Location", f"/?token={spelled}".encode()), (b"Set-Cookie", b"b=%b; Path=/" % cookie)]

    headers = redactor().headers(Headers(fields))
    target = redactor().target(f"/a?b=c&token={spelled}&u={quote(f'http://h?token={spelled}', safe='')}")

    shown = b"\n".join(part for _, part in headers.fields).decode("latin-1") + to_str(target.encode())
    for spelling in (
        secret.decode("latin-1"),
        cookie.decode("latin-1"),
        spelled,
        quote(spelled, safe=""),
        basic.decode(),
    ):
        assert spelling not in shown
