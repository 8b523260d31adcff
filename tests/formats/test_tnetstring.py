import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.formats.mitmproxy.tnetstring import DEEPEST, Bulk, dump, parse, prefix

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**127), 2**127)
    | st.floats(allow_nan=False)
    | st.binary(max_size=9)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def packed(value: object) -> bytes:
    return b"".join(dump(value))


def parsed(data: bytes) -> object:
    start, size = prefix(data)
    assert start + size + 1 == len(data)
    return parse(data[start:-1], data[-1:])


@given(plain)
def test_what_is_written_is_read(value):
    """S7"""
    assert parsed(packed(value)) == value


@pytest.mark.parametrize(
    ("value", "data"),
    [
        (b"hello", b"5:hello,"),
        ("h\u00e9", b"3:h\xc3\xa9;"),
        (-12, b"3:-12#"),
        (2.5, b"3:2.5^"),
        (True, b"4:true!"),
        (False, b"5:false!"),
        (None, b"0:~"),
        ((1, None), b"7:1:1#0:~]"),
        ({"a": b""}, b"7:1:a;0:,}"),
        ({1: {}}, b"7:1:1;0:}}"),
    ],
)
def test_the_syntax_is_that_of_mitmproxy(value, data):
    assert packed(value) == data


def test_what_has_no_tag_of_its_own_is_written_as_text():
    assert parsed(packed([{1}, 2**200, "lone \udcff"])) == ["{1}", str(2**200), "lone ?"]


def test_what_is_too_deep_to_be_read_again_is_written_as_text():
    value: list[object] = []
    value.append(value)

    found = parsed(packed(value))

    for _ in range(DEEPEST - 1):
        assert isinstance(found, list)
        found = found[0]
    assert found == ["[[...]]"]


def test_bulk_is_written_piece_by_piece():
    pieces = list(dump({"a": Bulk(b",", 4, lambda: iter((b"bo", b"dy"))), "b": 1}))

    assert pieces == [b"19:1:a;4:", b"bo", b"dy", b",1:b;1:1#}"]


@pytest.mark.parametrize(
    "data",
    [b"", b":", b"x:", b"01:a,", b"-1:a,", b"1234567890123:a,", b"5", b"+5:hello,", b" 5:hello,"],
)
def test_what_is_no_length_is_refused(data):
    with pytest.raises(ValueError, match="length"):
        prefix(data)


@pytest.mark.parametrize(
    ("data", "tag"),
    [
        (b"maybe", b"!"),
        (b"x", b"~"),
        (b"x", b"?"),
        (b"1" * 41, b"#"),
        (b"one", b"#"),
        (b"x", b"^"),
        (b"1:a", b"]"),
        (b"9:a,", b"]"),
        (b"a", b"]"),
        (b"1:a,", b"}"),
        (b"0:~1:1#", b"}"),
        (b"999999999999:a,", b"]"),
    ],
)
def test_what_is_not_what_its_tag_says_is_refused(data, tag):
    """S6"""
    with pytest.raises(ValueError):  # noqa: PT011  # which of its reasons is not the point
        parse(data, tag)


def test_deep_nesting_is_refused():
    """S6"""
    data = b""
    for _ in range(DEEPEST + 1):
        data = b"%d:%b]" % (len(data), data)

    with pytest.raises(ValueError, match="deep inside each other"):
        parsed(data)
