"""Handlers that answer the client themselves: no server is asked, and nothing else is different."""

import asyncio

import pytest
from support.handling import answering, handling, response
from support.peers import in_loop
from support.proxying import proxying
from support.transcripts import answered_page, ask

from mitmdump.errors import FlowFileError, PeerError
from mitmdump.model.headers import Headers
from mitmdump.proxy.answer import Answer
from mitmdump.proxy.changed import next_of

NAME = b"nobody.test"
LENGTH, CODING = (b"Content-Length", b"2"), (b"Transfer-Encoding", b"chunked")
ANSWERED = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
CLOSE = b"Connection: close\r\n"
REST_OF_HOOKS = {"responseheaders": pytest.fail, "response": pytest.fail}


class Kept:
    """A body of many pieces on disk, of which so many can be read."""

    def __init__(self, count: int, good: int | None = None) -> None:
        self._count, self._good = count, count if good is None else good

    def __len__(self) -> int:
        return self._count << 16

    def pieces(self):
        for number in range(self._count):
            if number >= self._good:
                raise FlowFileError("the file is damaged")
            yield bytes(1 << 16)


def answers(made, hook: str = "request"):
    return [handling(**{hook: answering(made)}, **REST_OF_HOOKS)]


@in_loop
@pytest.mark.parametrize("hook", ["requestheaders", "request"])
async def test_an_answer_is_recorded_like_any_and_the_next_request_may_follow(hook):
    async with proxying("~c 200", handlers=answers(response(b"hi", LENGTH), hook)) as proxy:
        client = await proxy.client()
        for _ in range(2):
            await client.sends(ask(NAME))
            await client.receives(ANSWERED)
            recorded = await proxy.flow()
            assert (recorded.response_body, recorded.error, recorded.flow.server_conn) == (b"hi", "", None)
            assert recorded.flow.request.url == "http://nobody.test/"


@in_loop
@pytest.mark.parametrize("hook", ["requestheaders", "request"])
@pytest.mark.parametrize("size", [5, 500_000])
async def test_an_upload_that_was_answered_is_taken_and_recorded_and_the_connection_stays(hook, size):
    async with proxying(handlers=answers(response(b"hi", LENGTH), hook)) as proxy:
        client = await proxy.client()
        for _ in range(2):
            await client.sends(ask(NAME, b"Content-Length: %d" % size, method=b"POST") + b"h")
            await client.sends(bytes(size - 1))
            await client.receives(ANSWERED)
            recorded = await proxy.flow()
            assert (len(recorded.request_body), recorded.flow.request.body.complete) == (size, True)


@in_loop
async def test_an_answer_from_the_head_alone_does_not_wait_for_the_upload():
    async with proxying(handlers=answers(response(b"hi", LENGTH), "requestheaders")) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME, b"Content-Length: 5", method=b"POST") + b"he")
        await client.receives(ANSWERED)
        await client.sends(b"llo")
        assert (await proxy.flow()).request_body == b"hello"


@in_loop
async def test_a_client_that_asked_whether_to_send_its_body_and_was_answered_is_closed():
    """RFC 9110 section 10.1.1: it may send it or not"""
    async with proxying(handlers=answers(response(b"hi", LENGTH), "requestheaders")) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME, b"Content-Length: 5", b"Expect: 100-continue", method=b"POST"))
        await client.receives(ANSWERED[:-4] + CLOSE + b"\r\nhi")
        await client.sees_end()
        client.closes()
        await proxy.flow()


CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"


@in_loop
@pytest.mark.parametrize(
    ("made", "given"),
    [
        (response(b"hi"), ANSWERED),
        (response(b"hi", (b"Content-Length", b"9")), ANSWERED),
        (response(b"hi", CODING), b"HTTP/1.1 200 OK\r\n" + CHUNKS + b"\r\n"),
        (response(b"hi", CODING, LENGTH), b"HTTP/1.1 200 OK\r\n" + CHUNKS + b"\r\n"),
        (response(b"", version="HTTP/1.1"), b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (response(b"hi", version="HTTP/1.1"), b"HTTP/1.1 200 OK\r\n" + CLOSE + b"\r\nhi"),
        (response(b"hi", LENGTH, version="HTTP/1.0"), b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n" + CLOSE + b"\r\nhi"),
        (response(b"hi", version="HTTP/1.0"), b"HTTP/1.0 200 OK\r\n" + CLOSE + b"\r\nhi"),
        (response(b"hi", status=204), b"HTTP/1.1 204 OK\r\n\r\n"),
        (response(b"hi", LENGTH, status=304), b"HTTP/1.1 304 OK\r\nContent-Length: 2\r\n\r\n"),
    ],
)
async def test_an_answer_goes_out_as_it_says_that_it_went_before(made, given):
    before = made.headers.copy(), made.body.read()
    async with proxying(handlers=answers(made)) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME))
        await client.receives(given)
        await proxy.flow()
        if CLOSE in given:
            await client.sees_end()
        else:
            await client.sends(ask(NAME))
            await client.receives(given)
            await proxy.flow()
    assert (made.headers, made.body.read()) == before


