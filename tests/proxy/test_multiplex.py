"""HTTP/2 through the proxy, with the h2 library at both ends: streams beside each other, and what becomes of each."""

import asyncio
import weakref
from contextlib import asynccontextmanager

import pytest
from support.http2peer import Http2Peer
from support.peers import in_loop
from support.proxying import proxying, tls_server, trusting
from support.streams import until
from support.tls import make_client
from support.transcripts import CONNECT, ESTABLISHED, OK

from mitmdump.net import stream as stream_module

HTTP_1, HTTP_2 = b"http/1.1", b"h2"
MAX_CONCURRENT_STREAMS = 3
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, REFUSED_STREAM, CANCEL, CALM, HTTP_1_1_REQUIRED = 0, 1, 2, 7, 8, 11, 13


async def tunnels(proxy, *, speaks=HTTP_2, offer=(HTTP_2, HTTP_1), server=None):
    """A client in a tunnel to a server, both past their handshakes."""
    client, server = await proxy.client(), server or await proxy.server()
    await client.sends(CONNECT.replace(b"NAME", server.name))
    await client.receives(ESTABLISHED)

    async def serves():
        peer = await server.accepts()
        await peer.starts_tls(tls_server("a.test", alpn=speaks))
        return peer

    peer, _ = await asyncio.gather(serves(), client.starts_tls(make_client(trusting(), alpn=offer)))
    return client, peer, server


@asynccontextmanager
async def passage(**settings):
    """A client and a server that speak HTTP/2 through a tunnel; they leave at the end."""
    async with proxying(**settings) as proxy:
        near, far, _ = await tunnels(proxy)
        client = await Http2Peer.starts(near, is_client=True)
        server = await Http2Peer.starts(far, is_client=False)
        await client.settles()
        await server.settles()
        yield proxy, client, server
        near.closes()
        await proxy.ends()


async def exchange(client, server, path="/", body=b"hi"):
    """One whole exchange."""
    stream = await client.asks(path)
    theirs, _ = await server.request()
    await server.answers(theirs, body)
    return await client.all(stream)


# -- what goes on, and what is recorded -----------------------------------------------------------------------------


@in_loop
async def test_a_request_goes_on_stream_by_stream_and_is_recorded_as_it_came():
    async with passage() as (proxy, client, server):
        stream = await client.asks("/a?b", ("x", "1"), ("cookie", "a=1"), ("cookie", "b=2"), method="POST", body=b"up")
        theirs, got = await server.request()
        await server.all(theirs)
        await server.answers(theirs, b"down", ("x", "2"), trailers=[("t", "3")])
        answer = await client.all(stream)
        flow = (await proxy.flow()).flow
    assert got.fields == [
        (b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/a?b"), (b":authority", b"a.test"),
        (b"x", b"1"), (b"cookie", b"a=1"), (b"cookie", b"b=2"),
    ]  # fmt: skip
    assert (got.body, answer.body, answer.trailers) == (b"up", b"down", [(b"t", b"3")])
    assert (flow.request.http_version, flow.response.http_version) == ("HTTP/2", "HTTP/2")
    assert (flow.request.url, flow.request.authority) == ("https://a.test/a?b", "a.test")
    assert (flow.response.trailers.fields, flow.metadata["stream_id"]) == ([(b"t", b"3")], stream)
    assert (flow.client_conn.alpn, flow.server_conn.alpn) == (HTTP_2, HTTP_2)


@in_loop
async def test_streams_pass_each_other():
    """2d"""
    async with passage() as (proxy, client, server):
        slow, fast = await client.asks("/slow"), await client.asks("/fast")
        (first, _), (second, _) = await server.request(), await server.request()
        await server.answers(second, b"fast")
        assert (await client.all(fast)).body == b"fast"
        assert not client.streams[slow].fields
        await server.answers(first, b"slow")
        assert (await client.all(slow)).body == b"slow"
        assert [(await proxy.flow()).flow.request.path for _ in range(2)] == ["/fast", "/slow"]


@in_loop
async def test_interim_responses_go_on():
    async with passage() as (proxy, client, server):
        stream = await client.asks()
        theirs, _ = await server.request()
        await server.answers(theirs, b"", ("link", "</a>"), status=103, end=False)
        await server.answers(theirs, b"hi")
        assert (await client.all(stream)).interim == [b"103"]
        await proxy.flow()


@in_loop
async def test_both_directions_run_at_once():
    """2d"""
    async with passage() as (proxy, client, server):
        stream = await client.asks(method="POST", body=None)
        theirs, _ = await server.request()
        await server.answers(theirs, b"", end=False)
        for turn in range(1, 4):
            await client.sends(stream, b"ping")
            assert await server.gets(theirs, 4 * turn) == b"ping" * turn
            await server.sends(theirs, b"pong")
            assert await client.gets(stream, 4 * turn) == b"pong" * turn
        await client.sends(stream, end=True)
        await server.all(theirs)
        await server.sends(theirs, end=True)
        await client.all(stream)
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.response_body) == (b"ping" * 3, b"pong" * 3)


