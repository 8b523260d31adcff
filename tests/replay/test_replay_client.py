"""Recorded requests sent again, to servers that follow a script: what goes over the wire, and what is made of it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.peers import Peer, in_loop
from support.proxying import Proxy, Server, proxying
from support.recordings import answered, record, recorded, said

from mitmdump.log import Log
from mitmdump.model.flow import Flow, Part
from mitmdump.model.headers import Headers
from mitmdump.replay.client import ClientReplay
from mitmdump.settings import Settings
from mitmdump.settings.replay import Place

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Lines(Log):
    """What would have been said on stderr."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def error(self, *lines: str) -> None:
        self.lines += lines


class Replaying:
    """A replay on its way, through a proxy's services."""

    def __init__(self, proxy: Proxy, path: Path, *flows: Flow, captures: int = 1, most: int = 99, **chosen) -> None:
        """`captures`: how many captures the flows are spread over; `most`: clients that there may be."""
        self.log = Lines()
        names = [str(record(path / f"{n}.flows", *flows[n::captures])) for n in range(captures)]
        settings = Settings(client_replay=tuple(names), **chosen)
        proxy.services.settings = settings
        self.replay = ClientReplay(settings, None, self.log)
        self.task = asyncio.create_task(self.replay.run(proxy.services, most))
        proxy.tasks.append(self.task)

    async def ends(self) -> list[str]:
        """What it says once it is over."""
        await asyncio.wait_for(self.task, 3)
        self.good, self.whole = self.replay.close()
        return self.log.lines


def get(server: Server, path: str, **known) -> Flow:
    return recorded(f"http://{server.name.decode()}/{path}", **known)


async def is_asked(peer: Peer, path: str) -> None:
    """The next request is for this path."""
    assert (await peer.reads_head()).startswith(b"GET /%b HTTP/1.1\r\n" % path.encode())


@in_loop
async def test_requests_leave_in_order_on_one_connection(tmp_path: Path):
    """P3"""
    async with proxying() as proxy:
        server = await proxy.server()
        replaying = Replaying(proxy, tmp_path, get(server, "b", at=2), get(server, "a", at=1))
        peer = await server.accepts()
        await peer.receives(b"GET /a HTTP/1.1\r\nHost: %b\r\n\r\n" % server.name)
        await peer.sends(OK)
        await peer.receives(b"GET /b HTTP/1.1\r\nHost: %b\r\n\r\n" % server.name)
        await peer.sends(OK)

        assert await replaying.ends() == ["replayed 2 of 2 flows: 2 answered, 0 failed"]
        assert (replaying.good, replaying.whole) == (True, True)
        await peer.sees_end()
        found = [await proxy.flow(), await proxy.flow()]
    assert [each.flow.request.path for each in found] == ["/a", "/b"]
    assert {each.flow.is_replay for each in found} == {"request"}
    assert found[0].response_body == b"hello"
    assert found[0].flow.client_conn is found[1].flow.client_conn


@in_loop
async def test_no_more_are_in_flight_than_may_be(tmp_path: Path):
    """P3"""
    async with proxying() as proxy:
        server = await proxy.server()
        replaying = Replaying(proxy, tmp_path, *(get(server, f"{n}", at=n) for n in range(3)), replay_concurrency=2)
        heads = {peer: await peer.reads_head() for peer in (await server.accepts(), await server.accepts())}
        one, two = sorted(heads, key=heads.__getitem__)  # which of them connects first is left open
        assert [heads[peer].split()[1] for peer in (one, two)] == [b"/0", b"/1"]
        assert server.has_nobody_waiting()
        await two.sends(OK)
        await is_asked(two, "2")
        await two.sends(OK)
        await one.sends(OK)

        await replaying.ends()
        assert [(await proxy.flow()).flow.request.path for _ in range(3)] == ["/1", "/2", "/0"]


@in_loop
async def test_a_chunked_body_is_sent_chunked_with_its_trailers(tmp_path: Path):
    """P3"""
    async with proxying() as proxy:
        server = await proxy.server()
        fields = [(b"Transfer-Encoding", b"chunked"), (b"Connection", b"close"), (b"Proxy-Authorization", b"x")]
        flow = recorded(f"http://{server.name.decode()}/", "POST", fields, b"hello")
        flow.request.trailers = Headers([(b"Sum", b"5")])
        replaying = Replaying(proxy, tmp_path, flow)
        peer = await server.accepts()
        head = b"POST / HTTP/1.1\r\nHost: %b\r\nTransfer-Encoding: chunked\r\n\r\n" % server.name
        await peer.receives(head + b"5\r\nhello\r\n0\r\nSum: 5\r\n\r\n")
        await peer.sends(OK)

        await replaying.ends()
        assert (await proxy.flow()).request_body == b"hello"


