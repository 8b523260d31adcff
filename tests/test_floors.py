"""The floor plan, and the rules of the house: who may import what.

The same table stands in `mitmdump/__init__.py`, for people. An import inside a function counts like any other; one
under `if TYPE_CHECKING`, which names a type and loads nothing, may go anywhere.
"""

import ast
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import mitmdump

PACKAGE = Path(mitmdump.__file__).parent

FLOORS = (
    {"errors", "model"},
    {"filter", "flowfile", "formats", "redaction", "wire", "tls", "settings"},
    {"net", "sinks", "handlers"},
    {"files", "proxy", "log"},
    {"replay"},
    {"app", "doors", "live", "readback", "job", "cli", "options", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TOP = len(FLOORS) - 1

# Imports on one floor, besides those within the top floor, which is one wiring: plain data may raise errors, and a bad
# filter, or rule of what is secret, is refused early.
SIDEWAYS = {("model", "errors"), ("settings", "filter"), ("settings", "redaction")}

# The only places of the third-party libraries, of the event loop and of the clock.
PLACES = {
    "OpenSSL": {"tls"},
    "aiohappyeyeballs": {"net"},
    "asyncio": {"net", "proxy", "replay", "app", "live"},
    "brotli": {"model.content"},
    "certifi": {"tls"},
    "click": {"cli"},
    "cryptography": {"tls"},
    "h2": {"wire.http2.library"},
    "hpack": {"wire.http2.library"},
    "idna": {"tls"},
    "msgpack": {"flowfile"},
    "service_identity": {"tls"},
    "time.time": {room for room, floor in FLOOR.items() if floor >= 2},
    "uvloop": {"live"},
    "wsproto": {"wire.websocket"},
    "zlib_ng": {"flowfile.frame"},
    "zstandard": {"model.content", "flowfile"},
}


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, except what stands under `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from nodes(node)


def imported(path: Path) -> Iterator[str]:
    """The dotted names that a module imports, each absolute; and "time.time" wherever that is used."""
    package = ("mitmdump", *path.parent.relative_to(PACKAGE).parts)
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            whole = ".".join([*base, node.module] if node.module else base)
            yield from (f"{whole}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "time.time":
            yield "time.time"


def name_of(path: Path) -> str:
    """A module's dotted name below the package; a package has its own name."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
IMPORTS = {name_of(path): set(imported(path)) for path in FILES}


def own(module: str) -> set[str]:
    """The modules of ours that a module imports; importing a name means the module that holds it."""
    names = {name.removeprefix("mitmdump.") for name in IMPORTS[module] if name.startswith("mitmdump.")}
    return {name if name in IMPORTS else name.rpartition(".")[0] for name in names} & IMPORTS.keys()


def is_inside(name: str, places: set[str]) -> bool:
    """Is a dotted name one of these, or something in one of these?"""
    return any(f"{name}.".startswith(f"{place}.") for place in places)


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_room_has_a_floor():
    homeless = {room(module) for module in IMPORTS} - FLOOR.keys()

    assert not homeless, f"not in the table of floors: {', '.join(sorted(homeless))}"


def test_imports_only_point_down():
    pairs = {(module, room(module), room(other)) for module in IMPORTS for other in own(module)}
    wrong = [
        f"{module} (floor {FLOOR[here]}) imports {there} (floor {FLOOR[there]})"
        for module, here, there in sorted(pairs)
        if here != there and FLOOR[here] <= FLOOR[there] and FLOOR[here] < TOP and (here, there) not in SIDEWAYS
    ]

    assert not wrong, "imports may only point down: " + "; ".join(wrong)


def test_modules_form_no_cycle():
    cycle: list[str] = []
    try:
        TopologicalSorter({module: own(module) for module in IMPORTS}).prepare()
    except CycleError as error:
        cycle = error.args[1][::-1]

    assert not cycle, f"modules import each other in a circle: {' -> '.join(cycle)}"


def test_a_library_is_used_in_its_place_only():
    wrong = [
        f"{module} uses {name}, which belongs to {', '.join(sorted(PLACES[library]))}"
        for module, names in IMPORTS.items()
        for name in sorted(names)
        for library in PLACES
        if is_inside(name, {library}) and not is_inside(module, PLACES[library])
    ]

    assert not wrong, "; ".join(wrong)


def test_every_third_party_library_has_a_place():
    used = {room(name) for names in IMPORTS.values() for name in names} - sys.stdlib_module_names - {"mitmdump"}

    assert used <= PLACES.keys(), f"not in the table of places: {', '.join(sorted(used - PLACES.keys()))}"


def test_the_package_shows_the_same_floors():
    lines = (mitmdump.__doc__ or "").splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| ") and line[2].isdigit()]
    shown = {(word.strip(" `/"), int(floor)) for floor, words in rows for word in words.split(",")}

    assert shown == {(room, floor) for room, floor in FLOOR.items() if room != "__main__"}


def test_each_room_shows_its_modules():
    for init in PACKAGE.glob("*/**/__init__.py"):
        text = ast.get_docstring(ast.parse(init.read_text())) or ""
        shown = {word.rstrip("/") for word in re.findall("`([^`]+)`", text)}
        inside = {
            path.stem for path in init.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
        }
        missing = inside - shown - {"__init__"}
        assert not missing, f"{init.relative_to(PACKAGE)} does not say what {', '.join(sorted(missing))} holds"
