"""A file of each version, written by the mitmdump of its time and never again, is read for ever.

tests/golden/version-N.json holds what is expected; bytes stand in it as {"bytes": text in Latin-1}, and text that is
not well-formed as its JSON escapes. When a new version upgrades a field, the expectation changes, the file does not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.flowfiles import a_file, read, value, values

from mitmdump.files import open_flows
from mitmdump.flowfile.upgrade import VERSION

GOLDEN = Path(__file__).parents[1] / "golden"


def as_json(thing: Any) -> Any:
    if isinstance(thing, bytes):
        return {"bytes": thing.decode("latin-1")}
    if isinstance(thing, dict):
        return {name: as_json(inner) for name, inner in thing.items()}
    return [as_json(inner) for inner in thing] if isinstance(thing, list | tuple) else thing


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_a_file_of_every_version_is_read(version: int) -> None:
    """S7"""
    with open_flows(GOLDEN / f"version-{version}.flows", strict=True) as flows:
        found = [as_json(value(flow)) for flow in flows]
        assert found == json.loads((GOLDEN / f"version-{version}.json").read_text())
        assert flows.cut_off == 1


def test_a_copy_of_a_file_holds_what_the_file_held() -> None:
    with open_flows(GOLDEN / f"version-{VERSION}.flows") as flows:
        kept = list(flows)
        assert values(read(a_file(*kept))) == values(kept)
