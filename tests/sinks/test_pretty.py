"""Bodies made readable: only line breaks and indents are added, whatever the body is."""

import struct
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.sinks import pretty


def view(data: bytes, content_type: str) -> list[str]:
    return list(pretty.lines(data, content_type))


def test_json_has_one_member_a_line():
    assert view(b'{"a":[1,{"b":null}],"c":{},"d":[ ]}', "application/json") == [
        "{",
        '  "a": [',
        "    1,",
        "    {",
        '      "b": null',
        "    }",
        "  ],",
        '  "c": {},',
        '  "d": []',
        "}",
    ]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/problem+json", "TEXT/JSON"])
def test_json_is_known_by_each_of_its_types(kind):
    assert view(b"[1]", kind) == ["[", "  1", "]"]


def test_json_keeps_numbers_escapes_order_and_repeated_keys_as_sent():
    data = rb'{"b":1.00000000000000000001,"a":"\u00e9\"}","b":1e999}'

    assert view(data, "application/json") == [
        "{",
        r'  "b": 1.00000000000000000001,',
        r'  "a": "\u00e9\"}",',
        r'  "b": 1e999',
        "}",
    ]


def test_a_series_of_json_texts_has_each_on_its_own_lines():
    assert view(b'{"a":1}\n{"a":2}\n3 "x"', "application/x-ndjson") == [
        "{",
        '  "a": 1',
        "}",
        "{",
        '  "a": 2',
        "}",
        "3",
        '"x"',
    ]


def test_json_that_was_cut_off_is_indented_up_to_there():
    assert view(b'{"a":["b","c', "application/json") == ["{", '  "a": [', '    "b",', '    "c']


@pytest.mark.parametrize("text", ["Not Found", ")]}',", "", "<html>"])
def test_what_does_not_begin_like_json_is_text(text):
    assert view(text.encode(), "application/json") == ([text] if text else [])


@pytest.mark.parametrize("text", [b":", b'"" ', b"1 ", b"}", b"[]", b"{:"])
def test_a_line_of_what_is_no_json_never_grows(text):
    """R2"""
    assert max(map(len, view(b"[" + text * 1000, "application/json"))) < 100


@settings(max_examples=100)
@given(st.text('{}[]:,"\\ 1a\n', max_size=30))
def test_json_view_changes_white_space_only(text):
    def squeezed(text: str) -> str:
        return "".join(text.split())

    text = "[" + text
    assert squeezed("".join(view(text.encode(), "application/json"))) == squeezed(text)


def test_json_of_nothing_but_brackets_is_indented_only_so_far():
    """R2"""
    assert max(map(len, view(b"[" * 100_000, "application/json"))) < 100


@pytest.mark.parametrize("kind", ["application/json", "text/html", "application/x-www-form-urlencoded", "text/plain"])
def test_the_first_lines_of_a_large_body_cost_only_themselves(kind):
    """R2"""
    data = b"[1,\n<a><b>&" * 1_000_000

    made = pretty.lines(data, kind)

    assert len(list(islice(made, 3))) == 3


@pytest.mark.parametrize("kind", ["text/html", "application/xml", "image/svg+xml; charset=utf-8", "text/xml"])
def test_markup_breaks_where_tags_touch_and_stays_as_it_is_otherwise(kind):
    assert view(b"<a><b>x > y</b></a>\n<c/>", kind) == ["<a>", "<b>x > y</b>", "</a>", "<c/>"]


def test_a_form_has_a_decoded_field_a_line():
    data = b"q=a+b%26c&empty=&alone&name%3D=%C3%BC"

    assert view(data, "application/x-www-form-urlencoded") == ["q: a b&c", "empty: ", "alone: ", "name=: \u00fc"]


MULTIPART = (
    b'preamble\r\n--XX\r\nContent-Disposition: form-data; name="title"\r\n\r\nhello\r\nworld\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="f"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n'
    b"--XX\r\nContent-Disposition: form-data; name=b\r\n\r\n\0\1\2\r\n--XX\r\n\r\nx\r\n--XX--\r\nepilogue"
)


@pytest.mark.parametrize("boundary", ["XX", '"XX"'])
def test_a_multipart_body_has_a_part_a_line(boundary):
    assert view(MULTIPART, f"multipart/form-data; boundary={boundary}") == [
        "title: hello\r\nworld",
        "f: a.png, image/png, 4 bytes",
        "b: 3 bytes",
        "(no name): x",
    ]


def test_a_multipart_body_without_its_boundary_is_text():
    assert view(b"--XX\r\na", "multipart/form-data") == ["--XX", "a"]
    assert view(b"nothing", "multipart/form-data; boundary=XX") == []


JPEG = b"\xff\xd8\xff\xe0\0\4ab\xff\xc4\0\2\xff\xc2\0\x0b\x08" + struct.pack(">HH", 480, 640) + b"\3"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480), "image/x, 640x480"),
        (b"GIF89a" + struct.pack("<HH", 640, 480), "image/x, 640x480"),
        (JPEG, "image/x, 640x480"),
        (JPEG[:20], "image/x"),
        (b"\x89PNG\r\n\x1a\n", "image/x"),
        (b"GIF89a", "image/x"),
        (b"\xff\xd8\xff", "image/x"),
        (b"\xff\xd8" + b"\xff\xe0\0\0" * 10, "image/x"),
        (b"", "image/x"),
    ],
)
def test_an_image_is_its_type_and_its_width_and_height_if_found(data, line):
    assert view(data, "image/x") == [line]


@pytest.mark.parametrize("kind", ["", "application/octet-stream", "no/such", "text/css", "application/javascript"])
def test_text_of_any_other_type_is_as_it_is(kind):
    assert view("a\tb\r\n\nc \u00fc".encode(), kind) == ["a\tb", "", "c \u00fc"]


@pytest.mark.parametrize("data", [b"\0", b"\xff\xfe\xfd", b"text then \x01"])
def test_what_is_no_text_is_dumped(data):
    assert view(data, "")[0].startswith("00000000  ")


def test_a_character_cut_in_two_at_the_end_does_not_make_text_binary():
    assert view(b"\xc3\xbc\xc3", "") == ["\u00fc\ufffd"]


def test_a_dump_has_offset_bytes_and_printable_ascii():
    assert list(pretty.hex_dump(b"GET /\r\n\x7f\xff 23456789")) == [
        "00000000  47 45 54 20 2f 0d 0a 7f ff 20 32 33 34 35 36 37  GET /.... 234567",
        "00000010  38 39                                            89",
    ]


def test_a_dump_shows_the_first_bytes_and_counts_the_others():
    assert list(pretty.hex_dump(bytes(100), 4)) == [
        "00000000  00 00 00 00                                      ....",
        "... and 96 bytes more",
    ]


@settings(max_examples=200)
@given(
    st.binary(max_size=60),
    st.sampled_from(["application/json", "text/html", "application/x-www-form-urlencoded", "image/jpeg", "", "text/x"])
    | st.binary(max_size=20).map(lambda data: "multipart/x; boundary=" + data.decode("utf-8", "surrogateescape")),
)
def test_any_body_under_any_type_gives_lines(data, content_type):
    assert all(isinstance(line, str) for line in view(data, content_type))
