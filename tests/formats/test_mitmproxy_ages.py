"""Flows in the shapes that mitmproxy wrote on Python 2, where text was bytes: made by hand, from its source.
(Newer ones are in golden files.)
"""

from __future__ import annotations

from typing import Any

import pytest
from support.mitmfiles import packed, reader

from mitmdump.model.flow import Flow
from mitmdump.model.headers import Headers

PEM = b"-----BEGIN CERTIFICATE-----\nMAMCAQ==\n-----END CERTIFICATE-----\n"
DER = b"\x30\x03\x02\x01"

HTTP = {"headers": [["Host", "example.com"], ["X", "\u00e9"]], "timestamp_start": 11.0, "timestamp_end": 12.5}
REQUEST = HTTP | {
    "method": "GET",
    "scheme": "https",
    "host": "example.com",
    "port": 443,
    "path": "/path",
    "content": "",
}
RESPONSE = HTTP | {"content": "hello"}


def old(value: Any) -> bytes:
    """A typed netstring without text."""
    if isinstance(value, dict):
        content = b"".join(old(each) for pair in value.items() for each in pair)
        return b"%d:%b}" % (len(content), content)
    if isinstance(value, list):
        content = b"".join(map(old, value))
        return b"%d:%b]" % (len(content), content)
    return packed(value.encode("latin-1") if isinstance(value, str) else value)


def of_0_9(version: list[int], **known: Any) -> dict[str, Any]:
    """0.9 and 0.10: the request holds what was known of the connections."""
    told = {"httpversion": [1, 1], "tcp_setup_timestamp": 10.5, "ssl_setup_timestamp": 10.75}
    client = {"address": ["127.0.0.1", 50000], "requestcount": 1, "error": None}
    return {
        "version": version,
        "request": REQUEST | told | {"client_conn": client} | known,
        "response": RESPONSE | {"httpversion": [1, 0], "code": 200, "msg": "OK", "cert": PEM},
        "error": None,
    }


def address(host: str, port: int) -> dict[str, Any]:
    return {"address": [host, port], "use_ipv6": False}


def of_0_11(version: list[int], request: dict[str, Any], response: dict[str, Any], **known: Any) -> dict[str, Any]:
    """0.11 to 1.0: connections of their own, and an address is a dict."""
    times = {"timestamp_start": 10.0, "timestamp_end": 20.0, "ssl_established": True, "timestamp_ssl_setup": 10.75}
    client = times | {"address": address("127.0.0.1", 50000), "clientcert": None}
    server = times | {
        "address": address("example.com", 443), "source_address": address("10.0.0.1", 40000), "cert": PEM,
        "sni": "example.com", "timestamp_tcp_setup": 10.5, "state": [], "via": None,
    }  # fmt: skip
    base = {
        "type": "http",
        "version": version,
        "intercepted": False,
        "id": "11111111-2222-3333-4444-555555555555",
        "error": None,
    }
    return (
        base
        | {"client_conn": client, "server_conn": server, "request": REQUEST | request, "response": RESPONSE | response}
        | known
    )


FORM = {"form_in": "absolute", "form_out": "relative", "httpversion": [1, 1]}
CODE = {"httpversion": [1, 0], "code": 200, "msg": "OK"}
NEW_FORM = {"first_line_format": "absolute", "http_version": "HTTP/1.1", "is_replay": False}
STATUS = {"http_version": "HTTP/1.0", "status_code": 200, "reason": "OK", "is_replay": False}

AGES = {
    "0.9": of_0_9([0, 9]),
    "0.9.2": of_0_9([0, 9, 2]),
    "0.10.1": of_0_9([0, 10, 1], ip="93.184.216.34"),
    "0.11": of_0_11([0, 11], FORM, CODE),
    "0.13": of_0_11([0, 13], FORM, CODE, intercepted=False),
    "0.14": of_0_11([0, 14], NEW_FORM | {"body": ""}, STATUS | {"body": "hello"}),
    "0.16": of_0_11([0, 16], NEW_FORM, STATUS),
    "0.17": of_0_11([0, 17], NEW_FORM, STATUS, marked=False),
    "0.18": of_0_11([0, 18], NEW_FORM, STATUS, marked=False),
}  # fmt: skip
# What cannot be absent but is in another place: the body of 0.14.
for message in ("request", "response"):
    del AGES["0.14"][message]["content"]
# And the looked-up address, whose name changed.
for age, name in (("0.17", "peer_address"), ("0.18", "ip_address")):
    AGES[age]["server_conn"][name] = address("93.184.216.34", 443)


def read(state: dict[str, Any]) -> Flow:
    found = reader(old(state))
    (flow,) = found
    assert not found.damage
    return flow


@pytest.mark.parametrize("state", AGES.values(), ids=AGES)
def test_messages_are_read_from_every_age(state):
    flow = read(state)

    assert flow.request is not None
    assert flow.response is not None
    assert (flow.request.method, flow.request.url) == ("GET", "https://example.com/path")
    assert (flow.request.http_version, flow.response.http_version) == ("HTTP/1.1", "HTTP/1.0")
    assert flow.request.headers == Headers([(b"Host", b"example.com"), (b"X", b"\xe9")])
    assert (flow.response.status_code, flow.response.reason, flow.response.raw_content) == (200, "OK", b"hello")
    assert (flow.response.timestamp_start, flow.response.timestamp_end) == (11.0, 12.5)
    assert flow.request.raw_content == b""


