"""HTTP/1 message heads: parsing, writing, and the framing of the body that follows (RFC 9112 sections 2 to 6).

Parsing is strict where two programs could read the same bytes differently, for that is what request smuggling lives on,
and faithful in everything else: order, case, duplicates and odd values stay as they were sent.

A head is parsed by one regular expression over all its lines, which costs a quarter of a loop over them. Only when that
finds fewer fields than there are lines does `_blame` look for the line and the rule that it breaks.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn, TypeVar

from ..errors import RemoteError
from ..model.headers import Field, to_str
from .events import Head, RequestHead, ResponseHead, Survey

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# Visible characters, space, tab and obs-text (RFC 9110 section 5.5): no NUL, CR, LF nor any other control character.
# Possessive, as is the white space before a value: giving back one by one would take minutes for a long run of spaces.
TEXT = rb"[^\x00-\x08\x0a-\x1f\x7f]*+"

_REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([^\x00-\x20\x7f]+) (HTTP/1\.[01])\r\n")
# The space before an absent reason is required (RFC 9112 section 4), and often forgotten: no two readers differ on it.
_STATUS_LINE = re.compile(rb"(HTTP/1\.[01]) ([1-9][0-9][0-9])(?: (" + TEXT + rb"))?\r\n")
_OTHER_VERSION = re.compile(rb"\S+ \S+ HTTP/(?!1\.[01]\Z)[0-9](\.[0-9])?\Z")
_FIELD = re.compile(rb"^(" + TOKEN + rb"):[ \t]*+(" + TEXT + rb")\r\n", re.MULTILINE)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_DIGITS = re.compile(rb"[0-9]{1,18}\Z")  # one more digit could pass 2**63, which other programs count in

# How a request's first line looks, right or not quite right, and how it begins: the longest registered method has 17
# letters. After so many bytes its beginning is enough: RFC 9112 section 3 promises nobody that more will be read.
_FIRST_LINE = re.compile(TOKEN + rb" +(?:/|\*|http).* HTTP/1\.[0-9][ \r]*\Z", re.IGNORECASE)
_START_OF_LINE = re.compile(TOKEN[:-1] + rb"{1,32}(?: (?:[ /*h].*)?)?\Z", re.IGNORECASE | re.DOTALL)
_ENOUGH_OF_A_LINE = 8000

# What a client that speaks HTTP/2 begins with (RFC 9113 section 3.4): to HTTP/1 a request that nobody would send.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

# A peer says nearly the same in every head, as HTTP/2's compression knows (RFC 7541), and so do peers of one kind:
# often it is word for word what was said before, or differs in the first line only. What heads and fields say is
# remembered for all connections together: if each of a thousand did so for itself, it would be more than the cache of
# a processor holds. So many of each kind, of so many bytes and fields: some 10 MiB, if somebody is out to fill it.
_ENTRIES: Final = 256
_LONGEST: Final = 4096
_MOST_FIELDS: Final = 64
_requests: Final[dict[bytes, RequestHead]] = {}
_responses: Final[dict[bytes, ResponseHead]] = {}
_surveys: Final[dict[bytes, Survey]] = {}
_T = TypeVar("_T")

# What a body's framing is, besides a number of bytes.
CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
SWITCHED: Final = -3
# What the fields of a message without any framing announce.
_NOTHING: Final = -4

NO_BODY_STATUS = frozenset({204, 304})


def starts_like_http(data: bytes) -> bool | None:
    """Are these first bytes of a connection, on whatever port, an HTTP/1 request? None: too few to tell.

    A request to a server, that is: other text protocols have words in front of their lines, too, so it takes a whole
    line. Of CONNECT, or HTTP/2 without TLS, the answer is no.
    """
    line, end, _ = data.partition(b"\n")
    if end:
        return _FIRST_LINE.match(line) is not None
    if line and not _START_OF_LINE.match(line):
        return False
    return True if len(line) > _ENOUGH_OF_A_LINE else None


def starts_like_http2(data: bytes) -> bool:
    """Are these first bytes of a connection, a line at least, HTTP/2's preface?"""
    return data.startswith(PREFACE[:18]) and PREFACE.startswith(data[: len(PREFACE)])


