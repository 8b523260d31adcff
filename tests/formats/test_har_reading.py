"""HAR of others: browsers', other programs', made by hand."""

from __future__ import annotations

import json
import tracemalloc
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.filter_flows import answered
from support.har import a_har, an_entry, read_entries, reader, written

from mitmdump.errors import FlowFileError
from mitmdump.formats.har import recognise, scanner
from mitmdump.formats.har.reader import HarReader


def read_one(**changed):
    (flow,) = read_entries(an_entry(**changed))
    return flow


def bodies(found):
    return [flow.response.raw_content for flow in found]


# Entries


def test_an_entry_becomes_a_flow():
    flow = read_one()

    assert (flow.request.method, flow.request.url) == ("GET", "https://example.com/a?b=c")
    assert (flow.request.host, flow.request.port, flow.request.path) == ("example.com", 443, "/a?b=c")
    assert (flow.response.status_code, flow.response.reason, flow.response.text) == (200, "OK", "hello")
    assert flow.error is None


def test_times_follow_from_the_phases():
    flow = read_one(serverIPAddress="[2001:db8::1]")

    start = flow.timestamp_start
    assert start == 1680134454.25
    assert flow.server_conn.peername == ("2001:db8::1", 443)
    moments = (
        flow.server_conn.timestamp_start,
        flow.server_conn.timestamp_tcp_setup,
        flow.server_conn.timestamp_tls_setup,
        flow.request.timestamp_end,
        flow.response.timestamp_start,
        flow.response.timestamp_end,
        flow.timestamp_end,
    )
    assert [round(1000 * (moment - start)) for moment in moments] == [10, 20, 40, 45, 95, 100, 100]


def test_a_request_and_a_url_are_enough():
    (flow,) = read_entries({"request": {"url": "http://a.test"}, "response": {"status": 204}})

    assert (flow.request.url, flow.response.status_code) == ("http://a.test/", 204)


@pytest.mark.parametrize("name", ["response__redirectURL", "serverIPAddress", "timings", "response__content__text"])
def test_null_is_absent(name):
    assert read_one(**{name: None}).response.status_code == 200


def test_pseudo_header_fields_are_no_fields():
    names = {":method": "GET", ":authority": "b.test", ":path": "/p", ":scheme": "https", "accept": "*/*"}
    fields = [{"name": name, "value": value} for name, value in names.items()]

    request = read_one(request__headers=fields, request__httpVersion="http/2.0").request

    assert request.headers.fields == [(b"accept", b"*/*")]
    assert (request.authority, request.path, request.http_version) == ("b.test", "/p", "HTTP/2")


@pytest.mark.parametrize(
    ("theirs", "ours"), [("h3", "HTTP/3"), ("h2", "HTTP/2"), ("http/1.1", "HTTP/1.1"), ("unknown", ""), ("", "")]
)
def test_versions_have_one_name(theirs, ours):
    assert read_one(response__httpVersion=theirs).response.http_version == ours


def test_fields_in_one_are_several_again():
    flow = read_one(response__headers=[{"name": "set-cookie", "value": "a=1\nb=2"}])

    assert flow.response.headers.get_all("set-cookie") == ["a=1", "b=2"]


def test_fields_may_be_pairs():
    assert read_one(request__headers=[["X-A", "1"]]).request.headers["x-a"] == "1"


def test_a_body_without_its_coding_loses_the_field_that_names_it():
    flow = read_one(response__headers=[{"name": "Content-Encoding", "value": "br"}])

    assert flow.response.content == b"hello"
    assert "content-encoding" not in flow.response.headers


def test_a_body_in_base64_is_bytes():
    content = {"size": 2, "mimeType": "image/png", "text": "/wA=", "encoding": "base64"}

    assert read_one(response__content=content).response.raw_content == b"\xff\0"


def test_text_is_in_the_charset_that_the_type_names():
    content = {"mimeType": "text/plain; charset=iso-8859-1", "text": "\u00e9"}

    assert read_one(response__content=content).response.raw_content == b"\xe9"


def test_a_body_that_is_not_there_was_not_kept():
    body = read_one(response__content={"size": 9, "mimeType": ""}, response__bodySize=-1).response.body

    assert (body.length, body.source) == (9, None)


def test_a_form_without_text_is_put_together():
    post = {"mimeType": "application/x-www-form-urlencoded", "params": [{"name": "a b", "value": "&"}, {"name": "c"}]}

    assert read_one(request__postData=post).request.raw_content == b"a+b=%26&c="


def test_status_0_is_no_response():
    flow = read_one(response__status=0, response___error="net::ERR_FAILED")

    assert flow.response is None
    assert flow.error.msg == "net::ERR_FAILED"


def test_a_response_may_have_failed_on_the_way():
    flow = read_one(response___error="net::ERR_CONTENT_LENGTH_MISMATCH")

    assert flow.response and flow.error


