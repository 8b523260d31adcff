"""Every setting, in one frozen dataclass; what the texts of options mean is in `texts` and `replay`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import SettingsError
from .replay import AT_ONCE, REPLAY_PARTS, Ignored, Latency, Place
from .texts import DEFAULT_HOSTS, Mode, Sided, StopAfter

if TYPE_CHECKING:
    from ..redaction import Rule


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line says. Durations are seconds, sizes bytes; filters are still text.

    The time-outs, and why they are what they are: `timeout_connect` is below the two minutes after which Linux gives up
    by itself, so that a client learns why. `timeout_head` ends who sends a request head or a TLS handshake drop by drop
    (slowloris). `timeout_idle` is how long a client's connection may stay without a request, more than browsers keep
    theirs (Chromium 300). `timeout_quiet` is for everything that has begun: a server at a breakpoint, a long poll or a
    WebSocket may well be quiet for long.

    `max_connections` is more than a person or a test suite opens; an intercepted client with its server takes some
    70 KiB, so 2,000 take 140 MiB. Who is above it waits, nobody is refused. The limits on heads have their reasons in
    `wire.http1.Limits`.
    """

    write: tuple[str, ...] = ()
    save: tuple[tuple[str, str], ...] = ()
    read: tuple[str, ...] = ()
    sort: bool = False
    follow: bool = False
    server: bool = True
    client_replay: tuple[str, ...] = ()
    replay_filter: str | None = None
    replay_concurrency: int = 1
    replay_timing: float | None = None
    replay_rate: float | None = None
    replay_loop: int = 1
    replay_to: Place | None = None
    replay_keep_host: bool = False
    replay_timeout: float | None = None
    replay_verify: tuple[str, ...] = ()
    replay_ignore: tuple[tuple[Ignored, ...], ...] = ()
    replay_report: Path | None = None
    replay_dry_run: bool = False
    server_replay: tuple[str, ...] = ()
    replay_extra: str | int = "kill"
    replay_reuse: bool = False
    replay_after: Literal["last", "first", "cycle", "extra"] = "last"
    replay_match: tuple[str, ...] = REPLAY_PARTS
    replay_ignore_params: tuple[tuple[str, ...], ...] = ()
    replay_ignore_payload_params: tuple[tuple[str, ...], ...] = ()
    replay_ignore_json: tuple[tuple[str, ...], ...] = ()
    replay_ignore_content: bool = False
    replay_ignore_host: bool = False
    replay_headers: tuple[tuple[str, ...], ...] = ()
    replay_refresh: bool = True
    replay_latency: Latency = AT_ONCE
    record_mode: Literal["once", "new", "none", "all"] | None = None
    replay_strict: bool = False
    filter: str | None = None
    case_sensitive: bool = False
    flow_detail: int = 1
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    color: Literal["auto", "always", "never"] = "auto"
    append: bool = False
    on_write_error: Literal["stop", "pass"] = "stop"
    stop_after: StopAfter | None = None
    fsync: bool = False
    rotate_size: int | None = None
    rotate_time: float | None = None
    rotate_flows: int | None = None
    keep: int | None = None
    rotate_command: str | None = None
    body_limit: int | None = None
    redact: tuple[tuple[Rule, ...], ...] = ()
    redact_key: Path | None = None
    stats: bool = False
    mode: tuple[Mode, ...] = ()
    transparent: bool = False
    listen_hosts: tuple[str, ...] = ()
    listen_port: int = 8080
    mark: int | None = None
    rules_ports: tuple[int, ...] = (80, 443)
    ready_file: Path | None = None
    confdir: Path = field(default_factory=lambda: Path("~/.mitmdump").expanduser())
    ca_key: Literal["ec", "rsa"] = "ec"
    upstream_cert: bool = True
    ssl_insecure: bool = False
    upstream_ca: Path | None = None
    certs: tuple[tuple[str, Path], ...] = ()
    client_certs: Path | None = None
    request_client_cert: bool = False
    tls_min: tuple[Sided, ...] = ()
    tls_max: tuple[Sided, ...] = ()
    ciphers: tuple[Sided, ...] = ()
    keylog: Path | None = None
    ignore_hosts: tuple[str, ...] = ()
    allow_hosts: tuple[str, ...] = ()
    tcp_hosts: tuple[str, ...] = ()
    fail_open: bool = False
    http2: bool = True
    websocket: bool = True
    onboarding: bool = True
    block_global: bool = True
    max_connections: int = 2000
    max_header_size: int = 64 * 1024
    max_header_count: int = 1000
    timeout_connect: float = 20.0
    timeout_head: float = 60.0
    timeout_idle: float = 330.0
    timeout_quiet: float = 3600.0
    timeout_stop: float = 5.0
    debug: bool = False

    def __post_init__(self) -> None:
        if self.stats and "-" in self.outputs:
            raise SettingsError("--stats prints on standard output, where flows go already: write them to a file")
        if self.json and (self.stats or "-" in self.outputs):
            other = "--stats" if self.stats else "-w -"
            raise SettingsError(f"--json and {other} both go to standard output: choose one, or name a file with -w")
        ports = [port for mode in self.modes if not mode.host and (port := self.place_of(mode)[1])]
        if len(ports) != len(set(ports)):
            raise SettingsError("two modes cannot listen on one port: give each its own, as in --mode transparent@8081")

    @property
    def modes(self) -> tuple[Mode, ...]:
        """How clients come to us."""
        short = (Mode("transparent"),) if self.transparent else ()
        return (*self.mode, *short) or (Mode("regular"),)

    def place_of(self, mode: Mode) -> tuple[tuple[str, ...], int]:
        """Where a mode listens: hosts, and a port."""
        hosts = (mode.host,) if mode.host else self.listen_hosts or DEFAULT_HOSTS[mode.kind]
        return hosts, self.listen_port if mode.port is None else mode.port

    @property
    def outputs(self) -> tuple[str, ...]:
        """The files to be written, "-" for stdout, without the "+" for those that are to be continued."""
        return tuple(name.removeprefix("+") for name in (*self.write, *(file for file, _ in self.save)))
