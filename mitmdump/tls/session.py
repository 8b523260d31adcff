"""A TLS session as a codec: ciphertext in, plaintext out, and the other way round; no sockets, no clock.

OpenSSL reads from one memory BIO and writes to another, so whoever owns the connection does this and nothing else:

    session.handshake()                     a client has to speak first
    plaintext = session.receive(data)       for each read from the network
    session.send(plaintext)                 64 KiB at a time (`PIECE`), or the session keeps room for more
    write(session.take())                   after each of them: handshakes, alerts and acknowledgements are in here

The handshake runs inside `receive` and nobody has to know when it ends, but for `established`. One `receive` gives all
plaintext that its bytes complete, so nothing is left inside that would need a further call.

Plaintext and ciphertext go in and out of OpenSSL here and not in pyOpenSSL's methods: those raise an exception each
time that nothing more is to be read, which takes longer than to decrypt a small message, and allocate for 16 KiB at a
time. What fails is still told by pyOpenSSL.

A failed session stays failed, and every further call raises the same TlsError; the alert that tells the peer why is
still to be had from `take`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from OpenSSL import SSL, crypto
from OpenSSL._util import ffi, lib

from ..errors import LocalError, TlsError
from ..model.connection import Connection
from .alerts import DISTRUST, explain

# Plaintext in one record, of which OpenSSL may hold the larger part from an earlier call (RFC 8446 section 5.1).
_RECORD = 16 * 1024

# The most that should go through one of the memory BIOs at a time: it keeps the room that it once needed, for as long
# as the connection is open. Four records, since smaller pieces cost time.
PIECE = 64 * 1024
_allocate = ffi.new_allocator(should_clear_after_alloc=False)
_CHARS = ffi.typeof("char[]")


class Session:
    """One end of a TLS session. `peer` is who is at the other end: towards a client we are the server.

    `established`: the handshake is done. `closed`: the peer's close_notify has come, so what it sent is complete
    (RFC 8446 section 6.1). `verification`: once established, what `verify` made of the peer's certificate, "ok" or the
    reason against it; None where nobody looked. `alpn_offers`: what we offered, for the record. `on_data` is called
    once, when the first plaintext has come: the tickets of a server come before it.
    """

    __slots__ = (
        "_connection",
        "_failure",
        "_from_ssl",
        "_into_ssl",
        "_on_data",
        "_ssl",
        "_verify",
        "alpn_offers",
        "closed",
        "established",
        "peer",
        "verification",
    )

    def __init__(
        self,
        connection: SSL.Connection,
        peer: Literal["client", "server"],
        verify: Callable[[SSL.Connection], str] | None = None,
        alpn_offers: tuple[bytes, ...] = (),
        on_data: Callable[[SSL.Connection], object] | None = None,
    ) -> None:
        if peer == "client":
            connection.set_accept_state()
        else:
            connection.set_connect_state()
        self._connection = connection
        self._ssl, self._into_ssl, self._from_ssl = connection._ssl, connection._into_ssl, connection._from_ssl
        self._verify = verify
        self._on_data = on_data
        self._failure = ""
        self.peer = peer
        self.alpn_offers = alpn_offers
        self.established = False
        self.closed = False
        self.verification: str | None = None

    def handshake(self) -> None:
        """Go on with the handshake as far as the received bytes allow; starts it if it is for us to speak first."""
        result = lib.SSL_do_handshake(self._ssl)
        if result <= 0:
            if lib.SSL_get_error(self._ssl, result) == lib.SSL_ERROR_WANT_READ:
                return
            try:
                self._connection._raise_ssl_error(self._ssl, result)
            except SSL.Error as error:
                raise self._failed(error) from None
        self.established = True
        if self._verify:
            self.verification = self._verify(self._connection)

    def receive(self, data: bytes) -> bytes:
        """Take ciphertext, give the plaintext that it completes, possibly none."""
        if self._failure:
            raise TlsError(self._failure)
        end = len(data)
        room = end + _RECORD
        buffer, size = _allocate(_CHARS, room), 0
        for start in range(0, end, PIECE):
            if self.closed or self._failure:  # nothing counts after close_notify, or a fault
                break
            piece = data[start : start + PIECE]
            lib.BIO_write(self._into_ssl, piece, len(piece))
            if not self.established:
                self.handshake()
            if self.established:
                size = self._read(buffer, size, room)
        if self._on_data and size:
            self._on_data(self._connection)
            self._on_data = None
        plain: bytes = ffi.unpack(buffer, size)
        return plain

    def _read(self, buffer: Any, size: int, room: int) -> int:
        """Add all plaintext that is complete to the `size` bytes in the buffer, and return how many there are then: one
        read for each record, which the buffer has always room for, until nothing is left to read from.
        """
        ssl, waiting = self._ssl, 1
        while waiting:
            result = lib.SSL_read(ssl, buffer + size, room - size)
            if result <= 0:
                if lib.SSL_get_error(ssl, result) != lib.SSL_ERROR_WANT_READ:
                    self._stopped(result, nothing_read=not size)
                break
            size += result
            waiting = lib.BIO_get_mem_data(self._into_ssl, ffi.NULL)
        return size

    def _stopped(self, result: int, *, nothing_read: bool) -> None:
        """OpenSSL gives nothing more, for one of these reasons."""
        try:
            self._connection._raise_ssl_error(self._ssl, result)
        except SSL.ZeroReturnError:
            self.closed = True
        except SSL.Error as error:
            failure = self._failed(error)
            if nothing_read:
                raise failure from None
            # What was received before the fault is intact, so it comes first and the failure with the next call.

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt plaintext; LocalError before the handshake is done."""
        if self._failure:
            raise TlsError(self._failure)
        if not self.established:
            raise LocalError("plaintext sent into a TLS session that is not established")
        ssl, size, sent = self._ssl, len(data), 0
        start: Any = data if type(data) is bytes and size <= _RECORD else ffi.from_buffer(data)
        while sent < size:  # a record at a time, as pyOpenSSL has it (SSL_MODE_ENABLE_PARTIAL_WRITE)
            result = lib.SSL_write(ssl, start + sent if sent else start, size - sent)
            if result <= 0:
                try:
                    self._connection._raise_ssl_error(ssl, result)
                except SSL.Error as error:
                    raise self._failed(error) from None
            sent += result

    def take(self) -> bytes:
        """All ciphertext that waits to be written, possibly none."""
        size = lib.BIO_get_mem_data(self._from_ssl, ffi.NULL)
        if not size:
            return b""
        buffer = _allocate(_CHARS, size)
        lib.BIO_read(self._from_ssl, buffer, size)
        ciphertext: bytes = ffi.unpack(buffer, size)
        return ciphertext

    def close(self) -> None:
        """End our direction: close_notify is the last that `take` gives. The peer may go on sending."""
        if self.established and not self._failure and not self._connection.get_shutdown() & SSL.SENT_SHUTDOWN:
            self._connection.shutdown()

    def _failed(self, error: SSL.Error) -> TlsError:
        self._failure = explain(error, self.peer, established=self.established)
        failure = TlsError(self._failure)
        failure.distrust = self._failure.startswith(DISTRUST)
        return failure

    @property
    def peer_certificates(self) -> tuple[bytes, ...]:
        """The chain that the peer sent, as DER, its own certificate first; of clients mostly empty."""
        own = self._connection.get_peer_certificate()
        if own is None:
            return ()
        chain = self._connection.get_peer_cert_chain() or []
        if self.peer == "client":  # OpenSSL's chain of a client is without the client's own
            chain.insert(0, own)
        return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate) for certificate in chain)

    def describe(self, connection: Connection) -> None:
        """Write into the record of the connection all that TLS knows of it."""
        ours = self._connection
        sni = ours.get_servername()
        connection.sni = sni.decode("latin-1") if sni else None
        connection.certificate_list = self.peer_certificates
        connection.verification = self.verification
        if self.peer == "server":  # what a client offered stands in its ClientHello
            connection.alpn_offers = self.alpn_offers
        if self.established:
            connection.session_resumed = is_resumed(ours)
            connection.tls_version = ours.get_protocol_version_name()
            connection.cipher = ours.get_cipher_name()
            connection.alpn = ours.get_alpn_proto_negotiated() or None


def is_resumed(connection: SSL.Connection) -> bool:
    """Does an established connection go on with an earlier session? pyOpenSSL has no name for that question."""
    return bool(lib.SSL_session_reused(connection._ssl))
