"""Runs a Python program with a window to its event loop: at SIGUSR2 it writes how many tasks it has into a file.

python observed.py FILE PROGRAM [ARGUMENT]...
"""

import asyncio
import runpy
import signal
import sys
from pathlib import Path


def tell(*_: object) -> None:
    """Write the file, which is there whole or not at all."""
    new = place.with_suffix(".new")
    new.write_text(str(len(asyncio.all_tasks())))
    new.replace(place)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    del sys.argv[:2]
    signal.signal(signal.SIGUSR2, tell)
    runpy.run_path(sys.argv[0], run_name="__main__")
