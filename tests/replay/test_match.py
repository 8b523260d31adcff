"""What of a request is compared, and what makes no difference."""

import gzip
import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.replaying import FORM, JSON, a_request

from mitmdump.model.message import Response
from mitmdump.redaction import Redactor, parse_rules
from mitmdump.redaction.jsonpath import JsonPaths
from mitmdump.replay.bodies import Ignored
from mitmdump.replay.match import Matching, conditions_of, key_of, recorded_parts

ALL = Matching()


def key(*arguments, matching=ALL, **fields):
    return key_of(matching.parts_of(a_request(*arguments, **fields)))


def post(content, content_type="", matching=ALL, **fields):
    return key("http://a.test/", "POST", content, matching=matching, content_type=content_type, **fields)


PAIRS = st.lists(st.tuples(st.text("ab =&%é", max_size=3), st.text("xy+/ü", max_size=3)), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50)
@given(PAIRS, st.randoms())
def test_the_order_of_query_parameters_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))

    assert key(f"http://a.test/?{urlencode(pairs)}") == key(f"http://a.test/?{urlencode(shuffled)}")


@settings(max_examples=50)
@given(PAIRS, st.randoms())
def test_the_order_of_the_fields_of_a_form_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))

    assert post(urlencode(pairs).encode(), FORM) == post(urlencode(shuffled).encode(), FORM)


@settings(max_examples=50)
@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), st.randoms())
def test_the_order_of_keys_in_json_and_its_white_space_do_not_matter(value, random):
    shuffled = dict(random.sample(list(value.items()), len(value)))

    assert post(json.dumps(value).encode(), JSON) == post(json.dumps(shuffled, indent=2).encode(), JSON)


@settings(max_examples=50)
@given(VALUES, VALUES)
def test_json_that_says_something_else_does_not_match(one, other):
    texts = [json.dumps([value], sort_keys=True) for value in (one, other)]

    assert (post(texts[0].encode(), JSON) == post(texts[1].encode(), JSON)) is (texts[0] == texts[1])


@pytest.mark.parametrize(
    "other",
    [
        ("https://a.test/x?q=1",),
        ("http://b.test/x?q=1",),
        ("http://a.test:81/x?q=1",),
        ("http://a.test/y?q=1",),
        ("http://a.test/x?q=2",),
        ("http://a.test/x?q=1&q=1",),
        ("http://a.test/x?q=1", "POST"),
        ("http://a.test/x?q=1", "GET", b"body"),
    ],
)
def test_each_part_counts(other):
    assert key("http://a.test/x?q=1") != key(*other)


@pytest.mark.parametrize(
    "other", ["http://A.test/x", "http://a.test:80/x", "http://a.test./x", "http://a.test/%78", "http://a.test/x?"]
)
def test_spellings_of_the_same_url_match(other):
    assert key(other) == key("http://a.test/x")


@pytest.mark.parametrize("part", ["host", "port", "method", "path", "query", "body", "scheme"])
def test_a_part_that_is_not_asked_for_does_not_count(part):
    matching = Matching(ALL.parts - {part})
    other = {
        "scheme": a_request("https://a.test:80/"),
        "host": a_request("http://b.test/"),
        "port": a_request("http://a.test:81/"),
        "method": a_request(method="PUT"),
        "path": a_request("http://a.test/other"),
        "query": a_request("http://a.test/?x"),
        "body": a_request(content=b"x"),
    }[part]

    assert key_of(matching.parts_of(other)) == key(matching=matching)
    assert key_of(ALL.parts_of(other)) != key()


def test_a_content_coding_does_not_matter():
    assert post(gzip.compress(b'{"a": 1}'), JSON, content_encoding="gzip") == post(b'{"a": 1}', JSON)


def test_a_body_that_is_not_what_its_coding_says_is_compared_as_it_is():
    assert post(b"no gzip", content_encoding="gzip") == post(b"no gzip", content_encoding="gzip")
    assert post(b"no gzip", content_encoding="gzip") != post(b"no gzap", content_encoding="gzip")


def test_what_parses_as_json_is_json_whatever_it_is_called():
    assert post(b'{"a": 1, "b": 2}', FORM) == post(b'{"b":2,"a":1}', FORM)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a": ', b"[1e99999]" + b" " * 9])
def test_what_only_begins_like_json_is_compared_as_it_is(content):
    assert post(content, JSON) == post(content, JSON)
    assert post(content, JSON) != post(b"{}", JSON)


def multipart(boundary, *fields):
    parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}' for name, value in fields]
    return "\r\n".join([*parts, f"--{boundary}--\r\n"]).encode(), f"multipart/form-data; boundary={boundary}"


def test_the_boundary_and_the_order_of_a_form_in_parts_do_not_matter():
    one, other = multipart("x", ("a", "1"), ("b", "2")), multipart("--yy", ("b", "2"), ("a", "1"))

    assert post(*one) == post(*other)
    assert post(*one) != post(*multipart("x", ("a", "1"), ("b", "3")))


def test_what_is_ignored_may_differ_and_all_else_may_not():
    paths = JsonPaths(["$.nonce", "$.items[*].id"])
    matching = Matching(params=frozenset({"t"}), ignored=Ignored({"csrf"}, paths))

    assert key("http://a.test/?t=1&q=1", matching=matching) == key("http://a.test/?q=1&t=2", matching=matching)
    assert post(b"csrf=1&a=1", FORM, matching) == post(b"a=1", FORM, matching)
    assert post(*multipart("x", ("csrf", "1")), matching) == post(*multipart("x", ("csrf", "2")), matching)
    one, other = (b'{"nonce": %d, "items": [{"id": %d, "n": 1}]}' % numbers for numbers in ((1, 2), (3, 4)))
    assert post(one, JSON, matching) == post(other, JSON, matching)
    assert post(one, JSON, matching) != post(other.replace(b'"n": 1', b'"n": 2'), JSON, matching)


def test_header_fields_count_only_if_they_are_named():
    named = Matching(headers=("authorization",))

    assert key(authorization="x") == key()
    assert key(authorization="x", matching=named) != key(matching=named)
    assert key(authorization="x", matching=named) == key(authorization="x", matching=named)


def test_a_recording_without_secrets_matches_a_request_with_them():
    redactor = Redactor(parse_rules("query:token,json:$.password,header:authorization"), b"k" * 32)
    matching = Matching(headers=("authorization",), redactor=redactor)
    live = a_request("http://a.test/?token=t", "POST", b'{"password": "p"}', authorization="Bearer b")
    kept = a_request(
        f"http://a.test{redactor.target('/?token=t')}",
        "POST",
        redactor.bodies.rewrite(JSON, b'{"password": "p"}'),
        authorization=redactor.headers(live.headers)["authorization"],
    )

    assert key_of(matching.parts_of(live)) == key_of(matching.parts_of(kept))
    assert key_of(ALL.parts_of(live)) != key_of(ALL.parts_of(kept))


@pytest.mark.parametrize(("status", "found"), [(304, False), (206, False), (412, False), (416, False), (200, True)])
def test_what_answers_a_condition_is_no_answer_without_it(status, found):
    request = a_request(if_none_match='"x"')
    response = Response("HTTP/1.1", request.headers, status_code=status)

    kept = key_of(recorded_parts(ALL, request, response))

    assert (kept == key()) is found
    assert (kept == key_of(ALL.parts_of(request) | conditions_of(request.headers))) is not found


def test_a_host_that_makes_no_sense_does_not_hide_where_the_request_went():
    request = a_request()
    request.headers["host"] = "a b c"

    assert key_of(ALL.parts_of(request)) == key()