@in_loop
async def test_what_http2_left_unsaid_is_said_in_http1():
    async with proxying(handlers=answers(response(b"hi", version="HTTP/2"))) as proxy:
        client = await proxy.client()
        for _ in range(2):
            await client.sends(ask(NAME))
            await client.receives(b"HTTP/1.1 200 OK\r\n" + CHUNKS + b"\r\n")
            await proxy.flow()


@in_loop
async def test_an_answer_to_head_is_one_to_get_without_its_body():
    async with proxying(handlers=answers(response(b"hi", LENGTH))) as proxy:
        client = await proxy.client()
        for _ in range(2):
            await client.sends(ask(NAME, method=b"HEAD"))
            await client.receives(ANSWERED[:-2])
            assert (await proxy.flow()).response_body == b""


@in_loop
async def test_an_http10_client_is_not_given_chunks():
    def answer(flow):
        flow.request.http_version = "HTTP/1.1"
        flow.response = response(b"hi", CODING)

    async with proxying(handlers=[handling(request=answer)]) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME, version=b"1.0"))
        await client.receives(b"HTTP/1.1 200 OK\r\n\r\nhi")
        await client.sees_end()
        await proxy.flow()


@in_loop
async def test_trailers_of_an_answer_are_sent_behind_its_chunks():
    made = response(b"hi", CODING)
    made.trailers = Headers([(b"X-Sum", b"7")])
    async with proxying(handlers=answers(made)) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME))
        await client.receives(b"HTTP/1.1 200 OK\r\n" + CHUNKS + b"X-Sum: 7\r\n\r\n")
        assert (await proxy.flow()).flow.response.trailers == made.trailers


@in_loop
async def test_a_large_answer_is_sent_from_where_it_lies():
    async with proxying(handlers=answers(response(Kept(20), (b"Content-Length", b"%d" % (20 << 16))))) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME))
        await client.reads_head()
        assert await client.reads(20 << 16) == bytes(20 << 16)
        assert len((await proxy.flow()).response_body) == 20 << 16


@in_loop
async def test_an_answer_that_turns_out_to_be_unreadable_is_seen_to_be_cut_off():
    errors = []
    handlers = [handling(request=answering(response(Kept(20, good=3))), error=errors.append)]
    async with proxying(handlers=handlers) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME))
        assert len(await client.reads_all()) < 4 << 16
        recorded = await proxy.flow()
        assert "the file is damaged" in recorded.error
        assert errors == [recorded.flow]
        assert recorded.flow.response.body.length == 3 << 16


@in_loop
async def test_an_answer_that_cannot_be_sent_is_an_error_page():
    made = response(b"hi", (b"X", b"1\r\n\r\n<script>"))
    async with proxying(handlers=answers(made)) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME))
        status, text = await answered_page(client)
        client.closes()
        assert status == 500
        assert "script" not in text
        await proxy.flow()


@in_loop
async def test_a_handler_can_answer_with_an_error():
    def refuse(_flow):
        raise PeerError("we are closed", 503)

    async with proxying(handlers=[handling(request=refuse)]) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME))
        status, text = await answered_page(client)
        client.closes()
        assert (status, "We are closed." in text) == (503, True)
        assert (await proxy.flow()).error == "we are closed"


@in_loop
@pytest.mark.parametrize("body", [b"", b"hello", bytes(300_000)])
async def test_a_request_that_a_handler_refuses_is_recorded_as_it_came(body):
    def refuse(_flow):
        raise PeerError("we are closed", 503)

    async with proxying("~u nobody.test ~m POST", handlers=[handling(request=refuse)]) as proxy:
        client = await proxy.client()
        await client.sends(ask(NAME, b"Content-Length: %d" % len(body), method=b"POST") + body)
        assert (await answered_page(client))[0] == 503
        client.closes()
        recorded = await proxy.flow()
        assert (recorded.request_body, recorded.flow.request.body.complete) == (body, True)


@in_loop
async def test_a_client_that_goes_away_within_an_answer_is_an_error():
    async with proxying(handlers=answers(response(Kept(400)))) as proxy:
        client = await proxy.client(buffers=8192)
        await client.sends(ask(NAME))
        await client.reads_head()
        client.resets()
        assert "the client broke the connection" in (await proxy.flow()).error
        await proxy.ends()


def test_no_handler_can_switch_protocols():
    with pytest.raises(PeerError):
        Answer(response(b"", status=101), b"GET")


def test_whoever_sends_what_it_has_gives_others_their_turn():
    async def take():
        turns = []
        asyncio.get_running_loop().call_soon(turns.append, "another")
        turns.append(await next_of(iter([["the next"]])))
        return turns

    assert asyncio.run(take()) == ["another", ["the next"]]
