"""read(write(flow)) == flow, in all that the manual says HAR holds."""

from __future__ import annotations

import gzip
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.filter_flows import a_connection, a_request, a_response, an_exchange, answered
from support.flowfiles import flows, value
from support.har import reader, there_and_back, written

from mitmdump.formats.jsontext import plain
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow
from mitmdump.model.headers import Headers


def holdable(body: Body) -> Body:
    """A body as HAR holds it: none is no empty one, and a whole one needs no digest."""
    source = b"" if body.source is None and not body.length else body.source
    is_whole = source is not None and len(source) == body.length
    return replace(body, source=source, digest=None if is_whole else b"of the whole")


def plain_connection(connection: Connection | None) -> Connection | None:
    """Without the certificates, without what was offered, and with no difference between nothing and an empty text."""
    texts = {name: getattr(connection, name, "") or None for name in ("tls_version", "cipher", "sni", "verification")}
    return connection and replace(
        connection, certificate_list=(), alpn_offers=(), alpn=connection.alpn or None, **texts
    )


@given(flows, st.sampled_from(["HTTP/1.0", "HTTP/1.1", "HTTP/2", "HTTP/3"]))
@settings(max_examples=100)
def test_a_flow_comes_back_as_it_was(flow: Flow, version: str):
    flow.kind, flow.request = "http", flow.request or a_request()
    for message in filter(None, (flow.request, flow.response)):
        message.http_version, message.body = version, holdable(message.body)
    flow.client_conn = plain_connection(flow.client_conn)
    flow.server_conn = plain_connection(flow.server_conn)
    flow.metadata = plain(flow.metadata)

    back = there_and_back(flow)

    assert value(back) == value(flow)


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"nonsense", b"identity", b""])
@pytest.mark.parametrize("body", [b"", b"hello", b"\x1f\x8b\xff"])
def test_a_body_comes_back_byte_by_byte_whatever_its_coding_is(encoding: bytes, body: bytes):
    fields = [(b"Content-Encoding", encoding)]
    flow = an_exchange(a_request("POST", fields=fields, body=body), a_response(fields=fields, body=body))

    assert value(there_and_back(flow)) == value(flow)


@pytest.mark.parametrize("charset", ["iso-8859-1", "shift_jis", "utf-16", "utf-7", "hex", "nonsense", "us-ascii"])
@pytest.mark.parametrize(
    "body", [b"plain", "\u30c6\u30b9\u30c8".encode("shift_jis"), b"\xff\xfea\0", b"\xe9", b"\xfe\xff\0a"]
)
def test_a_body_comes_back_byte_by_byte_whatever_its_charset_is(charset: str, body: bytes):
    flow = answered(fields=[(b"Content-Type", b"text/plain; charset=" + charset.encode())], body=body)

    assert there_and_back(flow).response.raw_content == body


@pytest.mark.parametrize(
    "fields",
    [
        [(b"X-A", b"\xe9")],
        [(b"Set-Cookie", b"a\nb")],
        [(b":path", b"/other"), (b":x", b"")],
        [(b"X-A", b""), (b"x-a", b"2")],
    ],
    ids=["not UTF-8", "a line feed", "pseudo-header fields", "twice"],
)
def test_header_fields_come_back_as_they_were(fields):
    request = a_request(fields=fields, http_version="HTTP/2")

    assert there_and_back(an_exchange(request)).request.headers == request.headers


@pytest.mark.parametrize("path", ["/a?b#c", "*", "http://x/", "/\udce9", "/ x", ""])
def test_a_target_comes_back_as_it_was(path: str):
    request = a_request(path=path, host="a.test:8443", address="192.0.2.7", port=8443)

    assert value(there_and_back(an_exchange(request)).request) == value(request)


def test_a_target_without_a_scheme_comes_back_as_it_was():
    request = replace(a_request(path="http://x.test/"), scheme="", host="", port=0, headers=Headers())

    assert value(there_and_back(an_exchange(request)).request) == value(request)


def test_an_entry_that_says_nothing_new_is_short():
    """Of the target, what the URL tells is not said again."""
    assert b'"path"' not in written(answered())


def test_text_that_was_edited_by_hand_is_what_counts():
    fields = [(b"Content-Encoding", b"gzip"), (b"Content-Type", b"text/plain")]
    flow = answered(fields=fields, body=gzip.compress(b"before"))
    file = written(flow).replace(b'"text":"before"', b'"text":"after"')

    (back,) = reader(file)

    assert back.response.raw_content == back.response.content == b"after"
    assert "content-encoding" not in back.response.headers
    assert back.response.body.sha256 == sha256(b"after").digest()
    assert back.response.body.length == 5


def test_several_flows_come_back_in_order():
    flows = [answered(body=b"%d" % number) for number in range(5)]

    found = reader(written(flows[0], a_connection(), *flows[1:]))

    assert [flow.response.raw_content for flow in found] == [b"0", b"1", b"2", b"3", b"4"]
    assert not found.damage
