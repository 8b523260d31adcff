"""Three machines of a network of their own: a client, a router between two networks, and a server.

    client 10.0.1.2 --- 10.0.1.1 router 10.0.2.1 --- 10.0.2.2 server      (and the same with fd00:1:: and fd00:2::)

Each is a network namespace, which lives as long as a process in it, and that as long as its stdin is open: whatever
becomes of the tests, nothing is left behind. It takes root, or a system where users may make namespaces.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from . import far_server
from .tools import run, tool, wait_until

ROUTER = {4: "10.0.1.1", 6: "fd00:1::1"}  # as the client sees it
ROUTER_OUT = {4: "10.0.2.1", 6: "fd00:2::1"}  # as the server sees it
CLIENT = {4: "10.0.1.2", 6: "fd00:1::2"}
SERVER = {4: "10.0.2.2", 6: "fd00:2::2"}


class Host:
    """One machine. `command` is how to run something on it."""

    def __init__(self, among: Host | None = None) -> None:
        """`among`: a machine whose privileges this one shares."""
        unshare = (
            ["unshare", "--net"] if os.geteuid() == 0 or among else ["unshare", "--user", "--map-root-user", "--net"]
        )
        command = [*among.command(*unshare), "cat"] if among else [tool("unshare"), *unshare[1:], "cat"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(b"x")  # comes back when the namespace is there
        self._process.stdin.flush()
        if self._process.stdout.read(1) != b"x":
            assert self._process.stderr
            pytest.fail(f"no network namespaces here, and this test needs them: {self._process.stderr.read().decode()}")
        self.pid = self._process.pid
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *words: str | Path) -> list[str]:
        """A command that runs `words` on this machine."""
        users = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return [
            tool("nsenter"),
            "--target",
            str(self.pid),
            "--net",
            *users,
            "--",
            tool(str(words[0])),
            *map(str, words[1:]),
        ]

    def run(self, *words: str | Path, **options: Any) -> str:
        """Run a program to its end, see `tools.run`; gives what it prints."""
        return run(*self.command(*words), **options).stdout.decode()

    def run_rules(self, rules: str) -> None:
        """Do with rules what `--print-rules` says is to be done with them."""
        if rules.startswith(("iptables", "# Run")):
            self.run("sh", "-eu", stdin=rules.encode())
            return
        self.run("nft", "-f", "-", stdin=rules.encode())
        for line in rules.splitlines():
            if line.startswith("#   "):
                self.run(*line[1:].split())

    def rules(self) -> str:
        """All that its packet filter and its routing have been told."""
        tables = self.run("nft", "list", "ruleset").splitlines()
        # Chains stay when iptables has made them, empty.
        said = [
            line
            for line in tables
            if any(word in line for word in ("redirect", "tproxy", "REDIRECT", "TPROXY", "dnat"))
        ]
        routing = [self.run("ip", version, "rule", "list") for version in ("-4", "-6")]
        return "\n".join([*said, *(line for text in routing for line in text.splitlines() if "fwmark" in line)])

    def set(self, name: str, value: str) -> None:
        """Set a sysctl of its network."""
        self.run("sh", "-c", f"echo {value} > /proc/sys/net/{name}")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Network:
    """The three machines, and the servers on the last."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.router = Host()
        self.client, self.server = Host(self.router), Host(self.router)
        self._link(self.client, 1)
        self._link(self.server, 2)
        self.router.set("ipv4/ip_forward", "1")
        self.router.set("ipv6/conf/all/forwarding", "1")
        command = self.server.command(sys.executable, far_server.__file__, certificate, key)
        self._servers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._servers.stdout
        assert self._servers.stdout.readline() == b"ready\n"

    def _link(self, host: Host, number: int) -> None:
        """A wire between a host and the router."""
        here = f"net{number}"
        self.router.run("ip", "link", "add", here, "type", "veth", "peer", "name", "net", "netns", str(host.pid))
        for machine, name, last in ((self.router, here, 1), (host, "net", 2)):
            machine.run("ip", "link", "set", name, "up")
            machine.run("ip", "address", "add", f"10.0.{number}.{last}/24", "dev", name)
            machine.run("ip", "address", "add", f"fd00:{number}::{last}/64", "dev", name, "nodad")
        host.run("ip", "-4", "route", "add", "default", "via", f"10.0.{number}.1")
        host.run("ip", "-6", "route", "add", "default", "via", f"fd00:{number}::1")

    def wait_for_routes(self) -> None:
        """Wait until packets find their way: an address is not usable at once in IPv6."""
        for address in SERVER.values():
            probe = f"import socket; socket.create_connection(({address!r}, 80), 1)"
            command = self.client.command(sys.executable, "-c", probe)
            wait_until(lambda command=command: subprocess.run(command, capture_output=True).returncode == 0, "routes")

    def close(self) -> None:
        self._servers.kill()
        self._servers.communicate()
        for host in (self.client, self.server, self.router):
            host.close()
