from __future__ import annotations

import ctypes
import gc

import pytest

from mitmdump import live


def test_memory_is_settled_with_any_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all have mallopt."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(gc, "set_threshold", lambda *thresholds: None)
    live._settle_memory()
    assert gc.get_freeze_count()
    gc.unfreeze()


def test_objects_of_a_thousand_exchanges_under_way_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference counts free them; to look for cycles among them again and again takes longer than to serve them."""
    set_to: list[tuple[int, ...]] = []
    monkeypatch.setattr(gc, "freeze", lambda: None)
    monkeypatch.setattr(gc, "set_threshold", lambda *thresholds: set_to.append(thresholds))
    live._settle_memory()
    assert set_to[0][0] > 1000 * 20