@pytest.mark.parametrize("state", AGES.values(), ids=AGES)
def test_connections_are_read_from_every_age(state):
    flow = read(state)

    assert flow.client_conn.peername == ("127.0.0.1", 50000)
    assert flow.server_conn is not None
    assert flow.server_conn.address == ("example.com", 443)
    assert flow.server_conn.certificate_list == (DER,)
    assert (flow.server_conn.timestamp_tcp_setup, flow.server_conn.timestamp_tls_setup) == (10.5, 10.75)


@pytest.mark.parametrize("age", ["0.10.1", "0.17", "0.18"])
def test_the_looked_up_address_is_the_peername(age):
    server = read(AGES[age]).server_conn

    assert server is not None
    assert server.peername == ("93.184.216.34", 443)


def test_a_flow_without_id_has_the_same_one_each_time():
    assert read(AGES["0.9"]).id == read(AGES["0.9"]).id


def test_flows_without_ids_have_different_ones():
    first, second = reader(old(AGES["0.9"]) * 2)

    assert first.id != second.id


def test_connections_without_ids_are_told_apart_by_what_is_known_of_them():
    state = AGES["0.11"]
    other = state | {"client_conn": state["client_conn"] | {"address": address("127.0.0.1", 50001)}}

    first, second, third = reader(old(state) + old(state) + old(other))

    assert first.client_conn.id == second.client_conn.id != third.client_conn.id


@pytest.mark.parametrize("content", [None, 0])
def test_a_body_that_was_not_kept_is_none(content):
    state = AGES["0.11"]
    flow = read(state | {"response": state["response"] | {"content": content}})

    assert flow.response is not None
    assert flow.response.raw_content is None
    assert not flow.response.body.complete


@pytest.mark.parametrize(("name", "form"), [("0.11", "form_in"), ("0.16", "first_line_format")])
def test_the_target_of_connect_is_its_authority(name, form):
    state = AGES[name]
    flow = read(state | {"request": state["request"] | {"method": "CONNECT", "path": None, form: "authority"}})

    assert flow.request is not None
    assert (flow.request.authority, flow.request.path) == ("example.com:443", "")


def test_which_half_was_replayed_stood_in_the_messages():
    state = AGES["0.17"]
    flow = read(state | {"response": state["response"] | {"is_replay": True}})

    assert flow.is_replay == "response"


def test_a_mark_became_a_word():
    assert read(AGES["0.18"] | {"marked": True}).marked == ":default:"
    assert read(AGES["0.18"] | {"marked": False}).marked == ""


def test_raw_connections_are_read():
    state = AGES["0.18"] | {"type": "tcp", "messages": [[True, "\0", 13.5], [False, "", 14]]}
    flow = read(state)

    assert flow.kind == "tcp"
    assert [(each.from_client, each.content, each.timestamp) for each in flow.messages] == [
        (True, b"\0", 13.5),
        (False, b"", 14.0),
    ]


# WebSockets, until 11

SOCKET = {
    "type": "websocket", "messages": [[1, True, "hello", 13.0, False], [2, False, b"\xff", 14.0, False]],
    "close_sender": "server", "close_code": 1001, "close_reason": "bye",
    "metadata": {"websocket_handshake": "11111111-2222-3333-4444-555555555555"},
}  # fmt: skip
HANDSHAKE = AGES["0.18"] | {"version": 7, "metadata": {"websocket": True}}


def a_socket(**known: Any) -> dict[str, Any]:
    state = HANDSHAKE | SOCKET | {"id": "99999999-2222-3333-4444-555555555555"} | known
    del state["request"], state["response"]
    return state


def kinds(flow: Flow) -> list[str]:
    return [message.kind for message in flow.messages]


def test_a_websocket_and_its_handshake_are_one_flow():
    found = list(reader(packed(HANDSHAKE) + packed(AGES["0.18"] | {"version": 7}) + packed(a_socket())))

    assert [flow.request.path if flow.request else None for flow in found] == ["/path", "/path"]
    assert [kinds(flow) for flow in found] == [[], ["text", "binary", "close"]]
    assert [message.content for message in found[1].messages] == [b"hello", b"\xff", b"\3\xe9bye"]
    assert found[1].timestamp_end == 20.0


def test_a_handshake_whose_websocket_is_missing_is_delivered_at_the_end():
    other = AGES["0.18"] | {"version": 7, "id": "77777777-2222-3333-4444-555555555555"}

    first, second = reader(packed(HANDSHAKE) + packed(other))

    assert (first.id >> 32, second.id >> 32) == (0x77777777, 0x11111111)


def test_a_websocket_whose_handshake_is_missing_is_delivered_without_a_request():
    (flow,) = reader(packed(a_socket()))

    assert flow.request is None
    assert kinds(flow) == ["text", "binary", "close"]


def test_a_websocket_that_holds_its_handshake_needs_no_other():
    (flow,) = reader(packed(a_socket(version=[2, 0, 0], handshake_flow=AGES["0.18"])))

    assert flow.request is not None
    assert flow.id >> 32 == 0x11111111
    assert kinds(flow) == ["text", "binary", "close"]


@pytest.mark.parametrize(
    ("code", "reason", "content"),
    [(1005, "", b""), ("(status code missing)", "x", b""), (1006, "", None), (1000, "unknown status code", None)],
)
def test_a_close_that_was_not_seen_is_none(code, reason, content):
    (flow,) = reader(packed(a_socket(close_code=code, close_reason=reason)))

    closes = [message.content for message in flow.messages if message.kind == "close"]
    assert closes == ([] if content is None else [content])
