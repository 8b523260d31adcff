"""Driving the HTTP/1 codec in tests: bytes in, in whatever pieces, and what comes of them out."""

from __future__ import annotations

from collections.abc import Iterable

from mitmdump.errors import RemoteError
from mitmdump.wire.events import Data, End, Event, RequestHead, ResponseHead, Role
from mitmdump.wire.http1 import Http1, Limits

Outcome = list[Event | int]  # events, and at the end the status of the error, if there was one


def make_codec(role: Role, method: bytes = b"GET", limits: Limits | None = None) -> Http1:
    """A codec that has something to read: as a client it has sent a request."""
    codec = Http1(role, limits)
    if role is Role.CLIENT:
        _ask(codec, method)
    return codec


def read(codec: Http1, pieces: Iterable[bytes], *, eof: bool = False, method: bytes = b"GET") -> Outcome:
    """All that comes out of these bytes, message after message, each answered or asked for as it takes."""
    outcome: Outcome = []
    try:
        for piece in pieces:
            events = codec.receive(piece)
            while events:
                outcome += events
                _go_on(codec, events, method)
                events = codec.receive(b"") if codec.has_rest else []
        if eof:
            outcome += codec.eof()
    except RemoteError as error:
        outcome.append(error.status)
    for event in outcome:
        if isinstance(event, RequestHead | ResponseHead):
            event.framing = None  # what it was is seen in the events that follow
    return join(outcome)


def bytewise(data: bytes) -> list[bytes]:
    """The data in pieces of one byte."""
    return [data[at : at + 1] for at in range(len(data))]


def join(outcome: Outcome) -> Outcome:
    """The same with neighbouring pieces of a body joined, whose borders mean nothing."""
    joined: Outcome = []
    for event in outcome:
        if isinstance(event, Data) and joined and isinstance(joined[-1], Data):
            joined[-1] = Data(joined[-1].data + event.data)
        else:
            joined.append(event)
    return joined


def write(codec: Http1, *events: Event) -> bytes:
    """The bytes of these events."""
    for event in events:
        codec.send(event)
    return codec.take()


def _ask(codec: Http1, method: bytes) -> None:
    write(codec, RequestHead(method, b"/", [(b"Host", b"a.test")]), End())


def _go_on(codec: Http1, events: list[Event], method: bytes) -> None:
    if not any(isinstance(event, End) for event in events):
        return
    if codec.role is Role.SERVER:
        write(codec, ResponseHead(204, []), End())
    codec.start_next_cycle()
    if codec.role is Role.CLIENT:
        _ask(codec, method)
