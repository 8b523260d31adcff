"""A real browser: headless Chromium, with our CA in its certificate store and everything verified as it always does."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from ssl import SSLContext

import pytest
from support.browser import open_page
from support.program import Start
from support.servers import Nginx, Peer, Serve, response
from support.tools import run

# Firefox has no options for these; nobody outside is to be asked for anything.
_FIREFOX = {
    "network.proxy.type": "1",
    "network.proxy.ssl": '"127.0.0.1"',
    "network.proxy.http": '"127.0.0.1"',
    "network.proxy.allow_hijacking_localhost": "true",
    "network.captive-portal-service.enabled": "false",
    "network.connectivity-service.enabled": "false",
    "datareporting.policy.dataSubmissionEnabled": "false",
    "app.normandy.enabled": "false",
    "browser.safebrowsing.malware.enabled": "false",
    "browser.safebrowsing.phishing.enabled": "false",
    "services.settings.server": '"http://127.0.0.1:9/"',
}


PAGE = b"""<!DOCTYPE html>
<html><head><title>page</title><link rel="stylesheet" href="style.css"></head>
<body><p id="style"></p><p id="script"></p><p id="post"></p><p id="size"></p><img id="image" src="image.svg">
<script src="script.js"></script></body></html>
"""
STYLE = b"#style { width: 123px }\n"
SCRIPT = b"""
const show = (id, text) => { document.getElementById(id).textContent = text };
show("script", "ran");
window.onload = () => {
    show("style", getComputedStyle(document.getElementById("style")).width);
    show("size", document.getElementById("image").naturalWidth);
};
fetch("/echo", {method: "POST", headers: {"X-Test": "from-fetch"}, body: JSON.stringify({large: "x".repeat(300000)})})
    .then(answer => answer.text()).then(text => show("post", text.trim()));
"""
IMAGE = b'<svg xmlns="http://www.w3.org/2000/svg" width="77" height="7"></svg>'


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_chromium_shows_a_page_with_all_that_belongs_to_it(
    start: Start, nginx: Nginx, browser_home: Path, scheme: str
) -> None:
    """T5"""
    for name, content in {"index.html": PAGE, "style.css": STYLE, "script.js": SCRIPT, "image.svg": IMAGE}.items():
        nginx.put(f"site/{name}", content)
    base = getattr(nginx, scheme)
    with start() as proxy:
        page = open_page(proxy, base + "/site/index.html", browser_home)
    shown = {"style": "123px", "script": "ran", "post": "POST /echo from-fetch", "size": "77"}
    for name, text in shown.items():
        assert f'<p id="{name}">{text}</p>' in page
    flows = [flow for flow in proxy.flows() if flow.request and flow.request.url.startswith(base)]
    contents = {flow.request.path: flow for flow in flows if flow.request}
    for path, content in {"/site/index.html": PAGE, "/site/style.css": STYLE, "/site/script.js": SCRIPT}.items():
        answer = contents[path].response
        assert answer and answer.content == content
    post = contents["/echo"].request
    assert post and post.body.length > 300_000
    assert post.headers["user-agent"].startswith("Mozilla/5.0")
    if scheme == "https":
        assert contents["/echo"].client_conn.tls_version == "TLSv1.3"
        assert b"h2" in contents["/echo"].client_conn.alpn_offers
        assert {flow.server_conn.verification for flow in flows if flow.server_conn} == {"ok"}


def test_firefox_asks_through_us_and_trusts_our_ca(start: Start, nginx: Nginx, confdir: Path, tmp_path: Path) -> None:
    """T5, T13: another TLS stack than Chromium's, with a store of certificates of its own."""
    nginx.put("firefox.html", b"<p>for Firefox</p>")
    profile = tmp_path / "profile"
    profile.mkdir()
    run("certutil", "-d", f"sql:{profile}", "-N", "--empty-password")
    ca = confdir / "mitmdump-ca-cert.pem"
    run("certutil", "-d", f"sql:{profile}", "-A", "-t", "C,,", "-n", "mitmdump", "-i", ca)
    url = nginx.https + "/firefox.html"
    with start() as proxy:
        settings = {**_FIREFOX, "network.proxy.ssl_port": str(proxy.port), "network.proxy.http_port": str(proxy.port)}
        lines = [f'user_pref("{name}", {value});' for name, value in settings.items()]
        (profile / "user.js").write_text("\n".join(lines))
        options = ("--headless", "--no-remote", "--profile", profile, "--screenshot", tmp_path / "page.png", url)
        run("firefox-esr", *options, seconds=90, HOME=str(tmp_path))
    (flow,) = (flow for flow in proxy.flows() if flow.request and flow.request.url == url)
    assert flow.response and flow.response.status_code == 200
    assert flow.client_conn.tls_version == "TLSv1.3"
    assert b"h2" in flow.client_conn.alpn_offers


def test_chromium_does_not_accept_us_without_our_ca(start: Start, nginx: Nginx, tmp_path: Path) -> None:
    """The counterpart, so that the other tests prove something."""
    nginx.put("secret.html", b"<p>shown</p>")
    with start() as proxy:
        proxy.expected.append("the client does not trust our certificate")
        page = open_page(proxy, nginx.https + "/secret.html", tmp_path)
    assert "<p>shown</p>" not in page
    assert not [flow for flow in proxy.flows() if flow.request and flow.request.path == "/secret.html"]


def test_chromium_reads_server_sent_events_and_a_large_streamed_body(
    start: Start, serve: Serve, tls: SSLContext, browser_home: Path
) -> None:
    large = os.urandom(1_000_000).hex().encode()
    page = b"""<p id="events"></p><p id="digest"></p><script>
        const source = new EventSource("/events");
        source.onmessage = event => { document.getElementById("events").textContent += event.data;
                                      if (event.data == "c") source.close() };
        fetch("/large").then(answer => answer.arrayBuffer()).then(data => crypto.subtle.digest("SHA-256", data))
            .then(digest => { document.getElementById("digest").textContent =
                [...new Uint8Array(digest)].map(byte => byte.toString(16).padStart(2, "0")).join("") });
        </script>"""

    def script(server: Peer) -> None:
        while head := server.read_head():
            path = head.split()[1]
            if path == b"/events":
                server.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                server.send(b"data: a\n\ndata: b\n\n")
                server.send(b"data: c\n\n")
                return
            if path == b"/large":
                server.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                for at in range(0, len(large), 10_000):
                    server.send(b"2710\r\n" + large[at : at + 10_000] + b"\r\n")
                server.send(b"0\r\n\r\n")
                continue
            server.send(response(page if path == b"/" else b"", "200 OK", "Content-Type: text/html"))

    server = serve(script, tls)
    with start() as proxy:
        shown = open_page(proxy, server.url(host="localhost"), browser_home)
    assert '<p id="events">abc</p>' in shown
    assert f'<p id="digest">{hashlib.sha256(large).hexdigest()}</p>' in shown
    streamed = [flow.response for flow in proxy.flows() if flow.request and flow.request.path == "/large"]
    assert [each.raw_content for each in streamed if each] == [large]
