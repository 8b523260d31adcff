"""JSON with some values replaced: exactly those that a path means, and nothing else is touched."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitmdump.redaction import jsontext
from mitmdump.redaction.jsonpath import JsonPaths


def rewrite(text, *paths):
    return jsontext.rewrite(text, JsonPaths(paths), lambda secret: f"<{secret}>")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("$.a", '{"a": "<x>", "b": [{"a": "y"}, {"a": 1}]}'),
        ("$..a", '{"a": "<x>", "b": [{"a": "<y>"}, {"a": "<1>"}]}'),
        ("$.b[1].a", '{"a": "x", "b": [{"a": "y"}, {"a": "<1>"}]}'),
        ("$.b[*].a", '{"a": "x", "b": [{"a": "<y>"}, {"a": "<1>"}]}'),
        ("$.b", '{"a": "x", "b": [{"a": "<y>"}, {"a": "<1>"}]}'),
        ("$.*", '{"a": "<x>", "b": [{"a": "<y>"}, {"a": "<1>"}]}'),
        ("$..b[0]", '{"a": "x", "b": [{"a": "<y>"}, {"a": 1}]}'),
        ("$.b..a", '{"a": "x", "b": [{"a": "<y>"}, {"a": "<1>"}]}'),
        ("$.b.a", '{"a": "x", "b": [{"a": "y"}, {"a": 1}]}'),
        ("$[0]", '{"a": "x", "b": [{"a": "y"}, {"a": 1}]}'),
        ("$", '{"a": "<x>", "b": [{"a": "<y>"}, {"a": "<1>"}]}'),
    ],
)
def test_a_path_means_its_values(path, wanted):
    assert rewrite('{"a": "x", "b": [{"a": "y"}, {"a": 1}]}', path) == wanted


def test_everything_else_keeps_its_spelling():
    text = ' {\t"n" : 1.0E+05,"n":-0, "\\u0061b": "\\/\\ud800",\r\n "e": [ ], "p": %s}\n'

    assert rewrite(text % '"x"', "$.p") == text % '"<x>"'


def test_a_name_may_be_spelled_with_escapes():
    assert rewrite('{"p\\u0061ss": "\\u0078"}', "$.pass") == '{"p\\u0061ss": "<x>"}'


def test_what_is_empty_stays():
    assert rewrite('{"a": null, "b": "", "c": false}', "$") == '{"a": null, "b": "", "c": "<false>"}'


def test_texts_may_follow_one_another():
    assert rewrite('{"a":1}\n{"a":"x"} [{"a":2}]\n', "$.a") == '{"a":"<1>"}\n{"a":"<x>"} [{"a":2}]\n'


BROKEN = """{ | {"a" | {"a": | {"a":1 | {"a":1,} | [1,] | [1 2] | {"a" 1} | {1:2} | [} | ] | "a | [01x] | (1) | ["a":1]
    | [1]] | {a:1} | {"a":1]"""


@pytest.mark.parametrize("text", [text.strip() for text in BROKEN.split("|")])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(ValueError, match="no JSON from character"):
        rewrite(text, "$.a")


def test_a_walk_has_an_end(monkeypatch):
    monkeypatch.setattr(jsontext, "MAX_TOKENS", 10)

    assert rewrite("[1,2,3,4]", "$.a")
    for text in ("[1,2,3,4,5]", "[" * 2000 + "]" * 2000):
        with pytest.raises(ValueError, match="too many values, or too deep"):
            rewrite(text, "$.a")


def test_nesting_exhausts_no_stack():
    with pytest.raises(ValueError, match="too deep"):
        rewrite("[" * 5000 + "]" * 5000, "$..a")


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3),
    max_leaves=15,
)


def redacted(value, inside=False):
    """What `$..a` does, said on loaded JSON."""
    if isinstance(value, dict):
        return {name: redacted(each, inside or name == "a") for name, each in value.items()}
    if isinstance(value, list):
        return [redacted(each, inside) for each in value]
    return "<>" if inside and value is not None and value != "" else value


@given(_values, st.booleans())
def test_it_does_what_loading_and_dumping_would(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)

    rewritten = jsontext.rewrite(text, JsonPaths(["$..a"]), lambda _: "<>")

    assert json.loads(rewritten) == redacted(value)
