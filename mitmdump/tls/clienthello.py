"""Reading a ClientHello from peeked bytes, before OpenSSL sees any of them.

The hello says where the client wants to go (server name) and what it speaks there (ALPN), and both are needed before
it can be answered: the server is asked first. So the bytes are looked at, not taken; the caller hands over all that has
arrived so far, each time more comes, until there is an answer:

    records (RFC 8446 section 5.1)    type 22, version, length, fragment    any number, fragments of any size
      handshake message (section 4)   type 1, length, body                  the fragments, joined
        ClientHello (section 4.1.2)   ..., extensions                       unknown ones are stepped over

What comes after the hello (early data, mostly) is left alone. Nothing here knows more of TLS than it needs: values that
nobody reads are stepped over, whatever they are, which takes care of GREASE (RFC 8701) and of ECH.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct

from ..errors import TlsError

# Bytes looked at before giving up, record headers included. A hello in the field is 250 to 500 bytes, 2 KiB with a
# post-quantum key share, 4 KiB and more with resumption tickets that hold client certificates. 16 KiB is one full
# record, and all that BoringSSL, so most of the web's servers, takes as a ClientHello.
LIMIT = 16 * 1024

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ALPN, _SUPPORTED_VERSIONS = 0, 16, 43
_HOST_NAME = 0
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_EXTENSION, _VERSION = Struct("!HH"), Struct("!H")  # an extension's type and length; a version
_TOO_LONG = "a ClientHello with a field longer than what holds it"

# A DNS name as people have them: with underscores, and with a final dot, which RFC 6066 section 3 forbids and some
# programs send. A last label of digits only is that of an IPv4 address (the same section wants no addresses).
_DNS_NAME = re.compile(r"(?=.{1,254}\Z)(?:[A-Za-z0-9_-]{1,63}\.)*(?!\d+\.?\Z)[A-Za-z0-9_-]{1,63}\.?\Z")


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client asks for.

    `sni`: the server name as sent, None if there is none or it is no DNS name (RFC 6066 section 3); `alpn`: the
    protocols it offers, best first; `versions`: the TLS versions it speaks (0x0304 is TLS 1.3), best first.
    """

    sni: str | None
    alpn: tuple[bytes, ...]
    versions: tuple[int, ...]


def starts_like_tls(data: bytes) -> bool | None:
    """Could these first bytes of a connection be a TLS handshake? None: too few to tell.

    They are a record's type and the first half of its version, 3 in every version from SSL 3.0 on.
    """
    expected = bytes((_HANDSHAKE, 3))
    if data[:2] == expected:
        return True
    return None if expected.startswith(data) else False


def parse_client_hello(data: bytes) -> ClientHello | None:
    """Read the ClientHello at the start of `data`; None while it is incomplete.

    Raises TlsError if it is no ClientHello, breaks the rules of its own structure, or does not end within LIMIT bytes.
    """
    message = _first_message(data)
    if message is not None:
        return _parse_body(_Reader(message))
    if len(data) >= LIMIT:
        raise TlsError(f"no end of the ClientHello within {LIMIT} bytes")
    return None


def _first_message(data: bytes) -> bytes | None:
    """Join record fragments up to the end of the first handshake message; None while there are too few."""
    message = bytearray()
    at = 0
    while len(data) > at:
        if starts_like_tls(data[at : at + 2]) is False:
            raise TlsError("not a TLS handshake")
        if len(data) < at + _RECORD_HEADER:
            return None
        length = data[at + 3] << 8 | data[at + 4]
        if not length:  # RFC 8446 section 5.1 forbids empty fragments of handshake messages
            raise TlsError("an empty record in the ClientHello")
        at += _RECORD_HEADER
        message += data[at : at + length]  # of the last record, what there is of it
        at += length
        if message and message[0] != _CLIENT_HELLO:
            raise TlsError(f"a handshake message of type {message[0]} instead of a ClientHello")
        if len(message) < _MESSAGE_HEADER:
            continue
        end = _MESSAGE_HEADER + int.from_bytes(message[1:4], "big")
        if end > LIMIT:
            raise TlsError(f"a ClientHello of {end} bytes, more than {LIMIT}")
        if len(message) >= end:
            return bytes(message[_MESSAGE_HEADER:end])
    return None