def test_websocket_messages_come_along():
    told = [{"type": "send", "time": 1.5, "opcode": 1, "data": "\u00e9"}, {"time": 2, "opcode": 2, "data": "/w=="}]

    flow = read_one(_webSocketMessages=told, request__url="wss://example.com/")

    assert [(m.from_client, m.kind, m.timestamp, m.content) for m in flow.messages] == [
        (True, "text", 1.5, "\u00e9".encode()),
        (False, "binary", 2.0, b"\xff"),
    ]
    assert flow.request.url == "https://example.com/"


@pytest.mark.parametrize(
    "url", ["data:text/plain,x", "about:blank", "https://exa mple/", "https://a:x/", "", "http://"]
)
def test_what_is_no_url_of_http_is_shown_as_it_is(url):
    request = read_one(request__url=url).request

    assert (request.scheme, request.url) == ("", url)


def test_userinfo_and_fragment_were_never_sent():
    assert read_one(request__url="http://me:secret@a.test:81/x#y").request.url == "http://example.com/x"


@pytest.mark.parametrize(
    "changed",
    [
        {"request": []},
        {"request": None},
        {"request__method": 1},
        {"request__headers": {}},
        {"request__headers": [1]},
        {"request__headers": [["a"]]},
        {"request__headers": [{"name": "a", "value": 1}]},
        {"response__status": "200"},
        {"response__status": 1000},
        {"response__status": True},
        {"response__bodySize": 10**400},
        {"response__content": "x"},
        {"response__content__text": {}},
        {"response__content__encoding": "base64"},
        {"startedDateTime": "yesterday"},
        {"startedDateTime": "0001-01-01"},
        {"startedDateTime": 5},
        {"timings__wait": "1"},
        {"timings__wait": 1e300},
        {"timings__wait": float("nan")},
        {"_webSocketMessages": [1]},
        {"_webSocketMessages": [{"opcode": 2, "data": "x", "time": 1}]},
        {"_webSocketMessages": [{"opcode": 1, "data": "x"}]},
        {"_mitmdump": 1},
        {"_mitmdump": {"v": 1, "id": "x"}},
        {"_mitmdump": {"v": 1, "client": {"peername": ["a", 70000]}}},
        {"_mitmdump": {"v": 1, "request": {"headers_base64": [["a"]]}}},
        {"_mitmdump": {"v": 1, "timestamp_start": 1e99}},
    ],
    ids=str,
)
def test_an_entry_of_another_shape_is_damage_and_the_others_are_delivered(changed):
    """S5"""
    bad = json.dumps(an_entry(**changed)).encode()
    good = json.dumps(an_entry()).encode()
    file = b'{"log":{"entries":[' + good + b"," + bad + b"," + good + b"]}}"

    found = reader(file)

    assert bodies(found) == [b"hello", b"hello"]
    ((offset, size, _),) = found.damage
    assert file[offset : offset + size] == bad


def test_what_a_later_mitmdump_says_is_passed_over():
    assert read_one(_mitmdump={"v": 2, "id": ["another type"]}).response.text == "hello"


# Files


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("beginning", [b"", b"\xef\xbb\xbf", b"\r\n "])
def test_a_file_may_be_laid_out_in_any_way(indent, beginning):
    file = beginning + a_har(an_entry(), an_entry(), indent=indent)

    found = reader(file)

    assert recognise(file[:4096])
    assert bodies(found) == [b"hello", b"hello"]
    assert not found.damage


def test_the_log_may_have_anything_before_and_after_its_entries():
    page = {"startedDateTime": "2023-03-30T00:00:54.250Z", "id": '"entries":[{', "entries": [{"a": [[]]}]}
    log = {"pages": [page] * 3, "log": {"entries": [{}]}, "entries": [an_entry()], "x": [page]}

    found = reader(json.dumps({"entries": [1], "log": log, "y": [{}]}).encode())

    assert bodies(found) == [b"hello"]
    assert not found.damage


def test_quotes_and_brackets_in_strings_are_text():
    text = '"}]\\" \\\\{[' * 5

    assert read_one(response__content__text=text).response.text == text


@pytest.mark.parametrize("size", [1, 2, 7, 100])
def test_entries_are_found_however_the_bytes_come(monkeypatch, size):
    monkeypatch.setattr(scanner, "_CHUNK", size)
    file = written(answered(body=b'a"\\\xc3\xa9{'), answered(body=b"b"))

    found = reader(file)

    assert bodies(found) == [b'a"\\\xc3\xa9{', b"b"]
    assert not found.damage


@pytest.mark.parametrize("file", [b"{}", b'{"log":{}}', b"[]", b'{"log":{"entries":{}}}', b"\0" * 99])
def test_a_file_without_entries_is_refused(file):
    with pytest.raises(FlowFileError, match=r"test\.har is no HAR file"):
        list(reader(file))