def parse_request(block: bytes, max_fields: int) -> RequestHead:
    """Parse a request head, from its first byte to the empty line; of what is remembered, a copy is to be made.

    Its `framing` is set. Raises RemoteError (400, 431, or 505 for a version that is not HTTP/1.0 or 1.1).
    """
    if (past := _requests.get(block)) and len(past.fields) <= max_fields:
        return past
    match = _REQUEST_LINE.match(block)
    if not match:
        if _OTHER_VERSION.match(block.partition(b"\r\n")[0]):
            raise RemoteError("the client's request line names an HTTP version other than 1.0 and 1.1", 505)
        raise RemoteError("the client's request line is not 'METHOD target HTTP/1.1' with single spaces", 400)
    method, target, version = match.groups()
    head = RequestHead(method, target, [], version)
    try:
        _give_fields(head, block[match.end() : -2], max_fields, "client", 400)
        head.framing = request_framing(head)
    except RemoteError as error:
        head.fields = head.fields.copy()
        error.head = head
        raise
    if _is_worth_remembering(block, head.fields):
        head.block = block
        _remember(_requests, block, head)
    return head


def parse_response(block: bytes, max_fields: int) -> ResponseHead:
    """Parse a response head likewise, but for its `framing`. Raises RemoteError (502)."""
    if (past := _responses.get(block)) and len(past.fields) <= max_fields:
        return past
    match = _STATUS_LINE.match(block)
    if not match:
        raise RemoteError("the server's status line is not 'HTTP/1.1 200 reason'", 502)
    version, status, reason = match.groups()
    head = ResponseHead(int(status), [], reason or b"", version)
    _give_fields(head, block[match.end() : -2], max_fields, "server", 502)
    if _is_worth_remembering(block, head.fields):
        head.block = block
        _remember(_responses, block, head)
    return head


def _give_fields(head: Head, block: bytes, max_fields: int, peer: str, status: int) -> None:
    """Give a head the fields in `block`. Raises RemoteError with `status`."""
    known = _surveys.get(block)
    if known is None or len(known.fields) > max_fields:
        known = Survey(parse_fields(block, max_fields, peer, status))
        if _is_worth_remembering(block, known.fields):
            _remember(_surveys, block, known)
    head.fields, head.known = known.fields, known


def _is_worth_remembering(block: bytes, fields: list[Field]) -> bool:
    return len(block) <= _LONGEST and len(fields) <= _MOST_FIELDS


def _remember(memory: dict[bytes, _T], block: bytes, what: _T) -> None:
    if len(memory) >= _ENTRIES:
        memory.clear()
    memory[block] = what


def parse_fields(block: bytes, max_fields: int, peer: str, status: int) -> list[Field]:
    """Parse lines of header or trailer fields, each ended by CRLF. Raises RemoteError with `status`."""
    fields: list[Field] = _FIELD.findall(block)
    if len(fields) != block.count(b"\n"):
        _blame(block, peer, status)
    if len(fields) > max_fields:
        raise RemoteError(f"the {peer} sent more than {max_fields} header fields", 431 if status == 400 else status)
    # White space after a value is not part of it (RFC 9110 section 5.5). To ask for bytes in bytes with `in` costs an
    # exception that nobody sees.
    if block.find(b" \r") >= 0 or block.find(b"\t\r") >= 0:
        fields = [(name, value.rstrip(b" \t")) for name, value in fields]
    return fields


def _blame(block: bytes, peer: str, status: int) -> NoReturn:
    """Name the rule that the first bad line breaks; a value is never quoted, it may be a secret."""
    line = next(line for line in block.split(b"\n") if not _FIELD.match(line + b"\n"))
    name = line.partition(b":")[0]
    if line[:1] in (b" ", b"\t"):
        rule = "a line that starts with white space (obsolete folding, RFC 9112 section 5.2)"
    elif not line.endswith(b"\r"):
        rule = "a line that ends in a bare LF (RFC 9112 section 2.2)"
    elif b":" not in line:
        rule = "a line without a colon"
    elif not name:
        rule = "a field without a name"
    elif name[-1:] in (b" ", b"\t"):
        rule = f"white space before the colon after {to_str(name.strip())!a} (RFC 9112 section 5.1)"
    elif not re.fullmatch(TOKEN, name):
        rule = f"a character that cannot stand in a field name: {to_str(name[:60])!a}"
    else:
        rule = f"a control character in the value of {to_str(name[:60])!a}"
    raise RemoteError(f"the {peer} sent {rule}", status)


