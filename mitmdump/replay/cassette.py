"""--record-mode: a cassette, as test suites know it: a file that answers what it has, and records what it has not.

| mode | answers out of the file | records into the file |
|---|---|---|
| once | if there is one | only if there is none yet: then everything |
| new | yes | what it does not have, at its end |
| none | yes | nothing |
| all | no | everything, in its place |

To record is what --save does, with a filter: flows that a server answered, and completely. So a cassette holds nothing
that could not be replayed, and -w, beside it, has the whole run as always.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import SettingsError
from ..settings import Settings

_ANSWERED_BY_SERVERS = "!~replays & ~done"


def with_cassette(settings: Settings) -> Settings:
    """The settings with what --record-mode makes of -S and of what is written. Raises SettingsError."""
    mode = settings.record_mode
    if mode is None:
        return settings
    _check(settings)
    (name,) = settings.server_replay
    exists = Path(name).exists() and Path(name).stat().st_size > 0
    if mode == "none" or (mode == "once" and exists):
        return settings
    wanted = settings.filter if settings.replay_filter is None else settings.replay_filter
    filter_ = f"({wanted}) & {_ANSWERED_BY_SERVERS}" if wanted else _ANSWERED_BY_SERVERS
    answers = exists and mode == "new"
    return replace(
        settings,
        server_replay=settings.server_replay if answers else (),
        replay_extra="forward",
        save=(*settings.save, (("+" if answers else "") + name.replace("%", "%%"), filter_)),
    )


def _check(settings: Settings) -> None:
    if len(settings.server_replay) != 1 or settings.server_replay == ("-",):
        raise SettingsError("--record-mode is about one file: give it with -S FILE")
    if settings.replay_extra == "forward":
        raise SettingsError("--record-mode says itself what goes to servers: leave --replay-extra forward away")
    if settings.redact and not settings.redact_key:
        raise SettingsError(
            "--redact in a cassette takes --redact-key: with another key, the next run would match nothing"
        )
    cutting = {
        "--body-limit": settings.body_limit is not None,
        "--rotate-size": settings.rotate_size is not None,
        "--rotate-time": settings.rotate_time is not None,
        "--rotate-flows": settings.rotate_flows is not None,
    }
    if named := next((name for name, given in cutting.items() if given), None):
        raise SettingsError(f"{named} and --record-mode exclude each other: a cassette is one file with whole bodies")
