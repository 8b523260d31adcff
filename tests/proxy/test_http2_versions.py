"""Where HTTP/2 is spoken, and what the two sides hear when only one of them does."""

import asyncio
import weakref

import pytest
from support.http2peer import Http2Peer
from support.peers import in_loop
from support.proxying import proxying, tls_server, trusting
from support.streams import until
from support.tls import make_client
from support.transcripts import CONNECT, ESTABLISHED, OK, connects
from support.websockets import ACCEPT, TEXT, asking, close, frame, switching

from mitmdump.wire.handshake import accept_of

HTTP_1, HTTP_2 = b"http/1.1", b"h2"
CANCEL, CONNECT_ERROR = 8, 10
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def visits(proxy, server, *, speaks, offer=(HTTP_2, HTTP_1)):
    """A client goes through a tunnel into TLS; gives both ends, and what the client agreed on."""
    client, _ = await proxy.client(), None
    await client.sends(CONNECT.replace(b"NAME", server.name))
    await client.receives(ESTABLISHED)
    session = make_client(trusting(), alpn=offer)

    async def serves():
        peer = await server.accepts()
        await peer.starts_tls(tls_server("a.test", alpn=speaks))
        return peer

    peer, _ = await asyncio.gather(serves(), client.starts_tls(session))
    return client, peer, session._connection.get_alpn_proto_negotiated()


# -- each side in its own version -----------------------------------------------------------------------------------


