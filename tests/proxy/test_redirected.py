"""Transparent mode: clients that know of no proxy, and where they were going."""

import asyncio
import errno

import pytest
from support.peers import Peer, in_loop
from support.proxying import Going, Proxy, Server, proxying, tls_server, trusting
from support.tls import make_client
from support.transcripts import OK, answered_page

from mitmdump.net import stream
from mitmdump.proxy import tunnel as module
from mitmdump.proxy.client import serve

GET = b"GET /path HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Servers that speak first are given their chance at once."""
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.02)


async def arrives(proxy: Proxy, host: str = "127.0.0.1") -> tuple[Peer, Server]:
    """A client, on its way to a server."""
    server = await proxy.server(host)
    return await proxy.client(going_to=(server.host, server.port)), server


@in_loop
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_request_goes_where_the_client_was_going_whatever_host_it_names(host):
    """T15"""
    async with proxying() as proxy:
        client, server = await arrives(proxy, host)
        await client.sends(GET)
        peer = await server.accepts()
        for number in range(2):  # on one connection
            await peer.receives(GET)
            await peer.sends(OK)
            await client.receives(OK)
            flow = (await proxy.flow()).flow
            assert (flow.request.url, flow.request.authority) == ("http://a.test/path", "")
            assert (flow.request.host, flow.request.port) == (host, server.port)
            assert flow.server_conn.address == (host, server.port)
            if number == 0:
                await client.sends(GET)
        assert server.has_nobody_waiting()
        client.ends()
        await proxy.ends()


@in_loop
@pytest.mark.parametrize(
    ("sent", "passed_on", "url"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n", "http://NAME/"),
        (
            b"GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n",
            "http://b.test/x",
        ),
        (
            b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "http://a.test",
        ),
    ],
    ids=["no host", "absolute-form", "asterisk-form"],
)
async def test_each_form_of_a_target_is_understood_as_by_a_server(sent, passed_on, url):
    async with proxying() as proxy:
        client, server = await arrives(proxy)
        await client.sends(sent)
        peer = await server.accepts()
        await peer.receives(passed_on)
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.request.url == url.replace("NAME", server.name.decode())


@in_loop
@pytest.mark.parametrize("sni", ["a.test", None])
async def test_tls_goes_there_with_the_clients_server_name_or_by_the_address(sni):
    """T9, T15"""
    async with proxying() as proxy:
        client, server = await arrives(proxy)
        session, serving = make_client(trusting(), sni=sni), tls_server("a.test" if sni else "127.0.0.1")

        async def answers() -> Peer:
            peer = await server.accepts()
            await peer.starts_tls(serving)
            return peer

        peer, _ = await asyncio.gather(answers(), client.starts_tls(session))
        await client.sends(GET)
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        flow = (await proxy.flow()).flow
        assert (flow.request.url, flow.request.host) == ("https://a.test/path", "127.0.0.1")
        assert (flow.server_conn.sni, flow.server_conn.verification) == (sni, "ok")


@in_loop
async def test_without_a_server_name_a_certificate_for_another_address_is_not_accepted():
    """T6, T15"""
    async with proxying() as proxy:
        client, server = await arrives(proxy)

        async def answers() -> None:
            await (await server.accepts()).starts_tls(tls_server("a.test"))

        await asyncio.gather(answers(), client.starts_tls(make_client(trusting(), sni=None)))
        await client.sends(GET)
        status, page = await answered_page(client)
        assert (status, "not 127.0.0.1" in page) == (502, True)
        assert "hostname mismatch" in (await proxy.flow()).error
        client.closes()
        await proxy.ends()


@in_loop
async def test_a_request_after_a_while_takes_the_connection_that_was_opened_in_case_the_server_speaks():
    async with proxying() as proxy:
        client, server = await arrives(proxy)
        peer = await server.accepts()
        await client.sends(GET)
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.kind == "http"
        assert server.has_nobody_waiting()


