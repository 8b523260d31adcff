"""P2: sealed replay never opens an upstream connection, whatever is asked, however often."""

import json
from itertools import pairwise
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.flowfiles import START
from support.peers import in_loop
from support.proxying import identity, proxying, trusting
from support.replaying import JSON, a_request, answers_of, recorded
from support.tls import make_client
from support.websockets import ACCEPT, BINARY, PING, PONG, TEXT, asking, close, frame

from mitmdump.handlers.hooks import Hooks
from mitmdump.model.connection import Connection
from mitmdump.model.headers import Headers
from mitmdump.model.message import Message
from mitmdump.net import upstream
from mitmdump.proxy import tunnel
from mitmdump.proxy import upstreams as module
from mitmdump.replay.server import Answering, ServerReplay
from mitmdump.tls.names import read_names

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
CONNECT = b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture(autouse=True)
def _nobody_connects(monkeypatch):
    """Whoever looks up a name or connects fails the test; servers that speak first are given their chance at once."""
    tried = []

    async def connect(*arguments, **_):
        tried.append(arguments)
        raise AssertionError("a connection is made")

    monkeypatch.setattr(module, "connect", connect)
    monkeypatch.setattr(upstream, "_connect", connect)
    monkeypatch.setattr(tunnel, "GREETING_SECONDS", 0.02)
    yield
    assert not tried


def sealed(proxy, path, *flows, extra="kill"):
    """Have a proxy answer from these flows."""
    handler = ServerReplay(answers_of(path / "in.flows", *flows), Answering(extra), proxy.warnings.append)
    proxy.services.hooks, proxy.services.recorded = Hooks([handler]), handler
    return handler


def over_tls(certificate):
    """A recorded flow of a server with this certificate."""
    flow = recorded(a_request("https://a.test/"))
    flow.server_conn = Connection(
        "server", address=("a.test", 443), sni="a.test", certificate_list=(certificate,), timestamp_tls_setup=1.0
    )
    return flow


def names_of(session):
    """The names in the certificate that a client was shown."""
    shown = Connection("server")
    session.describe(shown)
    return set(read_names(shown.certificate_list[0]).dns)


@in_loop
@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
        b"POST http://a.test/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"PUT http://a.test/ HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
        b"OPTIONS http://a.test HTTP/1.1\r\nHost: a.test\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\nRange: bytes=0-1\r\n\r\n",
    ],
)
async def test_a_request_that_matches_nothing_is_refused(tmp_path, request_):
    """P2"""
    async with proxying() as proxy:
        sealed(proxy, tmp_path)
        client = await proxy.client()
        await client.sends(request_)
        answer = await client.reads_all()
        assert b"HTTP/1.1 502 Bad Gateway\r\n" in answer
        assert (await proxy.flow()).error.startswith("no recording matches")


@in_loop
async def test_as_many_requests_as_one_likes_are_answered_and_then_refused(tmp_path):
    """P2"""
    async with proxying() as proxy:
        sealed(proxy, tmp_path, recorded(a_request()), extra=404)
        client = await proxy.client()
        for number in range(20):
            path = b"" if number % 2 else b"other"
            await client.sends(b"GET http://a.test/%b HTTP/1.1\r\nHost: a.test\r\n\r\n" % path)
            assert (await client.reads_head()).startswith(b"HTTP/1.1 200" if number % 2 else b"HTTP/1.1 404")
            flow = (await proxy.flow()).flow
            assert flow.server_conn is None
            await client.reads(flow.response.body.length)


