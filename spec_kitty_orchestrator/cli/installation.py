"""Detect the PyPI distribution ``spec-kitty-orchestrator``, which has files of the same names."""

from pathlib import Path

__all__ = ["mixed_up"]

_THEIRS = "executor.py"  # a module that only the other distribution has


def mixed_up() -> str | None:
    """Return the problem and the commands that help; None if the other one is not installed.

    The check is for one file, because loading importlib.metadata for every command takes 18 ms.
    """
    if not (Path(__file__).parents[1] / _THEIRS).exists():
        return None
    return (
        "The distribution spec-kitty-orchestrator is installed in this environment as well, and "
        "has files and a command of the same names: either may break. Repair it: pip uninstall "
        "spec-kitty-orchestrator spec-kitty-client, then pip install spec-kitty-client"
    )
