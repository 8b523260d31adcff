"""What was recorded is found again, and read from where it lies."""

import io
from functools import partial
from pathlib import Path

import pytest
from support.flowfiles import a_tcp_flow
from support.replaying import a_request, answers_of, recorded, written

from mitmdump import FlowFileError
from mitmdump.filter import parse
from mitmdump.model.body import Body
from mitmdump.model.connection import Connection
from mitmdump.replay.answers import Answers, Server
from mitmdump.replay.match import Matching, key_of

LARGE = bytes(range(256)) * 1024


def number_of(answers, request):
    return answers.first(key_of(answers.matching.parts_of(request)))


def content_of(answers, number):
    return answers.take(number).response.raw_content


@pytest.mark.parametrize("suffix", ["flows", "flows.zst", "har", "mitm"])
@pytest.mark.parametrize("content", [b"small", LARGE])
def test_a_response_is_found_in_a_file_of_any_format(tmp_path, suffix, content):
    path = written(tmp_path / f"in.{suffix}", [recorded(a_request("http://a.test/1")), recorded(a_request(), content)])
    answers = Answers(Matching())
    answers.load(str(path))

    assert content_of(answers, number_of(answers, a_request())) == content
    assert number_of(answers, a_request("http://a.test/2")) is None


def test_a_response_is_found_in_what_comes_through_a_pipe(tmp_path, monkeypatch):
    data = written(tmp_path / "in.flows", [recorded(a_request(), LARGE)]).read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    answers = Answers(Matching())

    answers.load("-")

    assert content_of(answers, 0) == LARGE


def test_no_room_for_a_copy_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    path = written(tmp_path / "in.har", [recorded(a_request())])
    monkeypatch.setattr("mitmdump.replay.answers.TemporaryFile", partial(Path("/dev/full").open, "r+b"))

    with pytest.raises(FlowFileError, match="No space left on device. Set TMPDIR"):
        Answers(Matching()).load(str(path))


def test_recordings_of_one_request_follow_one_another_over_all_files(tmp_path):
    answers = Answers(Matching())
    for number in range(3):
        flows = [recorded(a_request(), b"%d" % number), recorded(a_request("http://a.test/other"))]
        answers.load(str(written(tmp_path / f"{number}.flows", flows)))

    first = number_of(answers, a_request())
    second = answers.after(first)
    third = answers.after(second)

    assert [content_of(answers, number) for number in (first, second, third)] == [b"0", b"1", b"2"]
    assert answers.after(third) is None
    assert answers.last(first) == third


def test_the_filter_chooses_the_flows(tmp_path):
    answers = Answers(Matching())
    path = written(tmp_path / "in.flows", [recorded(a_request()), recorded(a_request("http://b.test/"))])

    answers.load(str(path), parse("~d b.test"))

    assert number_of(answers, a_request()) is None
    assert number_of(answers, a_request("http://b.test/")) == 0


def cut_off(flow):
    flow.response.body = Body(3, complete=False, source=b"abc")
    return flow


def trimmed(message):
    message.body = Body(3, complete=True, source=b"ab")
    return message


@pytest.mark.parametrize(
    ("flow", "reason"),
    [
        (a_tcp_flow(1, b"x"), "no HTTP exchange"),
        (recorded(a_request(method="CONNECT")), "no HTTP exchange"),
        (cut_off(recorded(a_request())), "the response was cut off or not stored"),
        (recorded(trimmed(a_request(method="POST"))), "the request was cut off or not stored"),
        (recorded(a_request(), b"", 101), "a switch to another protocol"),
    ],
)
def test_what_cannot_answer_is_left_out_and_counted(tmp_path, flow, reason):
    answers = answers_of(tmp_path / "in.flows", flow, recorded(a_request("http://a.test/whole")))

    assert answers.skipped == {reason: 1}
    assert len(answers) == 1


def test_a_request_without_its_body_is_found_if_bodies_do_not_count(tmp_path):
    matching = Matching(Matching().parts - {"body"})
    answers = answers_of(tmp_path / "in.flows", recorded(trimmed(a_request(method="POST"))), matching=matching)

    assert number_of(answers, a_request(method="POST", content=b"whatever")) == 0


def test_a_server_is_remembered_by_its_name_and_by_its_address(tmp_path):
    flow = recorded(a_request("https://a.test/"))
    flow.server_conn = Connection(
        "server", address=("10.0.0.1", 443), sni="A.test", certificate_list=(b"leaf", b"ca"), alpn=b"http/1.1"
    )
    answers = answers_of(tmp_path / "in.flows", flow)

    assert answers.server("a.test", 443) == answers.server("10.0.0.1", 443) == Server(b"leaf", b"http/1.1")
    assert answers.server("a.test", 444) is None


def test_of_servers_without_end_some_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr("mitmdump.replay.answers.MAX_SERVERS", 2)
    flows = [recorded(a_request(f"https://s{number}.test/")) for number in range(5)]
    for number, flow in enumerate(flows):
        flow.server_conn = Connection("server", address=(f"s{number}.test", 443), certificate_list=(b"leaf",))
    answers = answers_of(tmp_path / "in.flows", *flows)

    assert [bool(answers.server(f"s{number}.test", 443)) for number in range(5)] == [True, True, False, False, False]


def test_damage_is_told_and_the_rest_answers(tmp_path):
    path = written(tmp_path / "in.flows", [recorded(a_request(f"http://a.test/{number}")) for number in range(3)])
    data = bytearray(path.read_bytes())
    data[data.index(b"/1")] ^= 1
    path.write_bytes(data)
    answers = Answers(Matching())

    answers.load(str(path))

    assert len(answers) == 2
    assert "a frame with a wrong checksum" in answers.damage[0]


def test_a_file_that_has_become_shorter_is_an_error_that_says_so(tmp_path):
    answers = answers_of(tmp_path / "in.flows", recorded(a_request()))
    (tmp_path / "in.flows").write_bytes(b"")

    with pytest.raises(FlowFileError, match="has become shorter"):
        answers.take(0)


def test_a_flow_takes_little_memory(tmp_path):
    answers = answers_of(tmp_path / "in.flows", *(recorded(a_request(f"http://a.test/{n}"), LARGE) for n in range(3)))
    (apart,) = {type(kept.response).__name__ for kept in answers._apart.values()}

    assert apart == "KeptBody"
    assert answers._places.itemsize + answers._sizes.itemsize + answers._next.itemsize <= 16


def test_flows_with_the_same_path_or_host_are_found(tmp_path):
    targets = ["http://a.test/1", "http://b.test/1", "http://a.test/2"]
    answers = answers_of(tmp_path / "in.flows", *map(recorded, map(a_request, targets)))

    assert list(answers.alike("path", "/1", 9)) == [0, 1]
    assert list(answers.alike("host", "a.test", 9)) == [0, 2]
    assert list(answers.alike("host", "a.test", 1)) == [0]
    assert list(answers.alike("path", "/3", 9)) == []
