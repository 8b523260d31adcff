"""Manual pages: text as roff, and the blocks in them that are made from tables of the code.

A block stands between the lines `.\\" BEGIN NAME` and `.\\" END NAME`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from .tools import tool

MANUAL = Path(__file__).parents[2] / "man"

_ROFF = {"\\": "\\e", "~": "\\(ti", "^": "\\(ha", "'": "\\(aq", '"': "\\(dq", "-": "\\-"}


def roff(text: str) -> str:
    """Text as roff shows it letter by letter, so that it can be copied from the page to a shell."""
    return "".join(_ROFF.get(character, character) for character in text)


def plain(text: str) -> str:
    """The other way round."""
    for character, escape in reversed(_ROFF.items()):
        text = text.replace(escape, character)
    return text


class Page:
    """A manual page in the source tree."""

    def __init__(self, name: str) -> None:
        self.path = MANUAL / name
        self.text = self.path.read_text("ascii")

    def section(self, title: str) -> str:
        """The source of a section."""
        return self.text.partition(f".SH {title}\n")[2].partition("\n.SH ")[0]

    def block(self, name: str) -> str:
        """The source of a block."""
        return self._around(name)[1]

    def write_block(self, name: str, text: str) -> None:
        """Put another text into a block."""
        before, _, after = self._around(name)
        self.path.write_text(before + text + after, "ascii")

    def complaints(self) -> str:
        """What groff finds wrong with the page."""
        return self._render().stderr.decode()

    def rendered(self) -> str:
        """The page as a terminal shows it, without bold and underlined."""
        return self._render().stdout.decode()

    def _render(self) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [tool("groff"), "-mandoc", "-ww", "-Tutf8", "-P-cbou", str(self.path)], capture_output=True, check=True
        )

    def _around(self, name: str) -> tuple[str, str, str]:
        begin, end = f'.\\" BEGIN {name}\n', f'.\\" END {name}\n'
        before, found, rest = self.text.partition(begin)
        text, found_too, after = rest.partition(end)
        assert found + found_too == begin + end, f"{self.path.name} has no block {name}"
        return before + begin, text, end + after
