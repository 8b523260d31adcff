"""Header fields: what was sent is kept as sent, what is asked is found whatever its case."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitmdump.model.headers import Headers, to_bytes, to_str

NAMES = st.sampled_from([b"Accept", b"accept", b"ACCEPT", b"Host", b"X-Odd\xff"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=8)), max_size=8)


def cookies() -> Headers:
    return Headers([(b"Set-Cookie", b"a=1"), (b"Host", b"example.com"), (b"set-cookie", b"b=2")])


@given(st.binary())
def test_any_bytes_survive_the_way_to_text_and_back(data):
    assert to_bytes(to_str(data)) == data


def test_a_name_is_found_in_any_case():
    assert cookies()["hOST"] == "example.com"
    assert "HOST" in cookies()
    assert b"host" in cookies()


def test_repeated_fields_are_joined_with_a_comma():
    assert Headers([(b"Accept", b"a"), (b"accept", b"b")])["accept"] == "a, b"


def test_get_all_gives_repeated_fields_apart_and_in_order():
    assert cookies().get_all("Set-Cookie") == ["a=1", "b=2"]


def test_raw_values_are_bytes_as_sent():
    assert Headers([(b"X", b"\xff")]).raw_values(b"x") == [b"\xff"]


def test_a_missing_name_is_a_key_error_or_the_default():
    headers = cookies()

    assert headers.get("accept") is None
    assert headers.get_all("accept") == []
    with pytest.raises(KeyError):
        headers["accept"]
    with pytest.raises(KeyError):
        del headers["accept"]


def test_only_text_and_bytes_can_be_in_headers():
    assert 1 not in cookies()


def test_setting_replaces_all_of_a_name_where_the_first_stood():
    headers = cookies()

    headers["SET-COOKIE"] = "c=3"

    assert headers.fields == [(b"SET-COOKIE", b"c=3"), (b"Host", b"example.com")]


def test_setting_a_new_name_adds_it_at_the_end():
    headers = cookies()

    headers["Via"] = "1.1 x"

    assert headers.fields[-1] == (b"Via", b"1.1 x")


def test_set_all_sets_several_fields_of_one_name():
    headers = cookies()

    headers.set_all("Set-Cookie", ["c=3", b"d=4"])

    assert headers.fields == [(b"Set-Cookie", b"c=3"), (b"Set-Cookie", b"d=4"), (b"Host", b"example.com")]


def test_adding_keeps_what_is_there():
    headers = cookies()

    headers.add("host", b"\xff")

    assert headers.raw_values(b"host") == [b"example.com", b"\xff"]


def test_deleting_removes_every_field_of_the_name():
    headers = cookies()

    del headers["set-cookie"]

    assert headers.fields == [(b"Host", b"example.com")]


def test_a_copy_is_independent():
    headers = cookies()

    headers.copy().add("Via", "1.1 x")

    assert "via" not in headers


def test_headers_are_equal_only_if_sent_alike():
    assert cookies() == cookies()
    assert cookies() != Headers([(b"host", b"example.com")])
    assert Headers([(b"A", b"1")]) != Headers([(b"a", b"1")])
    assert Headers() != []


def test_headers_can_change_and_therefore_have_no_hash():
    with pytest.raises(TypeError):
        hash(Headers())


def test_the_representation_builds_an_equal_object():
    assert eval(repr(cookies())) == cookies()


@settings(max_examples=50)
@given(FIELDS)
def test_as_a_mapping_each_name_stands_once_and_has_a_value(fields):
    headers = Headers(tuple(fields))

    names = [name.lower() for name in headers]

    assert len(names) == len(set(names)) == len(headers)
    assert set(names) == {to_str(name.lower()) for name, _ in fields}
    assert all(headers[name] == ", ".join(headers.get_all(name)) for name in headers)


@settings(max_examples=50)
@given(FIELDS, NAMES, st.lists(st.binary(max_size=8), max_size=3))
def test_set_all_changes_that_name_and_no_other(fields, name, values):
    headers = Headers(list(fields))

    headers.set_all(name, values)

    assert headers.raw_values(name.lower()) == values
    others = [field for field in fields if field[0].lower() != name.lower()]
    assert [field for field in headers.fields if field[0].lower() != name.lower()] == others
