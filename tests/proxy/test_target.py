"""Where a request goes."""

import pytest

from mitmdump.errors import RemoteError
from mitmdump.proxy.target import Origin, Target, connect_target, proxy_target, server_target, with_host
from mitmdump.wire.events import RequestHead

HOST = (b"Host", b"a.test")


def head(
    target: bytes, *fields: tuple[bytes, bytes], method: bytes = b"GET", version: bytes = b"HTTP/1.1"
) -> RequestHead:
    return RequestHead(method, target, list(fields or (HOST,)), version)


@pytest.mark.parametrize(
    ("target", "origin", "path", "authority"),
    [
        (b"http://a.test/x?y", ("http", "a.test", 80), b"/x?y", "a.test"),
        (b"HTTP://A.test:8080", ("http", "A.test", 8080), b"/", "A.test:8080"),
        (b"http://a.test:/", ("http", "a.test", 80), b"/", "a.test:"),
        (b"http://a.test?x=/", ("http", "a.test", 80), b"/?x=/", "a.test"),
        (b"https://[::1]:8443//x", ("https", "::1", 8443), b"//x", "[::1]:8443"),
        (b"https://a_b.test/%0d%0a", ("https", "a_b.test", 443), b"/%0d%0a", "a_b.test"),
        (b"http://a.test/http://b.test/@?@", ("http", "a.test", 80), b"/http://b.test/@?@", "a.test"),
        (b"http://a.test/\xff", ("http", "a.test", 80), b"/\xff", "a.test"),
    ],
)
def test_a_proxys_target_is_a_url(target, origin, path, authority):
    assert proxy_target(head(target)) == Target(Origin(*origin), path, authority)


@pytest.mark.parametrize(
    ("target", "method", "path"),
    [(b"http://a.test", b"OPTIONS", b"*"), (b"http://a.test/", b"OPTIONS", b"/"), (b"http://a.test", b"GET", b"/")],
)
def test_options_without_a_path_asks_the_server_as_a_whole(target, method, path):
    """RFC 9112 section 3.2.4"""
    assert proxy_target(head(target, method=method)).path == path


INSIDE = Origin("https", "a.test", 443)


@pytest.mark.parametrize(
    ("target", "method", "path", "authority"),
    [
        (b"/x?y", b"GET", b"/x?y", ""),
        (b"//b.test/x", b"GET", b"//b.test/x", ""),
        (b"*", b"OPTIONS", b"*", ""),
        (b"https://b.test/x", b"GET", b"/x", "b.test"),
    ],
)
def test_inside_a_tunnel_all_goes_to_its_server(target, method, path, authority):
    assert server_target(head(target, method=method), INSIDE) == Target(INSIDE, path, authority)


@pytest.mark.parametrize(
    "target", [b"*", b"http://a.test/", b"a.test:443", b"x", b"?x", b"https://", b"https://u@a.test/"]
)
def test_inside_a_tunnel_nothing_else_is_a_target(target):
    with pytest.raises(RemoteError):
        server_target(head(target), INSIDE)


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [(b"a.test:443", "a.test", 443), (b"[::1]:1", "::1", 1), (b"127.0.0.1:65535", "127.0.0.1", 65535)],
)
def test_connect_names_a_host_and_a_port(target, host, port):
    """H21"""
    assert connect_target(head(target, method=b"CONNECT")) == Origin("https", host, port)


@pytest.mark.parametrize(
    "target",
    [
        b"a.test",
        b"a.test:",
        b":443",
        b"[]:443",
        b"[::1]",
        b"::1:443",
        b"[::1%25lo]:443",
        b"a.test:0",
        b"a.test:65536",
        b"a.test:-1",
        b"a.test:+1",
        b"a.test:4_4",
        b"a.test:443/",
        b"a.test:443#",
        b"u@a.test:443",
        b"u:p@a.test:443",
        b"/",
        b"*",
        b"a b:1",
        b"a\\b:1",
        "a.test:\u0664".encode(),
        b"[1.2.3.4]:80",
        b"a.test:443,b.test:443",
        b"a%00:443",
    ],
)
def test_connect_takes_nothing_else(target):
    """H21"""
    with pytest.raises(RemoteError) as caught:
        connect_target(head(target, method=b"CONNECT"))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "hosts",
    [
        [b"a.test", b"a.test"],
        [b"a.test", b"b.test"],
        [b""],
        [b"a.test/"],
        [b"http://a.test"],
        [b"a.test,b.test:80:80"],
        [b"a.test:x"],
        [b"u@a.test"],
        [b"a\xff"],
        [b"a b"],
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_a_host_is_one_host(hosts, version):
    """H12"""
    with pytest.raises(RemoteError) as caught:
        proxy_target(head(b"http://a.test/", *((b"hOST", host) for host in hosts), version=version))
    assert caught.value.status == 400


def test_only_http_1_0_goes_without_host():
    """H12"""
    assert proxy_target(head(b"http://a.test/", (b"X", b"y"), version=b"HTTP/1.0"))
    with pytest.raises(RemoteError, match="no Host"):
        proxy_target(head(b"http://a.test/", (b"X", b"y")))


def test_host_is_set_where_it_stood_in_its_spelling_or_first():
    """H10"""
    a, b = (b"A", b"1"), (b"B", b"2")
    assert with_host([a, (b"hOST", b"x"), b], "a.test") == [a, (b"hOST", b"a.test"), b]
    assert with_host([a, b], "a.test") == [(b"Host", b"a.test"), a, b]
