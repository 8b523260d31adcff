"""What reaches a sink behind Redacting: everything but the secrets, at any time."""

from __future__ import annotations

import gzip
import zlib
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.filter_flows import START, a_connection, a_request, a_response, a_websocket, an_exchange
from support.flowfiles import live, value

from mitmdump.errors import OutputError, SettingsError
from mitmdump.model.body import Body
from mitmdump.model.flow import Error, Flow, Part, WebSocket
from mitmdump.model.headers import Headers
from mitmdump.model.message import Message
from mitmdump.redaction import Redactor, parse_rules
from mitmdump.sinks import redact
from mitmdump.sinks.base import Sink
from mitmdump.sinks.redact import Redacting, read_key

RULES = "header:authorization,cookie,query:token,form:token,json:$..token"
JSON = (b"Content-Type", b"application/json")
FORM = (b"Content-Type", b"application/x-www-form-urlencoded")
REDACTOR = Redactor(parse_rules(RULES), bytes(32))
STANDIN = REDACTOR.pseudonym(b"secret")


class Keeper(Sink):
    """Keeps what it is given, and in `seen` what anybody could have read in it at any time."""

    def __init__(self) -> None:
        self.flows: list[Flow] = []
        self.bodies = (bytearray(), bytearray())
        self.messages: list[Message] = []
        self.seen = ""

    def begin(self, flow: Flow) -> None:
        self.see(flow)

    def data(self, flow: Flow, part: Part, data: bytes) -> None:
        self.see(flow, data)
        self.bodies[part].extend(data)

    def message(self, flow: Flow, message: Message) -> None:
        self.see(flow, message.content)
        self.messages.append(message)

    def finish(self, flow: Flow) -> None:
        self.see(flow)
        self.flows.append(flow)

    def see(self, flow: Flow, data: bytes = b"") -> None:
        self.seen += f"{value(flow)} {data!r}\n"

    @property
    def response(self) -> tuple[Body, bytes]:
        """The facts and the bytes of the last response's body."""
        assert self.flows[-1].response
        return self.flows[-1].response.body, bytes(self.bodies[1])


class Stage:
    """A Redacting, with a Keeper behind it and its warnings."""

    def __init__(self, rules: str = RULES) -> None:
        self.keeper = Keeper()
        self.warnings: list[str] = []
        self.sink = Redacting(self.keeper, Redactor(parse_rules(rules), bytes(32)), self.warnings.append)

    def put(self, flow: Flow) -> Keeper:
        """A flow from a file."""
        self.sink.put(flow)
        return self.keeper

    def run(self, flow: Flow, *pieces: bytes) -> Keeper:
        """A flow that runs, with the pieces of its response."""
        self.sink.begin(live(flow))
        for piece in pieces:
            self.sink.data(flow, Part.RESPONSE, piece)
        self.sink.finish(flow)
        return self.keeper


def answering(body: bytes, *fields: tuple[bytes, bytes]) -> Flow:
    return an_exchange(response=a_response(fields=list(fields), body=body))


def test_a_flow_keeps_all_that_is_no_secret() -> None:
    request = a_request("POST", path="/?a=b", fields=[FORM], body=b"a=b", trailers=None)
    flow = an_exchange(request, a_response(404, [JSON], b'{"a": 1}'), marked="x", comment="y", error=Error("z", START))
    before = value(flow)

    keeper = Stage().put(flow)

    after = value(keeper.flows[0])
    for message in (before["request"], before["response"]):
        message["body"] = (*message["body"][:3], None)  # the bytes came as data
    assert (after, keeper.bodies) == (before, (b"a=b", b'{"a": 1}'))


def test_the_live_flow_is_not_touched() -> None:
    flow = an_exchange(a_request(path="/?token=secret", fields=[FORM], body=b"token=secret"), a_response(fields=[JSON]))
    before = value(flow)

    Stage().put(flow)

    assert value(flow) == before


def test_heads_are_redacted_as_soon_as_they_are_known() -> None:
    stage, flow = Stage(), an_exchange(a_request(path="/?token=secret", fields=[(b"Cookie", b"a=secret")]))

    stage.sink.begin(flow)
    flow.response = a_response(fields=[(b"Set-Cookie", b"a=secret")])
    stage.sink.tick(START)
    stage.sink.data(flow, Part.RESPONSE, b"<p>")

    assert STANDIN.decode() in stage.keeper.seen
    assert "Set-Cookie" in stage.keeper.seen
    assert "secret" not in stage.keeper.seen


def test_the_sink_is_shown_one_flow_that_grows() -> None:
    stage, flow = Stage(), an_exchange()
    shown: list[Flow] = []
    stage.keeper.begin = shown.append  # type: ignore[method-assign]

    stage.sink.begin(flow)
    flow.response = a_response()
    stage.sink.tick(START)

    assert shown[0].response
    assert shown[0] is not flow
    stage.sink.finish(flow)
    assert stage.keeper.flows[0] is shown[0]