@in_loop
async def test_a_large_body_comes_out_of_the_file_in_pieces(tmp_path: Path):
    body = bytes(range(256)) * 4000
    async with proxying() as proxy:
        server = await proxy.server()
        replaying = Replaying(proxy, tmp_path, recorded(f"http://{server.name.decode()}/", "PUT", (), body))
        peer = await server.accepts()
        assert (await peer.reads_head()).endswith(b"\r\nContent-Length: 1024000\r\n\r\n")
        await peer.receives(body)
        await peer.sends(OK)

        await replaying.ends()
        assert (await proxy.flow()).bodies[Part.REQUEST] == body


@in_loop
async def test_a_client_that_expects_to_be_asked_for_its_body_waits_for_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mitmdump.replay.recorded_client.PATIENCE", 99.0)
    async with proxying() as proxy:
        server = await proxy.server()
        fields = [(b"Content-Length", b"5"), (b"Expect", b"100-continue")]
        replaying = Replaying(proxy, tmp_path, recorded(f"http://{server.name.decode()}/", "PUT", fields, b"hello"))
        peer = await server.accepts()
        assert b"\r\nExpect: 100-continue\r\n" in await peer.reads_head()
        await peer.sends(b"HTTP/1.1 100 Continue\r\n\r\n")
        await peer.receives(b"hello")
        await peer.sends(OK)

        assert await replaying.ends() == ["replayed 1 of 1 flows: 1 answered, 0 failed"]
        await proxy.flow()


