"""mitmdump-json(5) lists the keys of the tables. Run as a program, this writes them into the page."""

from __future__ import annotations

import re

from support.manual import Page, roff

from mitmdump.formats import facts

PAGE = Page("mitmdump-json.5")


def tables() -> str:
    """Every object as a section with its keys."""
    return "".join(f".SH {name.upper()}\n" + "".join(map(entry, table)) for name, table in facts.OBJECTS)


def entry(key: facts.Key) -> str:
    return f".TP\n\\fB{roff(key.name)}\\fR ({key.kind.word})\n{roff(key.meaning)}\n"


def test_the_page_lists_the_keys_of_every_object():
    assert PAGE.block("TABLES") == tables()


def test_the_page_names_the_keys_that_have_exact_bytes_beside_them():
    exact = {key.name for _, table in facts.OBJECTS for key in table if key.kind.exact}
    told = PAGE.section("DESCRIPTION").partition("_base64\n")[2].partition(".PP")[0]

    assert set(re.findall(r"^\.BR? (\w+)", told, re.MULTILINE)) == exact


if __name__ == "__main__":
    PAGE.write_block("TABLES", tables())
