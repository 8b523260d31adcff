"""Uploads, interim and early responses, and clients that go away."""

import asyncio
import socket

import pytest
from support.peers import Peer, in_loop
from support.proxying import exchange_begins, proxying
from support.transcripts import GET, OK, UPLOAD, answered_page, ask, request

from mitmdump.proxy.upstreams import IDEMPOTENT

# -- interim responses, early responses, uploads --------------------------------------------------------------------


@in_loop
async def test_100_continue_passes_through():
    """H14"""
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, UPLOAD + b"Expect: 100-continue\r\n\r\n")
        await peer.receives(request(server.name, b"Content-Length: 5", b"Expect: 100-continue", method=b"POST"))
        await peer.sends(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.receives(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.sends(b"hello")
        await peer.receives(b"hello")
        await peer.sends(OK)
        await client.receives(OK)
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.flow.response.status_code, recorded.error) == (b"hello", 200, "")


@in_loop
async def test_a_final_status_without_100_continue_works():
    """H14"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"Expect: 100-continue\r\n\r\n")
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nhi")
        await client.receives(b"HTTP/1.1 401 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await client.sees_end()
        client.closes()
        recorded = await proxy.flow()
        assert (recorded.flow.response.status_code, recorded.request_body) == (401, b"")
        assert not recorded.flow.request.body.complete
        await proxy.ends()


@in_loop
async def test_103_is_passed_on_and_is_not_final():
    """H14"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        for _ in range(2):
            await peer.sends(hints)
            await client.receives(hints)
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.response.status_code == 200


@in_loop
async def test_an_upload_is_not_held_up():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.receives(b"he")
        await client.sends(b"llo")
        await peer.receives(b"llo")
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).request_body == b"hello"


EARLY = b"POST http://NAME/ HTTP/1.1\r\nHost: NAME\r\nContent-Length: 400000\r\n\r\n" + bytes(1000)


@in_loop
async def test_an_early_response_that_ends_the_upload_reaches_a_client_that_is_still_sending():
    """413: what still comes must not destroy the answer (RFC 9112 section 9.6)."""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, EARLY)
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi")
        peer.closes()
        await client.receives(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\n")
        await client.sends(bytes(399_000))
        await client.receives(b"hi")
        await client.sees_end()
        client.closes()
        recorded = await proxy.flow()
        assert (recorded.flow.response.status_code, recorded.error) == (413, "")
        await proxy.ends()


@in_loop
async def test_after_an_early_response_and_the_rest_of_the_upload_the_client_is_kept():
    async with proxying() as proxy:
        client, peer, server = await exchange_begins(proxy, EARLY)
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(OK)
        await client.sends(bytes(399_000))
        await peer.reads(400_000)
        recorded = await proxy.flow()
        assert (len(recorded.request_body), recorded.flow.request.body.complete, recorded.error) == (400_000, True, "")
        await client.sends(GET.replace(b"NAME", server.name))
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()


@in_loop
async def test_both_bodies_may_flow_at_once():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(
            proxy, GET[:-2].replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.reads_head()
        for word in (b"ping", b"pong"):
            await client.sends(b"4\r\n" + word + b"\r\n")
            await peer.receives(b"4\r\n" + word + b"\r\n")
            await peer.sends(b"4\r\n" + word + b"\r\n")
            await client.receives(b"4\r\n" + word + b"\r\n")
        await client.sends(b"0\r\n\r\n")
        await peer.receives(b"0\r\n\r\n")
        await peer.sends(b"0\r\n\r\n")
        await client.receives(b"0\r\n\r\n")
        recorded = await proxy.flow()
        assert recorded.request_body == recorded.response_body == b"pingpong"
        assert recorded.error == ""


@in_loop
async def test_a_response_that_is_over_before_the_upload_still_gets_all_of_the_upload():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.sends(OK)
        await client.reads_head()
        await client.sends(b"llo")
        await peer.receives(b"hello")
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.flow.request.body.complete) == (b"hello", True)
        client.closes()
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("end", [Peer.ends, Peer.resets])
async def test_an_upload_that_breaks_off_after_its_response_is_an_error_all_the_same(end):
    """H20"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.sends(OK)
        await client.reads_head()
        await client.receives(b"hi")
        end(client)
        await peer.sees_reset()
        client.closes()
        recorded = await proxy.flow()
        assert "the client" in recorded.error
        assert (recorded.flow.response.status_code, recorded.flow.response.body.complete) == (200, True)
        await proxy.ends()


@in_loop
async def test_an_upload_that_breaks_off_breaks_the_upstream_connection():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        client.resets()
        await peer.sees_reset()
        recorded = await proxy.flow()
        assert "the client broke the connection" in recorded.error
        assert (recorded.request_body, recorded.flow.request.body.complete) == (b"he", False)


@in_loop
async def test_an_upload_that_ends_too_soon_is_refused():
    """H20"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        client.ends()
        status, _ = await answered_page(client)
        await peer.sees_reset()
        assert status == 400
        assert (await proxy.flow()).error == "the client closed the connection inside a message body after 2 of 5 bytes"


@in_loop
async def test_an_upload_that_the_server_does_not_read_stops_the_client():
    """R1: back-pressure from end to end"""
    async with proxying() as proxy:
        size = 16 << 20
        client, server = await proxy.client(buffers=8192), await proxy.server()
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        await client.sends(ask(server.name, b"Content-Length: %d" % size, method=b"POST"))
        peer = await server.accepts()
        await peer.reads_head()
        sending = asyncio.create_task(client.sends(bytes(size)))
        upstream = next(stream for stream in proxy.services.streams._open if stream.peer == "server")
        while not upstream.congested:
            await asyncio.sleep(0.001)
        assert not sending.done()
        assert len(await peer.reads(size)) == size
        await sending
        await peer.sends(OK)
        await client.receives(OK)
        assert len((await proxy.flow()).request_body) == size


# -- clients that go away -------------------------------------------------------------------------------------------


@in_loop
async def test_a_client_that_goes_away_before_the_response_takes_the_upstream_with_it():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        client.resets()
        await peer.sees_reset()
        assert (await proxy.flow()).error == "the client broke the connection before the response was complete"
        await proxy.ends()


@in_loop
async def test_a_client_that_goes_away_within_the_response_takes_the_upstream_with_it():
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhi")
        await client.reads_head()
        client.resets()
        await peer.sees_reset()
        recorded = await proxy.flow()
        assert "the client broke the connection" in recorded.error
        assert (recorded.flow.response.body.length, recorded.flow.response.body.complete) == (2, False)


@in_loop
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_client_that_ends_its_side_still_gets_its_answer(at_once):
    async with proxying() as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server.name))
        if at_once:
            client.ends()
        peer = await server.accepts()
        await peer.reads_head()
        if not at_once:
            client.ends()
        await peer.sees_end()
        await peer.sends(OK)
        await client.receives(OK)
        await client.sees_end()
        assert (await proxy.flow()).error == ""
        await proxy.ends()