@in_loop
async def test_a_response_may_end_before_its_request():
    """2d"""
    async with passage() as (proxy, client, server):
        stream = await client.asks(method="POST", body=None)
        theirs, _ = await server.request()
        await server.answers(theirs, b"early")
        await client.all(stream)
        await client.sends(stream, b"late", end=True)
        assert (await server.all(theirs)).body == b"late"
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.response_body, recorded.error) == (b"late", b"early", "")


@in_loop
async def test_a_server_that_wants_no_more_of_a_request_stops_the_client():
    """RFC 9113 section 8.1"""
    async with passage() as (proxy, client, server):
        stream = await client.asks(method="POST", body=None)
        theirs, _ = await server.request()
        await server.answers(theirs, b"no", status=413)
        assert (await client.head(stream)).status == 413
        await server.resets(theirs, NO_ERROR)
        assert await client.sees_reset(stream) == NO_ERROR
        assert client.streams[stream].body == b"no"
        recorded = await proxy.flow()
        assert (recorded.flow.response.status_code, recorded.error) == (413, "")


# -- what goes wrong ------------------------------------------------------------------------------------------------


@in_loop
@pytest.mark.parametrize("code", [INTERNAL_ERROR, CANCEL, CALM])
async def test_a_reset_of_the_server_in_mid_stream_is_one_for_the_client(code):
    """2e"""
    async with passage() as (proxy, client, server):
        stream = await client.asks()
        theirs, _ = await server.request()
        await server.answers(theirs, b"half", end=False)
        await client.gets(stream, 4)
        await server.resets(theirs, code)
        answer = await client.all(stream)
        recorded = await proxy.flow()
        assert (answer.body, answer.reset) == (b"half", code)
        assert recorded.error.startswith("the server reset the stream: ")
        assert (await exchange(client, server)).body == b"hi"
        await proxy.flow()


@in_loop
async def test_a_server_that_goes_in_mid_stream_breaks_all_its_streams():
    """2e"""
    async with passage() as (proxy, client, server):
        streams = [await client.asks(), await client.asks()]
        for _ in streams:
            theirs, _head = await server.request()
            await server.answers(theirs, b"half", end=False)
        for stream in streams:
            await client.gets(stream, 4)
        server.peer.resets()
        assert [(await client.all(stream)).reset for stream in streams] == [INTERNAL_ERROR] * 2
        assert ["the server" in (await proxy.flow()).error for _ in streams] == [True, True]


@in_loop
async def test_a_client_that_resets_a_stream_cancels_it_at_the_server():
    async with passage() as (proxy, client, server):
        stream = await client.asks()
        theirs, _ = await server.request()
        await client.resets(stream, CANCEL)
        assert await server.sees_reset(theirs) == CANCEL
        assert "the client reset the stream: CANCEL" in (await proxy.flow()).error
        assert (await exchange(client, server)).body == b"hi"
        await proxy.flow()


