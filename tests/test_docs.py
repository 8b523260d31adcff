"""What README and change log say is so. Run as a program, this writes the table of operators into the README.

The commands of the README are run by `end_to_end/test_readme.py`.
"""

import re
from pathlib import Path

import pytest
from docutils.core import publish_doctree
from docutils.nodes import literal_block, table
from support.flowfiles import a_file, a_flow
from test_floors import FLOOR

from mitmdump import __version__, job
from mitmdump.filter.operators import TABLE

TOP = Path(__file__).parents[1]
README = TOP / "README.rst"
BEGIN, END = ".. BEGIN OPERATORS\n", ".. END OPERATORS\n"


def operators() -> str:
    """A table for each group of operators."""
    rows = [(f"``{operator.usage}``", operator) for group in TABLE.values() for operator in group]
    width = max(len(usage) for usage, _ in rows)
    rule = f"{'=' * width}  {'=' * max(len(operator.looks_at) for _, operator in rows)}\n"
    tables = [
        f"\n**{group}**\n\n{rule}"
        + "".join(f"{f'``{operator.usage}``':{width}}  {operator.looks_at}\n" for operator in operators)
        + rule
        for group, operators in TABLE.items()
    ]
    return "".join(tables) + "\n"


def parsed(path: Path):
    """The document tree; a warning fails."""
    return publish_doctree(path.read_text("utf-8"), str(path), settings_overrides={"halt_level": 2, "report_level": 2})


def rows(number: int) -> list[list[str]]:
    """The cells of a table of the README, without its head."""
    body = list(parsed(README).findall(table))[number].next_node(lambda node: node.tagname == "tbody")
    return [[cell.astext() for cell in row] for row in body]


@pytest.mark.parametrize("name", ["README.rst", "CHANGELOG.rst"])
def test_a_document_is_well_formed(name):
    parsed(TOP / name)


def test_the_readme_lists_the_operators_of_the_filter():
    assert README.read_text().partition(BEGIN)[2].partition(END)[0] == operators()


def test_the_readme_lists_the_exit_statuses():
    listed = rows(len(TABLE))

    assert [int(status) for status, _ in listed] == [job.DONE, job.OUTPUT_FAILED, job.REFUSED, job.DAMAGED]


def test_the_readme_shows_the_floors():
    shown = {name.strip(" /"): int(floor) for floor, names, _ in rows(-1) for name in names.split(",")}

    assert shown == {room: floor for room, floor in FLOOR.items() if room != "__main__"}


def test_the_python_of_the_readme_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("out.flows").write_bytes(a_file(a_flow(1), a_flow(2)))
    (block,) = (block for block in parsed(README).findall(literal_block) if "python" in block["classes"])

    exec(block.astext(), {})

    assert capsys.readouterr().out.splitlines() == [
        "GET https://example.com/1 200 5",
        "GET https://example.com/2 200 5",
        "0 damaged places",
    ]
    assert Path("get.flows").exists()


def test_what_is_run_for_every_change_ends_with_the_command_of_the_readme():
    blocks = [block.astext() for block in parsed(README).findall(literal_block)]

    assert (TOP / ".ci" / "run").read_text().splitlines()[-1] == blocks[1]


def test_the_change_log_starts_with_this_version():
    first = re.search(r"^(\d+\.\d+\.\d+) \((.+)\)$", (TOP / "CHANGELOG.rst").read_text(), re.MULTILINE)

    assert first
    assert first[1] == __version__


if __name__ == "__main__":
    before, _, rest = README.read_text().partition(BEGIN)
    README.write_text(before + BEGIN + operators() + END + rest.partition(END)[2])
