"""What must be in the record of a flow for a filter to match: a flow that is ruled out never matches."""

from __future__ import annotations

import re
import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.filter_cases import Case, cases
from support.filter_flows import a_request, a_response, an_exchange, flows

from mitmdump.filter import Stage, parse
from mitmdump.filter.operators import OPERATORS
from mitmdump.filter.words import quote
from mitmdump.flowfile import SectionWriter
from mitmdump.flowfile.frame import FLOW, HEADER
from mitmdump.model.flow import Flow
from mitmdump.model.headers import Field


def record(flow: Flow) -> bytes:
    """The content of the flow's FLOW frame, its bodies inside."""
    written: list[bytes] = []
    writer = SectionWriter(written.append, created=0.0)
    writer.write(flow, *(half.raw_content if half else None for half in (flow.request, flow.response)))
    data = written[-1]
    while data[5] != FLOW:
        data = data[HEADER.size - 4 + int.from_bytes(data[1:5], "big") :]
    return data[HEADER.size :]


@given(cases, flows.filter(lambda flow: not list(flow.messages)))
def test_a_flow_that_is_ruled_out_does_not_match(case: Case, flow: Flow) -> None:
    assert not (case.truth(flow) and parse(case.text).rules_out(record(flow)))


SEARCHES = [operator for operator in OPERATORS.values() if operator.argument and operator.argument.name == "REGEX"]
NAMED = ["hv host", "hv ai", "hvq ai", "hvs ai", "cookie ak"]
letters = st.text("aik8./:[], \u212a\u0131\u00e9", max_size=6)


def small_flow(host: str, port: int, path: str, named: str, value: str) -> Flow:
    """A flow of few characters, so that searches find something in it, across the borders of its parts if they can."""
    fields: list[Field] = [(b"Host", named.encode())] if named else []
    fields += [(b"AI", value.encode()), (b"Content-Type", value.encode()), (b"Cookie", f"ak={value}".encode())]
    request = a_request("GET", "", path, fields, value.encode(), port=port, address=host)
    request.headers.fields.pop(0)
    return an_exchange(request, a_response(404, fields), comment=value, marked=named)


small_flows = st.builds(small_flow, letters, st.sampled_from([8, 88, 443]), letters, letters, letters)


@given(st.sampled_from([f"{operator.code} " for operator in SEARCHES] + [f"{each}:" for each in NAMED]), small_flows)
def test_what_a_search_finds_is_never_ruled_out(operator: str, flow: Flow) -> None:
    assert flow.request
    text, data = f"{flow.request.url}\n{flow.comment}", record(flow)
    for start, size in product(range(len(text)), (1, 2, 4)):
        found = text[start : start + size]
        for pattern in (re.escape(found), f"{re.escape(found[:1])}.{re.escape(found[2:])}"):
            filter_ = parse(f"~{operator}{quote(pattern)}")
            assert not (filter_.rules_out(data) and filter_.verdict(flow, Stage.END))


PLAIN = an_exchange(a_request(path="/item/77?a=1", fields=[(b"X-Token", b"s3cret")]), a_response(200, body=b"hay"))
BARE = an_exchange(a_request(address="::1", port=8443))
assert BARE.request
del BARE.request.headers["host"]
CODED = an_exchange(response=a_response(fields=[(b"Content-Encoding", b"gzip")], body=b"?"))


@pytest.mark.parametrize(
    ("text", "flow"),
    [
        ("~d example.org", PLAIN),
        ("~u item.other", PLAIN),
        ("~d other", PLAIN),
        (r"~d api\.example\.com", PLAIN),
        ("~u /item/78", PLAIN),
        ("~m POST", PLAIN),
        ("~c 404", PLAIN),
        ("~c 4xx", PLAIN),
        ("~c >=400", PLAIN),
        ("~c 100-199", PLAIN),
        ("~hq ^x-token:other", PLAIN),
        ("~hv x-tokens:.", PLAIN),
        ("~t json", PLAIN),
        ("~cookie sid:.", PLAIN),
        ("~b needle", PLAIN),
        ("~d other & ~e", PLAIN),
        ("~d other | ~c 404", PLAIN),
    ],
)
def test_a_flow_without_what_is_searched_is_ruled_out(text: str, flow: Flow) -> None:
    assert parse(text).rules_out(record(flow))