def has_bare_lf(data: bytes, start: int) -> bool:
    """Is there a LF without CR at or after `start`? Such a head would never end for us, and has ended for others."""
    return _BARE_LF.search(data, start) is not None


def write_fields(fields: list[Field]) -> bytes:
    """Fields as lines, and the empty line behind them."""
    return b"\r\n".join([*map(b": ".join, fields), b"", b""]) if fields else b"\r\n"


def write_request(head: RequestHead) -> bytes:
    """A request head as bytes, with its empty line."""
    return b"%b %b %b\r\n%b" % (head.method, head.target, head.version, _lines(head))


def write_response(head: ResponseHead) -> bytes:
    """A response head as bytes, with its empty line."""
    return b"%b %d %b\r\n%b" % (head.version, head.status, head.reason, _lines(head))


def _lines(head: Head) -> bytes:
    """The fields as `write_fields` writes them, which it does once for all heads that share them."""
    known = head.known
    if known is None or known.fields is not head.fields:
        return write_fields(head.fields)
    if known.lines is None:
        known.lines = write_fields(known.fields)
    return known.lines


def keeps_alive(head: RequestHead | ResponseHead) -> bool:
    """May another message follow on this connection? (RFC 9112 section 9.3)"""
    survey = head.survey()
    return not survey.closes if head.version == b"HTTP/1.1" else b"keep-alive" in survey.options


def request_framing(head: RequestHead) -> int:
    """What body follows a request head: a number of bytes or CHUNKED. Raises RemoteError (400)."""
    announced = _announced(head, "client", 400)
    return 0 if announced == _NOTHING else announced


def response_framing(head: ResponseHead, request_method: bytes) -> int:
    """What body follows a response head: a number of bytes, CHUNKED, UNTIL_CLOSE, or SWITCHED (no more HTTP).

    The steps of RFC 9112 section 6.3, but that a message whose fields contradict each other is refused first, even
    where it has no body: its fields are forwarded, and the next reader may not know of that. Raises RemoteError (502).
    """
    announced = _announced(head, "server", 502)
    status = head.status
    if status == 101:
        return SWITCHED
    if request_method == b"HEAD" or status < 200 or status in NO_BODY_STATUS:  # step 1
        return 0
    if request_method == b"CONNECT" and status < 300:  # step 2
        return SWITCHED
    return UNTIL_CLOSE if announced == _NOTHING else announced  # steps 3 to 8


def _announced(head: Head, peer: str, status: int) -> int:
    """What Transfer-Encoding and Content-Length say, _NOTHING if neither is there. Raises RemoteError with `status`."""
    survey = head.survey()
    announced = survey.announced
    if announced is None:
        announced = survey.announced = _find_announced(survey, peer, status)
    if announced == CHUNKED and head.version == b"HTTP/1.0":
        raise RemoteError(f"the {peer} sent Transfer-Encoding in an HTTP/1.0 message", status)
    return announced


def _find_announced(survey: Survey, peer: str, status: int) -> int:
    lengths = survey.values.get(b"content-length")
    if codings := survey.values.get(b"transfer-encoding"):  # steps 3 and 4
        if lengths:
            raise RemoteError(f"the {peer} sent both Content-Length and Transfer-Encoding", status)
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise RemoteError(f"the {peer} sent a Transfer-Encoding other than 'chunked'", status)
        return CHUNKED
    if not lengths:  # steps 7 and 8
        return _NOTHING
    if len(lengths) > 1 and len(set(lengths)) > 1:  # step 5
        raise RemoteError(f"the {peer} sent differing Content-Length fields", status)
    if not _DIGITS.match(lengths[0]):
        raise RemoteError(f"the {peer} sent a Content-Length that is not a plain number", status)
    return int(lengths[0])  # step 6
