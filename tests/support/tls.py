"""Both ends of a TLS session in one test, with nothing but bytes between them."""

from __future__ import annotations

from OpenSSL import SSL

from mitmdump.tls.session import Session

from .pki import Identity


def make_server(identity: Identity, *, alpn: bytes | None = None) -> Session:
    """A TLS server with this certificate and chain, however weak its key is; TLS 1.2 and 1.3."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.use_privatekey(identity.key)
    context.use_certificate(identity.chain[0])
    for certificate in identity.chain[1:]:
        context.add_extra_chain_cert(certificate)
    if alpn:
        context.set_alpn_select_callback(
            lambda _connection, offers: alpn if alpn in offers else SSL.NO_OVERLAPPING_PROTOCOLS
        )
    return Session(SSL.Connection(context), "client")


def make_client(
    context: SSL.Context | None = None, *, sni: str | None = "a.test", alpn: tuple[bytes, ...] = ()
) -> Session:
    """A TLS client that trusts every certificate, unless `context` says otherwise."""
    connection = SSL.Connection(context or SSL.Context(SSL.TLS_CLIENT_METHOD))
    if sni:
        connection.set_tlsext_host_name(sni.encode())
    if alpn:
        connection.set_alpn_protos(list(alpn))
    return Session(connection, "server")


def connect(client: Session, server: Session) -> None:
    """Shake hands, until neither end has anything more to say."""
    client.handshake()
    while data := client.take():
        server.receive(data)
        client.receive(server.take())


def transfer(sender: Session, receiver: Session, data: bytes) -> bytes:
    """What arrives at one end of what the other sends."""
    sender.send(data)
    return receiver.receive(sender.take())
