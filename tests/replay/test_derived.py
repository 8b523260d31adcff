"""HEAD and ranges out of a whole GET (RFC 9110 sections 9.3.2 and 14)."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.replaying import a_request, answers_of, recorded

from mitmdump.replay.derived import asks_for_part, part_of, without_body

DIGITS = b"0123456789"


def whole(content=DIGITS, status=200, **fields):
    return recorded(a_request(), content, status, **fields).response


def part(wanted, response=None, **fields):
    return part_of(response or whole(), a_request(range=wanted, **fields))


@pytest.mark.parametrize(
    ("wanted", "content", "content_range"),
    [
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
        ("bytes=-99", DIGITS, "bytes 0-9/10"),
        ("Bytes = 1-1", b"1", "bytes 1-1/10"),
    ],
)
def test_a_range_is_answered_with_206_and_what_it_is_of(wanted, content, content_range):
    answer = part(wanted)

    assert (answer.status_code, answer.raw_content) == (206, content)
    assert (answer.headers["content-range"], answer.headers["content-length"]) == (content_range, str(len(content)))


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0"])
def test_a_range_behind_the_end_is_answered_with_416_and_the_length(wanted):
    answer = part(wanted)

    assert (answer.status_code, answer.raw_content) == (416, b"")
    assert answer.headers["content-range"] == "bytes */10"


@pytest.mark.parametrize("wanted", ["bytes=4-2", "bytes=1-2,4-5", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "1-2"])
def test_what_is_no_single_range_of_bytes_is_ignored(wanted):
    assert part(wanted) == whole()


@pytest.mark.parametrize(
    ("condition", "status"),
    [('"v1"', 206), ('"v2"', 200), ('W/"v1"', 200), ("yesterday", 206), ("today", 200)],
)
def test_a_condition_has_to_hold_exactly(condition, status):
    """RFC 9110 section 13.1.5"""
    response = whole(etag='"v1"', last_modified="yesterday")

    assert part("bytes=1-2", response, if_range=condition).status_code == status


def test_a_weak_tag_never_holds():
    assert part("bytes=1-2", whole(etag='W/"v1"'), if_range='W/"v1"').status_code == 200


@pytest.mark.parametrize("response", [whole(status=404), whole(status=206), whole(accept_ranges="none")])
def test_only_a_whole_that_may_be_divided_is(response):
    assert part("bytes=1-2", response) == response


def test_what_tells_of_the_whole_does_not_go_with_a_part():
    response = whole(etag='"v1"', transfer_encoding="chunked", content_md5="x", content_type="text/plain")
    response.trailers = response.headers

    answer = part("bytes=1-2", response)

    assert set(answer.headers) == {"etag", "content-type", "Content-Range", "Content-Length"}
    assert answer.trailers is None


@settings(max_examples=30)
@given(st.integers(0, 300_000), st.integers(0, 300_000))
def test_a_part_of_a_large_body_is_read_from_its_place(large, first, size):
    answer = part(f"bytes={first}-{first + size}", large)

    content = LARGE[first : first + size + 1]
    assert answer.raw_content == content
    assert answer.status_code == (206 if content else 416)


LARGE = b"".join(b"%07d " % number for number in range(30_000))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    answers = answers_of(tmp_path_factory.mktemp("large") / "in.flows", recorded(a_request(), LARGE))
    yield answers.take(0).response
    answers.close()


def test_head_is_answered_with_the_head():
    answer = without_body(whole())

    assert (answer.raw_content, answer.headers["content-length"]) == (b"", "10")


@pytest.mark.parametrize(("method", "asks"), [("GET", True), ("HEAD", False), ("POST", False)])
def test_a_range_is_for_get_only(method, asks):
    """RFC 9110 section 14.2"""
    assert asks_for_part(a_request(method=method, range="bytes=1-2")) is asks
