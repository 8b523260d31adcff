"""The dates of a recorded response, moved by the time that has passed since, so that what was fresh then is fresh now.

Date, Expires and the Expires of cookies say how things stand at this moment. Last-Modified is a validator, too: a
client gives it back in conditions (RFC 9110 section 13.1), so it moves to where it then stays for a whole run. What is
no date stays as it is; so does Max-Age, which counts from now in any case.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache

from ..model.flow import Flow
from ..model.headers import Headers

_OF_NOW = frozenset({b"date", b"expires"})
_LONGEST_NAME = len(b"last-modified")
_LONGEST_DATE = 64
_COOKIE_EXPIRES = re.compile(rb"(;\s*expires\s*=\s*)([^;]*)", re.IGNORECASE)


def recorded_at(flow: Flow) -> float:
    """When a recorded response came, in Unix seconds; 0 where nobody knows."""
    response = flow.response
    return (response and response.timestamp_start) or flow.timestamp_start


def refreshed(headers: Headers, passed: float, passed_at_start: float) -> Headers:
    """The fields of a response with their dates moved by `passed` seconds, those of validators by `passed_at_start`.

    Times in a file may be of the future; nothing is moved back.
    """
    moved = []
    for name, value in headers.fields:
        lower = name.lower() if len(name) <= _LONGEST_NAME else b""
        if lower in _OF_NOW:
            value = _moved(value, passed)
        elif lower == b"last-modified":
            value = _moved(value, passed_at_start)
        elif lower == b"set-cookie":
            value = _COOKIE_EXPIRES.sub(lambda match: match[1] + _moved(match[2], passed), value, count=1)
        moved.append((name, value))
    return Headers(moved)


def _moved(date: bytes, seconds: float) -> bytes:
    if seconds <= 0 or len(date) > _LONGEST_DATE:
        return date
    try:
        return _written(int(_read(date) + seconds))
    except (ValueError, OverflowError, OSError, TypeError):
        return date


# A server says the same few dates again and again, and so do we within a second.
@lru_cache(maxsize=1024)
def _read(date: bytes) -> float:
    """A date in Unix seconds. Raises ValueError or the like where it is none."""
    then = parsedate_to_datetime(date.decode("ascii"))
    if then.tzinfo is None:  # "-0000", or none at all: HTTP has no other zone (RFC 9110 section 5.6.7)
        then = then.replace(tzinfo=UTC)
    return then.timestamp()


@lru_cache(maxsize=1024)
def _written(time: int) -> bytes:
    return formatdate(time, usegmt=True).encode()
