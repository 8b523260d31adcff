"""The line that says how far a replay is, and that it is never in the way."""

from io import StringIO

import pytest
from support.flowfiles import a_flow

from mitmdump.replay.progress import Counts, Progress, line


@pytest.mark.parametrize(
    ("counts", "seconds", "expected"),
    [
        (Counts(5), 0, "0 of 5 done"),
        (Counts(100, answered=50), 10, "50 of 100 done, 5.0/s, 10s left"),
        (
            Counts(3000, answered=990, failed=10, differing=7),
            10,
            "1000 of 3000 done, 10 failed, 7 differ, 100/s, 20s left",
        ),
        (Counts(5, answered=5), 1, "5 of 5 done, 5.0/s"),
    ],
)
def test_the_line_says_how_far_it_is(counts: Counts, seconds: float, expected: str):
    assert line(counts, seconds) == expected


def test_what_was_skipped_is_done_and_does_not_make_it_faster():
    counts = Counts(10, answered=1)
    counts.skipped["cut off"] = 4

    assert line(counts, 1) == "5 of 10 done, 1.0/s, 5s left"


def test_the_line_is_taken_away_before_a_flow_is_printed_and_drawn_again_later():
    terminal = StringIO()
    progress = Progress(terminal, Counts(5), lambda: 1.0)

    progress.tick(0)
    progress.finish(a_flow())
    terminal.write("the flow\n")
    progress.finish(a_flow())
    progress.tick(0)
    progress.close()

    assert terminal.getvalue().split("\r\x1b[K") == ["", "0 of 5 done", "the flow\n", "0 of 5 done", ""]


def test_no_line_is_drawn_once_all_is_done():
    terminal, counts = StringIO(), Counts(1)
    progress = Progress(terminal, counts, lambda: 1.0)

    progress.tick(0)
    counts.answered = 1
    progress.tick(0)
    progress.tick(0)

    assert terminal.getvalue().split("\r\x1b[K") == ["", "0 of 1 done", ""]


def test_a_terminal_that_is_gone_ends_nothing():
    class Gone(StringIO):
        def flush(self) -> None:
            raise OSError

    Progress(Gone(), Counts(5), lambda: 1.0).tick(0)
