"""Handlers in an exchange: what they see and change of requests and responses, and what is passed on and recorded."""

import asyncio
from errno import ENOSPC
from tracemalloc import get_traced_memory, start, stop

import pytest
from support.handling import handling
from support.peers import in_loop
from support.proxying import exchange_begins, proxying, tls_server, trusting
from support.tls import make_client
from support.transcripts import GET, OK, UPLOAD, answered_page, ask, connects, request
from support.websockets import TEXT, asking, frame, switching

from mitmdump.model.body import Body
from mitmdump.model.headers import Headers
from mitmdump.sinks.spool import Spool

CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 7\r\n\r\n"
WHOLE = {"request": lambda _: None, "response": lambda _: None}


def sets_body(content: bytes, of: str = "response"):
    def hook(flow):
        getattr(flow, of).body = Body(source=content)

    return hook


def sets_header(name: str, value: str, of: str = "request"):
    def hook(flow):
        getattr(flow, of).headers[name] = value

    return hook


# -- requests ---------------------------------------------------------------------------------------------------------


@in_loop
async def test_hooks_are_called_in_their_order_with_what_has_come_by_then():
    said = []

    def say(name, of):
        return lambda flow: said.append((name, getattr(flow, of).raw_content, getattr(flow, of).body.complete))

    hooks = {"requestheaders": "request", "request": "request", "responseheaders": "response", "response": "response"}
    handlers = [handling(**{name: say(name, of) for name, of in hooks.items()})]
    async with proxying(handlers=handlers) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhello")
        await peer.reads_head()
        await peer.receives(b"hello")
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()
    assert said == [
        ("requestheaders", None, False),
        ("request", b"hello", True),
        ("responseheaders", None, False),
        ("response", b"hi", True),
    ]


@in_loop
@pytest.mark.parametrize("hook", ["requestheaders", "request"])
async def test_what_is_recorded_and_filtered_is_what_was_passed_on(hook):
    def change(flow):
        flow.request.method, flow.request.path = "POST", "/new?x"
        flow.request.headers.add("X-New", "1")
        flow.request.headers["Cookie"] = "hidden"

    async with proxying("~u /new ~m POST ~hq hidden", handlers=[handling(**{hook: change})]) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server.name, b"Cookie: secret", path=b"/old"))
        peer = await server.accepts()
        await peer.receives(request(server.name, b"Cookie: hidden", b"X-New: 1", method=b"POST", path=b"/new?x"))
        await peer.sends(OK)
        await client.receives(OK)
        recorded = (await proxy.flow()).flow.request
        assert (recorded.method, recorded.path) == ("POST", "/new?x")
        assert (recorded.headers["cookie"], recorded.headers["x-new"]) == ("hidden", "1")


@in_loop
async def test_a_request_that_a_hook_wants_whole_is_passed_on_when_it_is_and_with_its_new_length():
    async with proxying(handlers=[handling(request=sets_body(b"good morning", "request"))]) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server.name, b"Content-Length: 5", method=b"POST") + b"he")
        assert server.has_nobody_waiting()
        await client.sends(b"llo")
        peer = await server.accepts()
        await peer.receives(request(server.name, b"Content-Length: 12", method=b"POST") + b"good morning")
        await peer.sends(OK)
        await client.receives(OK)
        recorded = await proxy.flow()
        assert recorded.request_body == b"good morning"
        assert recorded.flow.request.headers["content-length"] == "12"
        assert (recorded.flow.request.body.length, recorded.flow.request.body.complete) == (12, True)


@in_loop
async def test_a_request_without_a_body_can_get_one():
    async with proxying(handlers=[handling(request=sets_body(b"new", "request"))]) as proxy:
        client, peer, server = await exchange_begins(proxy, GET)
        await peer.receives(request(server.name, b"Content-Length: 3", path=b"/path?q") + b"new")
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()