@in_loop
async def test_a_server_that_has_changed_to_http_1_is_spoken_to_in_that():
    """T10"""
    async with proxying() as proxy:
        server = await proxy.server()
        first, peer, _ = await visits(proxy, server, speaks=HTTP_2)
        peer.closes()
        first.closes()
        near, peer, agreed = await visits(proxy, server, speaks=HTTP_1)
        assert agreed == HTTP_2  # as it was known
        client = await Http2Peer.starts(near, is_client=True)
        stream = await client.asks(
            "/x", ("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), method="POST", body=b"up"
        )
        head = await peer.reads_head()
        assert head == (
            b"POST /x HTTP/1.1\r\nHost: a.test\r\ncookie: a=1; b=2\r\nTransfer-Encoding: chunked\r\n"
            b"TE: trailers\r\nConnection: TE\r\n\r\n"
        )
        await peer.receives(b"2\r\nup\r\n0\r\n\r\n")
        await peer.sends(b"HTTP/1.1 200 Fine\r\nConnection: x\r\nX: 1\r\nY: 2\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.sends(b"4\r\ndown\r\n0\r\nT: 3\r\n\r\n")
        answer = await client.all(stream)
        assert answer.fields == [(b":status", b"200"), (b"y", b"2")]
        assert (answer.body, answer.trailers) == (b"down", [(b"t", b"3")])
        flow = (await proxy.flow()).flow
        assert (flow.request.http_version, flow.response.http_version) == ("HTTP/2", "HTTP/1.1")
        assert (flow.client_conn.alpn, flow.server_conn.alpn) == (HTTP_2, HTTP_1)


@in_loop
async def test_a_server_that_has_changed_to_http_2_is_spoken_to_in_that():
    """T10"""
    async with proxying() as proxy:
        server = await proxy.server()
        first, peer, _ = await visits(proxy, server, speaks=HTTP_1)
        peer.closes()
        first.closes()
        client, peer, agreed = await visits(proxy, server, speaks=HTTP_2)
        assert agreed == HTTP_1
        h2 = await Http2Peer.starts(peer, is_client=False)
        await client.sends(b"POST /x HTTP/1.1\r\nHost: a.test\r\nConnection: x\r\nX: 1\r\nContent-Length: 2\r\n\r\nup")
        theirs, got = await h2.request()
        await h2.all(theirs)
        assert dict(got.fields) == {
            b":method": b"POST", b":scheme": b"https", b":authority": b"a.test", b":path": b"/x",
            b"content-length": b"2",
        }  # fmt: skip
        await h2.answers(theirs, b"down", ("y", "2"), trailers=[("t", "3")])
        await client.receives(
            b"HTTP/1.1 200 OK\r\ny: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndown\r\n0\r\nt: 3\r\n\r\n"
        )
        flow = (await proxy.flow()).flow
        assert (flow.request.http_version, flow.response.http_version) == ("HTTP/1.1", "HTTP/2")
        await client.sends(b"HEAD /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        theirs, _ = await h2.request()
        await h2.answers(theirs, b"", ("content-length", "4"))
        await client.receives(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n")
        assert got.body == b"up"
        await proxy.flow()


@in_loop
async def test_a_response_without_length_ends_with_the_connection_of_an_http_1_0_client():
    async with proxying() as proxy:
        server = await proxy.server()
        first, peer, _ = await visits(proxy, server, speaks=HTTP_1)
        peer.closes()
        first.closes()
        client, peer, _ = await visits(proxy, server, speaks=HTTP_2)
        h2 = await Http2Peer.starts(peer, is_client=False)
        await client.sends(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        theirs, _ = await h2.request()
        await h2.answers(theirs, b"all of it")
        await client.receives(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await client.sees_end()
        await proxy.flow()


@in_loop
@pytest.mark.parametrize("length", [b"Content-Length: 9\r\n", b""])
async def test_a_response_that_breaks_off_is_a_reset_for_an_http_2_client(length):
    async with proxying() as proxy:
        near, server = await proxy.client(), await proxy.server()
        client = await Http2Peer.starts(near, is_client=True)
        stream = await client.asks(authority=server.name.decode(), scheme="http")
        peer = await server.accepts()
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\n" + length + b"\r\nhalf")
        await client.gets(stream, 4)
        peer.resets()
        answer = await client.all(stream)
        assert (answer.body, answer.reset) == (b"half", 2)
        assert (await proxy.flow()).error.startswith("the server")


# -- where it is spoken ---------------------------------------------------------------------------------------------


@in_loop
@pytest.mark.parametrize(
    ("offer", "speaks", "agreed"),
    [((HTTP_2, HTTP_1), HTTP_2, b""), ((HTTP_2, HTTP_1), HTTP_1, HTTP_1), ((HTTP_2,), HTTP_2, b"")],
)
async def test_without_http_2_it_is_neither_offered_nor_taken(offer, speaks, agreed):
    """T10"""
    async with proxying(http2=False) as proxy:
        client, _, found = await visits(proxy, await proxy.server(), speaks=speaks, offer=offer)
        assert found == agreed
        client.closes()
        await proxy.ends()


@in_loop
async def test_a_client_of_http_1_is_not_given_a_server_of_http_2_later():
    """T10"""
    async with proxying() as proxy:
        server = await proxy.server()
        client, peer, agreed = await visits(proxy, server, speaks=HTTP_1)
        assert agreed == HTTP_1
        peer.closes()
        await client.sends(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        peer, session = await server.accepts(), tls_server("a.test", alpn=HTTP_2)
        await peer.starts_tls(session)
        assert session._connection.get_alpn_proto_negotiated() == b""
        await peer.receives(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()


@in_loop
async def test_without_http_2_prior_knowledge_is_refused():
    async with proxying(http2=False) as proxy:
        client = await proxy.client()
        await client.sends(PREFACE)
        assert (await client.reads_head()).startswith(b"HTTP/1.1 505 ")
        assert "version other than" in (await proxy.flow()).error


@in_loop
async def test_prior_knowledge_inside_a_tunnel_goes_on_as_such():
    async with proxying() as proxy:
        near, server = await connects(proxy)
        client = await Http2Peer.starts(near, is_client=True)
        stream = await client.asks("/x", authority="a.test", scheme="http")
        peer = await Http2Peer.starts(await server.accepts(), is_client=False)
        theirs, got = await peer.request()
        await peer.answers(theirs, b"hi")
        assert ((await client.all(stream)).body, got[b":scheme"], got[b":authority"]) == (b"hi", b"http", b"a.test")
        assert (await proxy.flow()).flow.request.url == "http://a.test/x"


@in_loop
async def test_a_redirected_client_may_have_prior_knowledge():
    async with proxying() as proxy:
        server = await proxy.server()
        near = await proxy.client(going_to=(server.host, server.port))
        client = await Http2Peer.starts(near, is_client=True)
        stream = await client.asks("/x", authority="a.test", scheme="http")
        peer = await Http2Peer.starts(await server.accepts(), is_client=False)
        theirs, _ = await peer.request()
        await peer.answers(theirs, b"hi")
        assert (await client.all(stream)).body == b"hi"
        assert (await proxy.flow()).flow.request.url == "http://a.test/x"


@in_loop
async def test_a_preface_that_comes_byte_by_byte_is_one():
    async with proxying() as proxy:
        client = await proxy.client()
        for at in range(len(PREFACE)):
            await client.sends(PREFACE[at : at + 1])
            await asyncio.sleep(0)
        await client.sends(b"\0\0\0\4\0\0\0\0\0")
        assert (await client.reads(9))[3] == 4
        client.closes()
        await proxy.ends()


@in_loop
async def test_what_only_begins_like_a_preface_is_refused():
    async with proxying() as proxy:
        client = await proxy.client()
        await client.sends(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n")
        assert (await client.reads_head()).startswith(b"HTTP/1.1 505 ")
        await proxy.flow()


@in_loop
@pytest.mark.parametrize(
    ("authority", "scheme", "path", "why"),
    [
        ("", "http", "/", None),
        ("a.test:99999", "http", "/", None),
        ("a.test", "ftp", "/", "a scheme that is not spoken"),
    ],
)
async def test_targets_that_lead_nowhere_are_refused(authority, scheme, path, why):
    async with proxying() as proxy:
        near = await proxy.client()
        client = await Http2Peer.starts(near, is_client=True)
        stream = await client.asks(path, authority=authority, scheme=scheme)
        answer = await client.all(stream)
        error = (await proxy.flow()).error
        if why:
            assert answer.status == 400
            assert why in error
        else:
            assert answer.reset == 1
            assert "authority" in error


# -- CONNECT (RFC 9113 section 8.5) ---------------------------------------------------------------------------------


async def opens_tunnel(proxy):
    """A client that speaks HTTP/2, the stream on which it asks for a tunnel, and the server at its end."""
    near, server = await proxy.client(), await proxy.server()
    client = await Http2Peer.starts(near, is_client=True)
    stream = await client.asks(method="CONNECT", authority=server.name.decode(), body=None)
    return client, stream, server


async def uses_tunnel(proxy):
    """The same, with a byte in it, and the server's end."""
    client, stream, server = await opens_tunnel(proxy)
    await client.head(stream)
    await client.sends(stream, b"x")
    return client, stream, await server.accepts()


@in_loop
async def test_connect_over_http_2_leads_to_the_server():
    async with proxying(tcp_hosts=("127.0.0.1",)) as proxy:
        client, stream, server = await opens_tunnel(proxy)
        assert (await client.head(stream)).fields == [(b":status", b"200")]
        await client.sends(stream, b"to the server")
        peer = await server.accepts()
        await peer.receives(b"to the server")
        await peer.sends(b"to the client")
        assert await client.gets(stream, 13) == b"to the client"
        peer.ends()
        assert (await client.all(stream)).complete
        await client.sends(stream, b"last", end=True)
        await peer.receives(b"last")
        await peer.sees_end()
        recorded = await proxy.flow()
        assert recorded.messages == [(True, b"to the server"), (False, b"to the client"), (True, b"last")]
        assert recorded.flow.client_conn.peername == client.peer.socket.getsockname()
        client.peer.closes()
        await proxy.ends()


@in_loop
async def test_tunnels_of_one_connection_are_beside_each_other():
    async with proxying() as proxy:
        near, servers = await proxy.client(), [await proxy.server(), await proxy.server()]
        client = await Http2Peer.starts(near, is_client=True)
        for server in servers:
            stream = await client.asks(method="CONNECT", authority=server.name.decode(), body=None)
            await client.sends(stream, b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
            peer = await server.accepts()
            await peer.receives(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
            await peer.sends(OK)
            assert await client.gets(stream, len(OK)) == OK
            assert (await proxy.flow()).flow.request.url == "http://a.test/x"
        near.closes()
        await proxy.ends()


@in_loop
async def test_a_tunnel_that_is_over_is_freed_and_not_by_the_garbage_collector(without_collector):
    async with proxying(tcp_hosts=("127.0.0.1",)) as proxy:
        client, stream, server = await opens_tunnel(proxy)
        await client.sends(stream, b"last", end=True)
        peer = await server.accepts()
        [connection] = proxy.services.shared
        left = weakref.WeakSet([connection, connection.lanes[stream]])
        del connection
        await peer.receives(b"last")
        peer.ends()
        await client.all(stream)
        await proxy.flow()
        client.peer.closes()
        await proxy.ends()
    await until(lambda: not left)


@in_loop
async def test_a_tunnel_that_is_reset_is_broken_for_the_server():
    async with proxying(tcp_hosts=("127.0.0.1",)) as proxy:
        client, stream, peer = await uses_tunnel(proxy)
        await client.resets(stream, CANCEL)
        await peer.sees_reset()
        assert "the client broke the connection" in (await proxy.flow()).error


@in_loop
async def test_a_tunnel_whose_server_breaks_is_reset():
    async with proxying(tcp_hosts=("127.0.0.1",)) as proxy:
        client, stream, peer = await uses_tunnel(proxy)
        await peer.receives(b"x")
        peer.resets()
        assert (await client.all(stream)).reset == CONNECT_ERROR
        assert "the server" in (await proxy.flow()).error


@in_loop
async def test_a_slow_server_holds_back_its_tunnel():
    async with proxying(tcp_hosts=("127.0.0.1",)) as proxy:
        client, stream, peer = await uses_tunnel(proxy)
        sent = 1 + await client.pours(stream, 60_000_000)
        assert 512 * 1024 < sent < 30_000_000
        got, rest = await asyncio.gather(peer.reads(sent + 2_000_000), client.pours(stream, 2_000_000))
        assert len(got) == sent + 2_000_000 <= sent + rest
        client.peer.closes()
        await proxy.flow()


@in_loop
async def test_a_slow_client_holds_back_its_tunnel():
    async with proxying(tcp_hosts=("127.0.0.1",)) as proxy:
        near, server = await proxy.client(), await proxy.server()
        client = await Http2Peer.starts(near, is_client=True)
        client.takes_data = False
        stream = await client.asks(method="CONNECT", authority=server.name.decode(), body=None)
        await client.head(stream)
        await client.sends(stream, b"x")
        peer = await server.accepts()
        sending = asyncio.ensure_future(peer.sends(bytes(20_000_000)))
        await client.gets(stream, 65535)
        for _ in range(20):
            await client.settles()
        [inner] = proxy.sink.begun
        assert not sending.done()
        client.h2.increment_flow_control_window(1 << 27, stream)
        client.h2.increment_flow_control_window(1 << 27)
        await client.writes()
        assert len(await client.gets(stream, 20_000_000)) == 20_000_000
        await sending
        near.closes()
        assert (await proxy.flow()).flow is inner


# -- WebSocket (RFC 8441) -------------------------------------------------------------------------------------------

ENABLE_CONNECT_PROTOCOL = 8


async def websockets(proxy, *, connect_protocol=1):
    """A client and a server that both may speak of WebSocket over HTTP/2."""
    near, far, _ = await visits(proxy, await proxy.server(), speaks=HTTP_2)
    settings = {ENABLE_CONNECT_PROTOCOL: connect_protocol}
    return near, await Http2Peer.starts(far, is_client=False, settings=settings)


async def opens(client):
    fields = (("sec-websocket-version", "13"), ("origin", "https://a.test"))
    return await client.asks("/chat", *fields, method="CONNECT", protocol="websocket", body=None)


@in_loop
async def test_a_websocket_runs_inside_a_stream():
    """W2"""
    async with proxying() as proxy:
        near, server = await websockets(proxy)
        await server.settles()
        client = await Http2Peer.starts(near, is_client=True)
        await client.settles()
        stream = await opens(client)
        theirs, got = await server.request()
        assert dict(got.fields) == {
            b":method": b"CONNECT", b":protocol": b"websocket", b":scheme": b"https", b":path": b"/chat",
            b":authority": b"a.test", b"sec-websocket-version": b"13", b"origin": b"https://a.test",
        }  # fmt: skip
        await server.answers(theirs, b"", end=False)
        assert (await client.head(stream)).fields == [(b":status", b"200")]
        await client.sends(stream, frame(TEXT, b"up", masked=True))
        assert len(await server.gets(theirs, 8)) == 8
        await server.sends(theirs, frame(TEXT, b"down", masked=False))
        assert await client.gets(stream, 6) == frame(TEXT, b"down", masked=False)
        await client.sends(stream, close(masked=True))
        await server.gets(theirs, 16)
        await server.sends(theirs, close(masked=False), end=True)
        await client.sends(stream, end=True)
        assert (await server.all(theirs)).complete
        assert (await client.all(stream)).complete
        recorded = await proxy.flow()
        flow = recorded.flow
        assert [content for _, content in recorded.messages] == [b"up", b"down", b"\x03\xe8", b"\x03\xe8"]
        assert flow.websocket.close_code == 1000
        assert (flow.request.method, flow.request.http_version, flow.request.url) == (
            "GET",
            "HTTP/2",
            "https://a.test/chat",
        )
        assert (flow.response.status_code, flow.response.http_version, recorded.error) == (101, "HTTP/2", "")
        await client.settles()
        [h2_client] = proxy.services.idle
        assert h2_client.client.upstreams._shared.popitem()[1][0].codec.idle
        near.closes()
        await proxy.ends()


@in_loop
async def test_a_websocket_that_is_refused_stays_http():
    """H16"""
    async with proxying() as proxy:
        near, server = await websockets(proxy)
        await server.settles()
        client = await Http2Peer.starts(near, is_client=True)
        await client.settles()
        stream = await opens(client)
        theirs, _ = await server.request()
        await server.answers(theirs, b"no", status=403)
        answer = await client.all(stream)
        assert (answer.status, answer.body) == (403, b"no")
        assert await server.sees_reset(theirs) == CANCEL  # there is nothing more to come
        assert (await proxy.flow()).flow.response.status_code == 403


@in_loop
async def test_a_websocket_that_breaks_off_is_broken_for_the_other():
    """W3"""
    async with proxying() as proxy:
        near, server = await websockets(proxy)
        await server.settles()
        client = await Http2Peer.starts(near, is_client=True)
        await client.settles()
        stream = await opens(client)
        theirs, _ = await server.request()
        await server.answers(theirs, b"", end=False)
        await client.head(stream)
        await client.sends(stream, frame(TEXT, b"up", masked=True))
        await server.gets(theirs, 8)
        await server.resets(theirs, CANCEL)
        await client.sees_reset(stream)
        recorded = await proxy.flow()
        assert recorded.error
        assert [content for _, content in recorded.messages] == [b"up"]


@in_loop
async def test_no_websocket_is_offered_for_a_server_that_has_none():
    async with proxying() as proxy:
        near, server = await websockets(proxy, connect_protocol=0)
        await server.settles()
        client = await Http2Peer.starts(near, is_client=True)
        await client.settles()
        assert client.h2.remote_settings.enable_connect_protocol == 0
        stream = await opens(client)
        assert (await client.all(stream)).reset == 1
        assert "which it was not offered" in (await proxy.flow()).error


async def _asks_a_server_that_has_changed(proxy):
    """A client was offered WebSocket over HTTP/2, and when it asks for one its server speaks HTTP/1.1."""
    server = await proxy.server()
    near, far, _ = await visits(proxy, server, speaks=HTTP_2)
    h2 = await Http2Peer.starts(far, is_client=False, settings={ENABLE_CONNECT_PROTOCOL: 1})
    await h2.settles()
    client = await Http2Peer.starts(near, is_client=True)
    await client.settles()
    h2.h2.close_connection()
    await h2.writes()
    await h2.sees_end()
    stream = await opens(client)
    peer = await server.accepts()
    await peer.starts_tls(tls_server("a.test", alpn=HTTP_1))
    return client, stream, peer


def _key_of(head):
    return next(line.partition(b": ")[2] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key"))


@in_loop
async def test_a_websocket_inside_a_stream_can_be_one_of_a_server_that_has_changed():
    async with proxying() as proxy:
        client, stream, peer = await _asks_a_server_that_has_changed(proxy)
        head = await peer.reads_head()
        assert head.startswith(b"GET /chat HTTP/1.1\r\nHost: a.test\r\nsec-websocket-version: 13\r\n")
        await peer.sends(switching().replace(ACCEPT, accept_of(_key_of(head))))
        assert (await client.head(stream)).fields == [(b":status", b"200")]
        await client.sends(stream, frame(TEXT, b"up", masked=True))
        await peer.receives(frame(TEXT, b"up", masked=True))
        await peer.sends(frame(TEXT, b"down", masked=False))
        assert await client.gets(stream, 6) == frame(TEXT, b"down", masked=False)
        client.peer.closes()
        recorded = await proxy.flow()
        assert [content for _, content in recorded.messages] == [b"up", b"down"]
        assert (recorded.flow.request.http_version, recorded.flow.response.http_version) == ("HTTP/2", "HTTP/1.1")


@in_loop
async def test_a_websocket_that_was_not_agreed_on_is_none():
    """RFC 6455 section 4.1: the client sees no Sec-WebSocket-Accept, so we look at it."""
    async with proxying() as proxy:
        client, stream, peer = await _asks_a_server_that_has_changed(proxy)
        await peer.reads_head()
        await peer.sends(switching())
        assert (await client.all(stream)).status == 502
        recorded = await proxy.flow()
        assert "a wrong Sec-WebSocket-Accept" in recorded.error
        assert recorded.flow.response.status_code == 101


@in_loop
async def test_a_websocket_of_http_1_runs_inside_a_stream_of_a_server_that_has_changed():
    async with proxying() as proxy:
        server = await proxy.server()
        first, peer, _ = await visits(proxy, server, speaks=HTTP_1)
        peer.closes()
        first.closes()
        client, peer, _ = await visits(proxy, server, speaks=HTTP_2)
        h2 = await Http2Peer.starts(peer, is_client=False, settings={ENABLE_CONNECT_PROTOCOL: 1})
        await h2.settles()
        await client.sends(asking(b"a.test", absolute=False))
        theirs, got = await h2.request()
        assert (got[b":method"], got[b":protocol"], got[b":path"]) == (b"CONNECT", b"websocket", b"/chat")
        assert b"sec-websocket-key" not in dict(got.fields)
        await h2.answers(theirs, b"", end=False)
        assert b"Sec-WebSocket-Accept: " + ACCEPT in await client.reads_head()
        await client.sends(frame(TEXT, b"up", masked=True))
        assert len(await h2.gets(theirs, 8)) == 8
        await h2.sends(theirs, frame(TEXT, b"down", masked=False), end=True)
        await client.receives(frame(TEXT, b"down", masked=False))
        client.closes()
        recorded = await proxy.flow()
        assert [content for _, content in recorded.messages] == [b"up", b"down"]
        assert (recorded.flow.request.http_version, recorded.flow.response.http_version) == ("HTTP/1.1", "HTTP/2")