def test_other_bodies_pass_as_they_come() -> None:
    stage, flow = Stage(), live(answering(bytes(6), (b"Content-Type", b"image/png")))

    stage.sink.begin(flow)
    for count in (2, 4, 6):
        stage.sink.data(flow, Part.RESPONSE, b"\x89\x89")
        assert len(stage.keeper.bodies[1]) == count


def test_a_body_is_redacted_as_a_whole() -> None:
    body = b'{"token": "secret"}'

    keeper = Stage().run(answering(body, JSON, (b"Content-Length", b"19")), body[:14], body[14:])

    redacted = b'{"token": "%b"}' % STANDIN
    assert keeper.response == (Body(len(redacted), True), redacted)
    assert keeper.flows[0].response
    assert keeper.flows[0].response.headers["content-length"] == str(len(redacted))


@pytest.mark.parametrize(("coding", "compress"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
def test_a_redacted_body_has_no_coding_any_more(coding: bytes, compress: object) -> None:
    body = compress(b"token=secret&a=b")  # type: ignore[operator]

    keeper = Stage().run(answering(body, (b"Content-Encoding", coding)), body[:3], body[3:])

    assert keeper.response[1] == b"token=%b&a=b" % STANDIN
    assert keeper.flows[0].response
    assert "content-encoding" not in keeper.flows[0].response.headers


def test_a_body_without_secrets_stays_as_it_was_sent() -> None:
    body = gzip.compress(b'{"a": "b"}')
    flow = answering(body, JSON, (b"Content-Encoding", b"gzip"))
    assert flow.response
    flow.response.body.digest = b"digest"

    keeper = Stage().put(flow)

    assert keeper.response == (Body(len(body), True, b"digest"), body)
    assert keeper.flows[0].response
    assert keeper.flows[0].response.headers == flow.response.headers


def _partly(data: bytes, length: int) -> Flow:
    flow = answering(data, JSON)
    assert flow.response
    flow.response.body.length = length
    return flow


@pytest.mark.parametrize(
    ("flow", "why"),
    [
        (answering(b'{"token": "secret"', JSON), "no JSON from character 18"),
        (answering(b'{"token": "secret"}', JSON, (b"Content-Encoding", b"gzip")), "not valid gzip"),
        (answering(b'{"token": "secret"}', (b"Content-Encoding", b"rot13")), "unknown content coding"),
        (answering(b'{"token": "secret"}' + bytes(1000), JSON), "larger than"),
        (answering(gzip.compress(b'{"token": "secret"}' + bytes(1000)), (b"Content-Encoding", b"gzip")), "larger than"),
        (_partly(b'{"token": "secret"}', 20), "only in part"),
    ],
)
def test_what_cannot_be_redacted_is_not_stored(flow: Flow, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "DECODED_LIMIT", 500)
    assert flow.response
    length, flow.response.body.digest = flow.response.body.length, b"digest"
    stage = Stage()

    keeper = stage.put(flow)

    assert keeper.response == (Body(length, True), b"")
    assert why in keeper.flows[0].metadata["redact.response"]
    assert (len(stage.warnings), "secret" in keeper.seen, "digest" in keeper.seen) == (1, False, False)


def test_a_body_that_was_not_kept_loses_its_digest() -> None:
    flow = answering(b"", JSON)
    assert flow.response
    flow.response.body = Body(19, True, b"digest")

    assert Stage().put(flow).response == (Body(19, True), b"")
    assert Stage("cookie").put(flow).response == (Body(19, True, b"digest"), b"")


def test_an_empty_body_is_known_to_be() -> None:
    assert Stage().put(answering(b"", JSON)).response == (Body(0, True, source=b""), b"")


def test_what_tells_nothing_for_long_is_held() -> None:
    stage, flow = Stage(), live(answering(bytes(2000), (b"Content-Type", b"text/plain")))
    stage.sink.begin(flow)

    stage.sink.data(flow, Part.RESPONSE, b" " * 1023)
    stage.sink.data(flow, Part.RESPONSE, b" " * 977)
    assert stage.keeper.bodies[1] == b""
    stage.sink.finish(flow)

    assert stage.keeper.bodies[1] == b" " * 2000


def test_the_start_of_a_body_is_not_looked_at_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    looks, decode = [], redact.decode
    monkeypatch.setattr(redact, "decode", lambda *given: looks.append(1) or decode(*given))
    stage, flow = Stage(), live(answering(bytes(3000), (b"Content-Type", b"text/plain")))
    stage.sink.begin(flow)

    for _ in range(3000):
        stage.sink.data(flow, Part.RESPONSE, b" ")

    assert len(looks) == redact.SNIFFED


def test_a_sink_that_wants_no_bodies_gets_none() -> None:
    keeper = Keeper()
    keeper.wants_bodies = False
    sink = Redacting(keeper, REDACTOR, print)
    assert not sink.wants_bodies

    sink.put(answering(b'{"token": "secret"}', JSON))

    assert keeper.response == (Body(19, True), b"")
    assert keeper.flows[0].metadata == {}


def test_messages_in_json_are_redacted_and_raw_ones_warned_of() -> None:
    stage = Stage()

    stage.put(a_websocket((True, b'{"token": "secret"}'), (False, b"hello")))
    assert [message.content for message in stage.keeper.messages] == [b'{"token": "%b"}' % STANDIN, b"hello"]
    assert not stage.warnings

    stage.put(a_connection((True, b"secret")))
    assert "raw connections" in stage.warnings[0]


def test_the_rest_of_a_large_message_that_had_a_secret_is_a_secret() -> None:
    stage, flow = Stage(), a_websocket()
    contents = [(True, "text", b'{"a": "'), (True, "continuation", b'","token":"secret"}')]
    contents += [(False, "text", b"hello"), (False, "continuation", b"secret")]
    flow.messages = [Message(side, kind, START, content) for side, kind, content in contents]  # type: ignore[arg-type]

    stage.put(flow)

    found = [message.content for message in stage.keeper.messages]
    assert not any(b"secret" in content for content in found[:2])
    assert found[2:] == [b"hello", b"secret"]


def test_how_a_websocket_ended_is_told_without_secrets() -> None:
    stage, flow = Stage(), a_websocket()
    flow.websocket = WebSocket(True, 1000, "see /?token=secret")

    stage.put(flow)

    (found,) = stage.keeper.flows
    assert found.websocket and "secret" not in found.websocket.close_reason
    assert flow.websocket.close_reason == "see /?token=secret"


def test_how_a_flow_stands_in_a_file_is_not_handed_on() -> None:
    keeper = Keeper()

    Redacting(keeper, REDACTOR, print).put(an_exchange(a_request(path="/?token=secret")), raw=object())  # type: ignore[arg-type]

    assert keeper.flows[0].request
    assert keeper.flows[0].request.path == f"/?token={STANDIN.decode()}"


def test_trailers_are_redacted_like_headers() -> None:
    response = a_response(body=b"<p>")
    response.trailers = Headers([(b"Set-Cookie", b"a=secret"), (b"X", b"y")])

    keeper = Stage().put(an_exchange(a_request(trailers=Headers()), response))

    request, response = keeper.flows[0].request, keeper.flows[0].response
    assert request
    assert response
    assert (request.trailers, response.trailers) == (
        Headers(),
        Headers([(b"Set-Cookie", b"a=" + STANDIN), (b"X", b"y")]),
    )


def test_remarks_are_redacted_and_unknown_keys_left_out() -> None:
    flow = an_exchange(error=Error("no answer for /?token=secret", START), comment="/?token=secret")
    flow.extra = {"later": "secret"}

    assert "secret" not in Stage().put(flow).seen


def test_a_full_disk_is_told_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(redact.Spool, "add", full)
    with pytest.raises(OutputError, match="TMPDIR"):
        Stage().put(answering(b"{}", JSON))


_characters = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='";,\\')
_secrets = st.text(_characters, max_size=12).map("Zq7~%".__add__)  # which nothing else has in it


@given(_secrets, st.booleans(), st.integers(1, 40))
def test_a_secret_reaches_no_sink_in_any_spelling(secret: str, compressed: bool, size: int) -> None:
    encoded, basic = quote(secret, safe=""), b64encode(f"me:{secret}".encode()).decode()
    escaped = "".join(f"\\u{ord(character):04x}" for character in secret)
    fields = [(b"Authorization", f"Basic {basic}".encode()), (b"Cookie", f"a={secret}".encode()), FORM]
    fields += [(b"Referer", f"https://h/?token={encoded}#token={encoded}".encode())]
    request = a_request(path=f"/?x&token={encoded}", fields=fields, body=f"a=b&token={encoded}".encode())
    body = f'{{"token": ["{secret}", "{escaped}"]}}'.encode()
    body = gzip.compress(body) if compressed else body
    answer = [(b"Set-Cookie", f"a={secret}".encode()), *([(b"Content-Encoding", b"gzip")] if compressed else [])]
    flow = an_exchange(request, a_response(fields=answer, body=body))

    seen = Stage().run(flow, *(body[at : at + size] for at in range(0, len(body), size))).seen
    seen += Stage().put(an_exchange(request, a_response(fields=answer, body=body))).seen

    for spelling in (secret, encoded, basic, escaped, repr(secret)[1:-1], repr(escaped)[1:-1]):
        assert spelling not in seen


# The key


def test_without_a_file_each_run_has_its_own_key() -> None:
    assert read_key(None, print) != read_key(None, print)


def test_the_key_is_the_bytes_of_a_file(tmp_path: Path) -> None:
    file, warnings = tmp_path / "key", []
    file.write_bytes(b"0123456789abcdef\n")
    file.chmod(0o600)
    assert (read_key(file, warnings.append), warnings) == (b"0123456789abcdef\n", [])

    file.chmod(0o640)
    assert read_key(file, warnings.append)
    assert "read by others" in warnings[0]


@pytest.mark.parametrize("content", [b"", b"short", bytes(5000)])
def test_a_file_of_another_size_is_no_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(SettingsError, match="head -c 32 /dev/urandom"):
        read_key(tmp_path / "key", print)


def test_a_key_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*/none: no such file"):
        read_key(tmp_path / "none", print)