@in_loop
@pytest.mark.parametrize("hooks", [WHOLE, {"requestheaders": print, "responseheaders": print}])
async def test_chunked_bodies_and_their_trailers_stay_what_they_are_both_ways(hooks):
    async with proxying(handlers=[handling(**hooks)]) as proxy:
        client, peer, server = await exchange_begins(proxy, b"PUT http://NAME/ HTTP/1.1\r\nHost: NAME\r\n" + CHUNKED)
        await peer.receives(b"PUT / HTTP/1.1\r\nHost: " + server.name + b"\r\n" + CHUNKED)
        await peer.sends(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
        await client.receives(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
        recorded = await proxy.flow()
        assert recorded.request_body == recorded.response_body == b"hi"
        for message in (recorded.flow.request, recorded.flow.response):
            assert message.trailers == Headers([(b"X-Sum", b"7")])


@in_loop
async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_once():
    """RFC 9110 section 10.1.1"""
    async with proxying(handlers=[handling(**WHOLE)]) as proxy:
        client, server = await proxy.client(), await proxy.server()
        expect = (b"Content-Length: 5", b"Expect: 100-continue")
        await client.sends(ask(server.name, *expect, method=b"POST"))
        await client.receives(b"HTTP/1.1 100 Continue\r\n\r\n")
        await client.sends(b"hello")
        peer = await server.accepts()
        await peer.receives(request(server.name, *expect, method=b"POST") + b"hello")
        await peer.sends(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.sends(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        await client.receives(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        assert (await proxy.flow()).request_body == b"hello"


@in_loop
async def test_a_client_that_does_not_wait_to_be_asked_is_not_asked():
    async with proxying(handlers=[handling(**WHOLE)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"Expect: 100-continue\r\n\r\nhello")
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()


@in_loop
async def test_the_version_in_which_a_message_came_is_not_for_handlers_to_change():
    def change(flow):
        for message in (flow.request, flow.response):
            message.http_version = "HTTP/1.1"

    async with proxying(handlers=[handling(response=change)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await peer.reads_head()
        await peer.sends(b"HTTP/1.0 200 OK\r\n\r\nhi")
        peer.closes()
        await client.receives(b"HTTP/1.0 200 OK\r\n\r\nhi")
        await client.sees_end()
        flow = (await proxy.flow()).flow
        assert (flow.request.http_version, flow.response.http_version) == ("HTTP/1.0", "HTTP/1.0")


@in_loop
async def test_how_a_body_that_is_still_to_come_is_framed_cannot_be_changed():
    handlers = [handling(requestheaders=sets_header("content-length", "500"))]
    async with proxying(handlers=handlers) as proxy:
        client, peer, server = await exchange_begins(proxy, UPLOAD + b"\r\nhello")
        await peer.receives(request(server.name, b"Content-Length: 5", method=b"POST") + b"hello")
        await peer.sends(OK)
        await client.receives(OK)
        await proxy.flow()


@in_loop
@pytest.mark.parametrize("hooks", [{"requestheaders": print}, {"responseheaders": print}, {"error": print}])
async def test_a_body_that_no_hook_wants_whole_is_not_held_up(hooks):
    async with proxying(handlers=[handling(**hooks)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.receives(b"he")
        await client.sends(b"llo")
        await peer.receives(b"llo")
        await peer.sends(OK[:-1])
        await client.receives(OK[:-1])
        await peer.sends(OK[-1:])
        await client.receives(OK[-1:])
        assert (await proxy.flow()).response_body == b"hi"


@in_loop
async def test_a_request_can_be_sent_to_another_server_which_it_then_names():
    async with proxying(handlers=[]) as proxy:
        client, first, second = await proxy.client(), await proxy.server(), await proxy.server()

        def move(flow):
            flow.request.port = second.port

        proxy.handle(handling(request=move))
        await client.sends(ask(first.name))
        peer = await second.accepts()
        await peer.receives(request(second.name))
        await peer.sends(OK)
        await client.receives(OK)
        flow = (await proxy.flow()).flow
        assert flow.server_conn.address == (second.host, second.port)
        assert flow.request.url == f"http://{second.name.decode()}/"


@in_loop
async def test_another_server_is_not_asked_for_the_name_that_the_client_asked_for_in_tls():
    async with proxying() as proxy:
        client, server = await connects(proxy)
        elsewhere, there = await proxy.server(), tls_server("127.0.0.1")

        def move(flow):
            flow.request.port = elsewhere.port

        proxy.handle(handling(requestheaders=move))
        starting = asyncio.create_task(client.starts_tls(make_client(trusting(), sni="a.test")))
        peer = await server.accepts()
        await peer.starts_tls(tls_server("a.test"))
        await starting
        for _ in range(2):
            await client.sends(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            if not there.established:
                other = await elsewhere.accepts()
                await other.starts_tls(there)
            await other.receives(request(elsewhere.name))
            await other.sends(OK)
            await client.receives(OK)
            await proxy.flow()
        assert there._connection.get_servername() is None


@in_loop
async def test_a_request_that_is_repeated_is_not_handled_again():
    calls = []
    async with proxying(handlers=[handling(request=calls.append, response=calls.append)]) as proxy:
        client, peer, server = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(OK)
        await client.sends(ask(server.name, b"Content-Length: 2", method=b"PUT") + b"hi")
        await peer.reads_head()
        peer.closes()
        again = await server.accepts()
        await again.receives(request(server.name, b"Content-Length: 2", method=b"PUT") + b"hi")
        await again.sends(OK)
        await client.receives(OK)
        assert [(await proxy.flow()).error, (await proxy.flow()).error] == ["", ""]
    assert len(calls) == 4


@in_loop
async def test_what_is_passed_through_untouched_is_not_handled():
    handlers = [handling(**dict.fromkeys(("requestheaders", "request", "responseheaders", "response"), pytest.fail))]
    async with proxying(handlers=handlers, ignore_hosts=(r"^127",)) as proxy:
        client, peer, server = await exchange_begins(proxy, GET)
        await peer.receives(request(server.name, path=b"/path?q"))
        await peer.sends(OK)
        await client.receives(OK)


@in_loop
async def test_the_page_for_new_clients_is_not_handled():
    async with proxying(handlers=[handling(requestheaders=pytest.fail, response=pytest.fail)]) as proxy:
        client = await proxy.client()
        await client.sends(ask(b"mitm.it"))
        assert (await client.reads_head()).startswith(b"HTTP/1.1 200 ")
        await proxy.flow()


@in_loop
@pytest.mark.parametrize("hook", ["requestheaders", "request"])
async def test_a_request_that_would_be_two_for_the_server_is_not_sent(hook):
    handlers = [handling(**{hook: sets_header("X", "1\r\n\r\nGET /other HTTP/1.1")})]
    async with proxying(handlers=handlers) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server.name))
        status, _ = await answered_page(client)
        client.closes()
        assert status == 500
        assert "handler" in (await proxy.flow()).error
        assert server.has_nobody_waiting()


# -- responses --------------------------------------------------------------------------------------------------------


@in_loop
@pytest.mark.parametrize("hook", ["responseheaders", "response"])
async def test_a_response_is_passed_on_and_recorded_as_it_was_changed(hook):
    def change(flow):
        flow.response.status_code, flow.response.reason = 404, "Gone fishing"
        flow.response.headers["server"] = "new"

    async with proxying("~c 404 ~hs new", handlers=[handling(**{hook: change})]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(b"HTTP/1.1 404 Gone fishing\r\nContent-Length: 2\r\nserver: new\r\n\r\nhi")
        recorded = await proxy.flow()
        assert (recorded.flow.response.status_code, recorded.flow.response.reason) == (404, "Gone fishing")
        assert recorded.response_body == b"hi"


@in_loop
async def test_a_response_that_a_hook_wants_whole_gets_its_new_length():
    async with proxying(handlers=[handling(response=sets_body(b"good morning"))]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ngood morning")
        recorded = await proxy.flow()
        assert recorded.response_body == b"good morning"
        assert recorded.flow.response.body.length == 12


@in_loop
async def test_a_response_hook_sees_the_body_of_a_request_that_was_collected():
    seen = []
    hooks = {"request": print, "response": lambda flow: seen.append(flow.request.raw_content)}
    async with proxying(handlers=[handling(**hooks)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhello")
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(OK)
        assert (await proxy.flow()).flow.request.body.source is None
    assert seen == [b"hello"]


@in_loop
async def test_a_body_that_only_the_close_ends_is_still_ended_by_it():
    async with proxying(handlers=[handling(**WHOLE)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        peer.closes()
        await client.receives(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of it")
        await client.sees_end()
        assert (await proxy.flow()).response_body == b"all of it"


BODILESS = [
    (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
    (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
]


@in_loop
@pytest.mark.parametrize(("method", "answer"), BODILESS)
@pytest.mark.parametrize("body", [b"", b"a body that nobody waits for"])
async def test_a_response_that_has_no_body_gets_none_and_the_connection_stays(method, answer, body):
    async with proxying(handlers=[handling(response=sets_body(body))]) as proxy:
        client, peer, server = await exchange_begins(proxy, GET.replace(b"GET", method))
        for has_asked in (True, False):
            if not has_asked:
                await client.sends(ask(server.name, method=method))
            await peer.reads_head()
            await peer.sends(answer)
            await client.receives(answer)
            assert (await proxy.flow()).response_body == b""


@in_loop
@pytest.mark.parametrize("hook", ["responseheaders", "response"])
@pytest.mark.parametrize(
    ("status", "answer", "passed"),
    [
        (204, OK, b"HTTP/1.1 204 OK\r\n\r\n"),
        (304, b"HTTP/1.1 200 OK\r\n" + CHUNKED, b"HTTP/1.1 304 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (200, b"HTTP/1.1 204 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (200, b"HTTP/1.1 304 OK\r\nContent-Length: 9\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
async def test_a_status_that_was_changed_decides_whether_there_is_a_body(hook, status, answer, passed):
    def change(flow):
        flow.response.status_code = status

    async with proxying(handlers=[handling(**{hook: change})]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(answer)
        await client.receives(passed)
        assert (await proxy.flow()).response_body == b""


@in_loop
async def test_an_http10_client_gets_what_was_collected_without_chunks():
    async with proxying(handlers=[handling(**WHOLE)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET.replace(b"HTTP/1.1", b"HTTP/1.0"))
        await peer.reads_head()
        await peer.sends(b"HTTP/1.1 200 OK\r\n" + CHUNKED)
        await client.receives(b"HTTP/1.1 200 OK\r\n\r\nhi")
        await client.sees_end()
        await proxy.flow()


UPGRADE = GET[:-2] + b"Upgrade: other\r\nConnection: Upgrade\r\n\r\n"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n"


@in_loop
async def test_a_switch_to_another_protocol_passes_the_hooks_and_happens():
    statuses = []
    hooks = {"request": print, "response": lambda flow: statuses.append(flow.response.status_code)}
    async with proxying(handlers=[handling(**hooks)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPGRADE)
        assert b"Upgrade: other\r\n" in await peer.reads_head()
        await peer.sends(SWITCHING + b"hello")
        await client.receives(SWITCHING + b"hello")
        client.closes()
        peer.closes()
        assert [(await proxy.flow()).flow.kind, (await proxy.flow()).flow.kind] == ["http", "tcp"]
    assert statuses == [101]


@in_loop
async def test_a_websocket_is_opened_and_recorded_as_without_handlers():
    async with proxying(handlers=[handling(**WHOLE, requestheaders=print, responseheaders=print)]) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(asking(server.name))
        peer = await server.accepts()
        await peer.reads_head()
        await peer.sends(switching() + frame(TEXT, b"hello", masked=False))
        await client.receives(switching() + frame(TEXT, b"hello", masked=False))
        client.closes()
        peer.closes()
        assert (False, b"hello") in (await proxy.flow()).messages
        await proxy.ends()


@in_loop
@pytest.mark.parametrize("hook", ["responseheaders", "response"])
async def test_a_switch_to_another_protocol_can_be_refused(hook):
    def refuse(flow):
        flow.response.status_code, flow.response.reason = 403, "No"

    async with proxying(handlers=[handling(**{hook: refuse})]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPGRADE)
        await peer.reads_head()
        await peer.sends(SWITCHING)
        await client.receives(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        await peer.sees_end()
        assert (await proxy.flow()).error == ""


@in_loop
async def test_a_response_that_comes_early_is_handled_while_the_client_still_sends():
    async with proxying(handlers=[handling(response=sets_body(b"new"))]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
        await client.sends(b"llo")
        await peer.receives(b"hello")
        await client.receives(b"new")
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.response_body) == (b"hello", b"new")


@in_loop
async def test_a_filter_does_not_see_an_early_response_before_its_hooks_are_through():
    waits, may_go_on = asyncio.Event(), asyncio.Event()

    async def change(flow):
        waits.set()
        await may_go_on.wait()
        flow.response.status_code = 404

    async with proxying("~c 404", handlers=[handling(response=change)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.sends(OK)
        await waits.wait()
        await client.sends(b"llo")
        await peer.receives(b"hello")
        may_go_on.set()
        await client.reads_head()
        assert (await proxy.flow()).flow.response.status_code == 404


@in_loop
async def test_what_was_collected_is_let_go_when_the_exchange_is_over():
    bodies = []
    async with proxying(handlers=[handling(request=lambda flow: bodies.append(flow.request.body))]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhello")
        await peer.reads_head()
        await peer.sends(OK[:-1])
        await client.reads_head()
        assert bodies[0].read() == b"hello"
        await peer.sends(OK[-1:])
        await client.reads(2)
        await proxy.flow()
    with pytest.raises(ValueError, match="closed"):
        bodies[0].read()


@in_loop
async def test_times_are_those_of_what_was_received_however_long_a_hook_waits():
    ends = []

    def note(of):
        return lambda flow: ends.append(getattr(flow, of).timestamp_end)

    async with proxying(handlers=[handling(request=note("request"), response=note("response"))]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(OK)
        await client.receives(OK)
        flow = (await proxy.flow()).flow
        assert [flow.request.timestamp_end, flow.response.timestamp_end] == ends
        assert flow.response.timestamp_start <= flow.response.timestamp_end


# -- what goes wrong --------------------------------------------------------------------------------------------------


@in_loop
async def test_a_client_that_goes_away_while_a_hook_waits_ends_the_exchange():
    waits, may_go_on, errors = asyncio.Event(), asyncio.Event(), []

    async def wait(_flow):
        waits.set()
        await may_go_on.wait()

    async with proxying(handlers=[handling(request=wait, error=errors.append)]) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server.name))
        await waits.wait()
        client.resets()
        may_go_on.set()
        recorded = await proxy.flow()
        assert "the client broke the connection" in recorded.error
        assert errors == [recorded.flow]
        await proxy.ends()


@in_loop
async def test_a_server_that_breaks_off_before_its_response_was_collected_is_an_error_page():
    seen = []
    hooks = {"response": pytest.fail, "error": lambda flow: seen.append((flow.error.msg, flow.response))}
    async with proxying(handlers=[handling(**hooks)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(OK[:-1])
        peer.closes()
        status, text = await answered_page(client)
        client.closes()
        recorded = await proxy.flow()
        assert status == 502
        assert "after 1 of 2 bytes" in text
        assert seen == [(recorded.error, None)]
        assert recorded.flow.response is None


@in_loop
@pytest.mark.parametrize("hook", ["requestheaders", "request", "responseheaders", "response"])
async def test_a_bug_of_a_handler_ends_its_exchange_and_no_other(hook):
    def fail(flow):
        if flow.request.path == "/bad":
            raise ValueError("a secret")

    async with proxying(handlers=[handling(**{hook: fail})]) as proxy:
        good, peer, server = await exchange_begins(proxy, GET)
        await peer.reads_head()
        bad = await proxy.client()
        await bad.sends(ask(server.name, path=b"/bad"))
        if hook.startswith("response"):
            other = await server.accepts()
            await other.sends(OK)
        status, text = await answered_page(bad)
        bad.closes()
        assert (status, str(proxy.bugs.pop())) == (500, "a secret")
        assert "secret" not in text
        assert (await proxy.flow()).error == "a handler of the proxy failed (ValueError)"
        await peer.sends(OK)
        await good.receives(OK)
        assert (await proxy.flow()).error == ""


@in_loop
async def test_a_handler_that_leaves_nonsense_behind_has_failed():
    def spoil(flow):
        flow.request.headers = None

    async with proxying(handlers=[handling(request=spoil)]) as proxy:
        client = await proxy.client()
        await client.sends(ask(b"a.test"))
        assert (await answered_page(client))[0] == 500
        client.closes()
        assert isinstance(proxy.bugs.pop(), TypeError)
        await proxy.flow()


@in_loop
async def test_a_handler_that_leaves_nonsense_of_a_response_behind_has_failed():
    def spoil(flow):
        flow.response.status_code = None

    async with proxying(handlers=[handling(responseheaders=spoil)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        await peer.sends(OK)
        assert (await answered_page(client))[0] == 500
        client.closes()
        assert isinstance(proxy.bugs.pop(), TypeError)
        await proxy.flow()


@in_loop
async def test_an_error_hook_that_fails_does_not_hide_the_error():
    def fail(_flow):
        raise ValueError("a secret")

    async with proxying(handlers=[handling(error=fail)]) as proxy:
        client = await proxy.client()
        await client.sends(b"GET http:// HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await answered_page(client))[0] == 400
        client.closes()
        assert "bad authority" in (await proxy.flow()).error
        assert proxy.bugs.pop()


@in_loop
async def test_a_request_that_cannot_be_read_is_an_error_for_handlers_too():
    errors = []
    async with proxying(handlers=[handling(error=errors.append)]) as proxy:
        client = await proxy.client()
        await client.sends(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        assert (await answered_page(client))[0] == 400
        client.closes()
        assert errors == [(await proxy.flow()).flow]


@in_loop
async def test_what_an_error_hook_says_of_a_flow_is_recorded():
    def comment(flow):
        flow.comment = "oh"

    async with proxying(handlers=[handling(error=comment)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, GET)
        await peer.reads_head()
        peer.closes()
        await answered_page(client)
        client.closes()
        assert (await proxy.flow()).flow.comment == "oh"


@in_loop
async def test_an_upload_that_breaks_off_after_its_response_is_an_error_once():
    errors = []
    async with proxying(handlers=[handling(responseheaders=print, error=errors.append)]) as proxy:
        client, peer, _ = await exchange_begins(proxy, UPLOAD + b"\r\nhe")
        await peer.reads_head()
        await peer.sends(OK)
        await client.reads_head()
        await client.receives(b"hi")
        client.resets()
        await peer.sees_reset()
        await proxy.ends()
        assert errors == [(await proxy.flow()).flow]


@in_loop
@pytest.mark.parametrize("of", ["request", "response"])
async def test_no_room_to_collect_a_body_is_told(of, monkeypatch):
    def add(*_):
        raise OSError(ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "add", add)
    async with proxying(handlers=[handling(**{of: pytest.fail})]) as proxy:
        client, server = await proxy.client(), await proxy.server()
        await client.sends(ask(server.name, b"Content-Length: 2", method=b"POST") + b"hi")
        if of == "response":
            peer = await server.accepts()
            await peer.sends(OK)
        status, text = await answered_page(client)
        client.closes()
        assert status == 507
        assert "No space left on device; set TMPDIR" in text
        await proxy.flow()


@in_loop
async def test_who_is_stopped_while_a_hook_waits_is_recorded():
    waits = asyncio.Event()

    async def wait(_flow):
        waits.set()
        await asyncio.Event().wait()

    async with proxying(handlers=[handling(request=wait)]) as proxy:
        client = await proxy.client()
        await client.sends(ask(b"a.test"))
        await waits.wait()
        proxy.tasks[0].cancel()
        assert "the proxy was stopped" in (await proxy.flow()).error


@in_loop
async def test_a_client_that_a_handler_does_not_want_is_closed():
    def fail(_connection):
        raise ValueError("no")

    async with proxying(handlers=[handling(client_connected=fail)]) as proxy:
        client = await proxy.client()
        assert await client.reads_all() == b""
        await proxy.ends()
        assert proxy.bugs.pop()


# -- large bodies -----------------------------------------------------------------------------------------------------

PIECE = bytes(1 << 20)
PIECES = 64


@in_loop
async def test_a_large_body_that_is_collected_is_not_in_memory():
    sizes = []
    hooks = {of: lambda flow, of=of: sizes.append(len(getattr(flow, of).body.source)) for of in WHOLE}
    async with proxying("~u nobody-wants-it", handlers=[handling(**hooks)]) as proxy:
        length = b"Content-Length: %d\r\n\r\n" % (PIECES * len(PIECE))
        client, server = await proxy.client(), await proxy.server()
        await client.sends(b"POST http://" + server.name + b"/ HTTP/1.1\r\nHost: a\r\n" + length)
        start()
        try:
            await send_all(client)
            peer = await server.accepts()
            await peer.reads_head()
            await take_all(peer)
            await peer.sends(b"HTTP/1.1 200 OK\r\n" + length)
            await send_all(peer)
            await client.reads_head()
            await take_all(client)
            assert get_traced_memory()[1] < 8 * len(PIECE)
        finally:
            stop()
    assert sizes == [PIECES * len(PIECE)] * 2


async def send_all(peer):
    for _ in range(PIECES):
        await peer.sends(PIECE)


async def take_all(peer):
    for _ in range(PIECES):
        assert len(await peer.reads(len(PIECE))) == len(PIECE)
