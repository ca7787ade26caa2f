"""The folder that a relative path in a setting starts from."""

import os
import shlex
from pathlib import Path
from typing import Any

__all__ = ["start_from"]

_SCRIPT = "script:"


def start_from(folder: Path, name: str, value: Any) -> Any:
    """Return the value of a setting; its path, if it has one, starts from a folder.

    Args:
        folder: The repository of a settings file, or the current folder for a flag.
        name: The name of the setting.
        value: The value, as it was written.
    """
    if name == "policy" and isinstance(value, str | Path) and value:
        return type(value)(os.path.normpath(folder / Path(value).expanduser()))
    is_agent = name in ("impl_agent", "review_agent") and isinstance(value, str)
    if is_agent and value.startswith(_SCRIPT):
        return _SCRIPT + _program(folder, value.removeprefix(_SCRIPT))
    return value


def _program(folder: Path, command: str) -> str:
    """Return a command whose program, if it is a relative path, starts from a folder."""
    try:
        program, *words = shlex.split(command)
    except ValueError:  # `agents.find` reports it
        return command
    if os.sep not in program or Path(program).is_absolute():
        return command
    return shlex.join([os.path.normpath(folder / program), *words])
