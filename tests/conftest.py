"""What holds for all tests: none of them asserts a time, so hypothesis gives every example the time it takes."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support.tools import run

from mitmdump.sinks.recorder import Recorder

settings.register_profile("mitmdump", deadline=None)
settings.load_profile("mitmdump")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of its own with room for 128 KiB. Only root can mount one."""
    directory = tmp_path / "disk"
    directory.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=128k", "none", directory)
    yield directory
    run("umount", "--lazy", directory)


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Only what nothing refers to any more is freed; objects that hold each other stay."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """What `-w` makes of a flow, without a disk."""
    recorder = Recorder("/dev/null")
    yield recorder
    recorder.close()
