"""Every exception that crosses a border between two packages of mitmdump.

The text of each is written for the person who runs the program: what happened, where, and where possible what to do
next. It never holds a credential, so it may go to a log, a flow and an error page as it is.
"""

from __future__ import annotations

from typing import Any, Self


class MitmdumpError(Exception):
    """Base of all errors that mitmdump raises on purpose."""


class LocalError(MitmdumpError):
    """We used one of our own parts wrongly: a bug in mitmdump, never the fault of a peer or a user."""


class PeerError(MitmdumpError):
    """A client or a server did not do its part. `status` is what a client should be told, if it can be told anything.

    It is a hint for whoever answers: codecs and streams do not answer.
    """

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status

    def again(self) -> Self:
        """The same, not yet raised: by its traceback, one that was holds on to all the frames that it passed.

        Who keeps an error keeps this, and raises this, or there are circles through whole connections, which stay in
        memory until the garbage collector comes.
        """
        same = type(self).__new__(type(self), *self.args)
        same.__dict__.update(self.__dict__)
        return same


class RemoteError(PeerError):
    """A peer broke a rule of its protocol: 400, 414, 431 for a client's faults, 502 for a server's.

    `head` is what could be read of a request head at fault (a `wire.events.RequestHead`), for the record.
    """

    head: Any = None


class StreamError(PeerError):
    """A connection broke: reset, timed out (504), or cut off inside its TLS session."""


class ResetError(StreamError):
    """A peer has ended one stream of its HTTP/2 connection; `code` says why (RFC 9113 section 7)."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class TlsError(PeerError):
    """A TLS session failed, in its handshake or later; the text names OpenSSL's reason or the peer's alert.

    `distrust`: the peer does not accept our certificate.
    """

    distrust = False


class ConnectError(PeerError):
    """An upstream connection could not be made: name, address, TCP, TLS handshake or certificate."""


class CertificateError(ConnectError):
    """The upstream server's certificate was not accepted."""


class ConfdirError(MitmdumpError):
    """The directory with the CA cannot be used: unreadable, unwritable, or what it holds is no CA."""


class ContentError(MitmdumpError):
    """A body is not what its Content-Encoding says, or that names a coding we do not know."""


class RedactionError(MitmdumpError):
    """Nobody can tell where in a body its secrets are, so it must not be kept."""


class FlowFileError(MitmdumpError):
    """A flow file cannot be read at all: not a flow file, or of a version that this program does not know."""


class OutputError(MitmdumpError):
    """An output could not be opened or written."""


class SettingsError(MitmdumpError):
    """An option's text does not say anything that we understand."""


class FilterError(SettingsError):
    """A filter expression does not parse.

    `text` is the expression, `position` the index of the character that the caret points at, `reason` what is wrong
    there and what was expected. `str()` gives all of it, with the caret, as a paragraph.
    """

    def __init__(self, text: str, position: int, reason: str) -> None:
        super().__init__(text, position, reason)
        self.text = text
        self.position = position
        self.reason = reason

    def __str__(self) -> str:
        # A line break or a tab, fine in a filter, would put the caret under a wrong place.
        shown = "".join(character if character.isprintable() else " " for character in self.text)
        return f"bad filter: {self.reason}\n    {shown}\n    {' ' * self.position}^"