@in_loop
async def test_a_client_that_goes_cancels_all_at_the_server():
    async with proxying() as proxy:
        near, far, _ = await tunnels(proxy)
        client = await Http2Peer.starts(near, is_client=True)
        server = await Http2Peer.starts(far, is_client=False)
        await client.asks()
        await client.asks()
        theirs = [(await server.request())[0] for _ in range(2)]
        near.resets()
        assert [await server.sees_reset(each) for each in theirs] == [CANCEL, CANCEL]
        await server.sees_goaway()
        assert [bool((await proxy.flow()).error) for _ in range(2)] == [True, True]
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_stream_is_asked_again(method):
    """RFC 9113 section 8.7"""
    async with passage() as (proxy, client, server):
        stream = await client.asks(method=method, body=b"up" if method == "POST" else b"")
        theirs, _ = await server.request()
        await server.resets(theirs, REFUSED_STREAM)
        again, got = await server.request()
        await server.all(again)
        await server.answers(again, b"yes")
        assert (await client.all(stream)).body == b"yes"
        assert got.body == (b"up" if method == "POST" else b"")
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.error) == (got.body, "")


@in_loop
async def test_a_server_that_refuses_twice_is_not_asked_for_ever():
    async with passage() as (proxy, client, server):
        stream = await client.asks()
        for _ in range(2):
            theirs, _head = await server.request()
            await server.resets(theirs, REFUSED_STREAM)
        assert (await client.all(stream)).reset == REFUSED_STREAM
        assert "REFUSED_STREAM" in (await proxy.flow()).error


@in_loop
@pytest.mark.parametrize("code", [REFUSED_STREAM, HTTP_1_1_REQUIRED])
async def test_what_we_cannot_ask_again_the_client_is_told_to(code):
    """RFC 9113 sections 7 and 8.7"""
    async with passage() as (proxy, client, server):
        stream = await client.asks(method="POST", body=None)
        theirs, _ = await server.request()
        await client.sends(stream, b"a body")
        await server.gets(theirs, 6)
        await server.resets(theirs, code)
        answer = await client.all(stream)
        assert (answer.fields, answer.reset) == ([], code)
        assert "the server reset the stream" in (await proxy.flow()).error


@in_loop
async def test_a_server_that_resets_a_stream_before_its_answer_is_an_error_page():
    """2e"""
    async with passage() as (proxy, client, server):
        stream = await client.asks()
        theirs, _ = await server.request()
        await server.resets(theirs, INTERNAL_ERROR)
        answer = await client.all(stream)
        assert answer.status == 502
        assert b"INTERNAL_ERROR" in answer.body
        await proxy.flow()


@in_loop
async def test_what_a_goaway_leaves_out_is_asked_on_a_new_connection():
    async with proxying() as proxy:
        near, far, listening = await tunnels(proxy)
        client = await Http2Peer.starts(near, is_client=True)
        server = await Http2Peer.starts(far, is_client=False)
        kept, left_out = await client.asks("/kept"), await client.asks("/left-out", method="POST")
        first, _ = await server.request()
        await server.request()
        server.h2.close_connection(NO_ERROR, last_stream_id=first)
        await server.writes()
        peer = await listening.accepts()
        await peer.starts_tls(tls_server("a.test", alpn=HTTP_2))
        other = await Http2Peer.starts(peer, is_client=False)
        again, got = await other.request()
        await other.answers(again, b"new")
        assert ((await client.all(left_out)).body, got[b":path"]) == (b"new", b"/left-out")
        await far.sends(b"\0\0\1\1\4\0\0\0\1\x88" + b"\0\0\3\0\1\0\0\0\1old")  # h2 says no more after its GOAWAY
        assert (await client.all(kept)).body == b"old"
        assert {(await proxy.flow()).flow.request.path for _ in range(2)} == {"/kept", "/left-out"}
        near.closes()
        await proxy.ends()


