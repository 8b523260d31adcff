"""Counting the calls that code makes, which, unlike the time that it takes, is the same on every machine."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import FrameType
from typing import Any

_TESTS = str(Path(__file__).parents[1])


class Calls:
    """The calls made inside the `with` block by this thread, without those that tests make: of functions written in
    Python (resuming a coroutine counts as one), and of others.
    """

    def __init__(self) -> None:
        self.python = 0
        self.builtin = 0

    def __enter__(self) -> Calls:
        gc.disable()  # whoever has hooked a function into it would be counted
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _count(self, frame: FrameType, event: str, _: Any) -> None:
        if not frame.f_code.co_filename.startswith(_TESTS):
            self.python += event == "call"
            self.builtin += event == "c_call"


def count_objects(kind: type) -> int:
    """How many objects of a class there are; those of a compiled one cannot be referred to weakly."""
    return sum(type(each) is kind for each in gc.get_objects())
