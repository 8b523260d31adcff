"""What a capture does not hold: secrets (--redact), long bodies (--body-limit), or flows at all (--stats)."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from ssl import SSLContext

import pytest
from support.clients import curl
from support.program import Proxy, Start, mitmdump
from support.servers import Peer, Script, Serve, answering, response

from mitmdump.files import open_flows

SECRET = "hunter2+correct/horse"
ENCODED = "hunter2%2Bcorrect%2Fhorse"
# A secret as it is, percent-encoded, JSON-escaped, and in the Base64 of "me:SECRET"; and its beginning, to be sure.
SPELLINGS = [SECRET, ENCODED, "hunter2+correct\\/horse", "bWU6aHVudGVyMitjb3JyZWN0L2hvcnNl", "hunter2"]
RULES = ("--redact", "header:authorization,cookie,query:token,form:password", "--redact", "json:$..password")
ANSWER = gzip.compress(b'{"user": "me", "keys": [{"password": "hunter2+correct\\/horse"}], "n": 1.0}')
FIELDS = ("Content-Type: application/json", "Content-Encoding: gzip", f"Set-Cookie: sid={SECRET}; Path=/")


def _server(heard: list[bytes]) -> Script:
    """A server that knows the secret, and keeps what it hears."""

    def script(peer: Peer) -> None:
        head = peer.read_head()
        heard.append(head + peer.read(int(head.lower().partition(b"content-length: ")[2].split(b"\r")[0])))
        peer.send(response(ANSWER, "200 OK", *FIELDS))

    return script


def _tell(proxy: Proxy, url: str) -> bytes:
    """Send the secret wherever it can stand, and return the answer."""
    options = ["-u", f"me:{SECRET}", "-b", f"sid={SECRET}", "-e", f"{url}?token={ENCODED}", "--compressed"]
    fields = ["-d", f"user=me&password={ENCODED}"]
    return curl(proxy, *options, *fields, f"{url}?a=b&token={ENCODED}").stdout


def _check_nothing_told(data: bytes | str) -> None:
    text = data if isinstance(data, str) else data.decode("latin-1")
    assert "redacted-" in text
    for spelling in SPELLINGS:
        assert spelling not in text


def test_no_secret_is_printed_or_written(start: Start, serve: Serve, tls: SSLContext) -> None:
    heard: list[bytes] = []
    server = serve(_server(heard), tls)
    with start(*RULES, "--flow-detail", "4") as proxy:
        answer = _tell(proxy, server.url("/login", "localhost"))

    assert SECRET.encode() in heard[0]
    assert b"hunter2" in answer
    for told in (proxy.capture.read_bytes(), proxy.stdout, proxy.stderr + "redacted-"):
        _check_nothing_told(told)
    flow = proxy.flow()
    assert flow.request
    assert flow.response
    standin = flow.request.path.partition("token=")[2]
    body = f'{{"user": "me", "keys": [{{"password": "{standin}"}}], "n": 1.0}}'.encode()
    assert (flow.response.raw_content, flow.response.body.complete) == (body, True)
    assert flow.request.raw_content == f"user=me&password={standin}".encode()
    assert flow.request.headers["cookie"] == f"sid={standin}"
    assert flow.response.headers["content-length"] == str(len(body))


def test_a_capture_can_be_cleaned_afterwards(start: Start, serve: Serve, tmp_path: Path) -> None:
    server = serve(_server([]))
    with start() as proxy:
        _tell(proxy, server.url())
    assert b"hunter2" in proxy.capture.read_bytes()
    key, clean, again = tmp_path / "key", tmp_path / "clean.flows", tmp_path / "again.flows"
    key.write_bytes(os.urandom(32))
    key.chmod(0o600)
    for source, target in ((proxy.capture, clean), (clean, again)):
        done = mitmdump("-nr", source, "-w", target, *RULES, "--redact-key", key, f"~hq {ENCODED}|redacted-")
        assert (done.returncode, done.stderr) == (
            0,
            "mitmdump: 1 flows seen, 1 matched, 1 written, 0 failed, 0 dropped\n",
        )
        _check_nothing_told(target.read_bytes())
        _check_nothing_told(done.stdout)
    with open_flows(clean) as once, open_flows(again) as twice:
        assert [flow.request for flow in once] == [flow.request for flow in twice]


def test_filters_see_the_true_flow(start: Start, serve: Serve) -> None:
    server = serve(_server([]))
    with start(*RULES, f"~u token={ENCODED}") as proxy:
        _tell(proxy, server.url())

    assert proxy.counts[1] == 1


@pytest.mark.parametrize("limit", [0, 1000, 100_000])
def test_no_more_than_the_limit_is_stored_of_a_body(start: Start, serve: Serve, limit: int) -> None:
    content = os.urandom(200_000)
    server = serve(answering(response(content)))
    with start("--body-limit", str(limit)) as proxy:
        assert curl(proxy, server.url()).stdout == content

    flow = proxy.flow()
    assert (flow.error, proxy.capture.stat().st_size < limit + 5000) == (None, True)
    assert flow.response
    body = flow.response.body
    assert (body.read() or b"", body.length, body.complete) == (content[:limit], 200_000, True)
    assert body.sha256 == hashlib.sha256(content).digest()


def test_a_capture_can_be_trimmed_afterwards(start: Start, serve: Serve, tmp_path: Path) -> None:
    content = b"x" * 100_000
    server = serve(answering(response(b"short"), response(content)))
    with start() as proxy:
        curl(proxy, server.url("/short"), server.url("/long"))
    trimmed = tmp_path / "trimmed.flows"
    assert mitmdump("-nr", proxy.capture, "-w", trimmed, "--body-limit", "10").returncode == 0

    with open_flows(trimmed) as flows:
        bodies = [flow.response.body for flow in flows if flow.response and not flow.error]
        assert [(body.read(), body.length) for body in bodies] == [(b"short", 5), (b"x" * 10, 100_000)]
    assert bodies[1].sha256 == hashlib.sha256(content).digest()
    shown = mitmdump("-nr", trimmed, "--flow-detail", "3", "~u long").stdout
    assert "(only the first 10 of 100000 bytes)" in shown
    assert [mitmdump("-nr", trimmed, "--flow-detail", "1", f"~bs x{{{size}}}").stdout == "" for size in (10, 11)] == [
        False,
        True,
    ]


def test_numbers_are_printed_instead_of_flows(start: Start, serve: Serve) -> None:
    server = serve(answering(response(b"hello", "200 OK", "Content-Type: text/plain")))
    with start("--stats") as proxy:
        curl(proxy, server.url("/1"), server.url("/2"))
    live = proxy.stdout
    read = mitmdump("-nr", proxy.capture, "--stats", "-q")

    assert (read.returncode, read.stderr) == (0, "")
    assert read.stdout == live
    assert live.startswith("2 flows, 0 failed, 0b up, 10b down\n")
    assert [line.split()[0] for line in live.splitlines() if line.endswith(("127.0.0.1", "200", "text/plain"))] == [
        "2"
    ] * 3


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--redact", "password"), "--redact: 'password' is no kind of secret"),
        (("--redact", "json:$.a["), "    $.a[\n       ^"),
        (("--redact-key", "key"), "give --redact, too"),
        (("--redact", "cookie", "--redact-key", "/none"), "cannot read /none: no such file"),
        (("--body-limit", "lots"), "--body-limit: 'lots' is no size"),
        (("--stats", "-w", "-"), "--stats prints on standard output"),
    ],
)
def test_what_makes_no_sense_is_refused(options: tuple[str, ...], complaint: str, tmp_path: Path) -> None:
    (tmp_path / "in.flows").touch()

    done = mitmdump("-nr", tmp_path / "in.flows", "-w", tmp_path / "out.flows", *options)

    assert (done.returncode, done.stdout, complaint in done.stderr) == (2, "", True)
    assert not (tmp_path / "out.flows").exists()