@in_loop
async def test_a_fault_of_one_stream_leaves_the_others_alone():
    """2a"""
    async with passage() as (proxy, client, server):
        good = await client.asks()
        bad = await client.asks("/bad", ("connection", "close"))
        theirs, _ = await server.request()
        assert (await client.all(bad)).reset == PROTOCOL_ERROR
        await server.answers(theirs, b"good")
        assert (await client.all(good)).body == b"good"
        found = [(await proxy.flow()) for _ in range(2)]
        assert [each.flow.request.path for each in found] == ["/bad", "/"]
        assert "HTTP/1 connections only" in found[0].error


@in_loop
async def test_a_fault_of_the_connection_ends_it_and_says_why():
    """2c"""
    async with proxying() as proxy:
        near, far, _ = await tunnels(proxy)
        client = await Http2Peer.starts(near, is_client=True)
        server = await Http2Peer.starts(far, is_client=False)
        await client.asks()
        await server.request()
        for _ in range(20):
            await near.sends(b"\0\0\0\4\0\0\0\0\0" * 100)  # SETTINGS, and again
        assert await client.sees_goaway() == CALM
        await client.sees_end()
        near.closes()
        assert "too many" in (await proxy.flow()).error
        await proxy.ends()


@in_loop
async def test_a_server_that_breaks_the_rules_is_an_error_page():
    async with passage() as (proxy, client, server):
        stream = await client.asks()
        await server.request()
        await server.peer.sends(b"\0\0\4\5\4\0\0\0\1\0\0\0\2")  # PUSH_PROMISE
        answer = await client.all(stream)
        assert (answer.status, answer[b"content-type"]) == (502, b"text/html; charset=utf-8")
        assert "PUSH_PROMISE" in (await proxy.flow()).error
        assert await server.sees_goaway() == PROTOCOL_ERROR


@in_loop
async def test_the_page_of_a_head_request_has_no_body():
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        server.socket.close()
        await client.sends(CONNECT.replace(b"NAME", server.name))
        await client.receives(ESTABLISHED)
        await client.starts_tls(make_client(trusting(), alpn=(HTTP_2, HTTP_1)))
        h2 = await Http2Peer.starts(client, is_client=True)
        head, get = await h2.asks(method="HEAD"), await h2.asks()
        pages = [await h2.all(head), await h2.all(get)]
        assert [page.status for page in pages] == [502, 502]
        assert pages[0].body == b""
        assert b"connection refused" in pages[1].body
        assert b"connection" not in dict(pages[1].fields)
        assert [("connection refused" in (await proxy.flow()).error) for _ in pages] == [True, True]
        client.closes()
        await proxy.ends()


# -- back-pressure, time and memory ---------------------------------------------------------------------------------


MOST = 6_000_000
# What may be on its way: a window of ours, one of the peer's, and what waits between the two.
HELD = 1_000_000


@in_loop
async def test_a_slow_reader_holds_back_its_own_stream_only():
    async with passage() as (proxy, client, server):
        client.takes_data = False
        slow = await client.asks("/slow")
        theirs, _ = await server.request()
        await server.answers(theirs, b"", end=False)
        sent = await server.pours(theirs, MOST)
        assert 65535 < sent < HELD
        await client.gets(slow, 65535)
        client.h2.increment_flow_control_window(1 << 20)
        client.takes_data = True
        assert (await exchange(client, server, "/fast")).body == b"hi"
        assert (await proxy.flow()).flow.request.path == "/fast"
        client.h2.increment_flow_control_window(1 << 24, slow)
        client.h2.increment_flow_control_window(1 << 24)
        await client.writes()
        while sent < MOST:
            sent += await server.pours(theirs, MOST)
            await client.gets(slow, sent)
        await server.sends(theirs, end=True)
        assert len((await client.all(slow)).body) == sent
        await proxy.flow()


