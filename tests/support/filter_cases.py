"""Filter expressions for tests, made by hypothesis, each with what it says in plain two-valued logic."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from mitmdump.model.flow import Flow
from mitmdump.model.message import HttpMessage


@dataclass
class Case:
    """An expression, and what it says of a finished flow, in two-valued logic and as plainly as can be."""

    text: str
    truth: Callable[[Flow], bool]


def _halves(flow: Flow) -> list[HttpMessage]:
    return [half for half in (flow.request, flow.response) if half]


def _field(half: HttpMessage | None, pattern: bytes) -> bool:
    return half is not None and any(
        re.search(pattern, name + b": " + value, re.IGNORECASE) for name, value in half.headers.fields
    )


def _said(flow: Flow, from_client: bool) -> bool:
    """Is there a needle in what this side said?"""
    half = flow.request if from_client else flow.response
    messages = [message for message in flow.messages if message.from_client is from_client and message.kind != "close"]
    contents = [message.content for message in messages] + [(half.raw_content or b"") if half else b""]
    return any(b"needle" in content for content in contents)


def _status(flow: Flow) -> int:
    return flow.response.status_code if flow.response else 0


TERMS = [
    Case("~all", lambda flow: True),
    Case("~http", lambda flow: flow.kind == "http"),
    Case("~tcp", lambda flow: flow.kind == "tcp"),
    Case("~m post", lambda flow: flow.request is not None and flow.request.method == "POST"),
    Case("~d ^api", lambda flow: flow.request is not None and flow.request.headers["host"].startswith("api")),
    Case("needle", lambda flow: flow.request is not None and "needle" in flow.request.path),
    Case("~port 443", lambda flow: (flow.request or flow.server_conn) is not None),
    Case("~c 4xx", lambda flow: 400 <= _status(flow) <= 499),
    Case("~c >=204", lambda flow: _status(flow) >= 204),
    Case("~websocket", lambda flow: _status(flow) == 101 and _field(flow.response, b"upgrade: websocket")),
    Case("~q", lambda flow: flow.kind == "http" and flow.response is None),
    Case("~s", lambda flow: flow.response is not None),
    Case("~e", lambda flow: flow.error is not None),
    Case("~done", lambda flow: flow.error is None and not (flow.request and not flow.response)),
    Case("~h ^x-a", lambda flow: any(_field(half, b"^x-a") for half in _halves(flow))),
    Case("~hs needle$", lambda flow: _field(flow.response, b"needle$")),
    Case("~t css", lambda flow: any(_field(half, b"^content-type:.*css") for half in _halves(flow))),
    Case("~a", lambda flow: _field(flow.response, b"^content-type: text/css")),
    Case("~b needle", lambda flow: _said(flow, True) or _said(flow, False)),
    Case("~bq needle", lambda flow: _said(flow, True)),
    Case("~bs needle", lambda flow: _said(flow, False)),
    Case("~j a=1", lambda flow: any(half.raw_content == b'{"a": 1}' for half in _halves(flow))),
    Case("~sizeq >3", lambda flow: flow.request is not None and flow.request.body.length > 3),
    Case("~size 0", lambda flow: any(half.body.length == 0 for half in _halves(flow))),
    Case("~ipdst 198.51.100.0/24", lambda flow: flow.server_conn is not None),
    Case("~tlserr", lambda flow: flow.server_conn is not None),
    Case("~replay", lambda flow: flow.is_replay is not None),
    Case("~replays", lambda flow: flow.is_replay == "response"),
    Case("~marked", lambda flow: flow.marked != ""),
]


def _not(case: Case) -> Case:
    return Case(f"!{case.text}", lambda flow: not case.truth(flow))


def _and(cases: list[Case]) -> Case:
    return Case(f"({' & '.join(case.text for case in cases)})", lambda flow: all(case.truth(flow) for case in cases))


def _or(cases: list[Case]) -> Case:
    return Case(f"({' | '.join(case.text for case in cases)})", lambda flow: any(case.truth(flow) for case in cases))


def _larger(cases: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    several = st.lists(cases, min_size=2, max_size=4)
    return st.one_of(cases.map(_not), several.map(_and), several.map(_or))


cases = st.recursive(st.sampled_from(TERMS), _larger, max_leaves=8)