@in_loop
async def test_a_server_that_says_nothing_is_given_up():
    async with proxying(timeout_quiet=5) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        for stream in list(proxy.services.streams._open):
            stream.grow_older(6)
        status, _ = await answered_page(client)
        client.closes()
        assert status == 504
        assert (await proxy.flow()).error == "the server sent nothing for 5 seconds"


@in_loop
async def test_a_client_that_sends_its_head_drop_by_drop_is_given_up():
    """R4"""
    async with proxying(timeout_head=5) as proxy:
        client = await proxy.client()
        await client.sends(b"GET ")
        while (
            not proxy.services.streams._open
            or proxy.services.idle
            or not next(iter(proxy.services.streams._open))._reader.awaited
        ):
            await asyncio.sleep(0.001)
        next(iter(proxy.services.streams._open)).grow_older(6)
        await client.sees_reset()
        await proxy.ends()


@in_loop
async def test_stopping_records_what_was_cut_off():
    """R7"""
    async with proxying() as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        proxy.tasks[0].cancel()
        assert (await proxy.flow()).error == "the proxy was stopped before the exchange was complete"
        assert await client.reads_all() == b""
        assert await peer.reads_all() == b""


@in_loop
async def test_stopping_leaves_no_upload_behind():
    """R7: the task that sends the rest of a request ends with the exchange."""
    async with proxying() as proxy:
        before = asyncio.all_tasks()
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        uploads = asyncio.all_tasks() - before - set(proxy.tasks)
        assert uploads
        proxy.tasks[0].cancel()
        assert (await proxy.flow()).error == "the proxy was stopped before the exchange was complete"
        await asyncio.wait(uploads, timeout=10)
        assert all(upload.cancelled() for upload in uploads)
        client.closes()


def test_what_may_be_repeated_is_what_is_idempotent():
    assert b"POST" not in IDEMPOTENT
    assert b"PATCH" not in IDEMPOTENT
