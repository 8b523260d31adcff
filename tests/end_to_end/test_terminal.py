"""What reaches a terminal or a log: nothing that moves a cursor, and no secret."""

from __future__ import annotations

import base64
import unicodedata
from contextlib import closing, suppress
from pathlib import Path

import pytest
from support.clients import ask, connect, curl, get, open_tunnel
from support.program import Start, mitmdump
from support.servers import Peer, Serve, answering, response

# ESC, a C1 control as one byte and as UTF-8, bidirectional override, line separator, DEL, backspace, bell.
HOSTILE = b"\x1b[31m\x1b]0;owned\x07 \x9b31m \xc2\x9b31m \xe2\x80\xae \xe2\x80\xa8 \x7f \x08"
# What of it may be in a field value (RFC 9110 section 5.5).
IN_FIELDS = b"\x9b31m \xc2\x9b31m \xe2\x80\xae \xe2\x80\xa8"


def _check_harmless(text: str) -> None:
    """Only what is printable, line feeds, and nothing that changes the direction of a line."""
    for character in text:
        assert character == "\n" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"), character


@pytest.mark.parametrize("detail", ["1", "2", "3", "4"])
def test_what_peers_send_never_reaches_the_terminal_raw(
    start: Start, serve: Serve, tmp_path: Path, detail: str
) -> None:
    """L1"""
    reason = b"HTTP/1.1 200 \x9b31m\xe2\x80\xae\r\nX: " + IN_FIELDS + b"\r\nContent-Type: text/plain\r\n"
    answer = reason + b"Content-Length: %d\r\n\r\n" % len(HOSTILE) + HOSTILE
    server = serve(answering(answer))
    raw = serve(lambda each: (each.send(HOSTILE), each.read_all()))
    broken = serve(answering(b"HTTP/1.1 \x1b[31m OK\r\n\r\n"))
    with start("-v", "--flow-detail", detail) as proxy:
        proxy.expected.append("")
        for target in (server.url().encode() + b"\xe2\x80\xae\xc2\x9b31m", broken.url().encode(), b"/\x1b[31m"):
            fields = b"Host: 127.0.0.1\r\nUser-Agent: " + IN_FIELDS + b"\r\n"
            with closing(connect(proxy)) as sock, suppress(OSError):
                ask(sock, b"GET " + target + b" HTTP/1.1\r\n" + fields + b"\r\n")
        with closing(open_tunnel(proxy, f"127.0.0.1:{raw.port}")) as sock:
            assert Peer(sock).read(len(HOSTILE)) == HOSTILE
    _check_harmless(proxy.stdout)
    _check_harmless(proxy.stderr)
    assert len(proxy.flows()) == 4
    shown = mitmdump("-nr", proxy.capture, "--flow-detail", detail)
    assert shown.stdout == proxy.stdout
    if detail == "1":
        assert len(shown.stdout.splitlines()) == 7


def test_no_credential_is_in_a_line_of_the_log(start: Start, serve: Serve) -> None:
    """L2"""
    secret = "c3VycHJpc2U"
    password = base64.b64encode(f"user:{secret}".encode()).decode()
    server = serve(answering(response(b"", "401 Unauthorized", f"Set-Cookie: session={secret}")))
    broken = serve(answering(b"nonsense\r\n\r\n"))
    fields = (f"Authorization: Basic {password}", f"Cookie: session={secret}", f"Proxy-Authorization: Basic {password}")
    with start() as proxy:
        for url in (server.url(f"/?token={secret}"), broken.url(f"/?token={secret}"), "http://127.0.0.1:1/"):
            with closing(connect(proxy)) as sock:
                ask(sock, get("127.0.0.1", url, *fields))
        with closing(connect(proxy)) as sock:
            ask(sock, get("127.0.0.1", f"http://user:{secret}@127.0.0.1:1/", *fields))
        curl(proxy, "https://127.0.0.1:1/", "-H", fields[0], "-o", "/dev/null")
    for hidden in (secret, password):
        assert hidden not in proxy.stderr


def test_quiet_says_nothing_and_prints_nothing(start: Start, serve: Serve, tmp_path: Path) -> None:
    server = serve(answering(response(b"hello")))
    with start("-q") as proxy, closing(connect(proxy)) as sock:
        ask(sock, get(f"127.0.0.1:{server.port}", server.url()))
        proxy.stop()
    assert (proxy.stdout, proxy.stderr) == ("", "")
