"""The man page of the format says what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.flowfiles import a_file, a_flow, a_tcp_flow

from mitmdump.flowfile import frame, writer
from mitmdump.flowfile.keys import TABLES, Table

PAGE = Path(__file__).parents[2] / "man" / "mitmdump-flows.5"
TEXT = PAGE.read_text()


def render(table: Table) -> str:
    """A table of keys as it stands in the page."""
    items = (f'.It Cm {key.name} Pq "{key.kind.word}"\n{key.meaning}\n' for key in table.keys)
    return f'.\\" keys: {table.name}\n.Bl -tag -width Ds -compact\n{"".join(items)}.El\n'


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_the_page_lists_the_keys_of_every_map(table: Table) -> None:
    assert render(table) in TEXT, f"put this into {PAGE.name}:\n{render(table)}"


def test_the_page_lists_the_types_of_frames() -> None:
    for name in ("SECTION", "CONNECTION", "FLOW", "BODY", "MESSAGE", "END"):
        assert f".It {getattr(frame, name)} Ta {name} Ta " in TEXT


def test_the_page_states_the_limits() -> None:
    limits = (frame.MAX_CONTENT, writer.INLINE, writer.PIECE, writer.WINDOW)
    assert limits == (64 * 1024 * 1024, 64 * 1024, 1024 * 1024, 4096)
    for words in ("at most 64 MiB", "up to 64 KiB", "at most 1 MiB each", "the 4,096"):
        assert words in TEXT


def test_the_example_in_the_page_reads_a_file(tmp_path: Path) -> None:
    found = re.search(r"\.Bd -literal\n(import sys.*?)\.Ed\n", TEXT, re.DOTALL)
    assert found
    assert found[1].count("\n") <= 20
    path = tmp_path / "a.flows"
    path.write_bytes(a_file(a_flow(1), a_flow(2, bytes(100_000)), a_tcp_flow(3, b"x")))
    done = subprocess.run([sys.executable, "-c", found[1], str(path)], capture_output=True, text=True)
    assert done.stdout == "example.com /1 200 5\nexample.com /2 200 100000\n"
