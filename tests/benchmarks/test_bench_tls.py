"""What TLS costs over memory BIOs, both ends of it: handshakes of both kinds, records of both sizes."""

from __future__ import annotations

from time import time

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from support.inmemory import CHUNK, IDENTITY
from support.proxying import contexts, identity, trusting
from support.tls import connect, make_client, make_server, transfer

from mitmdump.tls.names import LeafNames
from mitmdump.tls.session import Session

NAMES = LeafNames("a.test", ("a.test",))
SMALL = bytes(1300)


def test_a_handshake_with_a_client(benchmark: BenchmarkFixture) -> None:
    context, (ours, _) = trusting(), contexts()
    ours.session_for_client(NAMES, None, time())  # issues the leaf

    def shake_hands() -> Session:
        session = ours.session_for_client(NAMES, None, time())
        connect(make_client(context), session)
        return session

    assert benchmark(shake_hands).established


def test_a_handshake_with_a_server(benchmark: BenchmarkFixture) -> None:
    ours, server = contexts()[0], identity("a.test")

    def shake_hands() -> Session:
        session = ours.session_for_server("a.test", "a.test", (), time())
        connect(session, make_server(server))
        return session

    assert benchmark(shake_hands).verification == "ok"


def test_issuing_a_leaf(benchmark: BenchmarkFixture) -> None:
    authority = contexts()[1]
    benchmark(lambda: authority.issue(NAMES, time()))


@pytest.mark.parametrize("data", [SMALL, CHUNK], ids=["1300 bytes", "64 KiB"])
def test_sending_and_receiving(benchmark: BenchmarkFixture, data: bytes) -> None:
    client, server = make_client(), make_server(IDENTITY)
    connect(client, server)
    assert benchmark(lambda: transfer(server, client, data)) == data
