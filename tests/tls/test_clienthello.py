"""T13: whatever a client sends first is read right, or refused cleanly."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tls import make_client

from mitmdump.errors import TlsError
from mitmdump.tls.clienthello import LIMIT, ClientHello, parse_client_hello, starts_like_tls

GREASE = 0x7A7A


def vector(size: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + vector(2, data)


def server_name(name: bytes) -> bytes:
    return extension(0, vector(2, b"\x00", vector(2, name)))


def alpn(*protocols: bytes) -> bytes:
    return extension(16, vector(2, *(vector(1, each) for each in protocols)))


def versions(*numbers: int) -> bytes:
    return extension(43, vector(1, *(each.to_bytes(2, "big") for each in numbers)))


def hello(*extensions: bytes, bare: bool = False) -> bytes:
    """A ClientHello message without record headers."""
    body = b"\x03\x03" + bytes(32) + vector(1, bytes(32)) + vector(2, b"\x13\x01") + vector(1, b"\0")
    return b"\x01" + vector(3, body if bare else body + vector(2, *extensions))


def records(message: bytes, size: int = 16384) -> bytes:
    """The message in records of `size` bytes each."""
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + vector(2, piece) for piece in pieces)


FULL = hello(server_name(b"a.test"), alpn(b"h2", b"http/1.1"), versions(0x0304, 0x0303))
FULL_PARSED = ClientHello("a.test", (b"h2", b"http/1.1"), (0x0304, 0x0303))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 100, 16384])
def test_a_hello_may_be_spread_over_records_of_any_size(size):
    assert parse_client_hello(records(FULL, size)) == FULL_PARSED


@pytest.mark.parametrize("size", [1, 7, 16384])
def test_a_hello_is_incomplete_up_to_its_last_byte(size):
    data = records(FULL, size)
    assert [parse_client_hello(data[:end]) for end in range(len(data))] == [None] * len(data)


def test_what_follows_the_hello_is_left_alone():
    assert parse_client_hello(records(FULL + b"\x02more") + b"\x17\x03\x03") == FULL_PARSED


def test_a_hello_without_extensions_has_its_legacy_version_only():
    assert parse_client_hello(records(hello(bare=True))) == ClientHello(None, (), (0x0303,))


def test_grease_and_unknown_extensions_are_stepped_over():
    ech = extension(0xFE0D, bytes(200))
    data = hello(
        extension(GREASE, b""), ech, alpn(b"\x6a\x6a", b"h2"), versions(GREASE, 0x0304), extension(0x5A5A, b"\0")
    )
    assert parse_client_hello(records(data)) == ClientHello(None, (b"h2",), (0x0304,))


def test_a_hello_larger_than_a_packet_is_read():
    key_share = extension(51, bytes(9000))
    assert parse_client_hello(records(hello(key_share, server_name(b"a.test")))).sni == "a.test"


def test_the_hello_of_openssl_is_read():
    client = make_client(sni="www.example.com", alpn=(b"h2", b"http/1.1"))
    client.handshake()
    parsed = parse_client_hello(client.take())
    assert (parsed.sni, parsed.alpn, parsed.versions[0]) == ("www.example.com", (b"h2", b"http/1.1"), 0x0304)


@pytest.mark.parametrize("name", [b"a", b"a.test", b"A.Test", b"xn--bcher-kva.test", b"_x.a-b.test", b"a.test."])
def test_a_name_in_dns_is_kept_as_sent(name):
    assert parse_client_hello(records(hello(server_name(name)))).sni == name.decode()


@pytest.mark.parametrize(
    "name",
    [
        b"",
        b".",
        b"a..b",
        b"a\0.test",
        b"b\xfccher.test",
        b"a b",
        b"127.0.0.1",
        b"1.2.3.4.",
        b"::1",
        b"[::1]",
        b"*.a.test",
        b"a\n",
        b"a.test\x1b[2J",
        b"a" * 64 + b".test",
        b"a." * 127 + b"test",
    ],
)
def test_a_server_name_that_is_no_dns_name_is_none(name):
    assert parse_client_hello(records(hello(server_name(name)))).sni is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", "not a TLS handshake"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "not a TLS handshake"),
        (records(b"\x02" + FULL[1:]), "type 2 instead of a ClientHello"),
        (b"\x16\x03\x01\x00\x00", "empty record"),
        (records(FULL[:9]) + b"\x17\x03\x03\x00\x01x", "not a TLS handshake"),
        (records(b"\x01\x00\x80\x00"), "32772 bytes, more than"),
        (records(b"\x01" + vector(3, b"\x03\x03")), "longer than what holds it"),
        (records(hello(alpn(b"h2"), alpn(b"h3"))), "two extensions of type 16"),
        (records(hello(extension(0, b"\x00\x09"))), "longer than what holds it"),
        (records(hello(extension(43, b""))), "longer than what holds it"),
        (records(b"\x01" + vector(3, FULL[4:] + b"x")), "bytes after its extensions"),
    ],
)
def test_what_is_no_hello_is_refused_with_its_reason(data, reason):
    with pytest.raises(TlsError, match=reason):
        parse_client_hello(data)


def test_a_hello_that_does_not_end_is_given_up():
    data = records(hello(extension(51, bytes(LIMIT - 100))), 1)
    assert parse_client_hello(data[: LIMIT - 1]) is None
    with pytest.raises(TlsError, match="no end"):
        parse_client_hello(data[:LIMIT])


@pytest.mark.parametrize(
    ("data", "answer"),
    [(b"", None), (b"\x16", None), (b"\x16\x03", True), (b"\x16\x03\x01\0", True), (b"\x16\x02", False), (b"G", False)],
)
def test_tls_is_known_by_its_first_two_bytes(data, answer):
    assert starts_like_tls(data) is answer


@settings(max_examples=200)
@given(st.binary(max_size=300), st.integers(1, 300))
def test_any_bytes_give_a_hello_or_nothing_or_a_tls_error(noise, at):
    for data in (noise, records(noise), records(FULL[:at] + noise), records(b"\x01" + vector(3, noise))):
        try:
            parsed = parse_client_hello(data)
        except TlsError:
            continue
        assert parsed is None or isinstance(parsed, ClientHello)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 40), min_size=1))
def test_any_fragmentation_gives_the_same_hello(sizes):
    data, rest = b"", FULL
    for size in sizes:
        data, rest = data + records(rest[:size]), rest[size:]
    assert parse_client_hello(data + records(rest)) == FULL_PARSED
