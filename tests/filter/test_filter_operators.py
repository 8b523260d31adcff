"""Each operator on a flow that it matches and on one that it does not."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from support.filter_certificates import issue
from support.filter_flows import (
    START,
    a_connection,
    a_request,
    a_response,
    a_websocket,
    an_exchange,
    answered,
    matches,
    verdicts,
)

from mitmdump.filter import Stage, parse
from mitmdump.filter.operators import OPERATORS, TABLE, Operator
from mitmdump.model.connection import Connection
from mitmdump.model.flow import Error, Flow, WebSocket


def asked(**known: object) -> Flow:
    """A flow that is no more than a request; keywords as those of `a_request`."""
    return an_exchange(a_request(**known))  # type: ignore[arg-type]


def over_tls(version: str, sni: str | None = None) -> Flow:
    return an_exchange(client=Connection("client", timestamp_tls_setup=START, tls_version=version, sni=sni))


def of_kind(kind: str) -> Flow:
    return Flow(kind, Connection("client"))  # type: ignore[arg-type]


def with_server(**known: object) -> Flow:
    return an_exchange(response=a_response(), server_conn=Connection("server", **known))  # type: ignore[arg-type]


def over_http2(*messages: tuple[bool, bytes]) -> Flow:
    """A WebSocket without an upgrade, as in RFC 8441."""
    contents = a_websocket(*messages).messages
    return an_exchange(a_request(method="CONNECT"), a_response(), messages=contents, websocket=WebSocket())


PLAIN = answered()
RAW = a_connection((True, b"a needle from the client"), (False, b"hay from the server"))
SOCKET = a_websocket((True, b"a needle from the client"), (False, b"hay from the server"))
CERTIFICATE = issue({NameOID.ORGANIZATION_NAME: "Acme"}, [x509.DNSName("a.test")])
JSON = b'{"user": {"name": "ada", "tags": ["x", "y"]}, "n": 1}'

CASES = [
    ("~all", RAW, None),
    ("~http", PLAIN, RAW),
    ("~tcp", RAW, PLAIN),
    ("~udp", of_kind("udp"), RAW),
    ("~dns", of_kind("dns"), RAW),
    ("~websocket", SOCKET, answered(status=101, fields=[(b"Upgrade", b"h2c")])),
    ("~websocket", over_http2((True, b"needle")), answered()),
    ("~b needle", over_http2((True, b"needle")), over_http2()),
    ("~m ^post$", asked(method="POST"), asked(method="POSTER")),
    ("~u ^https://example.com/a$", asked(path="/a"), asked(path="/ab")),
    ("~u ^https://example.com:8443/$", asked(host="example.com:8443"), PLAIN),
    ("~d ^example.com$", asked(), asked(host="www.example.com")),
    ("~d ^example.com$", asked(host="example.com:8443", address="192.0.2.9"), asked(host="", address="192.0.2.9")),
    ("~d ^192.0.2.9$", asked(address="192.0.2.9"), PLAIN),
    ("~d ^2001:db8::1$", asked(host="[2001:db8::1]:8443", address="x"), PLAIN),
    ("~d ^other$", asked(authority="other:80"), PLAIN),
    ("~qp a:^1$", asked(path="/?b=2&a=1"), asked(path="/?b=1&a=2&aa=1")),
    ("~qp 'a b:c d'", asked(path="/?a%20b=c+d"), asked(path="/a%20b=c+d")),
    ("~v 2", asked(http_version="HTTP/2.0"), PLAIN),
    ("~v 1.1", PLAIN, asked(http_version="HTTP/1.0")),
    ("~c 404", answered(status=404), PLAIN),
    ("~c 404", answered(status=404), RAW),
    ("~q", asked(), PLAIN),
    ("~q", asked(), RAW),
    ("~s", PLAIN, asked()),
    ("~s", PLAIN, RAW),
    ("~e", an_exchange(error=Error("reset", START)), PLAIN),
    ("~e", a_connection(error=Error("reset", START)), RAW),
    ("~done", PLAIN, asked()),
    ("~done", RAW, an_exchange(response=a_response(), error=Error("cut off", START))),
    ("~h ^x-a:.b$", asked(fields=[(b"X-A", b"b"), (b"C", b"d")]), asked(fields=[(b"X-A", b"bb")])),
    ("~h ^x-a", answered(fields=[(b"X-A", b"b")]), PLAIN),
    ("~hq ^x-a", asked(fields=[(b"X-A", b"b")]), answered(fields=[(b"X-A", b"b")])),
    ("~hs ^x-a", answered(fields=[(b"X-A", b"b")]), asked(fields=[(b"X-A", b"b")])),
    ("~hv x-a:^b$", asked(fields=[(b"X-A", b"c"), (b"x-A", b"b")]), asked(fields=[(b"X-B", b"b")])),
    ("~hv x-a:", answered(fields=[(b"X-A", b"")]), PLAIN),
    ("~hvq x-a:b", asked(fields=[(b"X-A", b"b")]), answered(fields=[(b"X-A", b"b")])),
    ("~hvs x-a:b", answered(fields=[(b"X-A", b"b")]), asked(fields=[(b"X-A", b"b")])),
    ("~t json", asked(fields=[(b"content-type", b"a/json")]), asked(fields=[(b"accept", b"a/json")])),
    ("~t json", answered(fields=[(b"Content-Type", b"a/json")]), PLAIN),
    ("~tq json", asked(fields=[(b"Content-Type", b"a/json")]), answered(fields=[(b"Content-Type", b"a/json")])),
    ("~ts json", answered(fields=[(b"Content-Type", b"a/json")]), asked(fields=[(b"Content-Type", b"a/json")])),
    ("~a", answered(fields=[(b"Content-Type", b"image/png")]), answered(fields=[(b"Content-Type", b"text/html")])),
    (
        "~a",
        answered(fields=[(b"Content-Type", b"Application/JavaScript")]),
        asked(fields=[(b"Content-Type", b"image/png")]),
    ),
    ("~cookie sid:^1$", asked(fields=[(b"Cookie", b"a=b; sid=1")]), asked(fields=[(b"Cookie", b"a=1; xsid=1; sid=2")])),
    (
        "~cookie sid:^1$",
        answered(fields=[(b"Set-Cookie", b'sid="1"; Path=/')]),
        answered(fields=[(b"Set-Cookie", b"a=b; sid=1")]),
    ),
    ("~b needle", asked(body=b"a\nneedle"), asked(body=b"hay")),
    ("~b a.needle", answered(body=b"A\nNEEDLE"), PLAIN),
    ("~b NEEDLE", RAW, a_connection((True, b"hay"))),
    ("~b needle", SOCKET, a_websocket((True, b"hay"))),
    ("~bq needle", asked(body=b"needle"), answered(body=b"needle")),
    ("~bq needle", RAW, a_connection((False, b"needle"))),
    ("~bq needle", SOCKET, a_websocket((False, b"needle"))),
    ("~bs needle", answered(body=b"needle"), asked(body=b"needle")),
    ("~bs hay", RAW, a_connection((True, b"hay"))),
    ("~bs hay", SOCKET, a_websocket((True, b"hay"))),
    ("~j user.name=ada", asked(body=JSON), asked(body=b'{"user": "ada"}')),
    ("~j /user/tags/1~^y$", answered(body=JSON), answered(body=b"not json")),
    ("~j user.tags.1=y", answered(body=JSON), answered(body=b'{"user": {"tags": ["x"]}}')),
    ("~jq n=1", asked(body=JSON), answered(body=JSON)),
    ("~js n=1", answered(body=JSON), asked(body=JSON)),
    ("~size >3", asked(body=b"1234"), answered(body=b"123")),
    ("~size >3", answered(body=b"1234"), RAW),
    ("~sizeq 4", asked(body=b"1234"), answered(body=b"1234")),
    ("~sizes 4", answered(body=b"1234"), asked(body=b"1234")),
    ("~src ^192.0.2.1:50000$", PLAIN, of_kind("tcp")),
    ("~dst ^example.com:443$", PLAIN, asked(port=80)),
    ("~dst ^db.example:5432$", RAW, of_kind("tcp")),
    ("~port 443", PLAIN, RAW),
    ("~port 5432", RAW, PLAIN),
    ("~ip 192.0.2.0/24", PLAIN, of_kind("tcp")),
    ("~ip 198.51.100.1", RAW, PLAIN),
    ("~ipsrc 192.0.2.0/24", RAW, an_exchange(client=Connection("client", peername=("10.0.0.1", 1)))),
    ("~ipdst 198.51.100.1", RAW, PLAIN),
    ("~ipdst ::1", with_server(peername=("::1", 443)), with_server(peername=("::2", 443))),
    ("~tls", over_tls("TLSv1.3"), PLAIN),
    ("~tls 1.3", over_tls("TLSv1.3"), over_tls("TLSv1.2")),
    ("~tls 1.0", over_tls("TLSv1"), PLAIN),
    ("~sni ^a.test$", over_tls("TLSv1.3", "a.test"), over_tls("TLSv1.3")),
    ("~cert ^a.test$", with_server(certificate_list=(CERTIFICATE,)), with_server(certificate_list=(b"broken",))),
    ("~cert acme", with_server(certificate_list=(CERTIFICATE,)), PLAIN),
    ("~tlserr", with_server(verification="expired"), with_server(verification="ok")),
    ("~tlserr", with_server(verification="expired"), PLAIN),
    ("~since 2025-11-24T00:00Z", PLAIN, of_kind("tcp")),
    ("~until 2025-11-24T00:00Z", of_kind("tcp"), PLAIN),
    ("~dur 2s", PLAIN, answered(last=START + 3)),
    ("~dur 4s", a_connection(timestamp_end=START + 4), RAW),
    ("~dur 4s", an_exchange(timestamp_end=START + 4), asked()),
    ("~ttfb 1s", PLAIN, answered(first=START + 2)),
    ("~ttfb >0", PLAIN, asked()),
    ("~ttfb >0", PLAIN, RAW),
    ("~replay", an_exchange(is_replay="request"), PLAIN),
    ("~replay", an_exchange(is_replay="response"), PLAIN),
    ("~replayq", an_exchange(is_replay="request"), an_exchange(is_replay="response")),
    ("~replays", an_exchange(is_replay="response"), an_exchange(is_replay="request")),
    ("~marked", an_exchange(marked="red"), PLAIN),
    ("~marker ^red$", an_exchange(marked="red"), an_exchange(marked="redder")),
    ("~comment ^b$", an_exchange(comment="a\nb\nc"), an_exchange(comment="abc")),
    ("~meta '^ticket: 17$'", an_exchange(metadata={"a": 1, "ticket": 17}), an_exchange(metadata={"ticket": 171})),
]


@pytest.mark.parametrize(("text", "yes", "no"), CASES, ids=[case[0] for case in CASES])
def test_an_operator_matches_what_it_says(text: str, yes: Flow, no: Flow | None) -> None:
    assert matches(text, yes) is True
    assert no is None or matches(text, no) is False


def test_every_operator_has_a_case() -> None:
    tried = {term.operator.code for text, *_ in CASES for term in parse(text).expression.terms()}
    assert tried == set(OPERATORS)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.code)
def test_the_example_of_an_operator_uses_it_and_survives_its_canonical_text(operator: Operator) -> None:
    filter_ = parse(operator.example, now=START)
    assert [term.operator for term in filter_.expression.terms()] == [operator]
    assert parse(str(filter_)) == filter_


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.code)
def test_at_the_end_every_operator_has_decided_about_every_kind_of_flow(operator: Operator) -> None:
    for flow in (PLAIN, asked(), RAW, SOCKET, of_kind("dns"), of_kind("http")):
        assert parse(operator.example, now=START).verdict(flow, Stage.END) in (True, False)


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=lambda operator: operator.code)
def test_operators_for_http_say_no_to_raw_connections_at_once(operator: Operator) -> None:
    if operator.flows == "HTTP":
        assert parse(operator.example).verdict(RAW, Stage.REQUEST_HEAD) is False


T, F, N = True, False, None


@pytest.mark.parametrize(
    ("text", "flow", "expected"),
    [
        ("~m GET", PLAIN, [T, T, T, T]),
        ("~c 200", PLAIN, [N, N, T, T]),
        ("~c 200", asked(), [N, N, F, F]),
        ("~s", PLAIN, [N, N, T, T]),
        ("~s", asked(), [N, N, N, F]),
        ("~q", PLAIN, [N, N, F, F]),
        ("~q", asked(), [N, N, N, T]),
        ("~q", RAW, [F, F, F, F]),
        ("~e", PLAIN, [N, N, N, F]),
        ("~h ^host", PLAIN, [T, T, T, T]),
        ("~h nothing", PLAIN, [N, N, F, F]),
        ("~bq needle", asked(body=b"needle"), [N, T, T, T]),
        ("~bq needle", asked(body=b"hay"), [N, F, F, F]),
        ("~bq needle", asked(body=b"hay", fields=[(b"Upgrade", b"websocket")]), [N, N, F, F]),
        ("~bq needle", SOCKET, [N, N, N, T]),
        ("~bq needle", RAW, [N, N, N, T]),
        ("~b needle", asked(body=b"needle"), [N, T, T, T]),
        ("~b needle", asked(body=b"hay"), [N, N, N, F]),
        ("~sizeq 0", PLAIN, [N, T, T, T]),
        ("~ip 192.0.2.1", PLAIN, [T, T, T, T]),
        ("~ip 10.0.0.1", PLAIN, [N, N, F, F]),
        ("~ip 10.0.0.1", RAW, [F, F, F, F]),
        ("~replays", PLAIN, [N, N, F, F]),
        ("~ttfb >0", PLAIN, [N, N, T, T]),
    ],
)
def test_an_operator_is_decided_as_soon_as_it_can_be(text: str, flow: Flow, expected: list[bool | None]) -> None:
    assert verdicts(text, flow) == expected


@pytest.mark.parametrize("text", ["~bq needle", "~sizeq 6", "~jq a=1"])
def test_a_request_body_that_outlasts_the_response_head_is_waited_for(text: str) -> None:
    flow = an_exchange(a_request(body=b"nee"), a_response())
    flow.request.body.complete = False  # type: ignore[union-attr]
    assert parse(text).verdict(flow, Stage.RESPONSE_HEAD) is None
    assert parse(text).verdict(flow, Stage.END) is False


def test_codes_are_unique_over_all_groups() -> None:
    assert len(OPERATORS) == sum(len(rows) for rows in TABLE.values())
