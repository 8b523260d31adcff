"""What a head says in the words of the other version (RFC 9113 section 8)."""

import pytest

from mitmdump.errors import RemoteError
from mitmdump.wire.events import End, RequestHead, ResponseHead
from mitmdump.wire.head import CHUNKED, SWITCHED, UNTIL_CLOSE
from mitmdump.wire.hop import end_to_end
from mitmdump.wire.translate import (
    connect_to_upgrade,
    connected_to_switched,
    end_to_http2,
    request_to_http1,
    request_to_http2,
    response_to_http1,
    response_to_http2,
    switched_to_connected,
    upgrade_to_connect,
)

HOST = (b"Host", b"a.test:8443")
CHUNKS = (b"Transfer-Encoding", b"chunked")


def http1(*fields, method=b"GET", target=b"/x", framing=0):
    return RequestHead(method, target, list(fields), b"HTTP/1.1", framing=framing)


def http2(*fields, method=b"GET", target=b"/x", framing=0, authority=b"a.test:8443"):
    return RequestHead(method, target, list(fields), b"HTTP/2", 5, framing, b"https", authority)


def answer1(*fields, status=200, framing=0):
    return ResponseHead(status, list(fields), b"Fine", b"HTTP/1.1", framing=framing)


def answer2(*fields, status=200, framing=0):
    return ResponseHead(status, list(fields), b"", b"HTTP/2", 5, framing)


# -- requests ---------------------------------------------------------------------------------------------------------


def test_host_becomes_authority_and_names_become_lower_case():
    head = request_to_http2(http1(HOST, (b"X-Some", b"Thing")), 7, b"https")

    assert (head.scheme, head.authority, head.target, head.stream_id) == (b"https", b"a.test:8443", b"/x", 7)
    assert (head.version, head.fields) == (b"HTTP/2", [(b"x-some", b"Thing")])


def test_without_host_the_server_is_the_authority():
    """HTTP/1.0 knows none."""
    assert request_to_http2(http1(), 7, b"http", b"b.test").authority == b"b.test"


def test_authority_becomes_host_which_comes_first():
    head = request_to_http1(http2((b"accept", b"*/*"), (b"host", b"A.test:8443")))

    assert head.fields == [HOST, (b"accept", b"*/*")]
    assert (head.version, head.stream_id) == (b"HTTP/1.1", 1)


def test_host_without_authority_stays():
    assert request_to_http1(http2((b"host", b"a.test"), authority=b"")).fields == [(b"host", b"a.test")]


def test_what_is_of_the_connection_does_not_go_on():
    fields = [
        HOST,
        (b"Connection", b"close, X-Mine"),
        (b"X-Mine", b"1"),
        (b"Keep-Alive", b"5"),
        (b"TE", b"gzip"),
        CHUNKS,
    ]

    assert request_to_http2(http1(*fields, framing=CHUNKED), 7, b"https").fields == []


def test_te_of_http2_says_trailers_in_both():
    """2d: gRPC asks for it; in HTTP/1, where it is of one connection, that must list it (RFC 9110 section 10.1.4)."""
    assert request_to_http1(http2((b"te", b"trailers"))).fields == [HOST, (b"TE", b"trailers"), (b"Connection", b"TE")]
    assert end_to_end(http2((b"te", b"trailers"))) == [(b"te", b"trailers")]