@in_loop
async def test_a_server_that_speaks_first_is_heard():
    async with proxying() as proxy:
        client, server = await arrives(proxy)
        peer = await server.accepts()
        await peer.sends(b"220 hello\r\n")
        await client.receives(b"220 hello\r\n")
        await client.sends(b"GET / HTTP/1.1\r\n")  # no HTTP any more
        await peer.receives(b"GET / HTTP/1.1\r\n")
        for end in (client, peer):
            end.ends()
        recorded = await proxy.flow()
        assert (recorded.flow.kind, len(recorded.messages)) == ("tcp", 2)
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("words", [b"EHLO x\r\n", b"\x00\x01", b"PING", b"G", b"CONNECT a.test:443 HTTP/1.1\r\n\r\n"])
async def test_what_is_no_http_is_relayed_even_if_it_waits_for_an_answer_in_mid_line(words):
    async with proxying() as proxy:
        client, server = await arrives(proxy)
        await client.sends(words)
        peer = await server.accepts()
        await peer.receives(words)
        await peer.sends(b"yes")
        await client.receives(b"yes")
        for end in (client, peer):
            end.ends()
        assert (await proxy.flow()).messages == [(True, words), (False, b"yes")]
        await proxy.ends()


@in_loop
async def test_a_request_that_comes_byte_by_byte_is_one():
    async with proxying() as proxy:
        client, server = await arrives(proxy)
        for at in range(len(GET)):
            await client.sends(GET[at : at + 1])
            await asyncio.sleep(0)
        peer = await server.accepts()
        await peer.receives(GET)
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.kind == "http"


@in_loop
async def test_a_bad_request_is_refused_and_not_relayed():
    async with proxying() as proxy:
        client, server = await arrives(proxy)
        await client.sends(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert (await answered_page(client))[0] == 400
        assert "more than one Host" in (await proxy.flow()).error
        assert server.has_nobody_waiting()
        client.closes()
        await proxy.ends()


# -- what is refused --------------------------------------------------------------------------------------------------


@in_loop
async def test_a_client_that_was_going_to_our_own_port_is_told_what_is_missing():
    """A3, T15"""
    async with proxying() as proxy:
        proxy.services.own_addresses = [("127.0.0.1", 9)]
        for words in (GET, b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"):
            client = await proxy.client(going_to=("127.0.0.1", 9))
            await client.sends(words)
            status, page = await answered_page(client)
            assert (status, "what is missing is a packet filter&#x27;s rule" in page) == (502, True)
            client.closes()
            recorded = await proxy.flow()
            assert "127.0.0.1:9 itself" in recorded.error
        assert len(proxy.warnings) == 1
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("words", [b"\x16\x03\x01", b"hello\r\n", b"CONNECT a.test:443 HTTP/1.1\r\n\r\n"])
async def test_one_that_speaks_no_http_just_sees_the_end(words):
    """A3, T15"""
    async with proxying() as proxy:
        proxy.services.own_addresses = [("127.0.0.1", 9)]
        client = await proxy.client(going_to=("127.0.0.1", 9))
        await client.sends(words)
        assert await client.reads_all() == b""
        recorded = await proxy.flow()
        assert (recorded.flow.kind, "127.0.0.1:9 itself" in recorded.error) == ("tcp", True)
        await proxy.ends()


@in_loop
async def test_our_own_connection_that_comes_back_ends_the_one_it_was_made_for():
    """A3, T15"""
    async with proxying() as proxy:
        client, server = await arrives(proxy)
        await client.sends(GET)
        peer = await server.accepts()
        back = serve(proxy.services, peer.socket, Going((server.host, server.port)))
        proxy.tasks.append(asyncio.create_task(back))
        status, page = await answered_page(client)
        assert (status, "own connections back to it" in page) == (502, True)
        assert "--mark N" in (await proxy.flow()).error
        assert len(proxy.warnings) == 1
        client.closes()
        await proxy.ends()


@in_loop
async def test_a_packet_filter_that_does_not_answer_is_said_once():
    async with proxying() as proxy:
        for _ in range(2):
            client = await proxy.client(going_to=OSError(errno.EPERM, "Operation not permitted"))
            assert await client.reads_all() == b""
        assert proxy.warnings == ["cannot tell where a client was going: Operation not permitted"]
        await proxy.ends()


@in_loop
@pytest.mark.parametrize(("own", "limit"), [([], "timeout_quiet"), ([("127.0.0.1", 9)], "timeout_head")])
async def test_a_client_that_stops_in_its_first_word_is_not_waited_for_for_ever(own, limit, monkeypatch):
    """R4"""
    monkeypatch.setattr(stream, "SWEEP_SECONDS", 0.001)
    async with proxying(**{limit: 0.01}) as proxy:
        proxy.services.own_addresses = own
        client = await proxy.client(going_to=("127.0.0.1", 9))
        await client.sends(b"\x16" if not own else b"")
        await client.sees_reset()
        await proxy.ends()
