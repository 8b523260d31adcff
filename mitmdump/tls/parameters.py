"""What may be negotiated on one side: TLS versions and cipher suites. Every context is made here."""

from __future__ import annotations

from dataclasses import dataclass

from OpenSSL import SSL

from ..errors import SettingsError

VERSIONS = {"1.0": SSL.TLS1_VERSION, "1.1": SSL.TLS1_1_VERSION, "1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}

# What CPython's ssl module has offered by default since 3.10, in both directions: forward secrecy always, AEAD first,
# CBC with SHA-2 for what was sane in 2012; keys of 112 bits of security and more. TLS 1.3 suites are OpenSSL's own.
CIPHERS = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"

# TLS 1.0 and 1.1 know no hash but SHA-1 (and MD5, in signatures), which OpenSSL allows at its lowest level only.
_OLD_LEVEL = "@SECLEVEL=0:"
OLD_CIPHERS = _OLD_LEVEL + "ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!AESCCM"


@dataclass(frozen=True, slots=True)
class Parameters:
    """Versions and suites of one side. `ciphers`: an OpenSSL cipher list, in which suites of TLS 1.3 may stand by
    name; "" for ours. Raises SettingsError where that leaves no version.
    """

    minimum: str = "1.2"
    maximum: str = "1.3"
    ciphers: str = ""

    def __post_init__(self) -> None:
        if self.minimum > self.maximum:
            raise SettingsError(
                f"--tls-min {self.minimum} is above --tls-max {self.maximum}, which leaves no version of TLS"
            )

    def make_context(self, method: int) -> SSL.Context:
        """A context: no renegotiation, no memory for idle connections, no store of sessions (who wants to resume one
        keeps it, in a ticket or here). Raises SettingsError.
        """
        context = SSL.Context(method)
        context.set_min_proto_version(VERSIONS[self.minimum])
        context.set_max_proto_version(VERSIONS[self.maximum])
        self._set_ciphers(context)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        return context

    def _set_ciphers(self, context: SSL.Context) -> None:
        """OpenSSL has one list for TLS 1.3 and another for all before it; to users they are one."""
        words = self.ciphers.split(":") if self.ciphers else []
        new = [word for word in words if word.startswith("TLS_")]
        old = ":".join(word for word in words if word not in new)
        is_old = self.minimum < "1.2"
        if not old:
            old = OLD_CIPHERS if is_old else CIPHERS
        elif "@SECLEVEL" not in old:
            old = (_OLD_LEVEL if is_old else "@SECLEVEL=2:") + old
        try:
            context.set_cipher_list(old.encode())
            if new:
                context.set_tls13_ciphersuites(":".join(new).encode())
        except (SSL.Error, UnicodeError):
            raise SettingsError(f"--ciphers: OpenSSL knows no cipher suites by {self.ciphers!r}") from None
