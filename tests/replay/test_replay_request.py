"""What of a recorded request is sent again: what it was, but for what spoke of another connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.filter_flows import a_request, a_response, an_exchange, stored
from support.flowfiles import a_tcp_flow

from mitmdump.model.connection import Connection
from mitmdump.model.flow import Flow
from mitmdump.model.headers import Headers
from mitmdump.proxy.target import Origin
from mitmdump.replay.request import asks_in_http2, destination_of, head_of, unfit
from mitmdump.settings.replay import Place
from mitmdump.wire.head import CHUNKED

STAGING = Place("https", "staging.test", 8443)


def fields(flow: Flow, host: str = "example.com") -> list[tuple[bytes, bytes]]:
    return head_of(flow, "https", host).fields


def post(*others: tuple[bytes, bytes], body: bytes = b"hello", **known) -> Flow:
    return an_exchange(a_request("POST", fields=list(others), body=body, **known))


def test_a_head_is_sent_as_it_was_recorded():
    flow = an_exchange(a_request(fields=[(b"x-A", b"1"), (b"X-a", b"2")], path="/p?q"))

    head = head_of(flow, "https", "example.com")

    assert (head.method, head.target, head.version) == (b"GET", b"/p?q", b"HTTP/1.1")
    assert head.fields == [(b"Host", b"example.com"), (b"x-A", b"1"), (b"X-a", b"2")]


def test_what_spoke_of_the_recorded_connection_is_not_sent():
    """P3"""
    others = [(b"Connection", b"close, x-b"), (b"X-B", b"1"), (b"Keep-Alive", b"2"), (b"TE", b"gzip"), (b"X", b"3")]
    others += [(b"Proxy-Authorization", b"secret"), (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"AAA")]

    assert fields(an_exchange(a_request(fields=others))) == [(b"Host", b"example.com"), (b"X", b"3")]


def test_a_stale_content_length_becomes_that_of_the_body():
    """P3"""
    flow = post((b"content-length", b"999"), (b"X", b"1"), (b"content-length", b"999"))

    assert fields(flow)[1:] == [(b"content-length", b"5"), (b"X", b"1")]


def test_a_body_without_a_length_gets_one():
    assert fields(post())[1:] == [(b"Content-Length", b"5")]


def test_what_was_chunked_is_chunked_again():
    """P3"""
    flow = post((b"X", b"1"), (b"Transfer-Encoding", b"chunked"), (b"Y", b"1"), (b"Content-Length", b"9"))

    assert fields(flow)[1:] == [(b"X", b"1"), (b"Transfer-Encoding", b"chunked"), (b"Y", b"1")]


def test_trailers_make_a_body_chunked():
    flow = post((b"Content-Length", b"5"))
    flow.request.trailers = Headers([(b"T", b"1")])

    assert fields(flow)[1:] == [(b"Transfer-Encoding", b"chunked")]


def test_http_1_0_knows_no_chunks_and_needs_no_host():
    flow = post((b"Transfer-Encoding", b"chunked"), http_version="HTTP/1.0")
    flow.request.headers = Headers([(b"Transfer-Encoding", b"chunked")])

    head = head_of(flow, "https", "example.com")

    assert (head.version, head.fields) == (b"HTTP/1.0", [(b"Content-Length", b"5")])


def http2(body: bytes = b"", **known) -> Flow:
    flow = an_exchange(a_request("POST", body=body, http_version="HTTP/2.0", authority="a.test:444", **known))
    flow.request.headers = Headers([(b"X", b"1"), (b"Connection", b"close"), (b"content-length", b"99")])
    return flow


def test_a_request_of_http_2_is_one_again():
    flow = http2(b"hello")

    head = head_of(flow, "https", destination_of(flow).host)

    assert (head.version, head.scheme, head.authority, head.framing) == (b"HTTP/2", b"https", b"a.test:444", 5)
    assert head.fields == [(b"x", b"1"), (b"content-length", b"5")]


def test_a_request_of_http_2_with_trailers_tells_no_length():
    flow = http2(b"hello")
    flow.request.trailers = Headers([(b"t", b"1")])

    head = head_of(flow, "https", "a.test")

    assert (head.fields, head.framing) == ([(b"x", b"1")], CHUNKED)


def test_a_websocket_asks_for_its_upgrade_again():
    upgrade = [(b"Connection", b"keep-alive, Upgrade"), (b"Upgrade", b"websocket")]
    flow = an_exchange(a_request(fields=upgrade), a_response(101, [(b"Upgrade", b"websocket")]))

    assert fields(flow)[1:] == [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    assert unfit(flow) == ""


def test_a_request_goes_where_it_went():
    flow = an_exchange(a_request(address="192.0.2.9", port=8443))
    flow.server_conn = Connection("server", sni="example.com")

    assert destination_of(flow) == (Origin("https", "192.0.2.9", 8443), "example.com", "example.com")


def test_another_server_is_asked_under_its_own_name():
    flow = an_exchange(a_request())
    flow.server_conn = Connection("server", sni="example.com")

    assert destination_of(flow, STAGING) == (Origin(*STAGING), None, "staging.test:8443")
    assert fields(flow, "staging.test:8443") == [(b"Host", b"staging.test:8443")]


@pytest.mark.parametrize(("host", "sni"), [("example.com:81", "example.com"), ("192.0.2.1", None), ("a b", None)])
def test_the_recorded_host_can_be_kept(host: str, sni: str | None):
    flow = an_exchange(a_request(host=host, address="example.com"))
    flow.server_conn = None

    assert destination_of(flow, STAGING, keep_host=True) == (Origin(*STAGING), sni, host)


def test_a_raw_connection_goes_where_it_went():
    flow = a_tcp_flow(1, b"x")
    flow.server_conn = Connection("server", address=("a.test", 99), timestamp_tls_setup=1.0, sni="b.test")

    assert destination_of(flow) == (Origin("https", "a.test", 99), "b.test", "")
    assert destination_of(flow, STAGING) == (Origin(*STAGING), None, "")


def test_a_flow_that_is_whole_is_fit():
    assert unfit(post()) == ""


def broken(**known) -> Flow:
    """A flow with a request of which something is not as it should be."""
    flow = post(body=b"hello")
    for name, value in known.items():
        setattr(flow.request, name, value)
    return flow


def with_body(**known) -> Flow:
    flow = post(body=b"hello")
    for name, value in known.items():
        setattr(flow.request.body, name, value)
    return flow


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        (with_body(complete=False), "cut off"),
        (with_body(source=None), "was not kept"),
        (with_body(source=b"hel"), "a part of its body"),
        (broken(scheme=""), "without a server"),
        (broken(host=""), "without a server"),
        (broken(method="CONNECT"), "tunnel"),
        (Flow("http", Connection("client")), "without a valid request"),
        (Flow("dns", Connection("client")), "kind dns"),
        (an_exchange(a_request(), a_response(101)), "another protocol"),
        (a_tcp_flow(1, b"x"), "without a server"),
        (Flow("tcp", Connection("client"), Connection("server", address=("a", 1))), "without a message"),
        (Flow("tcp", Connection("client"), metadata={"upgraded_from": "0000000000000001"}), "switched protocols"),
    ],
)
def test_what_cannot_be_sent_again_is_told_with_the_reason(flow: Flow, reason: str):
    assert reason in unfit(flow)


_names = st.sampled_from(
    [b"Content-Length", b"transfer-encoding", b"Connection", b"X-A", b"TE", b"host", b"Keep-Alive"]
)
_values = st.sampled_from([b"chunked", b"0", b"99", b"x-a", b"close", b"example.com"])


@given(st.lists(st.tuples(_names, _values), max_size=6), st.binary(max_size=3))
def test_whatever_was_recorded_is_framed_once_and_rightly(recorded, body):
    """P3"""
    flow = an_exchange(a_request("POST"))
    flow.request.headers, flow.request.body = Headers(recorded), stored(body)

    sent = [(name.lower(), value) for name, value in fields(flow)]

    framing = [field for field in sent if field[0] in (b"content-length", b"transfer-encoding")]
    assert framing in ([], [(b"content-length", b"%d" % len(body))], [(b"transfer-encoding", b"chunked")])
    assert framing or not body
    assert [value for name, value in sent if name == b"host"] == [b"example.com"]
    assert not {name for name, _ in sent} & {b"connection", b"te", b"keep-alive"}


SPLITTING = b"x HTTP/1.1\r\nX: 1\r\n\r\nGET /second"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda request: setattr(request, "method", "GET /first HTTP/1.1\r\n\r\nGET"),
        lambda request: setattr(request, "path", f"/{SPLITTING.decode()}"),
        lambda request: setattr(request, "path", "/a b"),
        lambda request: setattr(request, "path", ""),
        lambda request: setattr(request, "path", "http://other.test/"),
        lambda request: setattr(request, "authority", "a.test\r\nX: 1"),
        lambda request: request.headers.fields.append((b"X", b"1\r\nSmuggled: 1")),
        lambda request: request.headers.fields.append((b"X", b"1\nSmuggled: 1")),
        lambda request: request.headers.fields.append((b"X: 1\r\nY", b"1")),
        lambda request: request.headers.fields.append((b":path", b"/other")),
        lambda request: request.headers.fields.append((b"", b"1")),
        lambda request: request.headers.fields.append((b"Host", b"b.test")),
        lambda request: setattr(request, "trailers", Headers([(b"T", b"1\r\n\r\n" + SPLITTING)])),
    ],
)
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_what_a_capture_says_cannot_become_another_request(spoil, version):
    """P3"""
    flow = post(http_version=version)
    assert unfit(flow) == ""
    spoil(flow.request)

    assert unfit(flow) == "with a head that is no valid HTTP"


def test_what_frames_the_body_need_not_be_valid_as_it_is_made_anew():
    assert unfit(post((b"Content-Length", b"5, 9"), (b"Transfer-Encoding", b"odd"))) == ""


def test_a_websocket_that_was_asked_for_in_http_2_is_asked_for_in_http_1():
    flow = an_exchange(a_request(http_version="HTTP/2", authority="a.test"), a_response(101))
    fields = [(b"Host", b"a.test"), (b"x", b"1"), (b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
    flow.request.headers = Headers(fields)

    head = head_of(flow, "https", "a.test")

    assert not asks_in_http2(flow, destination_of(flow))
    assert (head.version, head.fields) == (b"HTTP/1.1", fields)
