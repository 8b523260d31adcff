"""The words of --redact: what is understood, and how the rest is refused."""

import pytest

from mitmdump.errors import SettingsError
from mitmdump.redaction import Rule, parse_rules


def test_rules_are_joined_with_commas():
    rules = parse_rules("header:authorization,cookie, query:token,cookie:sid,form:pin,json:$.password")

    assert rules == (
        Rule("header", "authorization"),
        Rule("cookie", ""),
        Rule("query", "token"),
        Rule("cookie", "sid"),
        Rule("form", "pin"),
        Rule("json", "$.password"),
    )


@pytest.mark.parametrize(
    "text", ["", "header", "header:", "header:a b", "cookie:", "query:", "form", "json:", "password", "query:a,,cookie"]
)
def test_what_is_no_rule_is_refused_with_those_that_are(text):
    with pytest.raises(SettingsError, match=r"header:|begins with \$"):
        parse_rules(text)


def test_a_second_header_needs_its_kind_again():
    with pytest.raises(SettingsError, match="write header:x-api-key"):
        parse_rules("header:authorization,x-api-key")


@pytest.mark.parametrize(
    ("path", "position"),
    [("a", 0), ("$a", 1), ("$.a..[0]", 3), ("$.a[x]", 3), ("$.a[-1]", 3), ("$['a']", 1), ("$.", 1)],
)
def test_a_caret_points_at_what_a_path_has_wrong(path, position):
    with pytest.raises(SettingsError) as caught:
        parse_rules(f"json:{path}")

    _, shown, caret = str(caught.value).split("\n")
    assert (shown.strip(), caret.index("^") - 4) == (path, position)
