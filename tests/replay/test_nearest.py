"""A miss names what comes closest, and what differs."""

import pytest
from support.replaying import FORM, JSON, a_request, answers_of, recorded

from mitmdump.replay.match import Matching
from mitmdump.replay.nearest import compare, nearest

MATCHING = Matching(headers=("accept", "authorization"))


def differences(one, other):
    return [text for texts in compare(MATCHING.parts_of(one), MATCHING.parts_of(other)).values() for text in texts]


def posted(content, content_type=JSON):
    return a_request("http://a.test/", "POST", content, content_type=content_type)


@pytest.mark.parametrize(
    ("asked", "kept", "told"),
    [
        ("http://a.test/?page=3&q=x", "http://a.test/?q=x&page=2", ["query: page=3, recorded page=2"]),
        ("http://a.test/?page=3", "http://a.test/", ["query: page=3 not recorded"]),
        ("http://a.test/", "http://a.test/?page=3", ["query: nothing, recorded page=3"]),
        ("http://a.test/?a=1&a=2", "http://a.test/?a=1", ["query: a=1, a=2, recorded a=1"]),
        ("http://a.test/", "http://b.test/", ["host: a.test, recorded b.test"]),
        ("http://a.test/", "https://a.test:8/", ["scheme: http, recorded https", "port: 80, recorded 8"]),
        ("http://a.test/x", "http://a.test/y", ["path: /x, recorded /y"]),
    ],
)
def test_what_differs_in_a_url_is_said(asked, kept, told):
    assert differences(a_request(asked), a_request(kept)) == told


@pytest.mark.parametrize(
    ("asked", "kept", "told"),
    [
        (posted(b'{"a": {"b": [1, 2]}}'), posted(b'{"a": {"b": [1, 3]}}'), ["body: $.a.b[1]=2, recorded 3"]),
        (posted(b'{"a": 1}'), posted(b'{"b": 1}'), ["body: $.a=1, recorded nothing", "body: $.b=nothing, recorded 1"]),
        (posted(b"[1]"), posted(b"[1, 2]"), ["body: $=1 elements, recorded 2 elements"]),
        (posted(b"a=1", FORM), posted(b"a=2", FORM), ["body: a=1, recorded a=2"]),
        (posted(b"a=1", FORM), posted(b"{}"), ["body: a form, recorded JSON"]),
        (posted(b""), posted(b"{}"), ["body: none, recorded JSON"]),
        (posted(b"xy", ""), posted(b"xyz", ""), ["body: other bytes (2, recorded 3)"]),
    ],
)
def test_what_differs_in_a_body_is_said(asked, kept, told):
    assert differences(asked, kept) == told


def test_what_differs_in_a_field_that_counts_is_said():
    told = differences(a_request(accept="text/html"), a_request(accept="text/plain"))

    assert told == ["header accept: text/html, recorded text/plain"]
    assert differences(a_request(), a_request(accept="a")) == ["header accept: none, recorded a"]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (a_request("http://a.test/?access_token=s3cret"), a_request("http://a.test/?access_token=t0psecret")),
        (a_request(authorization="s3cret"), a_request(authorization="t0psecret")),
        (a_request(authorization="s3cret"), a_request()),
        (posted(b'{"user": {"password": "s3cret"}}'), posted(b'{"user": {"password": "t0psecret"}}')),
        (posted(b"password=s3cret", FORM), posted(b"password=t0psecret", FORM)),
    ],
)
def test_the_value_of_a_secret_is_not_told(asked, kept):
    """L2"""
    (told,) = differences(asked, kept)

    assert "s3cret" not in told
    assert "t0psecret" not in told


HOSTILE = "\x1b]0;x\x07\u202e\u009b31m\r\nmitmdump: all is well"


def test_nothing_of_a_report_does_harm_on_a_terminal(tmp_path):
    """L1"""
    hostile = "http://a.test/" + "".join(f"%{byte:02x}" for byte in HOSTILE.encode())
    kept = a_request(f"{hostile}?{hostile[14:]}", "G\x1b[31mET", HOSTILE.encode(), accept=HOSTILE)
    kept.path += HOSTILE
    asked = a_request(f"http://a.test/?x={hostile[14:]}", "POST", b'{"\\u001b[2J": "\\u202e"}', accept=HOSTILE + "!")
    answers = answers_of(tmp_path / "in.flows", recorded(kept), matching=MATCHING)

    (near,) = nearest(MATCHING.parts_of(asked), answers)

    assert str(near).isprintable()
    assert "mitmdump: all is well" in str(near)
    assert all(text.isprintable() for text in differences(kept, asked))


def test_the_closest_come_first_and_those_far_off_not_at_all(tmp_path):
    targets = ["/items?page=9&x=y", "/items?page=2", "/about", "/items/archive?page=3"]
    flows = [recorded(a_request(f"http://a.test{target}")) for target in targets]
    answers = answers_of(tmp_path / "in.flows", *flows)

    near = nearest(answers.matching.parts_of(a_request("http://a.test/items?page=3")), answers)

    assert [each.number for each in near[:2]] == [1, 0]
    assert 2 not in [each.number for each in near]


def test_recordings_that_differ_in_the_same_way_are_told_of_once(tmp_path):
    answers = answers_of(tmp_path / "in.flows", *(recorded(a_request()) for _ in range(5)))

    assert len(nearest(answers.matching.parts_of(a_request(method="POST")), answers)) == 1


def test_a_request_like_no_other_has_none(tmp_path):
    answers = answers_of(tmp_path / "in.flows", recorded(a_request()))

    assert nearest(answers.matching.parts_of(a_request("http://b.test/x")), answers) == []


def test_what_is_used_up_says_so(tmp_path):
    answers = answers_of(tmp_path / "in.flows", recorded(a_request()))

    (near,) = nearest(answers.matching.parts_of(a_request()), answers)

    assert str(near) == "GET http://a.test/ (the same, but it is used up)"


def test_of_long_values_and_many_differences_only_some_is_told(tmp_path):
    answers = answers_of(tmp_path / "in.flows", recorded(a_request("http://a.test/?" + "x" * 500)))
    asked = a_request("http://a.test/?" + "&".join(f"p{number}={'y' * 500}" for number in range(100)))

    (near,) = nearest(answers.matching.parts_of(asked), answers)

    assert len(str(near)) < 1000
    assert near.differences[-1] == "query: 95 more differences"


def test_of_many_values_of_one_name_only_some_are_told():
    one, other = a_request("http://a.test/?" + "a=1&" * 1000), a_request("http://a.test/?" + "a=2&" * 1000)

    assert differences(one, other) == [f"query: {'a=1, ' * 6}994 more, recorded {'a=2, ' * 6}994 more"]


def test_a_miss_costs_no_more_however_much_there_is_to_compare(tmp_path):
    """Of a million parameters, and of recordings with large bodies."""
    one, other = (posted(b"&".join(b"%d=%d" % (n, k) for n in range(2000)), FORM) for k in range(2))
    assert differences(one, other)[-1] == "body: 994 or more differences"

    large = [posted(b'{"%d": "%s"}' % (number, b"x" * 2_200_000)) for number in range(3)]
    answers = answers_of(tmp_path / "in.flows", *map(recorded, large))
    (near,) = nearest(answers.matching.parts_of(posted(b"{}")), answers)
    assert near.number == 0


def test_json_nested_without_end_is_compared_all_the_same():
    one, other = (posted(b'{"a":' * 900 + b"%d" % number + b"}" * 900) for number in range(2))

    assert len(differences(one, other)) == 1
