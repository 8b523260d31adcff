from __future__ import annotations

import ctypes
import gc

import pytest

from mitmdump import live


def test_memory_is_settled_with_any_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all have mallopt."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    live._settle_memory()
    assert gc.get_freeze_count()
    gc.unfreeze()
