"""What a filter costs for each flow: a verdict at the end, and passing over a record that cannot match."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from support.filter_flows import a_request, answered
from support.flowfiles import a_flow, frames

from mitmdump.filter import Stage, parse
from mitmdump.flowfile.frame import HEADER

EXPRESSIONS = [
    "~all",
    "~d example.org",
    "~d example.com & ~c 200",
    "~m POST | ~c 5xx",
    "! ~hs 'set-cookie'",
    "~b needle",
]
FLOW = answered(body=b"hay" * 1000)
# Of the second flow of a connection, so that nothing but the flow is in its frame.
RECORD = frames(*[a_flow(content=b"hay" * 1000)] * 2)[2][HEADER.size :]


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_verdict(benchmark: BenchmarkFixture, text: str) -> None:
    filter_ = parse(text)
    benchmark(lambda: filter_.verdict(FLOW, Stage.END))


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_ruling_out_a_record(benchmark: BenchmarkFixture, text: str) -> None:
    filter_ = parse(text)
    benchmark(lambda: filter_.rules_out(RECORD))


def test_understanding_an_expression(benchmark: BenchmarkFixture) -> None:
    benchmark(lambda: parse("~d example.com & (~m POST | ~c 5xx) & ! ~hs 'content-type: image/'"))


def test_a_verdict_on_a_request_head(benchmark: BenchmarkFixture) -> None:
    filter_, flow = parse("~d example.com & ~c 200"), answered()
    flow.request, flow.response = a_request(), None
    benchmark(lambda: filter_.verdict(flow, Stage.REQUEST_HEAD))
