"""`python -m mitmdump`, and the console script."""

import gc
import os
import sys


def main() -> None:
    """Run the command line, and exit with its status."""
    gc.set_threshold(50_000)  # what a start makes stays: no need to look for garbage among it every 700 objects
    _fill_gaps()
    from .cli import main as run

    _exit(run())


def _fill_gaps() -> None:
    """A standard stream that whoever started us has closed (`>&-`) leads nowhere.

    If it stayed closed, the next file to be opened would get its number, and with it what is meant for the stream.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is the stream's
            if name == "stderr":
                sys.stderr = os.fdopen(number, "w")


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
