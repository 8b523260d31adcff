"""`python -m mitmdump`, and the console script."""

import gc
import os
import sys


def main() -> None:
    """Run the command line, and exit with its status."""
    gc.set_threshold(50_000)  # what a start makes stays: no need to look for garbage among it every 700 objects
    from .cli import main as run

    _exit(run())


def _exit(status: int) -> None:
    """All that was written is closed. Python would take itself apart now, object by object, which takes a tenth of the
    time of a short run.
    """
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
    except (OSError, ValueError):  # Python says so
        sys.exit(status)
    os._exit(status)


if __name__ == "__main__":
    main()
