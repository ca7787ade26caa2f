"""Tests of `spec_kitty_client.async_client`, which is made of `client`."""

import ast
from pathlib import Path

from spec_kitty_client import async_client, client
from tests.asyncify import SOURCE, TARGET, asyncify

TRANSPORT = ("self._transport.run", "self._transport.git")


def shape(source: str) -> str:
    """Return what a formatter cannot change: the program without its layout.

    Imports inside a module are in no order, as a formatter may have sorted them.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            node.names.sort(key=lambda name: name.name)
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    rest = [n for n in tree.body if n not in imports]
    tree.body = [*sorted(imports, key=ast.dump), *rest]
    return ast.dump(tree)


def test_the_async_client_is_made_of_the_other_one() -> None:
    """Nobody has changed one of them alone; `python -m tests.asyncify` makes it anew."""
    made = asyncify(SOURCE.read_text(encoding="utf-8"))

    assert shape(made) == shape(TARGET.read_text(encoding="utf-8"))


def test_the_files_are_those_that_are_imported() -> None:
    """What was compared is what users get."""
    assert Path(client.__file__).resolve() == SOURCE.resolve()
    assert Path(async_client.__file__).resolve() == TARGET.resolve()


def test_every_call_of_a_coroutine_is_awaited() -> None:
    """A method that forgets to wait would return something that was never run."""
    tree = ast.parse(TARGET.read_text(encoding="utf-8"))
    waiting = {n.name for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef)} - {"watch"}
    awaited = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Await)}
    calls = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Call)
        and isinstance(n.func, ast.Attribute)
        and ast.unparse(n.func) in (*(f"self.{name}" for name in waiting), *TRANSPORT)
    ]

    assert calls
    assert [ast.unparse(n) for n in calls if id(n) not in awaited] == []
