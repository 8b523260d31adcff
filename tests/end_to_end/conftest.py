"""The stage of the end-to-end tests: a CA of the proxy's, a small PKI for servers, nginx, and starting the program.

    def test_something(start, nginx):
        with start() as proxy:
            curl(proxy, nginx.https + "/echo")
        assert proxy.flow().response.status_code == 200

`start` gives the proxy one confdir for all tests, trust in the servers' root, and a capture of its own.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from support.browser import make_home
from support.pki import Identity, make_root
from support.program import Proxy, Start
from support.servers import ContextOf, Nginx, Script, Serve, Server


@pytest.fixture(scope="session", autouse=True)
def _plain_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No proxy, trust store, configuration or locale of the person who runs the tests gets in."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.lower().endswith("_proxy") or name.startswith(("SSL", "GIT_")) or "_CA_" in name:
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("LC_ALL", "C.UTF-8")
        yield


@pytest.fixture(scope="session")
def root() -> Identity:
    """The root of all servers that are in order."""
    return make_root("Test servers' root")


@pytest.fixture(scope="session")
def intermediate(root: Identity) -> Identity:
    return root.issue(ca=True, path_length=0)


@pytest.fixture(scope="session")
def root_file(root: Identity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return root.write_certificate(tmp_path_factory.mktemp("root") / "root.pem")


@pytest.fixture(scope="session")
def localhost(intermediate: Identity) -> Identity:
    """The certificate of an honest server on this machine."""
    return intermediate.issue("localhost", "127.0.0.1", "::1")


@pytest.fixture(scope="session")
def context_of(tmp_path_factory: pytest.TempPathFactory) -> ContextOf:
    """A server's TLS context with a certificate."""

    def make(identity: Identity) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*identity.write(tmp_path_factory.mktemp("identity")))
        return context

    return make


@pytest.fixture(scope="session")
def tls(localhost: Identity, context_of: ContextOf) -> ssl.SSLContext:
    """TLS as an honest server on this machine has it."""
    return context_of(localhost)


@pytest.fixture(scope="session")
def confdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The proxy's CA, made by its first start."""
    directory = tmp_path_factory.mktemp("confdir") / "conf"
    with Proxy(tmp_path_factory.mktemp("first"), "--confdir", directory) as proxy:
        proxy.expected.append("made a CA of your own")
    return directory


@pytest.fixture
def browser_home(tmp_path: Path, confdir: Path) -> Path:
    """A home directory for Chromium, where it trusts our CA."""
    return make_home(tmp_path / "home", confdir)


@pytest.fixture
def start(tmp_path: Path, confdir: Path, root_file: Path) -> Iterator[Start]:
    """Start the program with options, which come after (and so win over) ours."""
    proxies: list[Proxy] = []
    number = count(1)

    def go(
        *options: str | Path,
        trust: Path | None = root_file,
        limits: str = "",
        within: Callable[..., list[str]] | None = None,
    ) -> Proxy:
        directory = tmp_path / f"proxy{next(number)}"
        directory.mkdir()
        trusted = ("--upstream-ca", trust) if trust else ()
        proxies.append(Proxy(directory, "--confdir", confdir, *trusted, *options, limits=limits, within=within))
        return proxies[-1]

    yield go
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start scripted servers, which end with the test."""
    servers: list[Server] = []

    def go(script: Script, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Server:
        servers.append(Server(script, context, host))
        return servers[-1]

    yield go
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def nginx(localhost: Identity, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    server = Nginx(tmp_path_factory.mktemp("nginx"), *localhost.write(tmp_path_factory.mktemp("identity")))
    yield server
    server.close()
