"""What a mutant is, and how rules are switched off in a process that is used up by it."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import frozen

__all__ = ["Mutant", "replace", "returning"]


@frozen
class Mutant:
    """One rule less, or another one.

    Attributes:
        group: Where it belongs in the list.
        name: What it is.
        apply: Changes this process.
        tests: Which could notice, as pytest takes them; the likeliest first.
    """

    group: str
    name: str
    apply: Callable[[], object]
    tests: tuple[str, ...]


def replace(old: object, new: object) -> None:
    """Put something in the place of something else, wherever modules have it by a name.

    Raises:
        LookupError: If no module has it.
    """
    found = [
        (module, name)
        for key, module in list(sys.modules.items())
        if key.partition(".")[0] in ("spec_kitty_client", "tests")
        for name, value in list(vars(module).items())
        if value is old
    ]
    if not found:
        raise LookupError(old)
    for module, name in found:
        setattr(module, name, new)


def returning(function: Callable[..., Any], value: Any) -> Callable[[], None]:
    """Return what lets a function return this and nothing else."""
    return partial(replace, function, lambda *_, **__: value)
