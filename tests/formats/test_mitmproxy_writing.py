from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from support.flowfiles import a_flow, a_tcp_flow, flows, stored, value
from support.mitmfiles import paths, read_back, reader, written

from mitmdump.errors import FlowFileError
from mitmdump.formats.mitmproxy import MitmproxyEncoder
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow, WebSocket
from mitmdump.model.message import HttpMessage, Message

WEBSOCKET = ("text", "binary", "close")
PAIR = [written(a_flow(1)), written(a_flow(2))]


def left_out(flow: Flow) -> tuple[bool, dict[str, int]]:
    """Is anything written of it, and what is said to be missing."""
    encoder = MitmproxyEncoder()
    return bool(list(encoder.flow(flow))), dict(encoder.left_out)


# Round trips


def held(flow: Flow) -> Flow:
    """The flow as far as mitmproxy's flow file can hold it."""
    return replace(
        flow,
        client_conn=replace(
            held_connection(flow.client_conn, flow), address=None, timestamp_tcp_setup=None,
            timestamp_start=first(flow.client_conn.timestamp_start, flow.timestamp_start),
        ),
        server_conn=held_connection(flow.server_conn, flow) if has_place(flow.server_conn) else None,
        request=held_message(flow.request, flow),
        response=held_message(flow.response, flow),
        messages=list(held_messages(flow)),
        websocket=held_ending(flow),
        timestamp_end=None,  # is told from other times
    )  # fmt: skip


def first(*times: float | None) -> float | None:
    return next((time for time in times if time is not None), None)


def has_place(connection: Connection | None) -> bool:
    return connection is not None and any(place and place[0] for place in (connection.address, connection.peername))


def held_connection(connection: Connection | None, flow: Flow) -> Connection:
    assert connection is not None
    places = {name: getattr(connection, name) for name in ("peername", "sockname", "address")}
    places = {name: place if place and place[0] else None for name, place in places.items()}
    return replace(connection, session_resumed=False, verification=None, tls_version=None, **places)


def held_message(message: Any, flow: Flow) -> Any:
    if message is None:
        return None
    started = first(message.timestamp_start, flow.timestamp_start)
    return replace(message, body=held_body(message, flow), timestamp_start=started)


def held_body(message: HttpMessage, flow: Flow) -> Body:
    body = message.body
    content = body.read()
    if content is None and (body.length or not body.complete):
        return Body()
    content = content or b""
    return Body(len(content), flow.error is None or message.timestamp_end is not None, None, content)


def held_messages(flow: Flow) -> Iterator[Message]:
    """The close frame goes last."""
    if flow.kind != "http":
        yield from (replace(message, kind="raw") for message in flow.messages)
        return
    for message in flow.messages:
        if message.kind in ("text", "binary", "continuation"):
            yield replace(message, kind="binary") if message.kind == "continuation" else message
    for message in flow.messages:
        if message.kind == "close":
            content = message.content if len(message.content) > 1 else b""
            reason = content[2:].decode("utf-8", "surrogateescape").encode("utf-8", "replace")
            yield replace(message, content=content[:2] + reason)
            return


def held_ending(flow: Flow) -> WebSocket | None:
    """How a WebSocket ended: as the first close frame says, or without one."""
    websocket, messages = flow.websocket, list(flow.messages)
    if flow.kind != "http" or not (websocket or messages):
        return None
    if any(message.kind == "close" for message in messages):
        *_, frame = held_messages(flow)
        code = int.from_bytes(frame.content[:2]) if frame.content else 1005
        return WebSocket(frame.from_client, code, frame.content[2:].decode())
    return websocket if websocket and websocket.close_code == 1006 else WebSocket()


@settings(max_examples=100)
@given(flows)
def test_what_is_written_is_read(flow):
    """S7"""
    if flow.kind == "dns" or (flow.kind == "http" and flow.request is None):
        return
    if flow.kind != "http":
        flow.request = flow.response = None

    (found,) = reader(written(flow))

    found.timestamp_end = None
    assert value(found) == value(held(flow))


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_a_body_of_any_size_is_written_in_pieces(size):
    content = bytes(size)
    pieces = list(MitmproxyEncoder().flow(a_flow(1, content)))

    assert max(map(len, pieces)) < 70_000
    (flow,) = reader(b"".join(pieces))
    assert flow.response is not None
    assert flow.response.raw_content == content


def test_certificates_are_written_as_pem_and_read_as_der():
    certificates = (b"", b"a", bytes(range(256)))
    client = Connection("client", 7, certificate_list=certificates, timestamp_start=1.0)

    assert b"-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n," in written(a_flow(1, client_conn=client))
    assert read_back(a_flow(1, client_conn=client))[0]["client_conn"]["certificate_list"] == certificates


