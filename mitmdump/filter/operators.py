"""The operators, in one table.

Parser, `--explain-filter`, the help text and the manual page read it: to add an operator is to add a row.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple

from . import arguments as arg
from . import bodies, clues, connections, predicates
from .arguments import Argument
from .clues import Clues
from .predicates import at_end, at_start, either_head, of_request, of_response
from .stages import Needs, Stage, Test, any_of


class Cost(IntEnum):
    """What an answer costs, so that the cheap ones are tried first."""

    FACT = 0  # a look at a field
    TEXT = 1  # a search in a short text
    FIELDS = 2  # a search through all header fields, or in what has to be taken apart first
    BODY = 10  # a search in bytes that may have to be read from disk and decoded


class Operator(NamedTuple):
    """A row of the table.

    `looks_at` says what is compared with the argument, or, without one, what has to be so. `stage` is the latest at
    which the answer is known. From the argument's value, None where there is no argument, `build` makes the test, and
    `clues` what the record of every flow that matches must contain.
    """

    code: str
    argument: Argument | None
    looks_at: str
    stage: Stage
    cost: Cost
    build: Callable[[Any], Test]
    example: str
    flows: str = "HTTP"
    needs: Needs = Needs.NOTHING
    optional: bool = False
    clues: Callable[[Any], Clues] = clues.none

    @property
    def usage(self) -> str:
        """The operator with its argument, as help texts show it."""
        if self.argument is None:
            return f"~{self.code}"
        return f"~{self.code} [{self.argument.name}]" if self.optional else f"~{self.code} {self.argument.name}"


def _fact(test: Test) -> Callable[[None], Test]:
    return lambda _: test


def _kind(kind: str) -> Callable[[None], Test]:
    return _fact(at_start(lambda flow: flow.kind == kind))


def _both(one: Callable[[Any], Test], other: Callable[[Any], Test]) -> Callable[[Any], Test]:
    return lambda value: any_of((one(value), other(value)))


HEAD, REQUEST, RESPONSE, END = Stage
FACT, TEXT, FIELDS, BODY = Cost
ALL = "all"
SENT = Needs.REQUEST_BODY | Needs.MESSAGES
RECEIVED = Needs.RESPONSE_BODY | Needs.MESSAGES

# fmt: off
TABLE: dict[str, tuple[Operator, ...]] = {
    "Kinds of flows": (
        Operator("all", None, "any flow", HEAD, FACT, _fact(at_start(lambda _: True)), "~all", ALL),
        Operator("http", None, "an HTTP exchange", HEAD, FACT, _kind("http"), "~http", ALL),
        Operator("websocket", None, "an upgrade to WebSocket that the server granted", RESPONSE, FACT,
                 _fact(predicates.is_websocket), "~websocket"),
        Operator("tcp", None, "a raw TCP connection", HEAD, FACT, _kind("tcp"), "~tcp", ALL),
        Operator("udp", None, "a raw UDP connection", HEAD, FACT, _kind("udp"), "~udp", ALL),
        Operator("dns", None, "a DNS query", HEAD, FACT, _kind("dns"), "~dns", ALL),
    ),
    "Requests": (
        Operator("m", arg.REGEX, "the method", HEAD, TEXT, predicates.method, '~m "^(POST|PUT)$"', clues=clues.text),
        Operator("u", arg.REGEX, "the URL, with the host that the client named", HEAD, TEXT, predicates.url,
                 "~u /v2/", clues=clues.url),
        Operator("d", arg.REGEX, "the host that the request goes to, and the one that the client named", HEAD,
                 TEXT, predicates.domain, r'~d "(^|\.)example\.com$"', clues=clues.text),
        Operator("qp", arg.NAMED_REGEX, "the values of a query parameter, percent-decoded", HEAD, FIELDS,
                 predicates.query_parameter, "~qp id:^42$"),
        Operator("v", arg.HTTP_VERSION, "the request's HTTP version", HEAD, TEXT, predicates.http_version, "~v 2"),
    ),
    "Responses and outcome": (
        Operator("c", arg.STATUS, "the status", RESPONSE, FACT, predicates.status, "~c 5xx", clues=clues.status),
        Operator("q", None, "an exchange that ended without a response", END, FACT,
                 _fact(predicates.has_no_response), "~q"),
        Operator("s", None, "an exchange with a response", END, FACT, _fact(predicates.has_response), "~s"),
        Operator("e", None, "a flow that ended with an error", END, FACT,
                 _fact(at_end(lambda flow: flow.error is not None)), "~e", ALL),
        Operator("done", None, "a complete flow: it was answered, not cut off, and had no error", END, FACT,
                 _fact(at_end(predicates.is_done)), "~done", ALL),
    ),
    "Header fields": (
        Operator("h", arg.HEADERS_REGEX, 'the lines "name: value" of the request\'s or the response\'s header',
                 RESPONSE, FIELDS, lambda value: either_head(predicates.header_lines(value)), "~h ^x-cache:",
                 clues=clues.header_lines),
        Operator("hq", arg.HEADERS_REGEX, 'the lines "name: value" of the request\'s header', HEAD, FIELDS,
                 lambda value: of_request(predicates.header_lines(value)), "~hq ^authorization:",
                 clues=clues.header_lines),
        Operator("hs", arg.HEADERS_REGEX, 'the lines "name: value" of the response\'s header', RESPONSE, FIELDS,
                 lambda value: of_response(predicates.header_lines(value)), '~hs "^server: nginx$"',
                 clues=clues.header_lines),
        Operator("hv", arg.HEADER_REGEX, "the value of a header field, of the request or the response", RESPONSE,
                 FIELDS, lambda value: either_head(predicates.header_value(value)), "~hv via:proxy",
                 clues=clues.header_value),
        Operator("hvq", arg.HEADER_REGEX, "the value of a request's header field", HEAD, FIELDS,
                 lambda value: of_request(predicates.header_value(value)), "~hvq user-agent:^curl/",
                 clues=clues.header_value),
        Operator("hvs", arg.HEADER_REGEX, "the value of a response's header field", RESPONSE, FIELDS,
                 lambda value: of_response(predicates.header_value(value)), "~hvs content-encoding:^br$",
                 clues=clues.header_value),
        Operator("t", arg.BYTES_REGEX, "Content-Type, of the request or the response", RESPONSE, FIELDS,
                 lambda value: either_head(predicates.content_type(value)), "~t json", clues=clues.content_type),
        Operator("tq", arg.BYTES_REGEX, "the request's Content-Type", HEAD, FIELDS,
                 lambda value: of_request(predicates.content_type(value)), "~tq multipart/", clues=clues.content_type),
        Operator("ts", arg.BYTES_REGEX, "the response's Content-Type", RESPONSE, FIELDS,
                 lambda value: of_response(predicates.content_type(value)), "~ts text/html", clues=clues.content_type),
        Operator("a", None, "a response that is a script, a style sheet, an image or a font, by Content-Type",
                 RESPONSE, FIELDS, _fact(of_response(predicates.is_asset)), "~a"),
        Operator("cookie", arg.NAMED_REGEX, "a cookie's value, in Cookie or Set-Cookie", RESPONSE, FIELDS,
                 predicates.cookie, "~cookie session:^abc", clues=clues.cookie),
    ),
    "Bodies and messages": (
        Operator("b", arg.BODY_REGEX, "the decoded bodies, and the messages of raw and WebSocket connections", END,
                 BODY, _both(bodies.request_content, bodies.response_content), '~b "internal error"', ALL,
                 SENT | RECEIVED, clues=clues.body),
        Operator("bq", arg.BODY_REGEX, "the decoded request body, and messages from the client", END, BODY,
                 bodies.request_content, "~bq password=", ALL, SENT, clues=clues.body),
        Operator("bs", arg.BODY_REGEX, "the decoded response body, and messages from the server", END, BODY,
                 bodies.response_content, '~bs "<title>.*not found"', ALL, RECEIVED, clues=clues.body),
        Operator("j", arg.JSON_TEST, "a value in a JSON body, of the request or the response", END, BODY,
                 _both(bodies.request_json, bodies.response_json), "~j user.name=ada",
                 needs=Needs.REQUEST_BODY | Needs.RESPONSE_BODY),
        Operator("jq", arg.JSON_TEST, "a value in a JSON request body", REQUEST, BODY, bodies.request_json,
                 "~jq items.0.id=7", needs=Needs.REQUEST_BODY),
        Operator("js", arg.JSON_TEST, "a value in a JSON response body", END, BODY, bodies.response_json,
                 "~js /errors/0/code~^E1", needs=Needs.RESPONSE_BODY),
        Operator("size", arg.SIZE, "the length of the request's or the response's body on the wire", END, FACT,
                 _both(bodies.request_size, bodies.response_size), "~size >1M"),
        Operator("sizeq", arg.SIZE, "the length of the request's body on the wire", REQUEST, FACT, bodies.request_size,
                 "~sizeq >0"),
        Operator("sizes", arg.SIZE, "the length of the response's body on the wire", END, FACT, bodies.response_size,
                 "~sizes 1k-64k"),
    ),
    "Connections": (
        Operator("src", arg.REGEX, "host:port of the client", HEAD, TEXT, connections.client_address,
                 "~src ^192.168.1.7:", ALL),
        Operator("dst", arg.REGEX, "host:port that the flow goes to", HEAD, TEXT, connections.destination_address,
                 "~dst :8443$", ALL),
        Operator("port", arg.PORT, "the port that the flow goes to", HEAD, FACT, connections.destination_port,
                 "~port 443", ALL),
        Operator("ip", arg.NETWORK, "the IP address of the client or the server", RESPONSE, TEXT,
                 _both(connections.client_network, connections.server_network), "~ip 10.0.0.0/8", ALL),
        Operator("ipsrc", arg.NETWORK, "the IP address of the client", HEAD, TEXT, connections.client_network,
                 "~ipsrc 2001:db8::/32", ALL),
        Operator("ipdst", arg.NETWORK, "the IP address of the server", RESPONSE, TEXT, connections.server_network,
                 "~ipdst 203.0.113.9", ALL),
        Operator("tls", arg.TLS_VERSION, "TLS that we took part in on the client's side, or its version", HEAD, FACT,
                 connections.intercepted_tls, "~tls 1.2", ALL, optional=True),
        Operator("sni", arg.REGEX, "the server name in the ClientHello", HEAD, TEXT, connections.server_name,
                 "~sni example", ALL),
        Operator("cert", arg.REGEX, "the values in the subject of the server's certificate, and its alternative names",
                 RESPONSE, FIELDS, connections.certificate, "~cert \"Let's Encrypt\"", ALL),
        Operator("tlserr", None, "a server whose certificate was not accepted", RESPONSE, FACT,
                 _fact(connections.of_server(connections.is_unverified)), "~tlserr", ALL),
    ),
    "Times": (
        Operator("since", arg.TIME, "when the request, or the raw connection, started: then or later", HEAD, FACT,
                 predicates.since, "~since 10:30", ALL),
        Operator("until", arg.TIME, "when the request, or the raw connection, started: before that", HEAD, FACT,
                 predicates.until, "~until 2026-11-23T12:00", ALL),
        Operator("dur", arg.DURATION, "the time from the request's start to the response's end", END, FACT,
                 predicates.duration, "~dur >500ms", ALL),
        Operator("ttfb", arg.DURATION, "the time from the request's start to the response's first byte", RESPONSE, FACT,
                 predicates.time_to_first_byte, "~ttfb >1s"),
    ),
    "Replay and annotations": (
        Operator("replay", None, "a flow of which one half was replayed", RESPONSE, FACT,
                 _fact(any_of((predicates.replayed_request, predicates.replayed_response))), "~replay", ALL),
        Operator("replayq", None, "a flow whose request was replayed", HEAD, FACT,
                 _fact(predicates.replayed_request), "~replayq", ALL),
        Operator("replays", None, "a flow whose response was replayed", RESPONSE, FACT,
                 _fact(predicates.replayed_response), "~replays", ALL),
        Operator("marked", None, "a flow that has a marker", END, FACT, _fact(at_end(lambda flow: bool(flow.marked))),
                 "~marked", ALL),
        Operator("marker", arg.REGEX, "the marker", END, TEXT, predicates.marker, "~marker ^red$", ALL,
                 clues=clues.text),
        Operator("comment", arg.LINES_REGEX, "the comment", END, TEXT, predicates.comment, "~comment flaky", ALL,
                 clues=clues.text),
        Operator("meta", arg.LINES_REGEX, 'the lines "key: value" of the metadata', END, TEXT, predicates.metadata,
                 '~meta "^ticket: 17$"', ALL),
    ),
}
# fmt: on

OPERATORS: dict[str, Operator] = {operator.code: operator for rows in TABLE.values() for operator in rows}
