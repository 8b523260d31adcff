"""The options of replay, both ways."""

from __future__ import annotations

from ..settings.replay import (
    REPLAY_PARTS,
    parse_extra,
    parse_ignored,
    parse_json_paths,
    parse_latency,
    parse_names,
    parse_place,
    parse_rate,
    parse_timing,
)
from ..settings.texts import one_of, parse_count, parse_duration, parse_path, some_of
from .option import Groups, Option

REPLAY: Groups = {
    "Client replay": (
        Option(
            "-C, --client-replay",
            "client_replay",
            "Send the requests in FILE again, in the order in which they began; with -n, end when all are answered. "
            "May be repeated, the files are replayed in order.",
            "FILE",
            multiple=True,
        ),
        Option(
            "--replay-filter",
            "replay_filter",
            "Replay the flows that match FILTER (one argument), instead of those that match the filter of what is "
            "printed and written.",
            "FILTER",
        ),
        Option(
            "--replay-concurrency", "replay_concurrency", "Send up to N requests at the same time.", "N", parse_count
        ),
        Option(
            "--replay-timing",
            "replay_timing",
            "Wait between requests as the client did: fast not at all (the default), original as long, 2x half as "
            "long.",
            "fast|original|SPEEDx",
            parse_timing,
        ),
        Option(
            "--replay-rate", "replay_rate", "Send no more than N requests a second (or N/m, N/h).", "N/s", parse_rate
        ),
        Option("--replay-loop", "replay_loop", "Replay everything N times.", "N", parse_count),
        Option(
            "--replay-to",
            "replay_to",
            "Send all requests to the server of URL, as in https://staging.example:8443, under that name.",
            "URL",
            parse_place,
        ),
        Option(
            "--replay-keep-host",
            "replay_keep_host",
            "With --replay-to, leave the host in the requests and in TLS as it was recorded.",
        ),
        Option(
            "--replay-timeout",
            "replay_timeout",
            "Give a request up whose answer is not complete after TIME.",
            "TIME",
            parse_duration,
        ),
        Option(
            "--replay-verify",
            "replay_verify",
            "Compare each answer with the recorded one in its status, headers, body, some of them with commas between, "
            "and tell what differs on stderr. The exit status is 1 if any does.",
            "PARTS",
            some_of("status", "headers", "body"),
        ),
        Option(
            "--replay-ignore",
            "replay_ignore",
            "Leave out of the comparison header:NAME and json:PATH (as in json:$.id), with commas between. May be "
            "repeated.",
            "WHAT[,WHAT]...",
            parse_ignored,
            multiple=True,
        ),
        Option(
            "--replay-report",
            "replay_report",
            "Write what became of each request to FILE: as JUnit's XML where it ends in .xml, else as JSON.",
            "FILE",
            parse_path,
        ),
        Option(
            "--replay-dry-run",
            "replay_dry_run",
            "Send nothing: print what would be sent when, and where to, and how long it would take.",
        ),
    ),
    "Server replay": (
        Option(
            "-S, --server-replay",
            "server_replay",
            "Answer requests with the responses in FILE, and connect to no server. May be repeated; '-' is standard "
            "input. --replay-filter and --replay-report go with it, too.",
            "FILE",
            multiple=True,
        ),
        Option(
            "--replay-extra",
            "replay_extra",
            "What becomes of a request that matches none: kill (an answer with status 502 that says what comes "
            "closest), a STATUS such as 404 with the same page, or forward, to the server.",
            "kill|forward|STATUS",
            parse_extra,
        ),
        Option(
            "--replay-match",
            "replay_match",
            "Compare only these parts of requests, with commas between them.",
            "PART[,PART]...",
            some_of(*REPLAY_PARTS),
        ),
        Option(
            "--replay-ignore-params",
            "replay_ignore_params",
            "Leave out query parameters of these names. May be repeated.",
            "NAME[,NAME]...",
            parse_names,
            multiple=True,
        ),
        Option(
            "--replay-ignore-payload-params",
            "replay_ignore_payload_params",
            "Leave out the fields of forms of these names. May be repeated.",
            "NAME[,NAME]...",
            parse_names,
            multiple=True,
        ),
        Option(
            "--replay-ignore-json",
            "replay_ignore_json",
            "Leave out what these paths lead to in JSON bodies, as in $.nonce. May be repeated.",
            "PATH[,PATH]...",
            parse_json_paths,
            multiple=True,
        ),
        Option("--replay-ignore-content", "replay_ignore_content", "Do not compare bodies."),
        Option("--replay-ignore-host", "replay_ignore_host", "Do not compare hosts; ports are compared all the same."),
        Option(
            "--replay-headers",
            "replay_headers",
            "Compare the header fields of these names, too. May be repeated.",
            "NAME[,NAME]...",
            parse_names,
            multiple=True,
        ),
        Option(
            "--replay-after",
            "replay_after",
            "What answers when all recordings of a request were given: the last or the first of them, all over again "
            "(cycle), or none (extra).",
            "WHICH",
            one_of("last", "first", "cycle", "extra"),
        ),
        Option("--replay-reuse", "replay_reuse", "Give the first recording of a request each time."),
        Option(
            "--replay-latency",
            "replay_latency",
            "Hold answers back for TIME, or as long as recorded (original), or for a part of that (2x is half).",
            "none|original|TIME|SPEEDx",
            parse_latency,
        ),
        Option(
            "--no-replay-refresh",
            "replay_refresh",
            "Leave Date, Expires, Last-Modified and the expiry of cookies as recorded. Without it they are moved by "
            "the time that has passed.",
            value=False,
        ),
        Option(
            "--record-mode",
            "record_mode",
            "Make FILE of -S a cassette: record into it what it does not have (new), only if it is not there yet "
            "(once), everything anew (all), or nothing (none).",
            "MODE",
            one_of("once", "new", "none", "all"),
        ),
        Option(
            "--replay-strict",
            "replay_strict",
            "Exit with status 1 if a request matched no recording, or a recording was never asked for.",
        ),
    ),
}