@pytest.mark.parametrize("head", [b"", b"{", b'{"a":1}', b"<html>", b'[{"log":{}}]', b'{"logs":{', b"\xc9\0"])
def test_other_files_are_not_taken_for_har(head):
    assert not recognise(head)


# Damage


@pytest.fixture(scope="module")
def whole():
    return written(*(answered(body=b'%d"[' % number) for number in range(4)))


def test_a_torn_file_gives_the_entries_before_the_tear(whole):
    """S2"""
    ends = [at for at in range(len(whole)) if whole[at : at + 3] in (b"},\n", b"}\n]")]
    for end in range(len(whole) - len(b"]}}\n"), whole.index(b"[\n"), -5):
        found = reader(whole[:end])
        assert len(bodies(found)) == sum(1 for at in ends if at < end)
        assert len(found.damage) == 1


def test_a_changed_byte_costs_no_entry_but_its_own(whole):
    """S5"""
    second = whole.index(b"\n{", whole.index(b"\n{") + 1) + 1
    third = whole.index(b"\n{", second)
    for at in range(second, third, 3):
        for byte in b'"{}[]\\\n\xff':
            changed = bytearray(whole)
            changed[at] = byte
            found = list(reader(bytes(changed)))
            assert bodies([found[0], *found[-2:]]) == [b'0"[', b'2"[', b'3"[']


def test_a_string_without_an_end_costs_no_entry_but_its_own():
    """S5"""
    file = a_har(an_entry(), an_entry(response__statusText="torn"), an_entry(), indent=1).replace(b'torn"', b"torn")

    found = reader(file)

    assert bodies(found) == [b"hello", b"hello"]
    assert [damage.reason for damage in found.damage] == ["a line break inside a string"]


def test_what_stands_between_entries_and_is_none_is_damage():
    one = json.dumps(an_entry()).encode()
    file = b'{"log":{"entries":[' + one + b", garbage, " + one + b"]}}"

    found = reader(file)

    assert bodies(found) == [b"hello", b"hello"]
    ((offset, size, reason),) = found.damage
    assert (file[offset : offset + size], reason) == (b", garbage, ", "something that is no entry")


@given(st.lists(st.tuples(st.integers(0, 4000), st.binary(max_size=3)), min_size=1, max_size=4))
@settings(max_examples=150)
def test_whatever_a_file_holds_only_our_error_is_raised(changes):
    """S5"""
    changed = bytearray(a_har(an_entry(), an_entry(_webSocketMessages=[]), indent=1))
    for at, data in changes:
        changed[at : at + len(data)] = data
    try:
        found = bodies(flow for flow in reader(bytes(changed)) if flow.response)
    except FlowFileError:
        return
    assert len(found) <= 2


def test_deep_nesting_is_damage():
    """S6"""
    deep = b'{"request":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    file = b'{"log":{"entries":[' + deep + b"," + json.dumps(an_entry()).encode() + b"]}}"

    found = reader(file)

    assert bodies(found) == [b"hello"]
    assert "nested more than 100 deep" in found.damage[0].reason


def test_an_entry_that_is_too_large_is_passed_over_in_little_memory(monkeypatch):
    """S5"""
    monkeypatch.setattr(scanner, "MAX_ENTRY", 1024 * 1024)
    text = b"x\\n" * 10_000_000
    large = BytesIO(b'{"log":{"entries":[{"a":"' + text + b'"},' + json.dumps(an_entry()).encode() + b"]}}")
    tracemalloc.start()

    found = HarReader(large, "test.har")

    assert bodies(found) == [b"hello"]
    assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    tracemalloc.stop()
    assert found.damage[0].reason == "an entry of more than 1 MiB"
    assert found.damage[0].size == len(text) + len(b'{"a":""}')


def test_a_long_file_takes_the_memory_of_one_entry():
    """R3"""
    entry = json.dumps(an_entry(response__content__text="x" * 100_000)).encode()
    file = BytesIO(b'{"log":{"entries":[' + b",".join([entry] * 200) + b"]}}")
    tracemalloc.start()

    count = sum(1 for _ in HarReader(file, "test.har"))

    assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    tracemalloc.stop()
    assert count == 200


def test_a_number_of_very_many_digits_is_damage():
    """S6"""
    file = a_har(an_entry()).replace(b'"status": 200', b'"status": ' + b"9" * 100_000)

    found = reader(file)

    assert list(found) == []
    assert len(found.damage) == 1


def test_of_a_key_that_is_there_twice_the_last_counts():
    file = a_har(an_entry()).replace(b'"status": 200', b'"status": 200, "status": 201')

    assert [flow.response.status_code for flow in reader(file)] == [201]