@in_loop
async def test_a_slow_server_holds_back_its_own_upload_only():
    async with passage() as (proxy, client, server):
        server.takes_data = False
        slow = await client.asks("/slow", method="POST", body=None)
        theirs, _ = await server.request()
        sent = await client.pours(slow, MOST)
        assert 65535 < sent < HELD
        await server.gets(theirs, 65535)
        server.takes_data = True
        server.h2.increment_flow_control_window(1 << 24)
        assert (await exchange(client, server, "/fast")).body == b"hi"
        assert (await proxy.flow()).flow.request.path == "/fast"
        server.h2.increment_flow_control_window(1 << 24, theirs)
        await server.writes()
        while sent < MOST:
            sent += await client.pours(slow, MOST)
            await server.gets(theirs, sent)
        await client.sends(slow, end=True)
        assert len((await server.all(theirs)).body) == sent
        await server.answers(theirs, b"done")
        assert (await client.all(slow)).body == b"done"
        await proxy.flow()


@in_loop
async def test_what_nobody_will_read_of_a_stream_holds_back_nothing():
    async with passage() as (proxy, client, server):
        client.takes_data = False
        for _ in range(20):
            stream = await client.asks()
            theirs, _head = await server.request()
            await server.answers(theirs, b"", end=False)
            await server.pours(theirs, 500_000)
            await client.resets(stream, CANCEL)
            await server.sees_reset(theirs)
            await proxy.flow()
        await server.settles()
        assert server.h2.outbound_flow_control_window > 4_000_000


@in_loop
async def test_a_quiet_stream_is_given_up_and_the_others_go_on(monkeypatch):
    monkeypatch.setattr(stream_module, "SWEEP_SECONDS", 0.001)
    async with passage(timeout_quiet=0.1) as (proxy, client, server):
        quiet = await client.asks("/quiet")
        theirs, _ = await server.request()
        assert (await client.all(quiet)).status == 504
        assert await server.sees_reset(theirs) == CANCEL
        assert "the server sent nothing for 0.1 seconds" in (await proxy.flow()).error
        assert (await exchange(client, server)).body == b"hi"
        await proxy.flow()


@in_loop
async def test_a_client_that_rests_too_long_is_told_to_go(monkeypatch):
    monkeypatch.setattr(stream_module, "SWEEP_SECONDS", 0.001)
    async with proxying(timeout_idle=0.1) as proxy:
        near, _far, _ = await tunnels(proxy)
        client = await Http2Peer.starts(near, is_client=True)
        assert await client.sees_goaway() == NO_ERROR
        await client.sees_end()
        near.closes()
        await proxy.ends()


@in_loop
async def test_room_is_made_by_telling_resting_clients_to_go():
    async with passage() as (proxy, client, server):
        await exchange(client, server)
        await proxy.flow()
        proxy.services.close_idle(1)
        assert await client.sees_goaway() == NO_ERROR


@in_loop
async def test_stopping_is_announced_at_once_and_lets_open_streams_finish():
    async with passage() as (proxy, client, server):
        stream = await client.asks()
        theirs, _ = await server.request()
        proxy.services.stop()
        assert await client.sees_goaway() == NO_ERROR
        await server.answers(theirs, b"finished")
        client.h2.state_machine.state = type(
            client.h2.state_machine.state
        ).CLIENT_OPEN  # h2 ignores what follows GOAWAY
        assert (await client.all(stream)).body == b"finished"
        await client.sees_end()
        await proxy.flow()


@in_loop
async def test_nothing_is_left_of_streams_that_are_over():
    async with passage() as (proxy, client, server):
        for _ in range(3):
            await exchange(client, server)
            await proxy.flow()
        [h2_client] = proxy.services.idle
        [[h2_server]] = h2_client.client.upstreams._shared.values()
        assert not h2_client.lanes
        assert not h2_server.lanes
        assert h2_client.codec.idle
        assert h2_server.codec.idle


async def _one_exchange(client, server):
    await exchange(client, server)


async def _a_fault_of_a_stream(client, _server):
    await client.sees_reset(await client.asks("/", ("connection", "close")))


