"""http://mitm.it/, with curl and in a browser."""

from __future__ import annotations

import struct
from pathlib import Path

from support.browser import FLAGS
from support.clients import ask, check_page, curl, get, open_tls
from support.program import Start
from support.servers import Nginx
from support.tools import run


def test_a_client_gets_the_ca_with_curl_and_can_then_trust_us(start: Start, tmp_path: Path) -> None:
    with start("--upstream-ca", tmp_path) as proxy:
        file = tmp_path / "ca.pem"
        curl(proxy, "--cacert", "/nonexistent", "http://mitm.it/cert/pem", "-o", file)
        page = curl(proxy, "--cacert", file, "https://mitm.it/")
    assert b"<h1>mitmdump: trust this proxy</h1>" in page.stdout
    assert file.read_bytes() == proxy.ca.read_bytes()
    urls = [flow.request.url for flow in proxy.flows() if flow.request]
    assert urls == ["http://mitm.it/cert/pem", "https://mitm.it/"]


def test_without_onboarding_it_is_a_host_like_any_other(start: Start, nginx: Nginx) -> None:
    with start("--no-onboarding") as proxy, open_tls(proxy, f"127.0.0.1:{nginx.https_port}", "mitm.it") as sock:
        answer, page = ask(sock, get("mitm.it"))
    check_page(answer, page, "hostname mismatch")


def test_chromium_shows_the_page_on_a_screen_of_a_phone(start: Start, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    with start() as proxy:
        proxy.expected.append("the client does not trust our certificate")  # it tries https first
        options = [*FLAGS, f"--proxy-server={proxy.url}", f"--user-data-dir={tmp_path / 'profile'}"]
        shown = run("chromium", *options, "--dump-dom", "http://mitm.it/", seconds=90, HOME=str(tmp_path))
        size = ("--window-size=500,900", f"--screenshot={picture}")
        run("chromium", *options, *size, "http://mitm.it/", seconds=90, HOME=str(tmp_path))
    page = shown.stdout.decode()
    assert '<a href="/cert/mobileconfig">iPhone, iPad, Mac' in page
    assert page.count("<summary>") == 9
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (500, 900)
