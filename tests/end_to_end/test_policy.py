"""Hosts that are not intercepted, or only as bytes, with curl and a server that it knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.clients import curl
from support.program import Start, mitmdump
from support.servers import Nginx


def directly(root_file: Path) -> list[str]:
    """For curl: trust the server's own root, instead of our CA."""
    return ["--cacert", str(root_file)]


@pytest.mark.parametrize("options", [("--ignore-hosts", "^LOCALHOST$"), ("--allow-hosts", r"example\.com")])
def test_an_ignored_host_shows_its_own_certificate_and_is_only_counted(
    start: Start, nginx: Nginx, root_file: Path, options: tuple[str, str]
) -> None:
    content = bytes(range(256)) * 20_000
    path = nginx.put("large.bin", content)
    with start(*options) as proxy:
        assert curl(proxy, *directly(root_file), nginx.https + path).stdout == content
        assert curl(proxy, nginx.http + "/echo").stdout == b"GET /echo \n"
    recorded = "--allow-hosts" not in options and "^LOCALHOST$" in options
    assert [flow.kind for flow in proxy.flows()] == (["http"] if recorded else [])
    assert f", {1 if recorded else 2} passed through" in proxy.stderr


def test_a_tcp_host_is_intercepted_and_recorded_as_bytes(start: Start, nginx: Nginx) -> None:
    with start("--tcp-hosts", "localhost") as proxy:
        assert curl(proxy, nginx.https + "/echo").stdout == b"GET /echo \n"
    flow = proxy.flow()
    assert (flow.kind, flow.client_conn.sni) == ("tcp", "localhost")
    assert b"".join(message.content for message in flow.messages if message.from_client).startswith(b"GET /echo ")


def test_fail_open_passes_a_host_through_once_its_client_has_refused(
    start: Start, nginx: Nginx, root_file: Path
) -> None:
    with start("--fail-open") as proxy:
        proxy.expected += ["localhost is passed through from now on", "passed through, as clients refused .*localhost$"]
        assert curl(proxy, *directly(root_file), nginx.https + "/echo", status=60).stdout == b""
        assert curl(proxy, *directly(root_file), nginx.https + "/echo").stdout == b"GET /echo \n"
    assert "does not trust our certificate" in (proxy.flow().error or "").msg
    assert ", 1 passed through" in proxy.stderr
    assert "passed through, as clients refused our certificate: localhost\n" in proxy.stderr


@pytest.mark.parametrize("option", ["--ignore-hosts", "--allow-hosts", "--tcp-hosts"])
@pytest.mark.parametrize("pattern", ["a(", ""])
def test_a_pattern_that_is_none_is_refused(option: str, pattern: str) -> None:
    done = mitmdump(option, pattern)
    assert done.returncode == 2
    assert done.stderr.startswith(f"mitmdump: {option}: {pattern!r} is ")