async def _a_fault_of_the_client(client, server):
    await client.asks()
    await server.request()
    await client.peer.sends(b"\0\0\0\4\0\0\0\0\1")  # SETTINGS of a stream
    await client.sees_end()


async def _a_fault_of_the_server(client, server):
    stream = await client.asks()
    await server.request()
    await server.peer.sends(b"\0\0\4\5\4\0\0\0\1\0\0\0\2")  # PUSH_PROMISE
    await client.all(stream)


async def _a_server_that_leaves(client, server):
    stream = await client.asks()
    await server.request()
    server.peer.closes()
    await client.all(stream)


async def _a_client_that_leaves(client, server):
    await client.asks()
    await server.request()
    client.peer.closes()


@pytest.mark.parametrize(
    "happens",
    [
        _one_exchange,
        _a_fault_of_a_stream,
        _a_fault_of_the_client,
        _a_fault_of_the_server,
        _a_server_that_leaves,
        _a_client_that_leaves,
    ],
)
@in_loop
async def test_connections_that_are_over_are_freed_and_not_by_the_garbage_collector(happens, without_collector):
    async with passage() as (proxy, client, server):
        [h2_client] = proxy.services.shared
        [[h2_server]] = h2_client.client.upstreams._shared.values()
        left = weakref.WeakSet([h2_client, h2_server, h2_client.codec, h2_server.codec])
        del h2_client, h2_server
        await happens(client, server)
        await proxy.flow()
    await until(lambda: not left)


# -- how many connections -------------------------------------------------------------------------------------------


@in_loop
async def test_more_streams_than_a_server_takes_get_another_connection():
    async with proxying() as proxy:
        near, far, listening = await tunnels(proxy)
        server = await Http2Peer.starts(far, is_client=False, settings={MAX_CONCURRENT_STREAMS: 1})
        client = await Http2Peer.starts(near, is_client=True)
        await server.settles()
        first = await client.asks("/1")
        theirs, _ = await server.request()
        second = await client.asks("/2")
        peer = await listening.accepts()
        await peer.starts_tls(tls_server("a.test", alpn=HTTP_2))
        other = await Http2Peer.starts(peer, is_client=False)
        again, _ = await other.request()
        await other.answers(again, b"2")
        await server.answers(theirs, b"1")
        assert ((await client.all(first)).body, (await client.all(second)).body) == (b"1", b"2")
        [await proxy.flow(), await proxy.flow()]
        near.closes()
        await proxy.ends()


@in_loop
async def test_a_server_of_http_1_gets_a_connection_for_each_stream():
    async with proxying() as proxy:
        near, server = await proxy.client(), await proxy.server()
        client = await Http2Peer.starts(near, is_client=True)
        name = server.name.decode()
        streams = [await client.asks(f"/{n}", authority=name, scheme="http") for n in range(3)]
        peers = [await server.accepts() for _ in streams]
        heads = [await peer.reads_head() for peer in peers]
        for peer in peers:
            await peer.sends(OK)
        assert [(await client.all(stream)).body for stream in streams] == [b"hi"] * 3
        assert sorted(heads) == [b"GET /%d HTTP/1.1\r\nHost: %b\r\n\r\n" % (n, server.name) for n in range(3)]
        again = await client.asks("/again", authority=name, scheme="http")
        await asyncio.wait([asyncio.ensure_future(peer.reads_head()) for peer in peers], return_when="FIRST_COMPLETED")
        assert server.has_nobody_waiting()
        await client.resets(again, CANCEL)
        found = [await proxy.flow() for _ in range(4)]
        assert {each.flow.response and each.flow.response.http_version for each in found} == {"HTTP/1.1", None}
        near.closes()
        await proxy.ends()


async def loses_its_server(proxy):
    """A client in a tunnel, as a connection and as a peer of HTTP/2; its server, which has closed the connection."""
    near, far, listening = await tunnels(proxy)
    client = await Http2Peer.starts(near, is_client=True)
    far.ends()
    await far.reads_all()
    return near, client, listening


