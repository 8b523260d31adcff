"""mitmdump(1) says what the command line does. Run as a program, this writes the table of options into the page."""

import re

import pytest
from support.manual import MANUAL, Page, roff

from mitmdump import job
from mitmdump.options import OPTIONS, Option, default_of

PAGE = Page("mitmdump.1")


def entry(option: Option) -> str:
    """An option as a paragraph with its flags as the tag."""
    flags = ", ".join(f"\\fB{roff(flag)}\\fR" for flag in option.flags.split(", "))
    argument = f" \\fI{roff(option.metavar)}\\fR" if option.metavar else ""
    default = f" Default: {roff(default_of(option))}." if default_of(option) else ""
    return f".TP\n{flags}{argument}\n{roff(option.help)}{default}\n"


def options() -> str:
    return "".join(f".SS {group}\n" + "".join(map(entry, rows)) for group, rows in OPTIONS.items())


def test_the_page_lists_the_options_of_the_table():
    assert PAGE.block("OPTIONS") == options()


def test_the_page_lists_the_exit_statuses():
    listed = re.findall(r"^\.B (\d)$", PAGE.section("EXIT STATUS"), re.MULTILINE)

    assert [int(status) for status in listed] == [job.DONE, job.OUTPUT_FAILED, job.REFUSED, job.DAMAGED]


@pytest.mark.parametrize("name", [path.name for path in sorted(MANUAL.iterdir())])
def test_a_page_renders_without_a_complaint(name):
    page = Page(name)

    assert page.complaints() == ""
    assert page.rendered().startswith(name.partition(".")[0].upper() + "(")


if __name__ == "__main__":
    PAGE.write_block("OPTIONS", options())
