"""Tests of `spec_kitty_client.aio`, which is generated from the blocking modules."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from tests.asyncify import NAMES, PACKAGE, asyncify

every_module = pytest.mark.parametrize("name", NAMES)


def made(name: str) -> Path:
    """Return the file of an async module."""
    return PACKAGE / "aio" / f"{name}.py"


def shape(source: str) -> str:
    """Return the syntax tree of a module, with its imports sorted as a formatter may do."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            node.names.sort(key=lambda name: name.name)
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    rest = [n for n in tree.body if n not in imports]
    tree.body = [*sorted(imports, key=ast.dump), *rest]
    return ast.dump(tree)


@every_module
def test_an_async_module_is_made_of_the_other_one(name: str) -> None:
    """Each async module is what `python -m tests.asyncify` makes of the blocking one."""
    source = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")

    assert shape(asyncify(source)) == shape(made(name).read_text(encoding="utf-8"))


@every_module
def test_the_files_are_those_that_are_imported(name: str) -> None:
    """The file that is compared is the one that users import."""
    module = import_module(f"spec_kitty_client.aio.{name}")

    assert Path(str(module.__file__)).resolve() == made(name).resolve()


@every_module
def test_every_call_of_a_coroutine_is_awaited(name: str) -> None:
    """The async modules await every call of a coroutine."""
    tree = ast.parse(made(name).read_text(encoding="utf-8"))
    driver = ("aclose", "negotiate", "call", "read", "change", "sleep")
    waiting = {n.name for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef)} - {"watch"}
    names = {*(f"self._driver.{n}" for n in driver), *(f"self.{n}" for n in waiting)}
    awaited = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Await)}
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) in names]

    assert calls
    assert [ast.unparse(n) for n in calls if id(n) not in awaited] == []