def test_cookie_crumbs_become_one_cookie_where_the_first_stood():
    """RFC 9113 section 8.2.3"""
    crumbs = [(b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2"), (b"cookie", b"")]

    assert request_to_http1(http2(*crumbs)).fields == [HOST, (b"cookie", b"a=1; b=2"), (b"x", b"y")]
    assert request_to_http2(http2(*crumbs), 7, b"https").fields == crumbs


def test_a_body_of_unknown_length_is_chunked_in_http1():
    head = request_to_http1(http2(method=b"POST", framing=CHUNKED))

    assert (head.fields, head.framing) == ([HOST, CHUNKS], CHUNKED)


@pytest.mark.parametrize(("method", "more"), [(b"POST", [(b"Content-Length", b"0")]), (b"GET", [])])
def test_no_body_is_said_where_servers_expect_one(method, more):
    assert request_to_http1(http2(method=method)).fields == [HOST, *more]


def test_a_length_stays_what_it_is():
    field = (b"content-length", b"3")

    assert request_to_http1(http2(field, method=b"PUT", framing=3)).fields == [HOST, field]
    assert request_to_http2(http1(HOST, field, method=b"PUT", framing=3), 7, b"https").fields == [field]


def test_connect_names_its_target_in_both():
    asked = RequestHead(b"CONNECT", b"a.test:443", [], b"HTTP/2", 5, CHUNKED, authority=b"a.test:443")

    tunnel = request_to_http2(http1((b"Host", b"a.test:443"), method=b"CONNECT", target=b"a.test:443"), 7, b"")

    assert (tunnel.target, tunnel.authority) == (b"a.test:443", b"a.test:443")
    assert (request_to_http1(asked).target, request_to_http1(asked).fields[0]) == (
        b"a.test:443",
        (b"Host", b"a.test:443"),
    )


def test_from_http2_to_http2_only_the_stream_is_another():
    head = http2((b"host", b"a.test:8443"), (b"te", b"trailers"))

    assert request_to_http2(head, 7, b"http", b"b.test") == RequestHead(
        b"GET", b"/x", head.fields, b"HTTP/2", 7, 0, b"https", b"a.test:8443"
    )


def test_from_http1_to_http1_nothing_is_changed():
    request, response = http1(HOST), answer1()

    assert request_to_http1(request) is request
    assert response_to_http1(response, b"GET") is response


# -- responses --------------------------------------------------------------------------------------------------------


def test_a_response_loses_its_reason_and_its_framing():
    head = response_to_http2(answer1((b"Server", b"X"), CHUNKS, (b"Connection", b"close"), framing=CHUNKED), 7)

    assert head == ResponseHead(200, [(b"server", b"X")], b"", b"HTTP/2", 7, CHUNKED)


def test_a_response_gets_the_usual_reason():
    assert response_to_http1(answer2(status=404), b"GET").reason == b"Not Found"
    assert response_to_http1(answer2(status=299), b"GET").reason == b""


def test_a_response_of_unknown_length_is_chunked_in_http1():
    head = response_to_http1(answer2(framing=CHUNKED), b"GET")

    assert (head.fields, head.framing, head.version) == ([CHUNKS], CHUNKED, b"HTTP/1.1")


def test_for_a_client_that_reads_no_chunks_nothing_is_said_of_them():
    assert response_to_http1(answer2(framing=UNTIL_CLOSE), b"GET").fields == []


@pytest.mark.parametrize(
    ("status", "method", "more"),
    [
        (200, b"GET", [(b"Content-Length", b"0")]),
        (404, b"POST", [(b"Content-Length", b"0")]),
        (200, b"HEAD", []),
        (204, b"GET", []),
        (304, b"GET", []),
        (103, b"GET", []),
    ],
)
def test_a_client_of_http1_does_not_wait_for_a_body_that_does_not_come(status, method, more):
    assert response_to_http1(answer2(status=status), method).fields == more


def test_the_fields_that_were_received_are_not_touched():
    """They are of the record."""
    head, asked = answer2(framing=CHUNKED), http2(framing=CHUNKED)

    response_to_http1(head, b"GET")
    request_to_http1(asked)

    assert head.fields == asked.fields == end_to_end(head) == end_to_end(asked) == []


def test_trailers_lose_what_is_of_http1_connections():
    end = End([(b"Checksum", b"1"), (b"Connection", b"close"), (b"Transfer-Encoding", b"x")])

    assert end_to_http2(end, 7) == End([(b"checksum", b"1")], 7)
    assert end_to_http2(End(), 7) == End(None, 7)
    assert end_to_http2(End([(b"Upgrade", b"x")]), 7) == End(None, 7)


# -- WebSocket --------------------------------------------------------------------------------------------------------

# The example of RFC 6455 section 1.3.
KEY, ACCEPT = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
OFFER = [(b"Sec-WebSocket-Version", b"13"), (b"Sec-WebSocket-Protocol", b"chat")]
UPGRADE = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]


def lower(fields):
    return [(name.lower(), value) for name, value in fields]


def test_a_websocket_is_asked_for_with_connect_in_http2():
    """RFC 8441"""
    head = upgrade_to_connect(http1(HOST, *UPGRADE, *OFFER, (b"Sec-WebSocket-Key", KEY)), 7, b"https")

    assert (head.method, head.protocol, head.target, head.scheme) == (b"CONNECT", b"websocket", b"/x", b"https")
    assert (head.authority, head.fields) == (b"a.test:8443", lower(OFFER))


def test_a_websocket_is_asked_for_with_upgrade_in_http1():
    """RFC 8441"""
    asked = http2(*lower(OFFER), (b"te", b"trailers"), method=b"CONNECT")
    asked.protocol = b"websocket"

    head = connect_to_upgrade(asked, KEY)

    assert (head.method, head.target, head.version) == (b"GET", b"/x", b"HTTP/1.1")
    assert head.fields == [HOST, *lower(OFFER), *UPGRADE, (b"Sec-WebSocket-Key", KEY)]


def test_the_server_agrees_with_200_in_http2():
    """RFC 8441"""
    switched = answer1(*UPGRADE, (b"Sec-WebSocket-Accept", ACCEPT), (b"Sec-WebSocket-Protocol", b"chat"), status=101)

    head = switched_to_connected(switched, 7, KEY)

    assert (head.status, head.fields, head.framing) == (200, [(b"sec-websocket-protocol", b"chat")], SWITCHED)


@pytest.mark.parametrize("proof", [[], [(b"Sec-WebSocket-Accept", KEY)]])
def test_a_server_that_does_not_answer_the_key_has_not_agreed(proof):
    """RFC 6455 section 4.1"""
    with pytest.raises(RemoteError, match="a wrong Sec-WebSocket-Accept"):
        switched_to_connected(answer1(*UPGRADE, *proof, status=101), 7, KEY)


def test_the_server_agrees_with_101_in_http1():
    """RFC 8441"""
    head = connected_to_switched(answer2((b"sec-websocket-protocol", b"chat"), framing=SWITCHED), KEY)

    assert (head.status, head.reason, head.framing) == (101, b"Switching Protocols", SWITCHED)
    assert head.fields == [(b"sec-websocket-protocol", b"chat"), *UPGRADE, (b"Sec-WebSocket-Accept", ACCEPT)]
