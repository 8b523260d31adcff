from __future__ import annotations

import gzip
import json
from collections.abc import Iterator

import pytest
from support.filter_flows import a_connection, a_response, an_exchange, answered, matches

from mitmdump.filter import bodies
from mitmdump.model.body import Body
from mitmdump.model.flow import Flow

GZIP = [(b"Content-Encoding", b"gzip")]


class Spool:
    """A body that is not in memory."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def pieces(self) -> Iterator[bytes]:
        yield from self._pieces


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "SEARCH_LIMIT", 100)
    monkeypatch.setattr(bodies, "JSON_LIMIT", 100)


def asked_with_warnings(text: str, flow: Flow) -> tuple[bool | None, list[str]]:
    warnings: list[str] = []
    return matches(text, flow, warn=warnings.append), warnings


def test_a_body_is_searched_decoded() -> None:
    flow = answered(fields=GZIP, body=gzip.compress(b"hay needle hay"))
    assert matches("~b needle", flow) is True
    assert matches("~js a=1", answered(fields=GZIP, body=gzip.compress(b'{"a": 1}'))) is True


@pytest.mark.parametrize("coding", [b"gzip", b"nonsense"])
def test_a_body_whose_coding_is_broken_or_unknown_is_searched_as_it_came(coding: bytes) -> None:
    flow = answered(fields=[(b"Content-Encoding", coding)], body=b"plain needle")
    assert matches("~b needle", flow) is True


def test_a_match_may_run_over_the_pieces_of_a_spooled_body() -> None:
    flow = an_exchange(response=a_response())
    flow.response.body = Body(10, complete=True, source=Spool(b"hay nee", b"dle hay"))  # type: ignore[union-attr]
    assert matches("~b needle", flow) is True


def test_a_body_that_was_not_kept_matches_nothing() -> None:
    flow = an_exchange(response=a_response())
    flow.response.body = Body(10, complete=True)  # type: ignore[union-attr]
    assert matches("~b ''", flow) is False
    assert matches("~js a=1", flow) is False


@pytest.mark.usefixtures("small_limits")
def test_beyond_the_limit_a_body_counts_as_not_matching_with_a_warning() -> None:
    """R2"""
    bomb = gzip.compress(b"x" * 1_000_000 + b"needle")
    verdict, warnings = asked_with_warnings("~b needle", answered(fields=GZIP, body=bomb))
    assert verdict is False
    assert ["not matching" in warning for warning in warnings] == [True]


@pytest.mark.usefixtures("small_limits")
def test_before_the_limit_a_long_body_can_match() -> None:
    verdict, _ = asked_with_warnings("~b needle", answered(body=b"needle" + b"x" * 1000))
    assert verdict is True


@pytest.mark.usefixtures("small_limits")
def test_beyond_the_limit_messages_count_as_not_matching_with_a_warning() -> None:
    verdict, warnings = asked_with_warnings("~b needle", a_connection((True, b"x" * 98), (True, b"needle")))
    assert verdict is False
    assert len(warnings) == 1


@pytest.mark.usefixtures("small_limits")
def test_messages_up_to_the_limit_are_searched_without_a_warning() -> None:
    flow = a_connection((True, b"x" * 94), (True, b"needle"), (False, b"y" * 100))
    assert asked_with_warnings("~b needle", flow) == (True, [])
    assert asked_with_warnings("~b absent", flow) == (False, [])


@pytest.mark.usefixtures("small_limits")
def test_json_beyond_its_limit_counts_as_not_matching_with_a_warning() -> None:
    verdict, warnings = asked_with_warnings("~j a=1", answered(body=json.dumps({"a": 1, "b": "x" * 100}).encode()))
    assert verdict is False
    assert len(warnings) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"1" * 10_000, b"\xff\xfe{", b"null", b'"a"', b"[1]"])
@pytest.mark.parametrize("path", ["a", "0.1", "00000000000000000000001", "/a/b"])
def test_json_that_is_broken_deep_or_of_another_shape_is_no_match(body: bytes, path: str) -> None:
    assert matches(f"~j {path}~.", answered(body=body)) is False
