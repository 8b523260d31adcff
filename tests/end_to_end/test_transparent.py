"""Transparent mode with real packet filters, between machines of a network of their own (`support.network`).

The rules are those that the program prints.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from docutils.core import publish_doctree
from docutils.nodes import literal_block
from support.far_server import GREETING
from support.network import CLIENT, ROUTER, ROUTER_OUT, SERVER, Host, Network
from support.pki import Identity
from support.program import PROGRAM, Proxy, Start, mitmdump, statuses
from support.tools import run

from mitmdump.model.url import join_host_port

README = Path(__file__).parents[2] / "README.rst"
PORT = 8080
KINDS = ["nft", "iptables", "nft,tproxy", "iptables,tproxy"]
FAMILIES = [4, 6]
DIRECT = "itself, where mitmdump takes redirected ones only"
CIRCLE = "own connections back to it, as this one to"


@pytest.fixture(scope="module")
def network(intermediate: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    identity = intermediate.issue("far.test", *SERVER.values())
    machines = Network(*identity.write(tmp_path_factory.mktemp("far")))
    try:
        machines.wait_for_routes()
        yield machines
    finally:
        machines.close()


@pytest.fixture
def router(network: Network) -> Iterator[Host]:
    """The machine of the proxy, with no rules."""
    yield network.router
    network.router.run("nft", "flush", "ruleset")


def printed(host: Host, wanted: str, *options: str) -> str:
    """The rules that the program prints there."""
    return host.run(PROGRAM, "--print-rules", wanted, *options)


def curl(host: Host, url: str, proxy: Proxy, *options: str, status: int | None = 0) -> str:
    """What a client on a machine gets, which knows of no proxy, but trusts its CA and nothing else."""
    ours = ["curl", "-q", "-sS", "--max-time", "30", "--noproxy", "*", "--cacert", str(proxy.ca)]
    return host.run(*ours, *options, url, status=status)


@pytest.mark.parametrize("wanted", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_connections_that_rules_send_to_the_proxy_are_recorded(start: Start, network, router, wanted, family) -> None:
    """T15"""
    router.run_rules(printed(router, wanted))
    far, named = join_host_port(SERVER[family], 443), f"far.test:443:{SERVER[family]}"
    try:
        with start("-T", "-p", str(PORT), within=router.command) as proxy:
            plain = curl(network.client, f"http://{far.removesuffix(':443')}/plain", proxy, "-H", "Host: other.test")
            inside = curl(network.client, "https://far.test/inside", proxy, "--resolve", named)
            address = curl(network.client, f"https://{far}/address", proxy)
    finally:
        router.run_rules(printed(router, f"{wanted},undo"))
    answers = [f"GET /{path} HTTP/1.1 from {ROUTER_OUT[family]}" for path in ("plain", "inside", "address")]
    assert [plain, inside, address] == answers
    flows = proxy.flows()
    assert [flow.request.url for flow in flows] == [
        "http://other.test/plain",
        "https://far.test/inside",
        f"https://{far.removesuffix(':443')}/address",
    ]
    assert {flow.request.host for flow in flows} == {SERVER[family]}
    assert [flow.client_conn.sni for flow in flows] == [None, "far.test", None]
    assert {flow.client_conn.peername[0] for flow in flows} == {CLIENT[family]}
    assert [flow.server_conn.verification for flow in flows] == [None, "ok", "ok"]


@pytest.mark.parametrize("wanted", KINDS)
def test_rules_that_are_undone_leave_nothing_behind(network, router, wanted) -> None:
    router.run_rules(printed(router, wanted))
    assert router.rules()
    router.run_rules(printed(router, f"{wanted},undo"))
    assert router.rules() == ""
    far = network.client.run("curl", "-q", "-sS", "--max-time", "30", f"http://{SERVER[4]}/")
    assert far == f"GET / HTTP/1.1 from {CLIENT[4]}"


def test_rules_for_nft_can_be_loaded_twice(router) -> None:
    router.run_rules(printed(router, "nft"))
    once = router.rules()
    router.run_rules(printed(router, "nft"))
    assert router.rules() == once


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("wanted", ["nft", "iptables"])
def test_what_begins_on_the_proxys_machine_is_caught_but_for_its_own(start, router, wanted, family) -> None:
    router.run_rules(printed(router, wanted, "--mark", "0x17"))
    far = join_host_port(SERVER[family], 80, "http")
    with start("-T", "-p", str(PORT), "--mark", "0x17", within=router.command) as proxy:
        assert curl(router, f"http://{far}/own", proxy) == f"GET /own HTTP/1.1 from {ROUTER_OUT[family]}"
    router.run_rules(printed(router, f"{wanted},undo", "--mark", "0x17"))
    assert proxy.flow().request.url == f"http://{far}/own"


def test_without_a_mark_the_user_of_the_proxy_is_left_out(start, router) -> None:
    router.run_rules(printed(router, "iptables"))
    with start("-T", "-p", str(PORT), within=router.command) as proxy:
        assert curl(router, f"http://{SERVER[4]}/own", proxy) == f"GET /own HTTP/1.1 from {ROUTER_OUT[4]}"
    assert proxy.flows() == []


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_our_own_connections_sent_back_to_us_are_refused_with_the_rule_that_is_missing(
    start, router, family, scheme
) -> None:
    """T15, A3"""
    router.run_rules(printed(router, "nft", "--mark", "0x17"))
    far = join_host_port(SERVER[family], {"http": 80, "https": 443}[scheme], scheme)
    with start("-T", "-p", str(PORT), within=router.command) as proxy:  # without --mark
        proxy.expected.append(CIRCLE)
        page = curl(router, f"{scheme}://{far}/", proxy)
    assert CIRCLE in page
    flow = proxy.flow()
    assert flow.error and CIRCLE in flow.error.msg
    assert len(proxy.remarks) == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_connection_to_the_port_itself_is_refused_with_what_is_missing(start, network, router, family) -> None:
    """T15, A3"""
    with start("-T", "-p", str(PORT), within=router.command) as proxy:
        proxy.expected.append(DIRECT)
        where = join_host_port(ROUTER[family], PORT)
        assert DIRECT in curl(network.client, f"http://{where}/", proxy)
        curl(network.client, f"https://{where}/", proxy, status=35)
        assert DIRECT in curl(network.client, "http://far.test/", proxy, "--noproxy", "", "--proxy", f"http://{where}")
    flows = proxy.flows()
    assert [flow.kind for flow in flows] == ["http", "tcp", "http"]
    assert all(flow.error and DIRECT in flow.error.msg for flow in flows)
    assert len(proxy.remarks) == 1


def test_a_redirected_connection_to_the_port_itself_is_refused(start, network, router) -> None:
    """A3"""
    router.run_rules(printed(router, "nft", "--rules-ports", str(PORT)))
    with start("-T", "-p", str(PORT), within=router.command) as proxy:
        proxy.expected.append(DIRECT)
        assert DIRECT in curl(network.client, f"http://{ROUTER[4]}:{PORT}/", proxy)
        # Another machine's port of this number is none of ours.
        curl(network.client, f"http://{SERVER[4]}:{PORT}/", proxy)
    errors = [flow.error.msg for flow in proxy.flows()]
    assert DIRECT in errors[0]
    assert errors[1] == f"cannot connect to {SERVER[4]}:{PORT}: connection refused"


_TALK = """
import socket, sys
with socket.create_connection((sys.argv[1], 22), 30) as far:
    print(far.recv(100))
    far.sendall(b"SSH-2.0-Client hello\\r\\n")
    print(far.recv(100))
