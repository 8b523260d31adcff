"""Handlers of exchanges in HTTP/2, on both sides or on one."""

import asyncio

from support.handling import answering, handling, response
from support.http2peer import Http2Peer
from support.peers import in_loop
from support.proxying import proxying, tls_server, trusting
from support.tls import make_client
from support.transcripts import OK, connects

from mitmdump.model.body import Body


def change(of):
    def hook(flow):
        message = getattr(flow, of)
        message.headers["X-New"] = "1"
        message.body.source = message.raw_content.upper()

    return hook


def lengthen(flow):
    flow.request.body = Body(source=b"good morning")


CHANGING = {of: change(of) for of in ("request", "response")}


async def speaks(proxy) -> Http2Peer:
    """A client that knows of the proxy that it speaks HTTP/2."""
    return await Http2Peer.starts(await proxy.client(), is_client=True)


async def in_tls(proxy) -> tuple[Http2Peer, Http2Peer]:
    """A client and a server that have agreed on HTTP/2."""
    client, server = await connects(proxy)
    starting = asyncio.create_task(client.starts_tls(make_client(trusting(), sni="a.test", alpn=(b"h2",))))
    peer = await server.accepts()
    await peer.starts_tls(tls_server("a.test", alpn=b"h2"))
    await starting
    return await Http2Peer.starts(client, is_client=True), await Http2Peer.starts(peer, is_client=False)


@in_loop
async def test_messages_without_a_length_are_changed_whole_and_keep_their_trailers():
    async with proxying(handlers=[handling(**CHANGING)]) as proxy:
        client, peer = await in_tls(proxy)
        stream = await client.asks(method="PUT", body=b"hello")
        asked, got = await peer.request()
        await peer.all(asked)
        assert (got.body, got[b"x-new"], got[b":authority"]) == (b"HELLO", b"1", b"a.test")
        await peer.answers(asked, b"hi", trailers=[("x-sum", "7")])
        answer = await client.all(stream)
        assert (answer.body, answer[b"x-new"], answer.trailers) == (b"HI", b"1", [(b"x-sum", b"7")])
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.response_body) == (b"HELLO", b"HI")
        assert (b"x-new", b"1") in recorded.flow.request.headers.fields


@in_loop
async def test_a_length_is_that_of_the_body_that_was_changed():
    async with proxying(handlers=[handling(request=lengthen)]) as proxy:
        client, peer = await in_tls(proxy)
        stream = await client.asks("/", ("content-length", "5"), method="PUT", body=b"hello")
        asked, got = await peer.request()
        await peer.all(asked)
        assert (got.body, got[b"content-length"]) == (b"good morning", b"12")
        await peer.answers(asked)
        assert (await client.all(stream)).status == 200
        await proxy.flow()


@in_loop
async def test_what_http1_needs_to_know_of_a_changed_body_is_said():
    async with proxying(handlers=[handling(request=lengthen)]) as proxy:
        client, server = await speaks(proxy), await proxy.server()
        await client.asks(authority=server.name.decode(), scheme="http", method="PUT", body=b"hello")
        peer = await server.accepts()
        assert b"Transfer-Encoding: chunked\r\n" in await peer.reads_head()
        await peer.receives(b"c\r\ngood morning\r\n0\r\n\r\n")
        await peer.sends(OK)
        assert (await proxy.flow()).request_body == b"good morning"


@in_loop
async def test_a_request_is_sent_to_another_server_under_its_name():
    async with proxying() as proxy:
        client, server = await speaks(proxy), await proxy.server()

        def move(flow):
            flow.request.host, flow.request.port = server.host, server.port

        proxy.handle(handling(requestheaders=move))
        stream = await client.asks(authority="nobody.test", scheme="http")
        peer = await server.accepts()
        head = await peer.reads_head()
        assert b"Host: " + server.name + b"\r\n" in head
        await peer.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.all(stream)).body == b"hi"
        assert (await proxy.flow()).flow.request.url == f"http://{server.name.decode()}/"


@in_loop
async def test_an_answer_that_was_http1_is_said_in_http2():
    made = response(b"hi", (b"Transfer-Encoding", b"chunked"), (b"X-Name", b"1"), version="HTTP/1.1")
    async with proxying(handlers=[handling(request=answering(made))]) as proxy:
        client = await speaks(proxy)
        for _ in range(2):
            answer = await client.all(await client.asks(authority="nobody.test", scheme="http"))
            assert (answer.status, answer.fields[1:], answer.body) == (200, [(b"x-name", b"1")], b"hi")
            await proxy.flow()


@in_loop
async def test_a_hook_that_waits_or_fails_concerns_its_own_request_only():
    may_go_on = asyncio.Event()

    async def act(flow):
        if flow.request.path == "/wait":
            await may_go_on.wait()
        elif flow.request.path == "/fail":
            raise ValueError("a secret")
        flow.response = response(b"hi")

    async with proxying(handlers=[handling(request=act)]) as proxy:
        client = await speaks(proxy)
        streams = [await client.asks(path, authority="a.test", scheme="http") for path in ("/wait", "/fail", "/good")]
        assert [(await client.all(stream)).status for stream in streams[1:]] == [500, 200]
        may_go_on.set()
        assert (await client.all(streams[0])).body == b"hi"
        assert str(proxy.bugs.pop()) == "a secret"
        for _ in streams:
            await proxy.flow()


@in_loop
async def test_a_request_that_is_reset_while_a_hook_waits_ends():
    waits, may_go_on = asyncio.Event(), asyncio.Event()

    async def wait(_flow):
        waits.set()
        await may_go_on.wait()

    async with proxying(handlers=[handling(request=wait)]) as proxy:
        client, server = await speaks(proxy), await proxy.server()
        stream = await client.asks(authority=server.name.decode(), scheme="http")
        await waits.wait()
        await client.resets(stream, 8)
        await client.settles()
        may_go_on.set()
        assert "the client reset the stream" in (await proxy.flow()).error
