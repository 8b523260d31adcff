"""The table of options, out of which come the parser, `--help`, the man page and the settings.

An option turns its text into the value of one field of `Settings`; the functions that do so are in `settings`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from .settings import (
    Settings,
    one_of,
    parse_certificate,
    parse_count,
    parse_detail,
    parse_duration,
    parse_file,
    parse_mark,
    parse_mode,
    parse_path,
    parse_pattern,
    parse_port,
    parse_ports,
    parse_redact,
    parse_save,
    parse_sided,
    parse_size,
    parse_stop_after,
    parse_tls_version,
)


@dataclass(frozen=True)
class Option:
    """One option. `metavar` names its arguments ("" for a switch), `parse` turns them into the value of `field`.

    A switch sets its field to `value`.
    """

    flags: str
    field: str
    help: str
    metavar: str = ""
    parse: Callable[[Any], Any] = str
    value: Any = True
    multiple: bool = False


OPTIONS: dict[str, tuple[Option, ...]] = {
    "Capture": (
        Option(
            "-w, --write",
            "write",
            "Write the flows to FILE, a flow file. Conversions of strftime(3) in its name stand for the time of the "
            "start. An existing file is replaced, with +FILE it is continued; '-' is stdout. May be repeated.",
            "FILE",
            parse_file,
            multiple=True,
        ),
        Option(
            "--save",
            "save",
            "Write the flows that match FILTER (one argument) to FILE, whatever the other filter says. May be "
            "repeated, each with a file of its own.",
            "FILE FILTER",
            parse_save,
            multiple=True,
        ),
        Option(
            "--body-limit",
            "body_limit",
            "Write at most SIZE of each body to files and with --json, 0 for nothing. Length and SHA-256 stay those of "
            "the whole.",
            "SIZE",
            parse_size,
        ),
        Option(
            "--redact",
            "redact",
            "Replace secrets by pseudonyms in all that is printed and written: header:NAME, cookie (all of them), "
            "cookie:NAME, query:NAME, form:NAME, json:PATH, joined with commas. May be repeated.",
            "RULES",
            parse_redact,
            multiple=True,
        ),
        Option(
            "--redact-key",
            "redact_key",
            "Derive the pseudonyms of --redact from the bytes of FILE, so that captures with the same key have the "
            "same ones. Without it each run has a key of its own.",
            "FILE",
            parse_path,
        ),
        Option("--append", "append", "Continue all existing files of -w and --save instead of replacing them."),
        Option(
            "--on-write-error",
            "on_write_error",
            "When a file cannot be written any more: stop, or pass: go on without that file. The exit status is 1.",
            "WHAT",
            one_of("stop", "pass"),
        ),
        Option(
            "--stop-after",
            "stop_after",
            "Stop as after SIGTERM when so much time has passed (60s, 5m), so many flows have matched (1000) or so "
            "many bytes were written (1GB).",
            "TIME|N|SIZE",
            parse_stop_after,
        ),
        Option("--fsync", "fsync", "After each flow, wait until the disk has it, in case the machine itself dies."),
    ),
    "Rotation": (
        Option(
            "--rotate-size",
            "rotate_size",
            "Go on in a new file, for each -w and --save, once a file has reached SIZE.",
            "SIZE",
            parse_size,
        ),
        Option("--rotate-time", "rotate_time", "The same, TIME after a file's first flow.", "TIME", parse_duration),
        Option("--rotate-flows", "rotate_flows", "The same, after N flows.", "N", parse_count),
        Option(
            "--keep",
            "keep",
            "Have no more than N files of each -w and --save: remove the oldest, also those of earlier runs.",
            "N",
            parse_count,
        ),
        Option(
            "--rotate-command",
            "rotate_command",
            "Run COMMAND, with the file's name as its last argument, for each file that is finished.",
            "COMMAND",
        ),
    ),
    "Read": (
        Option(
            "-r, --read",
            "read",
            "Read flows from FILE instead of the network; '-' is stdin. May be repeated, the files are read in order.",
            "FILE",
            multiple=True,
        ),
        Option("--sort", "sort", "Take the flows of all -r in the order in which they began."),
        Option(
            "--follow",
            "follow",
            "At the end of the -r file, wait for the flows that another program still writes to it, until SIGINT.",
        ),
        Option("-n, --no-server", "server", "Start no server, whatever else is asked for.", value=False),
    ),
    "Output": (
        Option(
            "--flow-detail",
            "flow_detail",
            "How much of each flow to print: 0 nothing, 1 a line for the request and one for the response, 2 headers "
            "as well, 3 bodies made readable and cut, 4 everything.",
            "0..4",
            parse_detail,
        ),
        Option(
            "--stats",
            "stats",
            "Instead of the flows, print at the end how many there were, their bytes and durations: in all, and per "
            "host, status and content type. Also with -q.",
        ),
        Option(
            "--json",
            "json",
            "Print flows as JSON Lines, a line each, with bodies and messages from --flow-detail 3 on. Also with -q.",
        ),
        Option("-q, --quiet", "quiet", "Print no flows, and on stderr only what is wrong."),
        Option("-v, --verbose", "verbose", "Say more on stderr: why exchanges and connections failed."),
        Option(
            "--color",
            "color",
            "Use colours: auto (on a terminal), always or never.",
            "WHEN",
            one_of("auto", "always", "never"),
        ),
    ),
    "Filter": (
        Option("--case-sensitive", "case_sensitive", "Regular expressions distinguish capital and small letters."),
        Option("--explain-filter", "", "Print how the filter is read and what each operator looks at, and exit."),
    ),
    "Proxy": (
        Option(
            "-m, --mode",
            "mode",
            "How clients come to the proxy: regular (they know of it) or transparent (a packet filter redirects them). "
            "May be repeated, each with a place of its own to listen on.",
            "MODE[@[HOST:]PORT]",
            parse_mode,
            multiple=True,
        ),
        Option("-T", "transparent", "The same as --mode transparent."),
        Option("-p, --listen-port", "listen_port", "The port to listen on; 0 picks a free one.", "PORT", parse_port),
        Option(
            "--listen-host",
            "listen_hosts",
            "The address to listen on, instead of this machine's loopback addresses (127.0.0.1 and ::1), or in "
            "transparent mode all addresses. May be repeated.",
            "HOST",
            multiple=True,
        ),
        Option(
            "--mark",
            "mark",
            "Mark the packets to servers with N, so that rules of a packet filter can tell them from others. On Linux, "
            "as root.",
            "N",
            parse_mark,
        ),
        Option(
            "--print-rules",
            "",
            "Print the rules that redirect connections to the proxy in transparent mode, with the port and the mark of "
            "the other options, and exit. KIND is nft (for nft -f -), iptables (commands) or pf (for pf.conf); with "
            "tproxy instead of redirecting, with undo what takes the rules away again.",
            "KIND[,tproxy][,undo]",
        ),
        Option(
            "--rules-ports",
            "rules_ports",
            "The ports of servers for which --print-rules prints rules.",
            "PORT[,PORT]...",
            parse_ports,
        ),
        Option(
            "--ready-file",
            "ready_file",
            "Once the proxy listens, write FILE: JSON with its addresses and their modes, process id and CA "
            "certificate. It is removed at the end.",
            "FILE",
            parse_path,
        ),
    ),
    "Hosts": (
        Option(
            "--ignore-hosts",
            "ignore_hosts",
            "Relay connections to these hosts untouched and unrecorded: those where REGEX is found in host:port as the "
            "client asks for it, in the server name of TLS (alone, and with the port) or in the server's address:port. "
            "Small and capital letters are the same. May be repeated.",
            "REGEX",
            parse_pattern,
            multiple=True,
        ),
        Option(
            "--allow-hosts",
            "allow_hosts",
            "Do so with the connections to all hosts but these. May be repeated. --ignore-hosts takes from them.",
            "REGEX",
            parse_pattern,
            multiple=True,
        ),
        Option(
            "--tcp-hosts",
            "tcp_hosts",
            "Record connections to these hosts raw, as kind tcp; TLS is intercepted, HTTP not understood. May be "
            "repeated.",
            "REGEX",
            parse_pattern,
            multiple=True,
        ),
        Option(
            "--fail-open",
            "fail_open",
            "When a client refuses our certificate for a host, pass that host's connections through from then on, as "
            "with --ignore-hosts.",
        ),
        Option(
            "--no-onboarding",
            "onboarding",
            "Do not answer requests to mitm.it with a page that offers the CA certificate.",
            value=False,
        ),
    ),
    "TLS": (
        Option("--confdir", "confdir", "The directory of the CA; made on first use.", "DIR", parse_path),
        Option(
            "--ca-key",
            "ca_key",
            "The kind of key for a new CA and for leaf certificates: ec (P-256), or rsa for old clients.",
            "KIND",
            one_of("ec", "rsa"),
        ),
        Option(
            "--no-upstream-cert",
            "upstream_cert",
            "Do not look at the server's certificate before answering the client; connect only when there is a "
            "request.",
            value=False,
        ),
        Option("-k, --ssl-insecure", "ssl_insecure", "Accept any server certificate. What it is worth is recorded."),
        Option(
            "--upstream-ca",
            "upstream_ca",
            "Trust the CA certificates in FILE (PEM) for servers, besides the system's.",
            "FILE",
            parse_path,
        ),
        Option(
            "--certs",
            "certs",
            "Show clients the certificate in FILE (PEM: private key, certificate, chain) instead of one of ours, for "
            "hosts that match PATTERN: a name, *.example.com for all below it, or without PATTERN for all. The most "
            "specific one wins. May be repeated.",
            "[PATTERN=]FILE",
            parse_certificate,
            multiple=True,
        ),
        Option(
            "--client-certs",
            "client_certs",
            "Show servers that ask for one the client certificate in FILE (PEM: private key, certificate, chain), or "
            "in the file HOST.pem of a directory.",
            "FILE|DIR",
            parse_path,
        ),
        Option(
            "--request-client-cert",
            "request_client_cert",
            "Ask clients for a certificate, and record what they show. It is not verified, and none will do, too.",
        ),
        Option(
            "--tls-min",
            "tls_min",
            "The lowest version of TLS to speak: 1.0, 1.1, 1.2 or 1.3; with client= or server= in front towards those "
            "only. May be repeated. Default: 1.2.",
            "[SIDE=]VERSION",
            parse_tls_version,
            multiple=True,
        ),
        Option(
            "--tls-max",
            "tls_max",
            "The highest version of TLS to speak, in the same way. May be repeated. Default: 1.3.",
            "[SIDE=]VERSION",
            parse_tls_version,
            multiple=True,
        ),
        Option(
            "--ciphers",
            "ciphers",
            "The cipher suites to use, as in OpenSSL's ciphers(1), instead of those that are safe; with client= or "
            "server= in front towards those only. May be repeated.",
            "[SIDE=]LIST",
            parse_sided,
            multiple=True,
        ),
        Option(
            "--keylog",
            "keylog",
            "Append the secrets of all TLS sessions, on both sides, to FILE, for Wireshark and the like. Whoever has "
            "it can read those connections.",
            "FILE",
            parse_path,
        ),
    ),
    "Limits": (
        Option("--max-connections", "max_connections", "How many clients at a time.", "N", parse_count),
        Option("--max-header-size", "max_header_size", "The largest message head.", "SIZE", parse_size),
        Option("--max-header-count", "max_header_count", "The largest number of header fields.", "N", parse_count),
        Option(
            "--timeout-connect", "timeout_connect", "How long connecting to a server may take.", "TIME", parse_duration
        ),
        Option(
            "--timeout-head",
            "timeout_head",
            "How long a client may take over a request head or a TLS handshake, a server over a handshake.",
            "TIME",
            parse_duration,
        ),
        Option(
            "--timeout-idle", "timeout_idle", "How long a client may stay without a request.", "TIME", parse_duration
        ),
        Option(
            "--timeout-quiet",
            "timeout_quiet",
            "How long nothing may come while a request, response or raw connection runs.",
            "TIME",
            parse_duration,
        ),
        Option(
            "--timeout-stop",
            "timeout_stop",
            "How long what is in flight may take to finish after SIGINT or SIGTERM.",
            "TIME",
            parse_duration,
        ),
        Option(
            "--no-block-global",
            "block_global",
            "Serve clients from public addresses, too. Without it they are refused.",
            value=False,
        ),
    ),
    "Other": (
        Option("--debug", "debug", "On an error of mitmdump itself, show the traceback."),
        Option("--version", "", "Print the version, and exit."),
        Option("-h, --help", "", "Print this help, and exit."),
    ),
}


def default_of(option: Option) -> str:
    """An option's default as a user would write it, "" where there is none to speak of."""
    if not option.metavar or not option.field or option.multiple:
        return ""
    default: Any = next(f.default for f in fields(Settings) if f.name == option.field)
    if default is None:
        return ""
    if option.field == "confdir":
        return "~/.mitmdump"
    if option.parse is parse_duration:
        return f"{default:g}s"
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return f"{default // 1024}k" if option.parse is parse_size else str(default)