class _Reader:
    """Takes fields off the front of a structure; TlsError where they are longer than what is left of it."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def number(self, length: int) -> int:
        """The next `length` bytes as a number."""
        return int.from_bytes(self._up_to(self._at, self._at + length), "big")

    def vector(self, length: int) -> bytes:
        """The bytes after a length of `length` bytes (RFC 8446 section 3.4)."""
        start = self._at + length
        return self._up_to(start, start + int.from_bytes(self._data[self._at : start], "big"))

    def skip(self, length: int) -> None:
        """Step over the next `length` bytes."""
        self._up_to(self._at, self._at + length)

    def _up_to(self, start: int, end: int) -> bytes:
        if end > len(self._data):
            raise TlsError(_TOO_LONG)
        self._at = end
        return self._data[start:end]


def _parse_body(body: _Reader) -> ClientHello:
    """RFC 8446 section 4.1.2, and the same as far as it goes in RFC 5246 section 7.4.1.2."""
    legacy_version = body.number(2)
    body.skip(32)  # random
    body.vector(1)  # legacy_session_id
    body.vector(2)  # cipher_suites
    body.vector(1)  # legacy_compression_methods
    extensions = _parse_extensions(body.vector(2)) if body else {}
    if body:
        raise TlsError("a ClientHello with bytes after its extensions")
    return ClientHello(
        _parse_server_name(_Reader(extensions[_SERVER_NAME])) if _SERVER_NAME in extensions else None,
        _parse_alpn(_Reader(extensions[_ALPN])) if _ALPN in extensions else (),
        _parse_versions(_Reader(extensions[_SUPPORTED_VERSIONS]))
        if _SUPPORTED_VERSIONS in extensions
        else (legacy_version,),
    )


def _parse_extensions(data: bytes) -> dict[int, bytes]:
    """All extensions by type; one that comes twice (RFC 8446 section 4.2) could be read in two ways and is refused."""
    extensions: dict[int, bytes] = {}
    at, end = 0, len(data)
    while at + _EXTENSION.size <= end:
        kind, length = _EXTENSION.unpack_from(data, at)
        if kind in extensions:
            raise TlsError(f"a ClientHello with two extensions of type {kind}")
        start = at + _EXTENSION.size
        at = start + length
        extensions[kind] = data[start:at]
    if at != end:
        raise TlsError(_TOO_LONG)
    return extensions


def _parse_server_name(reader: _Reader) -> str | None:
    """RFC 6066 section 3. A name that is none in DNS leads nowhere, so to us it is as if there were none.

    Whether that ends the session is for whoever answers the hello to say (OpenSSL, or the server, if the bytes pass
    through).
    """
    names = _Reader(reader.vector(2))
    while names:
        kind, name = names.number(1), names.vector(2)
        if kind == _HOST_NAME:
            text = name.decode("latin-1")
            return text if _DNS_NAME.match(text) else None
    return None


def _parse_alpn(reader: _Reader) -> tuple[bytes, ...]:
    """RFC 7301 section 3.1."""
    protocols = _Reader(reader.vector(2))
    offers = []
    while protocols:
        offers.append(protocols.vector(1))
    return tuple(offer for offer in offers if len(offer) != 2 or not _is_grease(int.from_bytes(offer, "big")))


def _parse_versions(reader: _Reader) -> tuple[int, ...]:
    """RFC 8446 section 4.2.1."""
    data = reader.vector(1)
    if len(data) % 2:
        raise TlsError(_TOO_LONG)
    return tuple(version for (version,) in _VERSION.iter_unpack(data) if not _is_grease(version))


def _is_grease(value: int) -> bool:
    """RFC 8701 section 2: two equal bytes whose lower half is A."""
    return value & 0x0F0F == 0x0A0A and value >> 8 == value & 0xFF
