"""The command line: one table of options, out of which come the parser, `--help`, the man page and the settings.

Heavy parts are imported when it is known that they are needed, so that `--version`, `--help` and a mistyped option
answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from time import time
from typing import Any

import click

from . import __version__
from .errors import MitmdumpError, SettingsError
from .settings import Settings, parse_duration, parse_size

USAGE = "mitmdump [OPTIONS] [FILTER]..."
SUMMARY = (
    "A recording proxy for HTTP and HTTPS. Flows come from the network, or from -r files; in all cases only those "
)
SUMMARY += "that match the filter are printed and written."


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


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise SettingsError(f"{text!r} is no port: give a number from 0 to 65535 (0 picks a free one)")
    return int(text)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 10**9:
        raise SettingsError(f"{text!r} is no number from 1 up")
    return int(text)


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _file(text: str) -> str:
    if not text:
        raise SettingsError("'' is no name of a file")
    return text


def _save(words: tuple[str, str]) -> tuple[str, str]:
    return _file(words[0]), words[1]


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise SettingsError(f"{text!r} is none of {', '.join(words)}")
        return text

    return parse


def _detail(text: str) -> int:
    return int(_one_of("0", "1", "2", "3", "4")(text))


OPTIONS: dict[str, tuple[Option, ...]] = {
    "Capture": (
        Option(
            "-w, --write",
            "write",
            "Write the flows to FILE, a flow file. Conversions of strftime(3) in its name stand for the time of the "
            "start. An existing file is replaced; '-' is stdout. May be repeated.",
            "FILE",
            _file,
            multiple=True,
        ),
        Option(
            "--save",
            "save",
            "Write the flows that match FILTER (one argument) to FILE, whatever the other filter says. May be "
            "repeated, each with a file of its own.",
            "FILE FILTER",
            _save,
            multiple=True,
        ),
        Option("--fsync", "fsync", "After each flow, wait until the disk has it, in case the machine itself dies."),
    ),
    "Read": (
        Option(
            "-r, --read",
            "read",
            "Read flows from FILE instead of the network; '-' is stdin. May be repeated, the files are read in order.",
            "FILE",
            multiple=True,
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
            _detail,
        ),
        Option("-q, --quiet", "quiet", "Print no flows, and on stderr only what is wrong."),
        Option("-v, --verbose", "verbose", "Say more on stderr: why exchanges and connections failed."),
        Option(
            "--color",
            "color",
            "Use colours: auto (on a terminal), always or never.",
            "WHEN",
            _one_of("auto", "always", "never"),
        ),
    ),
    "Filter": (
        Option("--case-sensitive", "case_sensitive", "Regular expressions distinguish capital and small letters."),
        Option("--explain-filter", "", "Print how the filter is read and what each operator looks at, and exit."),
    ),
    "Proxy": (
        Option("-p, --listen-port", "listen_port", "The port to listen on; 0 picks a free one.", "PORT", _port),
        Option(
            "--listen-host",
            "listen_hosts",
            "The address to listen on, instead of this machine's loopback addresses (127.0.0.1 and ::1). "
            "May be repeated.",
            "HOST",
            multiple=True,
        ),
        Option(
            "--ready-file",
            "ready_file",
            "Once the proxy listens, write FILE: JSON with its addresses, process id and CA certificate. It is removed "
            "at the end.",
            "FILE",
            _path,
        ),
    ),
    "TLS": (
        Option("--confdir", "confdir", "The directory of the CA; made on first use.", "DIR", _path),
        Option(
            "--ca-key",
            "ca_key",
            "The kind of key for a new CA and for leaf certificates: ec (P-256), or rsa for old clients.",
            "KIND",
            _one_of("ec", "rsa"),
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
            _path,
        ),
    ),
    "Limits": (
        Option("--max-connections", "max_connections", "How many clients at a time.", "N", _count),
        Option("--max-header-size", "max_header_size", "The largest message head.", "SIZE", parse_size),
        Option("--max-header-count", "max_header_count", "The largest number of header fields.", "N", _count),
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
    if not option.metavar or option.field in ("write", "save", "read", "listen_hosts", "ready_file", "upstream_ca"):
        return ""
    default: Any = next(f.default for f in fields(Settings) if f.name == option.field)
    if option.field == "confdir":
        return "~/.mitmdump"
    if option.parse is parse_duration:
        return f"{default:g}s"
    return f"{default // 1024}k" if option.parse is parse_size else str(default)


def _help() -> str:
    from textwrap import fill  # only --help needs it

    lines = [f"Usage: {USAGE}", "", fill(SUMMARY, 100)]
    for group, options in OPTIONS.items():
        lines += ["", f"{group}:"]
        for option in options:
            head = f"  {option.flags} {option.metavar}".rstrip()
            default = default_of(option)
            text = option.help + (f" Default: {default}." if default else "")
            indent = " " * 28
            wrapped = fill(text, 100, initial_indent=indent, subsequent_indent=indent)
            lines += [head.ljust(28) + wrapped[28:]] if len(head) < 28 else [head, wrapped]
    from .filter.operators import TABLE

    lines += ["", "Operators of FILTER, to be joined with & | ! ( ):"]
    for operator in (operator for group in TABLE.values() for operator in group):
        lines += [f"  {operator.usage:24}  {operator.looks_at}"]
    lines += ["", "The filter language is described in mitmdump-filters(7), the flow file in mitmdump-flows(5)."]
    return "\n".join(lines)


def _click_option(option: Option) -> click.Option:
    declarations = [*option.flags.split(", "), option.field or option.flags.split("--")[1].replace("-", "_")]
    if option.metavar:
        words = len(option.metavar.split())
        return click.Option(declarations, metavar=option.metavar, multiple=option.multiple, nargs=words)
    return click.Option(declarations, is_flag=True)


def _parse(arguments: Sequence[str]) -> dict[str, Any]:
    """The options' texts, by field. Raises click.UsageError."""
    parameters: list[click.Parameter] = [_click_option(option) for group in OPTIONS.values() for option in group]
    parameters.append(click.Argument(["filter"], nargs=-1))
    command = click.Command("mitmdump", params=parameters, add_help_option=False)
    return command.make_context("mitmdump", list(arguments)).params