@pytest.mark.parametrize(
    ("text", "flow"),
    [
        ("~d EXAMPLE", PLAIN),
        ("~u example.com/item", PLAIN),
        ("~u https://example.com:443/", PLAIN),
        (r"~u https://\[::1\]:8443/", BARE),
        ("~u 8443/", BARE),
        ("~u :8443", BARE),
        ("~hq 'x-token: S3CRET'", PLAIN),
        ("~b needle", CODED),
        ("!~d other", PLAIN),
        ("~d other | ~e", PLAIN),
        ("~c 2xx", PLAIN),
        ("~d EXAMPLE & ~c 200", PLAIN),
        ("~d other | ~c 200", PLAIN),
        ("~hq x-token:s3 | ~c 404", PLAIN),
        ("~u 'other|item'", PLAIN),
        ("~all", PLAIN),
    ],
)
def test_what_could_be_there_is_not_ruled_out(text: str, flow: Flow) -> None:
    assert not parse(text).rules_out(record(flow))


def test_what_only_begins_like_the_clue_does_not_hide_it() -> None:
    flow = an_exchange(a_request(path="/status_code"), a_response(404))
    assert not parse("~c 404").rules_out(record(flow))
    assert parse("~c 403").rules_out(record(flow))


def test_many_records_are_ruled_out_only_if_each_is() -> None:
    other, wanted = record(PLAIN), record(an_exchange(response=a_response(404)))
    assert parse("~c 404").rules_out(other + other)
    assert not parse("~c 404").rules_out(other + wanted)


def codings(status: int) -> list[bytes]:
    """All ways in which msgpack can write an integer."""
    found = [bytes([status])] if status < 128 else []
    for size, unsigned in ((1, 0xCC), (2, 0xCD), (4, 0xCE), (8, 0xCF)):
        found += [bytes([unsigned]) + status.to_bytes(size, "big")] if status < 256**size else []
        found += [bytes([unsigned + 4]) + status.to_bytes(size, "big")] if status < 256**size // 2 else []
    return found


LARGE = [2**15 - 1, 2**15, 2**16 - 1, 2**16, 2**32, 2**63, 2**64 - 1]
STATUSES = st.one_of(st.integers(0, 1100), st.sampled_from(LARGE))


@given(STATUSES, st.integers(0, 999), st.sampled_from(["{:03}", "<{:03}", "<={:03}", ">{:03}", ">={:03}", "{:03}-999"]))
def test_a_status_that_matches_is_never_ruled_out_however_it_is_written(status: int, other: int, form: str) -> None:
    filter_, with_case = (parse(text.format(form.format(other))) for text in ("~c {}", "~m x | ~c {}"))
    if filter_.verdict(an_exchange(response=a_response(status)), Stage.END):
        for coding in codings(status):
            assert not filter_.rules_out(b"\xabstatus_code" + coding)
            assert not with_case.rules_out(b"\xabstatus_code" + coding)


@pytest.mark.parametrize("status", [0x141, 0x15A, 0x241, 0x35A])
def test_a_status_that_is_written_as_a_letter_is_found_in_a_lower_cased_record(status: int) -> None:
    assert not parse(f"~m x | ~c {status}").rules_out(record(an_exchange(response=a_response(status))))


@given(st.integers(100, 999), st.integers(100, 999))
def test_any_other_status_is_ruled_out_also_in_a_record_with_more_numbers(status: int, other: int) -> None:
    flow = an_exchange(response=a_response(status, body=bytes(range(256)) + other.to_bytes(2, "big")))
    assert parse(f"~c {other}").rules_out(record(flow)) or status in (other, other + 32)  # as letters: either case


def test_letters_outside_ascii_that_pass_for_one_inside_are_all_known() -> None:
    others = "".join(map(chr, range(128, sys.maxunicode + 1)))
    for letter in "abcdefghijklmnopqrstuvwxyz":
        filter_ = parse(f"~m {letter}")
        for cousin in re.findall(letter, others, re.IGNORECASE):
            assert not filter_.rules_out(cousin.encode())