@in_loop
async def test_streams_that_need_a_new_connection_share_it():
    async with proxying() as proxy:
        near, client, listening = await loses_its_server(proxy)
        streams = [await client.asks(f"/{n}", later=n < 2) for n in range(3)]
        peer = await listening.accepts()
        await peer.starts_tls(tls_server("a.test", alpn=HTTP_2))
        server = await Http2Peer.starts(peer, is_client=False)
        for _ in streams:
            theirs, got = await server.request()
            await server.answers(theirs, got[b":path"])
        assert [(await client.all(stream)).body for stream in streams] == [b"/0", b"/1", b"/2"]
        assert listening.has_nobody_waiting()
        assert len({(await proxy.flow()).flow.server_conn.id for _ in streams}) == 1
        near.closes()
        await proxy.ends()


@in_loop
async def test_streams_that_wait_for_a_connection_learn_that_there_is_none():
    async with proxying() as proxy:
        near, client, listening = await loses_its_server(proxy)
        listening.socket.close()
        streams = [await client.asks(later=True), await client.asks()]
        assert [(await client.all(stream)).status for stream in streams] == [502, 502]
        found = [await proxy.flow() for _ in streams]
        assert all("connection refused" in each.error for each in found)
        assert len({each.flow.server_conn.id for each in found}) == 1
        near.closes()
        await proxy.ends()


@in_loop
async def test_what_was_asked_on_a_connection_that_had_just_closed_is_asked_again():
    """RFC 9112 section 9.3.1, which is as true of HTTP/2"""
    async with proxying() as proxy:
        near, far, listening = await tunnels(proxy)
        client = await Http2Peer.starts(near, is_client=True)
        server = await Http2Peer.starts(far, is_client=False)
        await exchange(client, server)
        await proxy.flow()
        safe, unsafe = await client.asks("/safe"), await client.asks("/unsafe", method="POST")
        await server.request()
        await server.request()
        far.closes()
        peer = await listening.accepts()
        await peer.starts_tls(tls_server("a.test", alpn=HTTP_2))
        other = await Http2Peer.starts(peer, is_client=False)
        again, got = await other.request()
        await other.answers(again, b"again")
        assert ((await client.all(safe)).body, got[b":path"]) == (b"again", b"/safe")
        assert (await client.all(unsafe)).status == 502
        assert {bool((await proxy.flow()).error) for _ in range(2)} == {True, False}
        near.closes()
        await proxy.ends()


@in_loop
async def test_what_a_server_may_have_looked_at_is_not_asked_again():
    async with passage() as (proxy, client, server):
        stream = await client.asks(method="POST", body=b"up")
        theirs, _ = await server.request()
        await server.resets(theirs, INTERNAL_ERROR)
        assert (await client.all(stream)).status == 502
        assert not server.opened
        await proxy.flow()


@in_loop
async def test_what_came_before_a_reset_is_not_lost():
    """2e"""
    async with passage() as (proxy, client, server):
        stream = await client.asks()
        theirs, _ = await server.request()
        server.h2.send_headers(theirs, [(":status", "200")])
        server.h2.send_data(theirs, b"half")
        server.h2.reset_stream(theirs, INTERNAL_ERROR)
        await server.writes()
        answer = await client.all(stream)
        assert (answer.status, answer.body, answer.reset) == (200, b"half", INTERNAL_ERROR)
        await proxy.flow()


@in_loop
async def test_a_stream_that_is_reset_at_once_reaches_no_server():
    """2c: rapid reset"""
    async with proxying() as proxy:
        near, server = await proxy.client(), await proxy.server()
        client = await Http2Peer.starts(near, is_client=True)
        for _ in range(10):
            stream = await client.asks(authority=server.name.decode(), scheme="http", later=True)
            client.h2.reset_stream(stream, CANCEL)
        await client.writes()
        found = [await proxy.flow() for _ in range(10)]
        assert all("the client reset the stream: CANCEL" in each.error for each in found)
        assert server.has_nobody_waiting()
        near.closes()
        await proxy.ends()
