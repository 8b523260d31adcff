"""The pages that we answer ourselves."""

from html.parser import HTMLParser
from time import time

import pytest
from httplint import HttpResponseLinter
from httplint.note import levels
from support.codec import make_codec, read, write

from mitmdump.proxy.pages import page
from mitmdump.wire.events import Data, End, ResponseHead, Role
from mitmdump.wire.http1 import Http1

STATUSES = [400, 414, 431, 502, 504, 505]


def rendered(status: int, text: str, **options: bool) -> bytes:
    codec = Http1(Role.SERVER)
    codec.receive(b"%b / HTTP/1.1\r\nHost: a.test\r\n\r\n" % (b"HEAD" if options.get("head_only") else b"GET"))
    return write(codec, *page(status, text, time(), close=True, **options))


def notes(status: int) -> list[str]:
    """What httplint finds wrong."""
    head, data, _ = read(make_codec(Role.CLIENT), [rendered(status, "the server closed")])
    linter = HttpResponseLinter(start_time=time())
    linter.process_response_topline(head.version, b"%d" % head.status, head.reason)
    linter.process_headers(head.fields)
    linter.feed_content(data.data)
    linter.finish_content(True)
    return [
        note.summary
        for note in linter.notes
        if note.level in (levels.BAD, levels.WARN) and not type(note).__name__.startswith("STATUS_")  # says what 400 is
    ]


@pytest.mark.parametrize("status", STATUSES)
def test_our_pages_pass_httplint(status):
    """H23"""
    assert notes(status) == []


HOSTILE = "<script>alert(1)</script>&amp;\"'\x1b[31m\udcff\u202e"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += data


def test_nothing_is_reflected_unescaped():
    """H23"""
    data = rendered(502, HOSTILE)
    parser = Tags()
    parser.feed(data.partition(b"\r\n\r\n")[2].decode("ascii"))
    assert parser.tags == {"html", "head", "meta", "title", "body", "h1", "p", "hr"}
    assert "<script>alert(1)</script>&amp;\"'" in parser.text


@pytest.mark.parametrize("status", STATUSES)
def test_a_page_is_a_whole_response(status):
    head, data, end = read(make_codec(Role.CLIENT), [rendered(status, "the server closed the connection")])
    assert (type(head), type(data), type(end)) == (ResponseHead, Data, End)
    assert head.status == status
    assert b"The server closed the connection." in data.data


def test_a_status_that_has_no_name_makes_a_page_too():
    assert rendered(499, "x").startswith(b"HTTP/1.1 499 \r\n")


def test_a_page_in_answer_to_head_has_no_body_and_the_same_fields():
    get, head = (rendered(502, "x", head_only=only) for only in (False, True))
    fields, _, body = get.partition(b"\r\n\r\n")
    assert (head.partition(b"\r\n\r\n")[0], head.endswith(b"\r\n\r\n"), bool(body)) == (fields, True, True)


def test_a_page_says_whether_the_connection_stays():
    for close in (False, True):
        head = page(502, "x", 0.0, close=close)[0]
        assert ((b"Connection", b"close") in head.fields) is close