def settings_of(values: dict[str, Any]) -> Settings:
    """Settings out of the options' texts. Raises SettingsError, with the option's name."""
    chosen: dict[str, Any] = {}
    for option in (option for group in OPTIONS.values() for option in group):
        text = values.get(option.field)
        if not option.field or text in (None, False, ()):
            continue
        try:
            if not option.metavar:
                chosen[option.field] = option.value
            elif option.multiple:
                chosen[option.field] = tuple(option.parse(one) for one in text)
            else:
                chosen[option.field] = option.parse(text)
        except SettingsError as error:
            raise SettingsError(f"{option.flags.split(', ')[-1]}: {error}") from None
    words = values.get("filter") or ()
    if words:
        _refuse_files(words, reading=bool(values.get("read")))
        chosen["filter"] = " ".join(words)
    return Settings(**chosen)


def _refuse_files(words: Sequence[str], *, reading: bool) -> None:
    """A shell turns `-r *.flows` into one option and many words, which would all be filters. Raises SettingsError."""
    for word in words:
        if reading and Path(word).is_file():
            raise SettingsError(
                f"{word!r} is a file, but stands where the filter is. Give each file an -r of its own; to filter by "
                f"this word, write '~u {word}'"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        values = _parse(arguments)
        if values["version"] or values["help"]:
            return _say(f"mitmdump {__version__}" if values["version"] else _help())
        settings = settings_of(values)
        if values["explain_filter"]:
            from .filter import parse  # not needed otherwise

            filter_ = parse(settings.filter or "", case_sensitive=settings.case_sensitive, now=time())
            return _say(filter_.explain())
    except click.UsageError as error:
        return _refuse(f"{error.format_message().rstrip('.')}. See mitmdump --help.")
    except MitmdumpError as error:
        return _refuse(str(error))
    from .app import run  # everything else comes with it

    return run(settings)


def _say(text: str) -> int:
    """Print what was asked for. A reader who has gone (`| head -1`) has seen enough."""
    try:
        print(text, flush=True)  # noqa: T201  # asked for
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python would write there at its end
        if not isinstance(error, BrokenPipeError):
            return _refuse(f"cannot write to standard output: {(error.strerror or str(error)).lower()}")
    return 0


def _refuse(message: str) -> int:
    sys.stderr.write(f"mitmdump: {message}\n")
    return 2
