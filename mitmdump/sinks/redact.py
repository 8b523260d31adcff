"""In front of a sink: flows without the secrets that --redact names.

A sink behind this never sees a live flow, but a copy of it, made anew whenever something has become known. Heads are
redacted in the copy at once. A body of which a rule may want something (JSON, a form) is held until it has ended, is
decoded and redacted as a whole, and goes on from here; all other bodies pass through as they come.

A body that ought to be redacted and cannot be, as it is too large, or broken, or was kept only in part, does not reach
the sink at all, and neither does its digest: the flow says so in its metadata, under "redact.request" or
"redact.response". What a raw connection carries has no form that we know, so it passes as it is; that is said once.

A redacted body has no content coding and the length that it now has, and its head says so, as if it had been sent so.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

from ..errors import ContentError, OutputError, RedactionError, SettingsError
from ..model.body import PIECE, Body
from ..model.content import DECODED_LIMIT, Decoded, decode
from ..model.flow import Error, Flow, Part
from ..model.headers import Headers
from ..model.message import HttpMessage, Message, Request, Response
from ..redaction import Redactor
from ..redaction.bodies import SNIFFED
from .base import Sink
from .spool import Spool

# As with a passphrase, fewer bytes could be guessed; what is longer by far is some other file, or endless.
KEY_SIZES = range(16, 4096 + 1)

# If so many bytes do not tell what a body is, it is held: a coding may be made to yield nothing for long.
_UNDECIDED = 4096

_TOO_LARGE = f"it is larger than {DECODED_LIMIT >> 20} MiB"
_NOT_STORED = "bodies that cannot be redacted are not stored; their flows say why, in their metadata"
_RAW = "--redact cannot look into raw connections: what they carry is recorded as it is"


def read_key(path: Path | None, warn: Callable[[str], object]) -> bytes:
    """The key of the pseudonyms: the bytes of a file, or without one a new key, which nobody will know.

    Raises SettingsError.
    """
    if path is None:
        return secrets.token_bytes(32)
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(KEY_SIZES.stop)
    except OSError as error:
        raise SettingsError(f"--redact-key: cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    if len(key) not in KEY_SIZES:
        raise SettingsError(
            f"--redact-key: {path} is no key, which has {KEY_SIZES.start} to {KEY_SIZES[-1]} bytes. Make one with "
            f"'head -c 32 /dev/urandom > {path}'"
        )
    if stat.S_IMODE(mode) & 0o077:
        warn(f"{path} can be read by others, who can then try out what a pseudonym stands for (chmod 600)")
    return key


class Redacting(Sink):
    """Hands flows on to `sink` without the secrets that `redactor` knows of. `warn` is told what could not be done."""

    def __init__(self, sink: Sink, redactor: Redactor, warn: Callable[[str], object]) -> None:
        self.wants_bodies = sink.wants_bodies
        self._sink = sink
        self._redactor = redactor
        self._warn = warn
        self._running: dict[int, _Copy] = {}

    def begin(self, flow: Flow) -> None:
        copy = self._running[flow.id] = _Copy(flow, self._redactor)
        self._sink.begin(copy.flow)

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        copy = self._running[flow.id]
        copy.catch_up()
        for piece in copy.bodies[part].take(data):
            self._sink.data(copy.flow, part, piece)

    def message(self, flow: Flow, message: Message) -> None:
        copy = self._running[flow.id]
        copy.catch_up()
        if message.kind == "raw":
            self._warn(_RAW)
        else:
            message = copy.redacted(message)
        self._sink.message(copy.flow, message)

    def finish(self, flow: Flow) -> None:
        copy = self._running.pop(flow.id)
        copy.make()
        for part in Part:
            for piece in copy.settle(part, self._warn):
                self._sink.data(copy.flow, part, piece)
        self._sink.finish(copy.flow)

    def settle(self) -> None:
        self._sink.settle()

    def tick(self, now: float) -> None:
        for copy in self._running.values():
            copy.catch_up()
        self._sink.tick(now)

    def close(self) -> None:
        self._running.clear()
        self._sink.close()


_Message = TypeVar("_Message", Request, Response)


class _Copy:
    """A flow as the sink sees it: `flow`, always the same object. `bodies` are on their way to it."""

    __slots__ = ("_live", "_may_be_secret", "_redactor", "bodies", "flow")

    def __init__(self, live: Flow, redactor: Redactor) -> None:
        self._live = live
        self._redactor = redactor
        self.bodies = [_PassingBody(live, part, redactor) for part in Part]
        self._may_be_secret = {True: False, False: False}  # by `from_client`: what goes on with the last message
        self.flow = Flow(live.kind, live.client_conn, id=live.id)
        self.make()

    def catch_up(self) -> None:
        """Make the copy anew, if the flow has come to a new stage."""
        if self.flow.response is None and self._live.response is not None:
            self.make()
        self.flow.server_conn = self._live.server_conn

    def make(self) -> None:
        """Copy the flow as it is now, but for its bytes and for keys that nobody knows the meaning of."""
        live, redactor = self._live, self._redactor
        for field in fields(Flow):
            setattr(self.flow, field.name, getattr(live, field.name))
        self.flow.messages, self.flow.extra = (), {}
        self.flow.metadata = dict(live.metadata)
        self.flow.comment = redactor.remark(live.comment)
        if live.error:
            self.flow.error = Error(redactor.remark(live.error.msg), live.error.timestamp)
        if live.websocket:
            reason = redactor.remark(live.websocket.close_reason)
            self.flow.websocket = replace(live.websocket, close_reason=reason)
        if live.request:
            self.flow.request = self._copied(live.request)
            self.flow.request.path = redactor.target(live.request.path)
        if live.response:
            self.flow.response = self._copied(live.response)

    def redacted(self, message: Message) -> Message:
        """A message without its secrets. Of a large one that can have some only the first piece can be read as JSON, so
        the others go as a whole.
        """
        bodies, content, side = self._redactor.bodies, message.content, message.from_client
        if message.kind == "continuation":
            return replace(message, content=bodies.pseudonym(content)) if self._may_be_secret[side] else message
        if message.kind in ("text", "binary"):
            self._may_be_secret[side] = bodies.looks_into(content)
        return replace(message, content=bodies.message(content))

    def settle(self, part: Part, warn: Callable[[str], object]) -> Iterable[bytes]:
        """Put what is to be known of a body into the copy, and give what is still to be passed on of it."""
        message = _message(self.flow, part)
        if message is None:
            return ()
        try:
            return self.bodies[part].settle(message)
        except (ContentError, RedactionError) as error:
            self.flow.metadata[f"redact.{part.name.lower()}"] = f"the body is not stored: {error}"
            warn(_NOT_STORED)
            return ()

    def _copied(self, message: _Message) -> _Message:
        headers, trailers = self._redactor.headers(message.headers), message.trailers
        if trailers is not None:
            trailers = self._redactor.headers(trailers)
        return replace(message, headers=headers, trailers=trailers, body=_facts(message.body))


class _PassingBody:
    """A body on its way: looked at, then passed on or held.

    `_held` is None where all may pass. `_concerned`: may a rule want something of it? None: not known yet.
    """

    __slots__ = ("_concerned", "_held", "_live", "_part", "_redactor", "_seen", "_trouble")

    def __init__(self, live: Flow, part: Part, redactor: Redactor) -> None:
        self._live = live
        self._part = part
        self._redactor = redactor
        self._seen = 0
        self._concerned: bool | None = None if redactor.bodies else False
        self._held: Spool | None = None
        self._trouble: Exception | None = None

    def take(self, data: bytes) -> Iterable[bytes]:
        """The next piece has come; what may pass now."""
        self._seen += len(data)
        if self._concerned is False:
            return (data,)
        if self._trouble:
            return ()
        self._keep(data)
        if self._concerned is None:
            self._concerned = self._look()
        if self._concerned is False:
            return self._release()
        if self._seen > DECODED_LIMIT:
            self._give_up(RedactionError(_TOO_LARGE))
        return ()

    def settle(self, message: HttpMessage) -> Iterable[bytes]:
        """The body has ended: what is left of it. Notes in `message`, the copy, what is now to be known of it.

        Raises ContentError or RedactionError where it must not be passed on.
        """
        live = _message(self._live, self._part)
        assert live
        original = live.body
        whole = self._seen == original.length
        if self._concerned is False or not self._seen:
            message.body.digest = original.digest if whole or not self._redactor.bodies else None
            return ()
        try:
            changed, is_changed = self._redacted(whole)
        except (ContentError, RedactionError) as error:
            self._give_up(error)
            raise
        if not is_changed:
            message.body.digest = original.digest
            return self._release()
        self._drop()
        message.body = Body(len(changed), original.complete)
        message.headers = _described_anew(message.headers, len(changed))
        return (changed[at : at + PIECE] for at in range(0, len(changed), PIECE))

    def _redacted(self, whole: bool) -> tuple[bytes, bool]:
        """The body, decoded and without secrets, and whether it had any."""
        if self._trouble:
            raise self._trouble
        if not whole:
            raise RedactionError("it was kept only in part")
        decoded = self._decoded(DECODED_LIMIT)
        if decoded.truncated:
            raise RedactionError(_TOO_LARGE)
        changed = self._redactor.bodies.rewrite(self._headers.get("content-type", ""), decoded.data)
        return changed, changed != decoded.data

    def _look(self) -> bool | None:
        """May a rule want something of it, as far as its start tells?"""
        try:
            start = self._decoded(SNIFFED).data
        except ContentError as error:
            self._give_up(error)
            return True
        concerned = self._redactor.bodies.concerns(self._headers.get("content-type", ""), start)
        undecidable = len(start) == SNIFFED or self._seen > _UNDECIDED
        return True if concerned is None and undecidable else concerned

    @property
    def _headers(self) -> Headers:
        message = _message(self._live, self._part)
        assert message
        return message.headers

    def _decoded(self, limit: int) -> Decoded:
        pieces = self._held.pieces(self._part) if self._held else ()
        return decode(pieces, self._headers.get("content-encoding", ""), limit)

    def _keep(self, data: bytes) -> None:
        self._held = self._held or Spool()
        try:
            self._held.add(self._part, data)
        except OSError as error:
            raise OutputError(
                f"cannot keep a body until it is redacted: {error.strerror}; set TMPDIR to a directory with more room"
            ) from error

    def _release(self) -> Iterable[bytes]:
        if self._held:
            yield from self._held.pieces(self._part)
        self._drop()

    def _give_up(self, trouble: Exception) -> None:
        self._trouble = trouble
        self._drop()

    def _drop(self) -> None:
        if self._held:
            self._held.close()
            self._held = None


def _message(flow: Flow, part: Part) -> HttpMessage | None:
    return flow.request if part is Part.REQUEST else flow.response


def _facts(body: Body) -> Body:
    """What may be said of a body before it has been looked at: what digest it has may not."""
    return Body(body.length, body.complete, source=b"" if body.source is not None and not body.length else None)


def _described_anew(headers: Headers, length: int) -> Headers:
    """The fields of a message with a body of this length and no content coding."""
    return Headers(
        [
            (name, b"%d" % length if name.lower() == b"content-length" else value)
            for name, value in headers.fields
            if name.lower() != b"content-encoding"
        ]
    )
