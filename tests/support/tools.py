"""Programs that the end-to-end tests run, and waiting without sleeping for luck."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# What to install where the package is not called like the program (Debian's names).
_PACKAGES = {
    "certutil": "libnss3-tools",
    "gnutls-cli": "gnutls-bin",
    "go": "golang",
    "ip": "iproute2",
    "java": "default-jdk-headless",
    "node": "nodejs",
    "nft": "nftables",
    "nsenter": "util-linux",
    "unshare": "util-linux",
}
_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def tool(name: str) -> str:
    """The path of a program; a test that needs one that is missing fails, and says what to install."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        pytest.fail(f"{name} is not installed, and this test needs it: install {_PACKAGES.get(name, name)}")
    return path


def run(
    *command: str | Path,
    status: int | None = 0,
    stdin: bytes = b"",
    seconds: float = 60,
    cwd: Path | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, which must come in time and with this status (None: with any)."""
    done = subprocess.run(
        [tool(str(command[0])), *map(str, command[1:])],
        input=stdin,
        capture_output=True,
        timeout=seconds,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert status in (None, done.returncode), f"{command[0]} ended with {done.returncode}: {done.stderr!r}"
    return done


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Ask again and again until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} seconds in vain until {what}"
        time.sleep(0.01)


def free_port() -> int:
    """A port on loopback that nobody had a moment ago, for programs that cannot pick one."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port on loopback that refuses connections, and that nobody else can take meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Does somebody listen there?"""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return probe.connect_ex((host, port)) == 0
