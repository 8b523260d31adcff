"""Telling HTTP from other protocols by the first bytes of a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.wire.head import starts_like_http

REQUESTS = [
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.0\n",
    b"get / http/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"POST http://a.test/ HTTP/1.1\r\n",
    b"UPDATEREDIRECTREF /a HTTP/1.1\r\n",
    b"GET /a b HTTP/1.1\r\n",  # which is refused as what it wants to be
    b"GET  / HTTP/1.1\r\n",
    b"GET / HTTP/1.1 \r\n",
]
OTHERS = [
    b"SSH-2.0-OpenSSH_9.2 Debian\r\n",
    b"EHLO client.test\r\n",
    b"HELO /x\r\n",
    b"NICK nobody\r\n",
    b"USER a 0 * :/x\r\n",
    b"get /key\r\n",
    b"PING\r\n",
    b"CONNECT a.test:443 HTTP/1.1\r\n",  # for the proxy that it is on its way to
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\x16\x03\x01\x02\x00",
    b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
    b"JRMI\x00",
    b"\r\n",
    b" GET / HTTP/1.1\r\n",
    b"X" * 33,
]


@pytest.mark.parametrize("data", REQUESTS)
def test_a_request_is_known_when_its_first_line_is_whole(data):
    assert starts_like_http(data) is True
    assert starts_like_http(data + b"Host: a.test\r\n\r\n") is True
    assert {starts_like_http(data[:size]) for size in range(data.index(b"\n") + 1)} == {None}


@pytest.mark.parametrize("data", OTHERS)
def test_other_protocols_are_not_taken_for_it(data):
    assert starts_like_http(data) is False


def test_a_very_long_line_need_not_be_whole():
    assert starts_like_http(b"GET /" + b"x" * 7000) is None
    assert starts_like_http(b"GET /" + b"x" * 8000) is True


@given(st.binary(max_size=60))
def test_what_was_told_apart_stays_so(data):
    answers = [starts_like_http(data[:size]) for size in range(len(data) + 1)]
    known = [answer for answer in answers if answer is not None]
    assert answers == [None] * (len(answers) - len(known)) + known
    assert len(set(known)) <= 1
