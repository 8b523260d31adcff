from __future__ import annotations

import ctypes
import gc
import subprocess
import sys

import pytest

from mitmdump import live


def test_memory_is_settled_with_any_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all have mallopt."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(gc, "set_threshold", lambda *thresholds: None)
    live._settle_memory()
    assert gc.get_freeze_count()
    gc.unfreeze()


def test_the_collector_looks_seldom_but_before_failed_connections_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference counts free nearly all; what is in a cycle may hold OpenSSL's memory."""
    set_to: list[tuple[int, ...]] = []
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *thresholds: set_to.append(thresholds))
    live._settle_memory()
    assert 5_000 < set_to[0][0] < 20_000


def test_the_libraries_of_protocols_that_may_not_be_spoken_are_not_loaded_to_start():
    script = "import mitmdump.live, sys; print(sorted({'h2', 'hpack', 'wsproto'} & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"