@settings(max_examples=25)
@given(
    query=st.lists(st.tuples(st.text(max_size=2), st.text(max_size=2)), max_size=4),
    value=st.dictionaries(st.text(max_size=2), st.integers(), max_size=4),
    cuts=st.lists(st.integers(1, 9), max_size=4),
    random=st.randoms(),
)
@in_loop
async def test_the_order_of_parameters_and_keys_and_chunking_make_no_difference(
    tmp_path_factory, query, value, cuts, random
):
    kept = a_request(f"http://a.test/?{urlencode(query)}", "POST", json.dumps(value).encode(), content_type=JSON)
    target = urlencode(random.sample(query, len(query))).encode()
    body = json.dumps(dict(random.sample(list(value.items()), len(value)))).encode()
    edges = [0, *sorted({min(cut, len(body)) for cut in cuts} | {len(body)})]
    chunks = [body[start:end] for start, end in pairwise(edges)]
    async with proxying() as proxy:
        sealed(proxy, tmp_path_factory.mktemp("property"), recorded(kept))
        client = await proxy.client()
        head = b"POST http://a.test/?%b HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\n" % target
        await client.sends(head + b"Transfer-Encoding: chunked\r\n\r\n")
        await client.sends(b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n")
        assert (await client.reads_head()).startswith(b"HTTP/1.1 200 Fine\r\n")
        await client.receives(b"hello")
        await proxy.flow()


@in_loop
@pytest.mark.parametrize("going_to", [None, ("192.0.2.1", 443)], ids=["CONNECT", "redirected"])
async def test_https_is_answered_with_the_names_of_the_recorded_certificate(tmp_path, going_to):
    """P2"""
    async with proxying() as proxy:
        sealed(proxy, tmp_path, over_tls(identity("a.test", "other.test").der))
        client = await proxy.client(going_to=going_to)
        if not going_to:
            await client.sends(CONNECT)
            await client.receives(ESTABLISHED)
        session = make_client(trusting())
        await client.starts_tls(session)
        await client.sends(GET)
        assert (await client.reads_head()).startswith(b"HTTP/1.1 200 Fine\r\n")
        await client.receives(b"hello")
        await proxy.flow()
        assert names_of(session) == {"a.test", "other.test"}


@in_loop
async def test_a_server_that_was_never_seen_has_a_certificate_all_the_same(tmp_path):
    """P2"""
    async with proxying() as proxy:
        sealed(proxy, tmp_path)
        client = await proxy.client()
        await client.sends(CONNECT)
        await client.receives(ESTABLISHED)
        session = make_client(trusting(), sni="new.test")
        await client.starts_tls(session)
        await client.sends(GET)
        assert (await client.reads_head()).startswith(b"HTTP/1.1 502 ")
        assert names_of(session) == {"new.test"}
        await proxy.flow()


CHAT = [
    (False, "text", b"welcome"),
    (True, "text", b"hello"),
    (False, "text", b"hello back"),
    (False, "binary", b"\0" * 100),
    (True, "text", b"bye"),
    (False, "close", b"\x03\xe8"),
]


def a_chat(*messages):
    """A recorded WebSocket."""
    flow = recorded(a_request("http://a.test/chat", upgrade="websocket"), b"", 101, upgrade="websocket")
    flow.response.headers = Headers([(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"X-Room", b"7")])
    flow.messages = [Message(from_client, kind, START, content) for from_client, kind, content in messages]
    return flow


@in_loop
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_a_websocket_says_again_what_it_said_in_answer_to_the_client(tmp_path, version):
    """P2: whichever version of HTTP it was opened in."""
    chat = a_chat(*CHAT)
    chat.request.http_version = chat.response.http_version = version
    async with proxying() as proxy:
        sealed(proxy, tmp_path, chat)
        client = await proxy.client()
        await client.sends(asking(b"a.test"))
        head = await client.reads_head()
        assert head.startswith(b"HTTP/1.1 101 Fine\r\n")
        assert b"Sec-WebSocket-Accept: " + ACCEPT in head
        assert b"X-Room: 7" in head
        await client.receives(frame(TEXT, b"welcome", masked=False))
        await client.sends(frame(TEXT, b"something else", masked=True))
        await client.receives(frame(TEXT, b"hello back", masked=False) + frame(BINARY, bytes(100), masked=False))
        await client.sends(frame(PING, b"!", masked=True) + frame(TEXT, b"bye", masked=True))
        await client.receives(frame(PONG, b"!", masked=False) + close(masked=False))
        await client.sends(close(masked=True))
        await client.sees_end()
        client.ends()
        told = await proxy.flow()
        assert told.flow.is_replay == "response"
        assert [content for from_client, content in told.messages if not from_client][:2] == [b"welcome", b"hello back"]


@in_loop
async def test_a_client_may_end_a_recorded_websocket_at_any_time(tmp_path):
    async with proxying() as proxy:
        sealed(proxy, tmp_path, a_chat(*CHAT))
        client = await proxy.client()
        await client.sends(asking(b"a.test"))
        await client.reads_head()
        await client.receives(frame(TEXT, b"welcome", masked=False))
        await client.sends(close(masked=True))
        await client.receives(close(masked=False))
        await client.sees_end()
        client.ends()
        await proxy.flow()


@in_loop
@pytest.mark.parametrize("content", [b"\x00", b"\x03\xed", b"\x03\xe8\xff"])
async def test_a_recorded_close_frame_that_may_not_be_sent_has_no_code(tmp_path, content):
    async with proxying() as proxy:
        sealed(proxy, tmp_path, a_chat((False, "ping", b"!" * 126), (False, "close", content)))
        client = await proxy.client()
        await client.sends(asking(b"a.test"))
        await client.reads_head()
        await client.receives(frame(PING, b"!" * 125, masked=False) + b"\x88\x00")
        await client.sends(close(masked=True))
        client.ends()
        await client.sees_end()
        await proxy.flow()


@in_loop
async def test_a_websocket_whose_end_was_not_recorded_waits_for_the_client_to_end_it(tmp_path):
    async with proxying() as proxy:
        sealed(proxy, tmp_path, a_chat(CHAT[0]))
        client = await proxy.client()
        await client.sends(asking(b"a.test"))
        await client.reads_head()
        await client.sends(frame(TEXT, b"anybody there?", masked=True) + close(masked=True))
        await client.receives(frame(TEXT, b"welcome", masked=False) + close(masked=False))
        await client.sees_end()
        client.ends()
        await proxy.flow()


@in_loop
@pytest.mark.parametrize("going_to", [None, ("192.0.2.1", 25)], ids=["CONNECT", "redirected"])
@pytest.mark.parametrize("says", [b"", b"EHLO me\r\n", b"\x00\x01\x02", b"SSH-2.0-x\r\n"])
async def test_what_is_no_http_is_closed(tmp_path, going_to, says):
    """P2"""
    async with proxying() as proxy:
        sealed(proxy, tmp_path)
        client = await proxy.client(going_to=going_to)
        if not going_to:
            await client.sends(CONNECT)
            await client.receives(ESTABLISHED)
        await client.sends(says)
        assert await client.reads_all() == b""
        assert "as only recordings answer" in (await proxy.flow()).error
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("option", ["ignore_hosts", "tcp_hosts"])
async def test_hosts_that_are_not_intercepted_are_not_connected_to_either(tmp_path, option):
    """P2"""
    async with proxying(**{option: ("a.test",)}) as proxy:
        sealed(proxy, tmp_path)
        client = await proxy.client()
        await client.sends(CONNECT)
        await client.receives(ESTABLISHED)
        session = make_client(trusting())
        session.handshake()
        await client.sends_raw(session.take())
        assert await client.reads_all() == b""
        if option == "tcp_hosts":
            await proxy.flow()
        await proxy.ends()


@in_loop
async def test_a_request_in_the_clear_to_an_ignored_host_is_refused(tmp_path):
    """P2: nobody looks at it, so nobody can answer it."""
    async with proxying(ignore_hosts=("a.test",)) as proxy:
        sealed(proxy, tmp_path, recorded(a_request()))
        client = await proxy.client()
        await client.sends(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert (await client.reads_head()).startswith(b"HTTP/1.1 502 ")