"""


@pytest.mark.parametrize("wanted", ["nft", "iptables,tproxy"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_protocol_in_which_the_server_speaks_first_is_relayed(start, network, router, wanted, family) -> None:
    router.run_rules(printed(router, wanted, "--rules-ports", "22"))
    try:
        with start("-T", "-p", str(PORT), within=router.command) as proxy:
            said = network.client.run(sys.executable, "-c", _TALK, SERVER[family])
    finally:
        router.run_rules(printed(router, f"{wanted},undo", "--rules-ports", "22"))
    assert said == f"{GREETING!r}\n{b'SSH-2.0-Client hello' + bytes([13, 10])!r}\n"
    flow = proxy.flow()
    assert (flow.kind, flow.error, flow.server_conn.address) == ("tcp", None, (SERVER[family], 22))
    assert [message.from_client for message in flow.messages] == [False, True, False]


def test_a_destination_that_was_translated_is_found_as_it_was(start, network, router) -> None:
    router.run("nft", "-f", "-", stdin=_DNAT.encode())
    with start("-T", "-p", str(PORT), within=router.command) as proxy:
        assert curl(network.client, f"http://{SERVER[4]}/", proxy) == f"GET / HTTP/1.1 from {ROUTER_OUT[4]}"
    assert proxy.flow().request.host == SERVER[4]


_DNAT = f"""
table ip mitmdump {{
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport 80 dnat to {ROUTER_OUT[4]}:{PORT}
    }}
}}
"""


def test_modes_have_ports_of_their_own(start, network, router) -> None:
    router.run_rules(printed(router, "nft", "-T", "-p", "8081"))
    modes = ("-m", f"regular@{ROUTER[4]}:{PORT}", "-m", "transparent@8081")
    with start(*modes, within=router.command) as proxy:
        curl(network.client, f"http://{SERVER[4]}/", proxy)
        curl(network.client, f"http://{SERVER[4]}/", proxy, "--noproxy", "", "--proxy", f"http://{ROUTER[4]}:{PORT}")
    assert statuses(proxy.flows()) == [200, 200]
    assert [*zip(proxy.addresses, proxy.modes, strict=True)] == [
        (("10.0.1.1", 8080), "regular"),
        (("0.0.0.0", 8081), "transparent"),
        (("::", 8081), "transparent"),
    ]
    assert "listening on 10.0.1.1:8080 and 0.0.0.0:8081 (transparent) and [::]:8081 (transparent)" in proxy.stderr


@pytest.fixture
def reader(router, tmp_path: Path, confdir: Path, root_file: Path) -> list[str]:
    """How somebody who reads the README runs commands on the proxy's machine: in a home with a CA, trusted by none."""
    home, programs = tmp_path / "home", tmp_path / "bin"
    shutil.copytree(confdir, home / ".mitmdump")
    programs.mkdir()
    (programs / "mitmdump").write_text(f'#!/bin/sh\nexec {PROGRAM} --upstream-ca {root_file} "$@"\n')
    (programs / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    path = f"PATH={programs}:{os.environ['PATH']}:/usr/sbin:/sbin"
    return router.command("env", "-C", tmp_path, f"HOME={home}", path, "bash", "-euo", "pipefail", "-c")


def test_the_commands_of_the_readme_work(network, reader, tmp_path: Path) -> None:
    blocks = list(publish_doctree(README.read_text()).findall(literal_block))
    start, use = (block.astext().replace("example.com", SERVER[4]) for block in blocks if "sh" in block["classes"])
    with subprocess.Popen([*reader, f"exec {start}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as proxy:
        try:
            assert b": listening on " in proxy.stderr.readline()
            shown = subprocess.run([*reader, use], capture_output=True, timeout=60)
            proxy.send_signal(signal.SIGINT)
            assert proxy.wait(30) == 0
        finally:
            proxy.kill()
    assert (shown.returncode, shown.stdout) == (0, f"GET / HTTP/1.1 from {ROUTER_OUT[4]}".encode())
    assert network.router.rules() == ""
    assert f"GET https://{SERVER[4]}/" in mitmdump("-nr", tmp_path / "out.flows").stdout


def test_a_mark_that_is_not_allowed_is_refused_at_start(router, tmp_path: Path) -> None:
    capabilities = "-net_admin,-net_raw"
    unprivileged = ["setpriv", "--bounding-set", capabilities, "--inh-caps", capabilities]
    done = run(*router.command(*unprivileged, PROGRAM, "--mark", "1", "--confdir", tmp_path / "conf"), status=2)
    assert done.stderr == (
        b"mitmdump: --mark: packets cannot be marked: operation not permitted. It takes root, or CAP_NET_ADMIN\n"
    )
    assert not (tmp_path / "conf").exists()
