"""What is handed out: a source distribution with all that the tests need, and a wheel that brings the manual along."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from support.machine_code import COMPILED
from support.tools import run

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both; the wheel is built from the source distribution."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", directory, TOP, seconds=300)
    return directory


def test_the_source_distribution_holds_all_that_the_project_tracks(built):
    tracked = {name for name in run("git", "ls-files", cwd=TOP).stdout.decode().split("\n") if name}

    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}

    assert tracked - held == {".gitignore"}
    assert not [name for name in held if "__pycache__" in name]


def test_the_wheel_holds_the_package_the_manual_and_the_licence(built):
    sources = [path for kind in ("*.py", "*.html", "py.typed") for path in (TOP / "mitmdump").rglob(kind)]

    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        held = {name.partition("/")[2] for name in archive.namelist() if ".data/" in name or ".dist-info/" in name}
        package = {name for name in archive.namelist() if name.startswith("mitmdump/")}

    assert {f"data/share/man/man{page.suffix[1:]}/{page.name}" for page in (TOP / "man").iterdir()} <= held
    assert "licenses/LICENSE" in held
    assert {name for name in package if not name.endswith(".so")} == {str(path.relative_to(TOP)) for path in sources}


def test_the_wheel_holds_machine_code_of_what_every_exchange_passes_through(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        found = {name.partition(".")[0] + ".py" for name in archive.namelist() if name.endswith(".so") and "/" in name}

    assert found == {f"mitmdump/{module}" for module in COMPILED}


def test_the_wheel_needs_nothing_of_the_source_tree(built, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv", seconds=120)
    program = tmp_path / "venv" / "bin" / "mitmdump"
    run(program.parent / "pip", "install", "-q", *built.glob("*.whl"), seconds=300)

    assert run(program, "--version", cwd=tmp_path).stdout.startswith(b"mitmdump ")
    where = run(program.parent / "python", "-c", "from mitmdump.wire import http1; print(http1.__file__)", cwd=tmp_path)
    assert where.stdout.endswith(b".so\n")
    assert (tmp_path / "venv" / "share" / "man" / "man7" / "mitmdump-filters.7").exists()
