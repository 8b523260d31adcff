"""What a module that becomes machine code must not do: what mypyc 2.4 takes, and makes something else of.

Most rules are here because breaking them gave wrong answers, or a crash, and no error when it was compiled; that of
slots, because they mean nothing there.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.machine_code import COMPILED

import mitmdump

PACKAGE = Path(mitmdump.__file__).parent
COLLECTIONS = {
    "Collection",
    "Iterable",
    "Mapping",
    "MutableMapping",
    "MutableSequence",
    "MutableSet",
    "Sequence",
    "Set",
}


def waits(node: ast.AST) -> bool:
    """Is a coroutine suspended in there?"""
    return any(isinstance(each, ast.Await | ast.AsyncFor | ast.AsyncWith) for each in ast.walk(node))


def waits_while_handling(node: ast.AST) -> bool:
    """What is handled would be so in other tasks, too, which then raise it as theirs."""
    match node:
        case ast.AsyncWith():
            return True
        case ast.Try(handlers=handlers, finalbody=final):
            return any(waits(each) for each in [*handlers, *final])
    return False


def has_slots_of_a_dataclass(node: ast.AST) -> bool:
    """That decorator makes a second class, which a compiled one cannot be; its attributes are fixed in any case."""
    return isinstance(node, ast.Call) and any(keyword.arg == "slots" for keyword in node.keywords)


def is_a_collection(node: ast.AST) -> bool:
    """Below the classes of collections.abc memory was overwritten, and isinstance({}, Headers) was true."""
    if not isinstance(node, ast.ClassDef):
        return False
    return any(ast.unparse(base).split("[")[0] in COLLECTIONS for base in node.bases)


def makes_attributes_up(node: ast.AST) -> bool:
    """Attributes of a compiled class are read past it."""
    return isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__getattribute__", "__setattr__")


def deletes_an_attribute(node: ast.AST) -> bool:
    """Reading it afterwards is no AttributeError everywhere."""
    return isinstance(node, ast.Delete) and any(isinstance(target, ast.Attribute) for target in node.targets)


def is_not_supported(node: ast.AST) -> bool:
    """Groups of exceptions, and generators that wait."""
    if isinstance(node, ast.TryStar):
        return True
    return isinstance(node, ast.AsyncFunctionDef) and any(isinstance(each, ast.Yield) for each in ast.walk(node))


RULES = [
    waits_while_handling,
    has_slots_of_a_dataclass,
    is_a_collection,
    makes_attributes_up,
    deletes_an_attribute,
    is_not_supported,
]


def offences(source: str) -> Iterator[str]:
    """The names of the rules that are broken, and where."""
    for node in ast.walk(ast.parse(source)):
        for rule in RULES:
            if rule(node):
                yield f"{rule.__name__} {getattr(node, 'lineno', '')}"


@pytest.mark.parametrize("module", COMPILED)
def test_a_compiled_module_avoids_what_is_compiled_wrongly(module: str) -> None:
    assert not list(offences((PACKAGE / module).read_text()))


@pytest.mark.parametrize(
    ("source", "offence"),
    [
        ("async def f():\n try:\n  pass\n except OSError:\n  await g()", "waits_while_handling 2"),
        ("async def f():\n try:\n  pass\n finally:\n  if x:\n   await g()", "waits_while_handling 2"),
        ("async def f():\n async with g():\n  pass", "waits_while_handling 2"),
        ("@dataclass(slots=True)\nclass A: pass", "has_slots_of_a_dataclass 1"),
        ("class A(MutableMapping[str, str]): pass", "is_a_collection 1"),
        ("class A:\n def __getattr__(self, name): pass", "makes_attributes_up 2"),
        ("del a.b", "deletes_an_attribute 1"),
        ("async def f():\n yield 1", "is_not_supported 1"),
        ("try:\n pass\nexcept* OSError:\n pass", "is_not_supported 1"),
    ],
)
def test_each_rule_finds_what_it_is_for(source: str, offence: str) -> None:
    assert list(offences(source)) == [offence]


def test_no_interpreted_class_has_a_compiled_base() -> None:
    """Such a class is refused when it is made, which is when its module is imported."""
    bases = {"mitmdump." + module.removesuffix(".py").replace("/", ".") for module in COMPILED}
    own = {
        f"{path.relative_to(PACKAGE)}: {node.name}({base})"
        for path in PACKAGE.rglob("*.py")
        if str(path.relative_to(PACKAGE)) not in COMPILED
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        for base in map(ast.unparse, node.bases)
        if is_compiled(path, base, bases)
    }
    assert own == set()


def is_compiled(path: Path, base: str, compiled: set[str]) -> bool:
    """Is this the name of a class that was imported from a compiled module?"""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and base in [alias.asname or alias.name for alias in node.names]:
            package = ["mitmdump", *path.relative_to(PACKAGE).parts[:-1]]
            origin = ".".join([*package[: len(package) - node.level + 1], *(node.module or "").split(".")])
            return origin in compiled
    return False