@in_loop
async def test_a_server_that_cannot_be_reached_is_a_failure(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        server.socket.close()
        replaying = Replaying(proxy, tmp_path, get(server, "a"))

        told, summary = await replaying.ends()

        assert told.startswith(f"no answer to GET http://{server.name.decode()}/a: cannot connect to ")
        assert summary == "replayed 1 of 1 flows: 0 answered, 1 failed"
        assert not replaying.good
        assert (await proxy.flow()).error in told


class Timers:
    """The timers of a loop that are set to TIMEOUT seconds, which go off by hand only."""

    TIMEOUT = 77.5

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.set: list[asyncio.TimerHandle] = []
        loop = asyncio.get_running_loop()
        original = loop.call_later

        def call_later(delay: float, callback: Callable[..., object], *rest, **known) -> asyncio.TimerHandle:
            handle = original(delay, callback, *rest, **known)
            if delay == self.TIMEOUT:
                self.callback = callback
                self.set.append(handle)
            return handle

        monkeypatch.setattr(loop, "call_later", call_later)


@in_loop
async def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with proxying() as proxy:
        server, timers = await proxy.server(), Timers(monkeypatch)
        flows = [get(server, "a"), get(server, "b", at=1)]
        replaying = Replaying(proxy, tmp_path, *flows, replay_timeout=Timers.TIMEOUT)
        peer = await server.accepts()
        await is_asked(peer, "a")
        timers.callback()
        await peer.sees_end()
        peer = await server.accepts()
        await is_asked(peer, "b")
        await peer.sends(OK)

        assert (await replaying.ends())[-1] == "replayed 2 of 2 flows: 1 answered, 1 failed"
        assert (await proxy.flow()).error == "the answer was not complete within 77.5 seconds (--replay-timeout)"
        await proxy.flow()


@in_loop
async def test_an_answer_that_came_in_time_is_not_given_up_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with proxying() as proxy:
        server, timers = await proxy.server(), Timers(monkeypatch)
        flows = [get(server, "a"), get(server, "b", at=1)]
        replaying = Replaying(proxy, tmp_path, *flows, replay_timeout=Timers.TIMEOUT)
        peer = await server.accepts()
        for path in "ab":
            await is_asked(peer, path)
            await peer.sends(OK)

        assert await replaying.ends() == ["replayed 2 of 2 flows: 2 answered, 0 failed"]
        assert [timer.cancelled() for timer in timers.set] == [True, True]
        [await proxy.flow() for _ in "ab"]


@in_loop
async def test_there_are_no_more_clients_than_files_may_be_open_for(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        replaying = Replaying(proxy, tmp_path, get(server, "a"), get(server, "b"), most=1, replay_concurrency=9)
        peer = await server.accepts()
        for path in "ab":
            await is_asked(peer, path)
            assert server.has_nobody_waiting()
            await peer.sends(OK)

        await replaying.ends()
        [await proxy.flow() for _ in "ab"]


@in_loop
async def test_a_request_that_was_in_flight_when_all_was_cut_off_is_a_failure_in_the_report(tmp_path: Path):
    async with proxying() as proxy:
        server, report = await proxy.server(), tmp_path / "report.json"
        flows = [get(server, "a"), get(server, "b")]
        replaying = Replaying(proxy, tmp_path, *flows, replay_report=report, replay_timeout=99.0)
        await is_asked(await server.accepts(), "a")
        replaying.task.cancel()
        await asyncio.wait({replaying.task})

        assert replaying.replay.close() == (False, True)
        assert replaying.log.lines == ["replayed 1 of 2 flows: 0 answered, 1 failed, 1 not sent"]
        (case,) = json.loads(report.read_text())["requests"]
        assert (case["outcome"], case["reason"]) == ("error", "stopped before the answer was complete")
        await proxy.flow()


@in_loop
async def test_what_was_agreed_on_with_a_server_for_tls_is_not_spoken_without_it(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        flow = recorded("https://a.test/x")
        flow.request.http_version = "HTTP/2"
        place = Place("http", "127.0.0.1", server.port)
        replaying = Replaying(proxy, tmp_path, flow, replay_to=place)
        peer = await server.accepts()
        await is_asked(peer, "x")
        await peer.sends(OK)

        assert await replaying.ends() == ["replayed 1 of 1 flows: 1 answered, 0 failed"]
        assert "stream_id" not in (await proxy.flow()).flow.metadata


@in_loop
async def test_between_two_captures_nobody_thinks(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        flows = [get(server, "a"), get(server, "b", at=9999)]
        replaying = Replaying(proxy, tmp_path, *flows, captures=2, replay_timing=1.0)
        peer = await server.accepts()
        for path in "ab":
            await is_asked(peer, path)
            await peer.sends(OK)

        assert await replaying.ends() == ["replayed 2 of 2 flows: 2 answered, 0 failed"]
        [await proxy.flow() for _ in "ab"]


@in_loop
async def test_an_answer_that_differs_is_told_with_what_differs(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        flows = [get(server, "a", answer=answered()), get(server, "b", at=1, answer=answered(b"bye", 404))]
        replaying = Replaying(proxy, tmp_path, *flows, replay_verify=("status", "body"))
        peer = await server.accepts()
        for path in "ab":
            await is_asked(peer, path)
            await peer.sends(OK)

        assert await replaying.ends() == [
            f"the answer to GET http://{server.name.decode()}/b differs:",
            "    status: 200, recorded 404",
            "    body, line 1 on:",
            "    -bye",
            "    +hello",
            "replayed 2 of 2 flows: 2 answered, 0 failed, 1 differ",
        ]
        assert not replaying.good
        [await proxy.flow() for _ in "ab"]


@in_loop
async def test_an_answer_too_large_to_be_looked_into_is_compared_by_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mitmdump.replay.recorded_client.DECODED_LIMIT", 4)
    async with proxying() as proxy:
        server = await proxy.server()
        flows = [get(server, "a", answer=answered(b"hello")), get(server, "b", at=1, answer=answered(b"hallo"))]
        replaying = Replaying(proxy, tmp_path, *flows, replay_verify=("body",))
        peer = await server.accepts()
        for path in "ab":
            await is_asked(peer, path)
            await peer.sends(OK)

        told, difference, _ = await replaying.ends()
        assert told.endswith("/b differs:")
        assert difference.startswith("    body: 5 bytes, sha256 2cf24dba")
        [await proxy.flow() for _ in "ab"]


@in_loop
async def test_of_many_failures_only_some_are_told_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mitmdump.replay.client.SHOWN", 2)
    async with proxying() as proxy:
        server = await proxy.server()
        server.socket.close()
        replaying = Replaying(proxy, tmp_path, *(get(server, "a") for _ in range(4)))

        *told, more, summary = await replaying.ends()
        assert [line.partition(" to ")[0] for line in told] == ["no answer"] * 2
        assert (more, summary[-8:]) == ("and more of that kind, which are only counted", "4 failed")
        [await proxy.flow() for _ in range(4)]


@in_loop
async def test_of_connections_to_many_server_names_those_not_used_for_the_longest_time_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mitmdump.replay.client.MAX_KINDS", 2)
    async with proxying() as proxy:
        server = await proxy.server()
        flows = [get(server, f"{at}{name}", at=at) for at, name in enumerate("abaca")]
        for flow in flows:
            flow.server_conn.sni = flow.request.path[-1]
        replaying = Replaying(proxy, tmp_path, *flows)
        peers = {}
        for flow in flows:
            name = flow.request.path[-1]
            peer = peers[name] = peers.get(name) or await server.accepts()
            await is_asked(peer, flow.request.path[1:])
            await peer.sends(OK)

        await peers["b"].sees_end()
        await replaying.ends()
        [await proxy.flow() for _ in flows]


@in_loop
async def test_what_is_to_be_ignored_makes_no_difference(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        flow = get(server, "a", answer=answered(b'{"id": 1}', 200, (b"ETag", b"1")))
        ignore = ((("header", "etag"), ("json", "$.id")),)
        replaying = Replaying(proxy, tmp_path, flow, replay_verify=("headers", "body"), replay_ignore=ignore)
        peer = await server.accepts()
        await is_asked(peer, "a")
        await peer.sends(b'HTTP/1.1 200 OK\r\nETag: 2\r\nContent-Length: 9\r\n\r\n{"id": 2}')

        assert (await replaying.ends())[-1].endswith("0 differ")
        await proxy.flow()


@in_loop
async def test_what_cannot_be_replayed_is_skipped_and_counted(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        cut = get(server, "a")
        cut.request.body.complete = False
        replaying = Replaying(proxy, tmp_path, cut, cut)

        reason = "2 skipped (2 cut off before its end was recorded)"
        assert await replaying.ends() == [f"replayed 0 of 2 flows: 0 answered, 0 failed, {reason}"]
        assert replaying.good


@in_loop
async def test_a_replay_that_is_stopped_finishes_what_is_in_flight(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        replaying = Replaying(proxy, tmp_path, get(server, "a"), get(server, "b", at=1))
        peer = await server.accepts()
        await is_asked(peer, "a")
        replaying.replay.stop()
        await peer.sends(OK)

        assert await replaying.ends() == ["replayed 1 of 2 flows: 1 answered, 0 failed, 1 not sent"]
        await proxy.flow()


@in_loop
async def test_a_replay_that_waits_for_its_next_request_can_be_stopped(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        flows = [get(server, "a"), get(server, "b", at=9999)]
        replaying = Replaying(proxy, tmp_path, *flows, replay_timing=1.0, replay_concurrency=5)
        peer = await server.accepts()
        await is_asked(peer, "a")
        await peer.sends(OK)
        await proxy.flow()
        replaying.replay.stop()

        assert (await replaying.ends())[-1].endswith("1 not sent")


@in_loop
async def test_a_raw_connection_is_played_in_turns(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        flow = said(server.port, (False, b"220 hi\r\n"), (True, b"EHLO x\r\n"), (False, b"250 ok\r\n"), (True, b"QUIT"))
        replaying = Replaying(proxy, tmp_path, flow)
        peer = await server.accepts()
        await peer.sends(b"220 ")
        await peer.sends(b"hi\r\n")
        await peer.receives(b"EHLO x\r\n")
        await peer.sends(b"250 ok\r\n")
        await peer.receives(b"QUIT")
        await peer.sees_end()

        await replaying.ends()
        found = await proxy.flow()
    assert (found.flow.kind, found.flow.is_replay, found.error) == ("tcp", "request", "")
    spoken = [(by, b"".join(data for who, data in found.messages if who is by)) for by in (True, False)]
    assert spoken == [(True, b"EHLO x\r\nQUIT"), (False, b"220 hi\r\n250 ok\r\n")]


@in_loop
async def test_a_raw_connection_goes_on_when_the_server_says_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mitmdump.replay.hearing.QUIET", 0.02)
    async with proxying() as proxy:
        server = await proxy.server()
        flow = said(server.port, (False, b"a long greeting"), (True, b"one"), (False, b"12345"), (True, b"two"))
        replaying = Replaying(proxy, tmp_path, flow)
        peer = await server.accepts()
        await peer.sends(b"short")
        await peer.receives(b"one")
        await peer.sends(b"12345")
        await peer.receives(b"two")

        assert await replaying.ends() == ["replayed 1 of 1 flows: 1 answered, 0 failed"]
        await proxy.flow()


@in_loop
async def test_a_raw_connection_that_breaks_is_a_failure(tmp_path: Path):
    async with proxying() as proxy:
        server = await proxy.server()
        replaying = Replaying(proxy, tmp_path, said(server.port, (False, b"hi"), (True, b"one")))
        (await server.accepts()).resets()

        assert (await replaying.ends())[-1] == "replayed 1 of 1 flows: 0 answered, 1 failed"
        assert "the server broke the connection" in (await proxy.flow()).error
