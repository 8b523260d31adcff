"""The command line: read by click after the table in `options`, and turned into settings.

Heavy parts are imported when it is known that they are needed, so that `--version`, `--help` and a mistyped option
answer at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import Any

import click

from . import __version__
from .errors import MitmdumpError, SettingsError
from .options import OPTIONS, Option, default_of
from .settings import Settings

USAGE = "mitmdump [OPTIONS] [FILTER]..."
SUMMARY = (
    "A recording proxy for HTTP and HTTPS. Flows come from the network, or from -r files; in all cases only those "
)
SUMMARY += "that match the filter are printed and written."


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
    lines += [
        "",
        "The filter language is described in mitmdump-filters(7), the flow file in mitmdump-flows(5), the JSON",
    ]
    lines += ["in mitmdump-json(5)."]
    return "\n".join(lines)


def _click_option(option: Option) -> click.Option:
    declarations = [*option.flags.split(", "), option.name]
    if option.metavar:
        words = len(option.metavar.split())
        return click.Option(declarations, metavar=option.metavar, multiple=option.multiple, nargs=words)
    return click.Option(declarations, is_flag=True)


def _parse(arguments: Sequence[str]) -> dict[str, Any]:
    """The texts of the options that are given, by name. Raises click.UsageError."""
    parameters: list[click.Parameter] = [_click_option(option) for group in OPTIONS.values() for option in group]
    parameters.append(click.Argument(["filter"], nargs=-1))
    command = click.Command("mitmdump", params=parameters, add_help_option=False)
    texts = command.make_context("mitmdump", list(arguments)).params
    return {name: text for name, text in texts.items() if text not in (None, False, ())}


def settings_of(values: dict[str, Any]) -> Settings:
    """Settings out of the options' texts. Raises SettingsError, with the option's name."""
    chosen: dict[str, Any] = {}
    for option in (option for group in OPTIONS.values() for option in group):
        text = values.get(option.name)
        if not option.field or text is None:
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
    if words := values.get("filter"):
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
        if "version" in values or "help" in values:
            return _say(f"mitmdump {__version__}" if "version" in values else _help())
        settings = settings_of(values)
        if "explain_filter" in values:
            from .filter import parse  # not needed otherwise

            filter_ = parse(settings.filter or "", case_sensitive=settings.case_sensitive, now=time())
            return _say(filter_.explain())
        if "print_rules" in values:
            return _say(_rules_for(settings, values["print_rules"]))
    except click.UsageError as error:
        return _refuse(f"{error.format_message().rstrip('.')}. See mitmdump --help.")
    except MitmdumpError as error:
        return _refuse(str(error))
    from .app import run  # everything else comes with it

    return run(settings)


def _rules_for(settings: Settings, wanted: str) -> str:
    """What --print-rules prints. Raises SettingsError."""
    from .net.rules import Redirection, rules  # not needed otherwise

    ports = [settings.place_of(mode)[1] for mode in settings.modes if mode.kind == "transparent"]
    to = ports[0] if ports else settings.listen_port
    if not to:
        raise SettingsError("--print-rules: rules need a port to redirect to, so choose one with -p")
    return rules(wanted, Redirection(settings.rules_ports, to, settings.mark, os.geteuid(), sys.platform))


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
