"""The proxy as a process: event loop, listening sockets, signals, and an orderly end.

The first SIGINT or SIGTERM stops accepting, lets what is in flight finish within `timeout_stop` seconds, then closes
the files; a second one does not wait. SIGHUP reopens the flow file, SIGUSR1 says the counts.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence, Set
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from .doors import Door
from .errors import OutputError, PeerError
from .handlers.base import Handler
from .handlers.hooks import Hooks
from .job import DAMAGED, DONE, OUTPUT_FAILED, Filters, Job, make_redactor
from .log import Log
from .model.url import join_host_port
from .net.destination import Lookup
from .net.listener import Listener
from .net.upstream import check_mark
from .proxy.client import serve
from .proxy.services import Services
from .settings import Settings
from .settings.texts import Side, of_side
from .tls.authority import Authority
from .tls.contexts import Contexts
from .tls.identities import ClientCertificates, OwnCertificates
from .tls.keylog import KeyLog
from .tls.parameters import Parameters

if TYPE_CHECKING:
    from .replay.client import ClientReplay
    from .replay.progress import Progress
    from .replay.serving import ServerReplayRun

TICK_SECONDS = 0.25
# Descriptors that are not connections: standard streams, files, the event loop's own, listening sockets, resolver.
RESERVED_FILES = 24
FILES_PER_CLIENT = 2
NAMED_HOSTS = 20  # in one line at the end
# So many objects more than were freed, till the collector looks for cycles among them. Exchanges under way are freed
# without it, and to look at those of a thousand clients every 700 objects took a fifteenth of the time. But a
# connection that failed can be in a cycle, and OpenSSL's memory with it: some hundred of them may wait.
_GC_THRESHOLD = 10_000
# Names and numbers are in mallopt(3): M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, in bytes.
_MALLOC_OPTIONS = {-3: 4 * 1024 * 1024, -1: 16 * 1024 * 1024}


def run_proxy(settings: Settings, log: Log, filters: Filters, doors: Sequence[Door]) -> int:
    """Serve clients until a signal, or until an output fails; returns the exit status.

    `doors` are open: clients may wait there already. Raises MitmdumpError if the proxy cannot start.
    """
    if settings.ready_file:  # one that somebody killed has left behind would be taken for ours
        settings.ready_file.unlink(missing_ok=True)
    if settings.mark is not None:
        check_mark(settings.mark)
    contexts = _contexts(settings, log, has_clients=bool(doors))
    replay = _client_replay(settings, filters, log)
    answering = _server_replay(settings, filters, log)
    job = Job(settings, log, filters, *_progress(replay, log))
    services = Services(settings, job.outlet, contexts, log.warn, log.debug)
    services.hooks = Hooks(_handlers(answering), log.bug)
    services.recorded = answering.handler if answering else None
    _settle_memory()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_Proxy(job, services, doors, replay).run())
    if refused := services.refusals.hosts:
        more = f" and {len(refused) - NAMED_HOSTS} more" if len(refused) > NAMED_HOSTS else ""
        log.info(f"passed through, as clients refused our certificate: {', '.join(refused[:NAMED_HOSTS])}{more}")
    went_well, was_whole = replay.close() if replay else (True, True)
    if answering:
        is_good, is_whole = answering.close()
        went_well, was_whole = went_well and is_good, was_whole and is_whole
    status = job.close()
    return status or (OUTPUT_FAILED if not went_well else DONE if was_whole else DAMAGED)


def _handlers(answering: ServerReplayRun | None) -> list[Handler]:
    """Who sees live flows before they go on, in this order."""
    return [answering.handler] if answering else []


def _client_replay(settings: Settings, filters: Filters, log: Log) -> ClientReplay | None:
    """What -C asks for, if it does. Raises MitmdumpError."""
    if not settings.client_replay:
        return None
    from .replay.client import ClientReplay  # many modules, which few runs need

    return ClientReplay(settings, filters.replayed, log)


def _server_replay(settings: Settings, filters: Filters, log: Log) -> ServerReplayRun | None:
    """What -S asks for, if it does. Raises MitmdumpError."""
    if not settings.server_replay:
        return None
    from .replay.serving import ServerReplayRun

    redactor = make_redactor(settings, lambda _: None)  # the job says what there is to say
    return ServerReplayRun(settings, filters.replayed, redactor, log)


def _progress(replay: ClientReplay | None, log: Log) -> list[Progress]:
    """The line that says how far a replay is, if there is somebody to see it."""
    if not replay or log.quiet or not sys.stderr.isatty():
        return []
    from .replay.progress import Progress

    progress = Progress(sys.stderr, replay.counts, monotonic)
    log.make_room = progress.erase
    return [progress]


def _settle_memory() -> None:
    """What is here now stays: the garbage collector need not look at it again and again.

    And glibc is to keep blocks of the size of a read that are freed. By itself it gives them back to the system, to be
    mapped and cleared anew for the next read, which takes as long as all copying that is done with one.
    """
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, *gc.get_threshold()[1:])
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC_OPTIONS.items():
            mallopt(parameter, value)


def _contexts(settings: Settings, log: Log, *, has_clients: bool) -> Contexts:
    is_new = not settings.confdir.exists()
    authority = Authority.load_or_create(settings.confdir, key_type=settings.ca_key, now=time(), keep=has_clients)
    if is_new and has_clients:
        log.info(f"made a CA of your own; clients have to trust {authority.certificate_file}")
    return Contexts(
        authority,
        upstream_ca=settings.upstream_ca,
        own=OwnCertificates(settings.certs),
        client_certificates=ClientCertificates(settings.client_certs) if settings.client_certs else None,
        request_client_cert=settings.request_client_cert,
        towards_clients=_parameters(settings, "client"),
        towards_servers=_parameters(settings, "server"),
        keylog=KeyLog(settings.keylog, log.error) if settings.keylog else None,
    )


def _parameters(settings: Settings, side: Side) -> Parameters:
    """What --tls-min, --tls-max and --ciphers say of one side. Raises SettingsError."""
    lowest, highest = of_side(settings.tls_min, side), of_side(settings.tls_max, side)
    return Parameters(lowest or "1.2", highest or "1.3", of_side(settings.ciphers, side) or "")


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # it is not made for every platform
        return None
    return uvloop.Loop


def _client_limit(job: Job, *, serves: bool) -> int:
    """How many clients we can serve, or play, given how many files we may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    played = job.settings.replay_concurrency
    wanted = max(job.settings.max_connections, played) if serves else played
    needed = wanted * FILES_PER_CLIENT + RESERVED_FILES
    if soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    limit = max(1, min(wanted, (soft - RESERVED_FILES) // FILES_PER_CLIENT))
    if limit < wanted:
        job.log.info(f"{limit} clients at a time, because only {soft} files may be open (ulimit -n)")
    return limit


class _Proxy:
    """The running proxy."""

    def __init__(self, job: Job, services: Services, doors: Sequence[Door], replay: ClientReplay | None) -> None:
        self._job = job
        self._replay = replay
        self._services = services
        self._clients: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._deadline = 0.0  # of the end, by the monotonic clock
        self._modes = [door.mode.kind for door in doors for _ in door.sockets]
        self._limit = limit = _client_limit(job, serves=bool(doors))
        self._listeners = [
            Listener(
                door.sockets,
                partial(self._serve, door.lookup),
                limit=limit,
                count=lambda: len(self._clients),
                make_room=lambda: services.close_idle(1),
                warn=job.log.warn,
            )
            for door in doors
        ]
        services.own_addresses = [address for listener in self._listeners for address in listener.addresses]

    async def run(self) -> None:
        """From the first client to the last."""
        ready_file = self._job.settings.ready_file
        self._handle_signals()
        self._job.on_failure = self._stop_at_once
        self._job.on_enough = self._end
        for listener in self._listeners:
            listener.start()
        ticker = asyncio.create_task(self._tick())
        self._announce()
        if self._replay:
            self._start_replay(self._replay)
        await self._stop.wait()
        if ready_file:
            ready_file.unlink(missing_ok=True)
        for listener in self._listeners:
            listener.stop()
        if self._replay:
            self._replay.stop()
        self._services.stop()
        self._deadline = monotonic() + self._job.settings.timeout_stop
        await self._finish(self._clients)
        await self._finish({asyncio.create_task(self._tell_handlers())})
        ticker.cancel()

    def _serve(self, lookup: Lookup | None, sock: socket.socket) -> None:
        task = asyncio.create_task(serve(self._services, sock, lookup))
        self._clients.add(task)
        task.add_done_callback(self._client_done)

    def _start_replay(self, replay: ClientReplay) -> None:
        """It is a client like others, and where nobody else can come, the last one."""
        task = asyncio.create_task(replay.run(self._services, self._limit))
        self._clients.add(task)
        task.add_done_callback(self._client_done)
        if not self._listeners:
            task.add_done_callback(lambda _: self._stop.set())

    def _client_done(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._job.log.bug(error)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._job.tick(time())

    async def _finish(self, tasks: Set[asyncio.Task[None]]) -> None:
        """Let what is in flight finish, until the deadline; then cut it off."""
        if tasks:
            hurry: asyncio.Future[Any] = asyncio.ensure_future(self._hurry.wait())
            everybody: asyncio.Future[Any] = asyncio.gather(*tasks, return_exceptions=True)
            seconds = max(0.0, self._deadline - monotonic())
            await asyncio.wait([hurry, everybody], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _tell_handlers(self) -> None:
        """No more flows will come."""
        for hook in self._services.hooks.done:
            try:
                await hook()
            except PeerError as error:
                self._job.log.error(str(error))

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._job.reopen)
        for number in (signal.SIGUSR1, getattr(signal, "SIGINFO", signal.SIGUSR1)):  # the latter on BSD and macOS
            loop.add_signal_handler(number, lambda: self._job.log.error(self._job.summary()))

    def _end(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    def _stop_at_once(self) -> None:
        self._stop.set()
        self._hurry.set()

    def _announce(self) -> None:
        """Say that we are ready, to people and to programs."""
        settings, log = self._job.settings, self._job.log
        addresses = [
            f"{join_host_port(*address)}{' (transparent)' if mode == 'transparent' else ''}"
            for address, mode in zip(self._services.own_addresses, self._modes, strict=True)
        ]
        recording = f", recording to {' and '.join(settings.outputs)}" if settings.outputs else ""
        if addresses:
            log.info(f"listening on {' and '.join(addresses)}{recording}")
        if settings.ssl_insecure:
            log.error("server certificates are not verified (-k)")
        if settings.ready_file:
            ready = {
                "addresses": self._services.own_addresses,
                "modes": self._modes,
                "pid": os.getpid(),
                "ca": str(self._services.tls.ca_file.absolute()),
            }
            _write_atomically(settings.ready_file, json.dumps(ready) + "\n")


def _write_atomically(path: Path, text: str) -> None:
    """A file that is there whole or not at all. Raises OutputError."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
            file.write(text)
        Path(file.name).replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}. Name another file with --ready-file") from None
