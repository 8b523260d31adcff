"""The proxy as a process: event loop, listening sockets, signals, and an orderly end.

The first SIGINT or SIGTERM stops accepting, lets what is in flight finish within `timeout_stop` seconds, then closes
the files; a second one does not wait. SIGHUP reopens the flow file, SIGUSR1 says the counts.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import gc
import json
import os
import resource
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import time
from typing import Any, NamedTuple

from .errors import OutputError, SettingsError
from .job import Filters, Job
from .log import Log
from .model.url import join_host_port
from .net.destination import Lookup, open_lookup
from .net.listener import Listener, bind
from .net.upstream import check_mark
from .proxy.client import serve
from .proxy.services import Services
from .settings import Mode, Settings, Side, of_side
from .tls.authority import Authority
from .tls.contexts import Contexts
from .tls.identities import ClientCertificates, OwnCertificates
from .tls.keylog import KeyLog
from .tls.parameters import Parameters

TICK_SECONDS = 0.25
# Descriptors that are not connections: standard streams, files, the event loop's own, listening sockets, resolver.
RESERVED_FILES = 24
FILES_PER_CLIENT = 2
NAMED_HOSTS = 20  # in one line at the end
# Names and numbers are in mallopt(3): M_MMAP_THRESHOLD and M_TRIM_THRESHOLD, in bytes.
_MALLOC_OPTIONS = {-3: 4 * 1024 * 1024, -1: 16 * 1024 * 1024}


def run_proxy(settings: Settings, log: Log, filters: Filters) -> int:
    """Serve clients until a signal, or until an output fails; returns the exit status.

    Raises MitmdumpError if the proxy cannot start.
    """
    if settings.ready_file:  # one that somebody killed has left behind would be taken for ours
        settings.ready_file.unlink(missing_ok=True)
    if settings.mark is not None:
        check_mark(settings.mark)
    contexts = _contexts(settings, log)
    doors = [_open_door(mode, settings, log) for mode in settings.modes]
    job = Job(settings, log, filters)
    services = Services(settings, job.outlet, contexts, log.warn, log.debug)
    _settle_memory()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_Proxy(job, services, doors).run())
    if refused := services.refusals.hosts:
        more = f" and {len(refused) - NAMED_HOSTS} more" if len(refused) > NAMED_HOSTS else ""
        log.info(f"passed through, as clients refused our certificate: {', '.join(refused[:NAMED_HOSTS])}{more}")
    return job.close()


def _settle_memory() -> None:
    """What is here now stays: the garbage collector need not look at it again and again.

    And glibc is to keep blocks of the size of a read that are freed. By itself it gives them back to the system, to be
    mapped and cleared anew for the next read, which takes as long as all copying that is done with one.
    """
    gc.freeze()
    with suppress(OSError, AttributeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC_OPTIONS.items():
            mallopt(parameter, value)


def _contexts(settings: Settings, log: Log) -> Contexts:
    is_new = not settings.confdir.exists()
    authority = Authority.load_or_create(settings.confdir, key_type=settings.ca_key, now=time())
    if is_new:
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


class _Door(NamedTuple):
    """Where clients come in: a mode, its sockets, and what knows where those that were redirected were going."""

    mode: Mode
    sockets: Sequence[socket.socket]
    lookup: Lookup | None


def _open_door(mode: Mode, settings: Settings, log: Log) -> _Door:
    """Raises SettingsError."""
    hosts, port = settings.place_of(mode)
    if mode.kind == "regular":
        return _Door(mode, _bind(hosts, port), None)
    lookup = open_lookup()
    prepared: list[bool] = []
    sockets = _bind(hosts, port, lambda sock: prepared.append(lookup.prepare(sock)))
    if not all(prepared):
        log.debug("TPROXY will not work, as that takes root or CAP_NET_ADMIN; REDIRECT and DNAT will")
    return _Door(mode, sockets, lookup)


def _bind(
    hosts: Sequence[str], port: int, prepare: Callable[[socket.socket], object] | None = None
) -> list[socket.socket]:
    try:
        return bind(hosts, port, prepare)
    except OSError as error:
        where = ", ".join(join_host_port(host, port) for host in hosts)
        advice = "Choose another port with -p, or stop the program that holds it."
        if isinstance(error, socket.gaierror) or error.errno != errno.EADDRINUSE:
            advice = "Choose another address with --listen-host, or another port with -p."
        reason = (error.strerror or str(error)).lower()
        raise SettingsError(f"cannot listen on {where}: {reason}. {advice}") from None


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # it is not made for every platform
        return None
    return uvloop.Loop


def _client_limit(job: Job) -> int:
    """How many clients we can serve, given how many files we may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = job.settings.max_connections
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

    def __init__(self, job: Job, services: Services, doors: Sequence[_Door]) -> None:
        self._job = job
        self._services = services
        self._clients: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._modes = [door.mode.kind for door in doors for _ in door.sockets]
        limit = _client_limit(job)
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
        await self._stop.wait()
        if ready_file:
            ready_file.unlink(missing_ok=True)
        for listener in self._listeners:
            listener.stop()
        self._services.stopping = True
        self._services.close_idle(len(self._services.idle))
        await self._finish_clients()
        ticker.cancel()

    def _serve(self, lookup: Lookup | None, sock: socket.socket) -> None:
        task = asyncio.create_task(serve(self._services, sock, lookup))
        self._clients.add(task)
        task.add_done_callback(self._client_done)

    def _client_done(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._job.log.bug(error)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._job.tick(time())

    async def _finish_clients(self) -> None:
        """Let what is in flight finish, for so long; then cut it off."""
        if self._clients:
            hurry: asyncio.Future[Any] = asyncio.ensure_future(self._hurry.wait())
            everybody: asyncio.Future[Any] = asyncio.gather(*self._clients, return_exceptions=True)
            seconds = self._job.settings.timeout_stop
            await asyncio.wait([hurry, everybody], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
        for task in self._clients:
            task.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

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
