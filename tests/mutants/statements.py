"""Mutants of a statement: a function that is as it was, but for one refusal that it lacks."""

import ast
import inspect
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from attrs import frozen

__all__ = ["Refusal", "refusals"]


@frozen
class Refusal:
    """A ``raise`` of a module, or a ``yield``, which is how the rules for policies refuse.

    Attributes:
        where: The function, such as ``InMemoryWorkspace.merge``.
        why: The innermost condition that it stands under.
        what: The statement, to tell it from others.
        line: Where it stands.
    """

    module: ModuleType
    where: str
    why: str
    what: str
    line: int

    def drop(self) -> None:
        """Give the function a code without it, in this process."""
        tree = _tree(self.module)
        new = ast.fix_missing_locations(_Without(self.line).visit(tree))
        code = compile(new, inspect.getfile(self.module), "exec")
        function = _function(self.module, self.where)
        function.__code__ = _code_of(code, self.where)


def refusals(module: ModuleType, kind: type[ast.Raise] | type[ast.Yield]) -> Iterator[Refusal]:
    """Yield every refusal of a module, in its order."""
    for node in _tree(module).body:
        yield from _below(module, node, kind, (), "always")


def _below(
    module: ModuleType, node: ast.AST, kind: type[ast.AST], names: tuple[str, ...], why: str
) -> Iterator[Refusal]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        names = (*names, node.name)
    statement = node.value if isinstance(node, ast.Expr) else node
    if isinstance(statement, kind) and isinstance(node, ast.stmt):
        what = ast.unparse(node)
        yield Refusal(module, ".".join(names), why, what, node.lineno)
        return
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _below(module, child, kind, names, _condition(node, field) or why)


def _condition(node: ast.AST, field: str) -> str:
    """Return the condition under which a part of a statement is done."""
    if isinstance(node, ast.If):
        told = ast.unparse(node.test)
        return told if field == "body" else f"not ({told})"
    if isinstance(node, ast.For) and field == "body":
        return f"for {ast.unparse(node.target)} in {ast.unparse(node.iter)}"
    if isinstance(node, ast.ExceptHandler) and node.type is not None:
        return f"except {ast.unparse(node.type)}"
    return ""


class _Without(ast.NodeTransformer):
    """Takes the statement of a line away, and leaves a generator one."""

    def __init__(self, line: int) -> None:
        self._line = line

    def visit_Raise(self, node: ast.Raise) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node) if node.lineno == self._line else node

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        if node.lineno != self._line or not isinstance(node.value, ast.Yield):
            return node
        never = ast.If(test=ast.Constant(value=False), body=[node], orelse=[])
        return ast.copy_location(never, node)


def _tree(module: ModuleType) -> ast.Module:
    """Return the module anew: a transformer changes what it is given."""
    return ast.parse(_source(module))


@cache
def _source(module: ModuleType) -> str:
    return inspect.getsource(module)


def _function(module: ModuleType, where: str) -> FunctionType:
    found: Any = module
    for name in where.split("."):
        found = inspect.getattr_static(found, name)
    found = found.fget if isinstance(found, property) else found
    found = found.__func__ if isinstance(found, classmethod | staticmethod) else found
    found = getattr(found, "func", found)  # a cached property
    unwrapped: Callable[..., Any] = inspect.unwrap(found)
    assert isinstance(unwrapped, FunctionType)
    return unwrapped


def _code_of(code: CodeType, where: str) -> CodeType:
    """Find the code of a function in that of its module."""
    todo = [code]
    while todo:
        here = todo.pop()
        if here.co_qualname == where:
            return here
        todo += [const for const in here.co_consts if isinstance(const, CodeType)]
    raise LookupError(where)
