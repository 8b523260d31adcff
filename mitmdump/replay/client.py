"""Client replay: recorded requests sent again, each through an exchange as if a client had just sent it.

Some workers, as many as requests may be in flight, each play a client: they take the next recorded flow in turn, wait
until it is due (`schedule`), send it (`recorded_client`, `conversation`), and see what became of it. A worker keeps its
connections to servers and uses them again, as a client does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic, time

from ..errors import OutputError
from ..filter import Filter
from ..log import Log
from ..model.connection import Connection
from ..model.flow import Flow
from ..proxy.exchange import Exchange
from ..proxy.handled import new_exchange
from ..proxy.services import Services
from ..proxy.upstreams import HTTP_1, HTTP_2, Upstream, Upstreams
from ..settings import Settings
from ..tls.clienthello import ClientHello
from ..wire.handshake import agreed
from .conversation import converse
from .dryrun import schedule_of, skipped, times_of
from .progress import Counts
from .recorded_client import RecordedClient
from .recordings import Recorded, Recordings
from .report import Case, Outcome, Report
from .request import Destination, asks_in_http2, destination_of, head_of, unfit
from .verify import Verifier

# Of what went wrong so much is told as it happens: enough to see a pattern. The rest is in the report, and counted.
SHOWN = 50

# Server names that a worker keeps connections under: in each, there are those to several servers.
MAX_KINDS = 16


class ClientReplay:
    """One run over all recordings. `counts` says how far it is.

    Making one reads the captures; it raises FlowFileError, OutputError or SettingsError where that, or the report,
    is refused. `run` needs the proxy's services, and says at its end how it was; `stop` ends it early, with what is in
    flight; `close` comes last, whatever became of `run`.
    """

    def __init__(self, settings: Settings, wanted: Filter | None, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._schedule = schedule_of(settings)
        self._verifier = _verifier(settings)
        self._recordings = Recordings.of(settings, wanted, log.warn)
        report = settings.replay_report
        self._report = Report(report, "mitmdump client replay") if report else None
        self.counts = Counts(len(self._recordings))
        self._told = 0
        self._stopping = self._ended = self._is_good = False
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def run(self, services: Services, most: int) -> None:
        """Send everything, by `most` clients at the same time at the most, and wait for all answers."""
        queue = iter(self._recordings)
        count = min(self._settings.replay_concurrency, len(self._recordings), most)
        async with asyncio.TaskGroup() as workers:
            for _ in range(count):
                workers.create_task(self._work(_Connections(services), queue))
        self._ended = True
        self._sum_up()

    def stop(self) -> None:
        """Send no more."""
        self._stopping = True
        self._changed.set()

    def close(self) -> tuple[bool, bool]:
        """Did all get the answer they should, and was all of the input read?"""
        self._recordings.close()
        if not self._ended:
            self._sum_up()
        return self._is_good, not self._recordings.damaged

    def _sum_up(self) -> None:
        """Say what became of it, and write the report."""
        counts = self.counts
        self._is_good = self._ended and not (counts.failed or counts.differing)
        (self._log.info if self._is_good else self._log.error)(self._summary())
        if self._report:
            try:
                self._report.close()
            except OutputError as error:
                self._log.error(str(error))
                self._is_good = False

    def _summary(self) -> str:
        counts = self.counts
        words = [f"replayed {counts.answered + counts.failed} of {counts.total} flows: {counts.answered} answered"]
        words.append(f"{counts.failed} failed")
        if self._verifier:
            words.append(f"{counts.differing} differ")
        if counts.skipped:
            words.append(skipped(counts.skipped))
        if rest := counts.total - counts.done:
            words.append(f"{rest} not sent")
        return ", ".join(words)

    # -- one after the other ------------------------------------------------------------------------------------------

    async def _work(self, connections: _Connections, queue: Iterator[Recorded]) -> None:
        try:
            while taken := await self._next(queue):
                recorded, number = taken
                try:
                    await self._replay(recorded, connections)
                except asyncio.CancelledError:
                    self._fail(recorded, "stopped before the answer was complete")
                    raise
                except Exception as error:  # noqa: BLE001  # a bug that one flow brings out is not to end the others
                    self._fail(recorded, "an error of mitmdump itself")
                    self._log.bug(error)
                finally:
                    self._schedule.ended(number, monotonic())
                    self._changed.set()
        finally:
            connections.close()

    async def _next(self, queue: Iterator[Recorded]) -> tuple[Flow, int] | None:
        """The next flow, once it is due, and its number in the schedule; None if there is none."""
        async with self._turn:
            while not self._stopping and (found := next(queue, None)):
                flow, is_first = found
                if is_first:
                    self._schedule.restart()
                if reason := unfit(flow):
                    self.counts.skipped[reason] += 1
                    self._note(flow, "skipped", reason)
                    continue
                times = times_of(flow)
                while (due := self._schedule.due(times)) is None or due > monotonic():
                    await self._wait(due)
                    if self._stopping:
                        return None
                return flow, self._schedule.began(times, monotonic())
        return None

    async def _wait(self, due: float | None) -> None:
        """Wait until then, or until one in flight has ended, or until all is to stop."""
        self._changed.clear()
        try:
            async with asyncio.timeout(None if due is None else due - monotonic()):
                await self._changed.wait()
        except TimeoutError:
            pass

    # -- one ----------------------------------------------------------------------------------------------------------

    async def _replay(self, recorded: Flow, connections: _Connections) -> None:
        settings = self._settings
        destination = destination_of(recorded, settings.replay_to, keep_host=settings.replay_keep_host)
        began = monotonic()
        if recorded.kind == "tcp":
            new = _marked(Flow("tcp", connections.client, timestamp_start=time()), recorded)
            async with self._in_time():
                upstreams = connections.of(destination, http2=False)
                await converse(connections.services, upstreams, destination.origin, recorded, new)
            self._judge(recorded, new, [], monotonic() - began)
            return
        upstreams = connections.of(destination, http2=settings.http2 and asks_in_http2(recorded, destination))
        client = RecordedClient(
            connections.services, connections.client, upstreams, destination.origin, keeps=self._verifier is not None
        )
        exchange = new_exchange(client)
        new = _marked(exchange.flow, recorded)
        assert recorded.request
        head = head_of(recorded, destination.origin.scheme, destination.host)
        async with self._in_time():
            await exchange.run(client.ask(head, recorded.request))
            if exchange.switched:
                await self._go_on(exchange, recorded)
        differences: list[str] = []
        if self._verifier and new.response and not new.error:
            differences = self._verifier.differences(recorded.response, replace(new.response, body=client.body))
        self._judge(recorded, new, differences, monotonic() - began)

    async def _go_on(self, exchange: Exchange, recorded: Flow) -> None:
        """Both sides have left HTTP: speak as the recorded client did."""
        flow, server = exchange.flow, exchange.switched
        assert isinstance(server, Upstream)  # see `is_http2`
        if not (exchange.recorded and flow.websocket and flow.response):
            server.close()
            return
        from ..proxy.websocket import WebSocketRelay  # and with it a library that few runs need
        from .recorded_websocket import RecordedWebSocket

        deflate, speed = agreed(flow.response.headers.fields), self._settings.replay_timing
        client = RecordedWebSocket(recorded, deflate, speed=speed)
        stream, reply = server.leave_http()
        await WebSocketRelay(exchange.client.services, flow, exchange.tap, client, stream).run(b"", reply)

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        """What is inside is given up after --replay-timeout."""
        seconds = self._settings.replay_timeout
        if seconds is None:
            yield
            return
        task = asyncio.current_task()
        assert task
        expired = False

        def expire() -> None:
            nonlocal expired
            expired = True
            task.cancel(f"the answer was not complete within {seconds:g} seconds (--replay-timeout)")

        timer = asyncio.get_running_loop().call_later(seconds, expire)
        try:
            yield
        except asyncio.CancelledError:
            if not expired or task.uncancel():  # somebody else wants it to end as well
                raise
        finally:
            timer.cancel()

    def _judge(self, recorded: Flow, new: Flow, differences: list[str], seconds: float) -> None:
        """Count, and tell if something is wrong."""
        status = new.response.status_code if new.response else None
        if new.error or (new.kind == "http" and new.response is None):
            reason = new.error.msg if new.error else "no answer"
            self._tell(f"no answer to {_name(recorded)}: {reason}")
            self._fail(recorded, reason, status, seconds)
            return
        self.counts.answered += 1
        if differences:
            self.counts.differing += 1
            self._tell(f"the answer to {_name(recorded)} differs:", *(f"    {line}" for line in differences))
            self._note(recorded, "failed", "the answer differs", differences, status, seconds)
        else:
            self._note(recorded, "passed", status=status, seconds=seconds)

    def _fail(self, recorded: Flow, reason: str, status: int | None = None, seconds: float = 0.0) -> None:
        self.counts.failed += 1
        self._note(recorded, "error", reason, status=status, seconds=seconds)

    def _tell(self, *lines: str) -> None:
        self._told += 1
        if self._told <= SHOWN:
            self._log.error(*lines)
        elif self._told == SHOWN + 1:
            self._log.error("and more of that kind, which are only counted")

    def _note(
        self,
        flow: Flow,
        outcome: Outcome,
        reason: str = "",
        details: list[str] | None = None,
        status: int | None = None,
        seconds: float = 0.0,
    ) -> None:
        """For the report."""
        if self._report:
            method, _, url = _name(flow).partition(" ")
            self._report.add(Case(method, url, outcome, reason, details or (), status, seconds))


class _Connections:
    """A worker as a client: `client`, and its connections to servers, apart where they differ in more than the server:
    the server name that TLS asks for, and the version of HTTP.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.client = Connection("client", timestamp_start=time())
        self._kinds: dict[tuple[str | None, bool], Upstreams] = {}

    def of(self, to: Destination, *, http2: bool) -> Upstreams:
        """Connections that may be used to ask there, in HTTP/2 if the server speaks it."""
        kind = to.sni, http2
        upstreams = self._kinds.pop(kind, None)
        if upstreams is None:
            if len(self._kinds) >= MAX_KINDS:
                self._kinds.pop(next(iter(self._kinds))).close()
            hello = ClientHello(to.sni, (), ()) if to.sni else None
            upstreams = Upstreams(self.services, hello, (HTTP_2, HTTP_1) if http2 else (HTTP_1,))
            upstreams.prior_knowledge = http2  # without TLS nobody could agree on it
        self._kinds[kind] = upstreams  # the last one: who was not used for the longest time goes first
        return upstreams

    def close(self) -> None:
        """Close all of them."""
        self.client.timestamp_end = time()
        for upstreams in self._kinds.values():
            upstreams.close()


def _verifier(settings: Settings) -> Verifier | None:
    if not settings.replay_verify:
        return None
    ignored = [item for items in settings.replay_ignore for item in items]
    headers, paths = ([what for kind, what in ignored if kind == wanted] for wanted in ("header", "json"))
    return Verifier(settings.replay_verify, headers=headers, paths=paths)


def _marked(new: Flow, recorded: Flow) -> Flow:
    """A new flow, marked as what it is, with the id of the recorded one as it stands in JSON."""
    new.is_replay = "request"
    new.metadata["replay_of"] = f"{recorded.id:016x}"
    return new


def _name(flow: Flow) -> str:
    """A flow as a person would point at it."""
    if flow.request:
        return f"{flow.request.method} {flow.request.url}"
    address = flow.server_conn and (flow.server_conn.address or flow.server_conn.peername)
    return f"{flow.kind} {address[0]}:{address[1]}" if address else flow.kind
