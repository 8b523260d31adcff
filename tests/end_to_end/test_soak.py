"""Mixed traffic for a long time, recorded: at its end the proxy holds no more than it did near its beginning.

    SOAK_SECONDS=600 pytest tests/end_to_end/test_soak.py -s     ten minutes of it, with a line a round

A round is over when the proxy has as many tasks and descriptors as before the first one; then its memory is measured.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from ssl import SSLContext
from statistics import median
from typing import NamedTuple

from support import observed
from support.program import Proxy, Start
from support.servers import Serve
from support.tools import wait_until
from support.traffic import Traffic

from mitmdump.files import open_flows

MIB = 1 << 20
SECONDS = float(os.environ.get("SOAK_SECONDS", "25"))
# Fewer do not tell growth from a beginning, however slow the machine is.
ROUNDS = 8
# In the first two minutes it grows by 3 MiB: allocators and bounded caches fill up. What leaks 200 bytes a client is
# more than this in ten minutes, and what leaks flows is in half of one.
GROWTH = 4 * MIB
# With its first connection libuv opens a descriptor, to have one left when there are no more.
SPARE = 1


class Held(NamedTuple):
    """What the proxy holds while nobody wants anything of it."""

    descriptors: int
    tasks: int


def test_after_mixed_traffic_nothing_is_left_of_it(start: Start, serve: Serve, tls: SSLContext, tmp_path: Path) -> None:
    """R3"""
    window = tmp_path / "tasks"
    options = ("--rotate-size", "16m", "--keep", "3", "--timeout-head", "1s", "--flow-detail", "0")
    with start(*options, within=lambda *command: [sys.executable, observed.__file__, str(window), *command]) as proxy:
        proxy.expected.append("no TLS with ")
        fresh = _held(proxy, window)
        traffic = Traffic(proxy, serve, tls)
        begin, memory = time.monotonic(), []
        while len(memory) < ROUNDS or time.monotonic() - begin < SECONDS:
            traffic.round()
            wait_until(lambda: _is_quiet(fresh, _held(proxy, window)), "nothing is left of the clients")
            memory.append(proxy.memory("VmRSS"))
            print(f"{time.monotonic() - begin:4.0f} s, {traffic.clients} clients, {memory[-1] / MIB:.1f} MiB")
    middle = len(memory) // 2
    assert median(memory[middle:]) - median(memory[1:middle]) < GROWTH
    _, matched, written, _, dropped = proxy.counts
    assert (written, dropped) == (matched, 0)
    for path in proxy.capture.parent.glob("capture*"):
        with open_flows(path, strict=True) as flows:
            assert all(flow.timestamp_end for flow in flows)


def _held(proxy: Proxy, window: Path) -> Held:
    window.unlink(missing_ok=True)
    proxy.process.send_signal(signal.SIGUSR2)
    wait_until(window.exists, "the proxy says how many tasks it has")
    return Held(proxy.descriptors(), int(window.read_text()))


def _is_quiet(fresh: Held, held: Held) -> bool:
    return held.descriptors <= fresh.descriptors + SPARE and held.tasks == fresh.tasks
