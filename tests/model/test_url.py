"""Authorities and URLs: what two programs could read differently is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.model.url import join_host_port, split_absolute, split_host_port, unparse

TAKEN = {
    "example.com": ("example.com", 80),
    "example.com:8080": ("example.com", 8080),
    "example.com:": ("example.com", 80),
    "example.com:00443": ("example.com", 443),
    "example.com:65535": ("example.com", 65535),
    "a_b.example": ("a_b.example", 80),
    "EXAMPLE.com.": ("EXAMPLE.com.", 80),
    "127.0.0.1:1": ("127.0.0.1", 1),
    "xn--bcher-kva.example": ("xn--bcher-kva.example", 80),
    "[::1]": ("::1", 80),
    "[::1]:": ("::1", 80),
    "[2001:DB8::1]:443": ("2001:DB8::1", 443),
    "[::ffff:127.0.0.1]:443": ("::ffff:127.0.0.1", 443),
}

REFUSED = {
    "": "an empty host",
    ":80": "an empty host",
    "user@example.com": "userinfo",
    "user:password@example.com:80": "userinfo",
    "good.example@evil.example": "userinfo",
    "[user@::1]": "userinfo",
    "example.com:0": "a port",
    "example.com:65536": "a port",
    "example.com:123456": "a port",
    "example.com:+80": "a port",
    "example.com:-1": "a port",
    "example.com:8_0": "a port",
    "example.com: 80": "a port",
    "example.com:80 ": "a port",
    "example.com:80\n": "a port",
    "example.com:\u0668\u0660": "a port",
    "example.com:80:80": "a port",
    "example.com/path": "a character",
    "example.com?query": "a character",
    "example.com#fragment": "a character",
    "example%2ecom": "a character",
    "exa mple.com": "a character",
    "example.com\n": "a character",
    "example.com\0": "a character",
    "example.com\\.evil.example": "a character",
    "b\u00fccher.example": "a character",
    "b\udcfccher.example": "a character",
    "a" * 256: "a character",
    "::1": "an empty host",
    "fe80::1": "a port",
    "[::1": "brackets that do not close",
    "[::1]80": "brackets that do not close",
    "[::1].example.com": "brackets that do not close",
    "[]": "brackets around",
    "[example.com]": "brackets around",
    "[127.0.0.1]": "brackets around",
    "[v1.a:b]": "brackets around",
    "[fe80::1%eth0]": "brackets around",
    "[fe80::1%25eth0]": "brackets around",
    "[::1%\r\nX: y]": "brackets around",
    "[::1]:99999": "a port",
}


@pytest.mark.parametrize("authority", TAKEN)
def test_an_authority_is_taken_apart(authority):
    assert split_host_port(authority, 80) == TAKEN[authority]


@pytest.mark.parametrize("authority", REFUSED)
def test_what_is_no_authority_is_refused_with_its_reason(authority):
    """H21"""
    with pytest.raises(ValueError, match=REFUSED[authority]):
        split_host_port(authority, 80)


@pytest.mark.parametrize("authority", ["example.com", "example.com:", "[::1]"])
def test_without_a_default_the_port_must_be_there(authority):
    """H21"""
    with pytest.raises(ValueError, match="no port"):
        split_host_port(authority, None)


@given(st.text(max_size=12))
def test_whatever_stands_in_an_authority_it_is_taken_or_a_value_error(authority):
    try:
        host, port = split_host_port(authority, 443)
    except ValueError:
        return
    assert host.isascii()
    assert 0 < port < 65536


@given(
    st.ip_addresses().map(str) | st.from_regex(r"[a-z0-9._-]{1,20}", fullmatch=True),
    st.integers(1, 65535),
    st.sampled_from(["", "http", "https"]),
)
def test_a_joined_authority_comes_apart_into_the_same(host, port, scheme):
    default = {"http": 80, "https": 443}.get(scheme)

    assert split_host_port(join_host_port(host, port, scheme), default) == (host, port)


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("http://example.com", ("http", "example.com", "/")),
        ("HTTP://example.com/", ("http", "example.com", "/")),
        ("https://example.com:8443/a/b?c=d", ("https", "example.com:8443", "/a/b?c=d")),
        ("http://example.com?a=b", ("http", "example.com", "/?a=b")),
        ("http://example.com?a=/b", ("http", "example.com", "/?a=/b")),
        ("http://[::1]:80//a", ("http", "[::1]:80", "//a")),
        ("http://user@example.com/", ("http", "user@example.com", "/")),
        ("http:///path", ("http", "", "/path")),
        ("http://a/http://b", ("http", "a", "/http://b")),
        ("http://a/\udcff", ("http", "a", "/\udcff")),
    ],
)
def test_an_absolute_target_is_taken_apart(target, parts):
    assert split_absolute(target) == parts


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/path", "no scheme"),
        ("*", "no scheme"),
        ("", "no scheme"),
        ("example.com:443", "no scheme"),
        ("http:/example.com", "no scheme"),
        ("://example.com/", "no scheme"),
        ("/x?u=http://example.com/", "no scheme"),
        (" http://example.com/", "no scheme"),
        ("h\u00fcttp://example.com/", "no scheme"),
        ("http://example.com/#top", "a fragment"),
        ("http://example.com#@evil.example/", "a fragment"),
    ],
)
def test_a_target_without_a_scheme_or_with_a_fragment_is_refused(target, reason):
    with pytest.raises(ValueError, match=reason):
        split_absolute(target)


@pytest.mark.parametrize(
    ("parts", "joined"),
    [
        (("example.com", 80, ""), "example.com:80"),
        (("example.com", 80, "http"), "example.com"),
        (("example.com", 80, "https"), "example.com:80"),
        (("::1", 443, "https"), "[::1]"),
        (("::1", 8443, "https"), "[::1]:8443"),
    ],
)
def test_host_and_port_are_joined_as_a_person_would_type_them(parts, joined):
    assert join_host_port(*parts) == joined


@pytest.mark.parametrize(
    ("parts", "url"),
    [
        (("http", "example.com", "/a?b"), "http://example.com/a?b"),
        (("http", "example.com:80", "/"), "http://example.com/"),
        (("http", "example.com:", "/"), "http://example.com/"),
        (("http", "example.com:443", "/"), "http://example.com:443/"),
        (("https", "example.com:443", "/"), "https://example.com/"),
        (("http", "[::1]:80", "/"), "http://[::1]/"),
        (("http", "[::80]", "/"), "http://[::80]/"),
        (("http", "::1:80", "/"), "http://::1:80/"),
        (("http", "example.com", "*"), "http://example.com"),
        (("http", "example.com", "?a=b"), "http://example.com/?a=b"),
        (("", "host:None", "/"), "://host:None/"),
    ],
)
def test_a_url_leaves_out_what_goes_without_saying(parts, url):
    assert unparse(*parts) == url


@given(
    st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    st.from_regex(r"[a-z0-9.]{1,12}", fullmatch=True),
    st.from_regex(r"/[a-z0-9/?=&]{0,12}", fullmatch=True),
)
def test_a_url_comes_apart_into_what_it_was_made_of(scheme, authority, path):
    assert split_absolute(unparse(scheme, authority, path)) == (scheme, authority, path)
