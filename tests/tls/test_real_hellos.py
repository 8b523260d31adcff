"""T13: what real clients sent first, recorded; as it is, in pieces, and damaged in any way.

To record another: a listener that answers CONNECT, if need be, and keeps the first record that comes after it.
"""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.errors import TlsError
from mitmdump.tls.clienthello import ClientHello, parse_client_hello

RECORDED = json.loads((Path(__file__).parents[1] / "golden" / "client-hellos.json").read_text())
HELLOS = {name: bytes.fromhex(text) for name, text in RECORDED.items()}
HOST = "www.example.com"
H1, H2 = b"http/1.1", b"h2"
TO_1_3, TO_1_2 = (0x0304, 0x0303), (0x0304, 0x0303, 0x0302, 0x0301)

EXPECTED = {
    "chromium": ClientHello(HOST, (H2, H1), TO_1_3),
    "curl": ClientHello(HOST, (H2, H1), TO_1_2),
    "curl-http1.1": ClientHello(HOST, (H1,), TO_1_2),
    "firefox": ClientHello(HOST, (H2, H1), TO_1_3),
    "git": ClientHello(HOST, (H2, H1), TO_1_2),
    "gnutls": ClientHello(HOST, (), TO_1_2),
    "gnutls-no-extensions": ClientHello(None, (), (0x0303,)),
    "go": ClientHello(HOST, (H2, H1), TO_1_3),
    "java": ClientHello(HOST, (H2, H1), TO_1_3),
    "node": ClientHello(HOST, (H2, H1), TO_1_3),
    "openssl-no-name": ClientHello(None, (), TO_1_2),
    "openssl-tls1": ClientHello(HOST, (), (0x0301,)),
    "openssl-tls1.1": ClientHello(HOST, (), (0x0302,)),
    "openssl-tls1.2": ClientHello(HOST, (), (0x0303,)),
    "openssl-tls1.3": ClientHello(HOST, (H1,), (0x0304,)),
    "python": ClientHello(HOST, (), TO_1_3),
    "python2.7": ClientHello(HOST, (), TO_1_2),
}


def in_records(hello: bytes, size: int) -> bytes:
    """The same message in records of this size."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(hello[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


@pytest.mark.parametrize("client", HELLOS)
def test_the_hello_of_a_real_client_is_read_as_it_came_or_in_pieces(client):
    """T13"""
    hello = HELLOS[client]
    assert parse_client_hello(hello) == EXPECTED[client]
    assert parse_client_hello(in_records(hello, 100)) == EXPECTED[client]
    assert [parse_client_hello(hello[:end]) for end in range(len(hello))] == [None] * len(hello)


@pytest.mark.parametrize("client", ["chromium", "firefox"])
def test_the_hello_of_a_browser_does_not_fit_into_a_packet(client):
    """T13: its key share is post-quantum; the other tests are to know such hellos."""
    assert len(HELLOS[client]) > 1460


@settings(max_examples=300)
@given(st.sampled_from(sorted(HELLOS)), st.data())
def test_a_damaged_hello_is_read_or_refused(client, data):
    """T13: bytes are changed, taken out or put in, at some places."""
    hello = bytearray(HELLOS[client])
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(hello) - 1))
        hello[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        parsed = parse_client_hello(bytes(hello))
    except TlsError:
        return
    assert parsed is None or isinstance(parsed, ClientHello)