def test_http_2_is_called_as_mitmproxy_calls_it():
    flow = a_flow(1)
    assert flow.request is not None
    flow.request.http_version = "HTTP/2"

    assert b"8:HTTP/2.0," in written(flow)
    assert read_back(flow)[0]["request"]["http_version"] == "HTTP/2"


@pytest.mark.parametrize(("version", "known"), [("TLSv1.3", b"7:TLSv1.3;"), ("TLSv1.4", b"0:~"), (None, b"0:~")])
def test_a_version_of_tls_that_mitmproxy_does_not_know_is_not_written(version, known):
    client = Connection("client", 7, tls_version=version)

    assert b"11:tls_version;" + known in written(a_flow(1, client_conn=client))


def test_quic_is_udp():
    assert b"18:transport_protocol;3:udp;" in written(
        a_flow(1, client_conn=Connection("client", 7, tls_version="QUICv1"))
    )


def test_what_is_no_text_is_made_text_as_mitmproxy_gives_up_a_file_with_anything_else():
    written(a_flow(1, comment="\udcff\ud800")).decode("utf-8")


def test_an_incomplete_body_of_a_broken_flow_stays_so():
    flow = a_flow(1, error=Error("cut", 5.0))
    assert flow.response is not None
    flow.response.body.complete = False
    flow.response.timestamp_end = None

    assert left_out(flow) == (True, {})
    assert read_back(flow)[0]["response"]["body"] == (5, False, None, b"hello")


# What has no form


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (Body(5, complete=True), "lengths of bodies that were not kept"),
        (Body(5, complete=True, source=b"hel"), "marks of bodies that are not whole"),
        (Body(3, complete=False, source=b"hel"), "marks of bodies that are not whole"),
    ],
)
def test_what_is_lost_of_a_body_is_said(body, words):
    flow = a_flow(1)
    assert flow.response is not None
    flow.response.body = body

    assert left_out(flow) == (True, {words: 1})


def test_what_is_whole_is_said_to_lose_nothing():
    assert left_out(a_flow(1)) == (True, {})
    assert left_out(a_tcp_flow(1, b"a")) == (True, {})


def test_messages_without_a_form_are_counted():
    kinds = ["text", "continuation", "ping", "pong", "close", "close", "raw", "binary"]
    messages = [Message(True, kind, 1.0, b"\3\xe8") for kind in kinds]  # type: ignore[arg-type]
    flow = a_flow(1, messages=messages)

    assert left_out(flow) == (
        True,
        {
            "WebSocket pings and pongs": 2,
            "second close frames of WebSockets": 1,
            "borders of WebSocket messages above 1 MiB": 1,
            "raw messages of HTTP flows": 1,
        },
    )
    assert [each["kind"] for each in read_back(flow)[0]["messages"]] == ["text", "binary", "binary", "close"]


def test_a_refused_certificate_is_counted():
    server = Connection("server", 8, address=("a", 1), verification="expired")

    assert left_out(a_flow(1, server_conn=server)) == (True, {"reasons why a certificate was not accepted": 1})


def test_a_flow_without_request_is_left_out():
    flow = Flow("http", Connection("client"), error=Error("not HTTP", 1.0))

    assert left_out(flow) == (False, {"HTTP flows without a request": 1})


# Going on in a file


@pytest.mark.parametrize("torn", [b"", PAIR[1][:1], PAIR[1][:3], PAIR[1][:400], PAIR[1][:-1]])
def test_a_file_is_gone_on_with_behind_its_last_whole_flow(torn):
    """S8"""
    assert MitmproxyEncoder().resume(BytesIO(PAIR[0] + torn)) == len(PAIR[0])


def test_an_empty_file_is_gone_on_with():
    assert MitmproxyEncoder().resume(BytesIO()) == 0


def test_another_file_is_not_gone_on_with():
    with pytest.raises(FlowFileError, match="no flow file of mitmproxy"):
        MitmproxyEncoder().resume(BytesIO(b"something else"))


def test_a_file_with_flows_behind_damage_is_not_gone_on_with():
    with pytest.raises(FlowFileError, match=f"damaged at byte {len(PAIR[0])}"):
        MitmproxyEncoder().resume(BytesIO(PAIR[0] + b"x" + PAIR[1]))


def test_files_one_behind_the_other_are_one():
    assert paths(reader(PAIR[0] + PAIR[1] + PAIR[0])) == ["/1", "/2", "/1"]


def test_a_kept_body_is_read_when_it_is_written():
    class Source:
        def __len__(self) -> int:
            return 4

        def pieces(self) -> Iterator[bytes]:
            yield from (b"bo", b"dy")

    flow = a_flow(1)
    assert flow.response is not None
    flow.response.body = replace(stored(b"body"), source=Source())

    assert read_back(flow)[0]["response"]["body"] == (4, True, None, b"body")
