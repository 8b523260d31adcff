"""The options of what is recorded, read and printed."""

from __future__ import annotations

from ..settings.texts import (
    one_of,
    parse_count,
    parse_detail,
    parse_duration,
    parse_file,
    parse_path,
    parse_redact,
    parse_save,
    parse_size,
    parse_stop_after,
)
from .option import Groups, Option

CAPTURE: Groups = {
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
}

PRINTING: Groups = {
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
}
