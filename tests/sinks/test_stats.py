"""Numbers instead of flows: right, aligned, harmless, and bounded."""

from __future__ import annotations

import errno
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.filter_flows import START, a_connection, a_request, a_response, an_exchange

from mitmdump.errors import OutputError
from mitmdump.model.flow import Error, Flow
from mitmdump.sinks import stats
from mitmdump.sinks.stats import Durations, StatsSink


def table_of(*flows: Flow) -> str:
    stream = io.StringIO()
    sink = StatsSink(stream)
    for flow in flows:
        sink.put(flow)
    sink.close()
    return stream.getvalue()


def rows(text: str) -> list[list[str]]:
    """The words of all rows that begin with a number of flows."""
    return [line.split() for line in text.splitlines() if re.match(r" +\d", line)]


def exchange(host: str, status: int = 200, kind: bytes = b"text/html", seconds: float = 1, size: int = 0) -> Flow:
    response = a_response(status, [(b"Content-Type", kind)], bytes(size), last=START + seconds)
    return an_exchange(a_request("POST", host, body=b"12"), response, timestamp_end=START + seconds)


def test_the_numbers_of_a_run() -> None:
    failed = an_exchange(error=Error("cut off", START), timestamp_end=START + 10)
    text = table_of(exchange("a.test", size=2000), exchange("A.test", 404), exchange("b.test"), failed)

    lines = text.splitlines()
    assert lines[0] == "4 flows, 1 failed, 6b up, 2k down"
    assert lines[1].endswith(", 10s, 0.4 flows/s")
    assert rows(text) == [
        ["2", "0", "4b", "2k", "1s", "1s", "a.test"],
        ["1", "0", "2b", "0b", "1s", "1s", "b.test"],
        ["1", "1", "0b", "0b", "10s", "10s", "example.com"],
        ["2", "0", "4b", "2k", "1s", "1s", "200"],
        ["1", "1", "0b", "0b", "10s", "10s", "(no", "response)"],
        ["1", "0", "2b", "0b", "1s", "1s", "404"],
        ["3", "0", "6b", "2k", "1s", "1s", "text/html"],
        ["1", "1", "0b", "0b", "10s", "10s", "(no", "response)"],
    ]


def test_nothing_is_a_line_too() -> None:
    assert table_of() == "0 flows, 0 failed, 0b up, 0b down\n"


def test_the_parameters_of_a_media_type_do_not_count() -> None:
    text = table_of(*(exchange("a", kind=kind) for kind in (b"Text/HTML; charset=utf-8", b"text/html", b"")))

    assert [row[-1] for row in rows(text)[2:]] == ["text/html", "(none)"]


def test_raw_connections_count_the_bytes_of_their_messages() -> None:
    text = table_of(a_connection((True, b"123"), (False, b"12345"), (True, b"4"), timestamp_end=START + 2))

    assert rows(text) == [["1", "0", "4b", "5b", "2s", "2s", name] for name in ("db.example", "tcp", "tcp")]


def test_what_found_no_room_is_summed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "NAMES", 2)

    text = table_of(*(exchange(host) for host in ("a", "b", "c", "d", "a")))

    assert [(row[0], row[-1]) for row in rows(text)[:3]] == [("2", "a"), ("1", "b"), ("2", "(others)")]


def test_a_name_cannot_command_a_terminal_or_break_a_line() -> None:
    """L1"""
    flow = exchange("a", kind=b"\x1b]0;\x07" + b"x" * 10_000)
    assert flow.request
    flow.request.host = "a\x1b[2J\n\u202eb\udcff"
    text = table_of(flow)

    assert text.isascii()
    assert not re.search(r"[^\n -~]", text)
    assert max(map(len, text.splitlines())) < 400
    assert len(rows(text)) == 3


def test_times_from_a_hostile_file_do_no_harm() -> None:
    flow = an_exchange(a_request(), a_response(last=-1e300))
    flow.timestamp_start, flow.timestamp_end = 1e300, -1e300

    assert table_of(flow, exchange("a")).startswith("2 flows")


def test_bodies_are_not_asked_for() -> None:
    assert not StatsSink.wants_bodies


@given(st.lists(st.floats(0.0002, 90_000), min_size=1, max_size=50), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_is_at_most_2_percent_off(durations: list[float], share: float) -> None:
    histogram = Durations()
    for seconds in durations:
        histogram.add(seconds)

    exact = sorted(durations)[max(0, -int(-share * len(durations) // 1) - 1)]

    assert histogram.percentile(share) == pytest.approx(exact, rel=0.0201)


def test_a_histogram_is_bounded() -> None:
    histogram = Durations()
    for exponent in range(-300, 300):
        for digit in range(1, 10):
            histogram.add(digit * 10.0**exponent)
    histogram.add(-1.0)

    assert len(histogram._buckets) < 600


class _Full(io.StringIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def flush(self) -> None:
        raise OSError(self.number, "no")


def test_a_table_that_cannot_be_written_is_said_so() -> None:
    with pytest.raises(OutputError, match="cannot write the statistics: no"):
        StatsSink(_Full(errno.ENOSPC)).close()
    with pytest.raises(BrokenPipeError):
        StatsSink(_Full(errno.EPIPE)).close()
