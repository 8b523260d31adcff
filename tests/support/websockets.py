"""WebSocket frames for tests, made by hand: as RFC 6455 section 5.2 has them, without the help of a library."""

from __future__ import annotations

import zlib

from .peers import Peer

MASK = b"\x01\x02\x03\x04"
TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 1, 2, 8, 9, 10, 0

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3


def frame(opcode: int, payload: bytes = b"", *, masked: bool, fin: bool = True, bits: int = 0) -> bytes:
    """One frame; `bits` are the reserved ones, of which 4 marks what is compressed."""
    first = (0x80 if fin else 0) | bits << 4 | opcode
    size = len(payload)
    short = size if size < 126 else 126 if size < 1 << 16 else 127
    more = b"" if size < 126 else size.to_bytes(2 if size < 1 << 16 else 8)
    head = bytes([first, short | (0x80 if masked else 0)]) + more
    return head + MASK + mask(payload) if masked else head + payload


def mask(payload: bytes) -> bytes:
    """A payload under MASK, or out from under it."""
    return bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


async def reads_frame(peer: Peer) -> tuple[int, bytes]:
    """The next frame that a peer gets, a short one: its opcode, and its payload without a mask."""
    opcode, size = await peer.reads(2)
    key = await peer.reads(4) if size & 0x80 else bytes(4)
    payload = await peer.reads(size & 0x7F)
    return opcode & 0x0F, bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def close(code: int | None = 1000, reason: bytes = b"", *, masked: bool) -> bytes:
    """A close frame."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2) + reason, masked=masked)


class Deflater:
    """What compresses the messages of one peer."""

    def __init__(self, bits: int = 15) -> None:
        self._engine = zlib.compressobj(wbits=-bits)

    def __call__(self, content: bytes) -> bytes:
        """A message, as it stands in a frame (RFC 7692 section 7.2.1)."""
        return (self._engine.compress(content) + self._engine.flush(zlib.Z_SYNC_FLUSH))[:-4]


def asking(host: bytes, *fields: bytes, path: bytes = b"/chat", absolute: bool = True) -> bytes:
    """The request that opens a WebSocket."""
    target = b"http://" + host + path if absolute else path
    more = b"".join(field + b"\r\n" for field in fields)
    return (
        b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: " + KEY + b"\r\nSec-WebSocket-Version: 13\r\n" + more + b"\r\n"
    )


def switching(*fields: bytes) -> bytes:
    """The response that grants it."""
    more = b"".join(field + b"\r\n" for field in fields)
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n" + more + b"\r\n"
    )
