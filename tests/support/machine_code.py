"""The modules that setup.py makes machine code of."""

from __future__ import annotations

import ast
from pathlib import Path

SETUP = Path(__file__).parents[2] / "setup.py"


def _compiled() -> list[str]:
    for statement in ast.parse(SETUP.read_text()).body:
        match statement:
            case ast.Assign(targets=[ast.Name("COMPILED")], value=table):
                found: dict[str, str] = ast.literal_eval(table)
                return [f"{package}/{name}.py" for package, names in found.items() for name in names.split()]
    raise AssertionError("setup.py names no modules")


COMPILED = _compiled()
