"""The code of a documentation page, so that tests can run it as it is printed.

A comment before each block says how a test uses it: ``<!-- file: loop.py -->`` is a whole file,
``<!-- run -->`` is a shell command; ``, with a host`` at the end means that a real host is needed.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Snippet", "plugin", "shell", "snippets", "write"]

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?```\w*\n(?P<text>.*?)```\n", re.DOTALL)
_MARK = re.compile(r"(?:run|file: (?P<file>[\w.]+))(?P<host>, with a host)?")


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A block of code on a page."""

    text: str
    file: str | None
    """The name of the file; None: it is a shell command."""
    host: bool
    """Whether it needs a real host."""


def snippets(page: str) -> Iterator[Snippet]:
    """Return the blocks of a page of ``docs``.

    Raises:
        ValueError: If a block has no such comment.
    """
    for block in _BLOCK.finditer((ROOT / "docs" / page).read_text(encoding="utf-8")):
        mark = _MARK.fullmatch(block["mark"] or "")
        if mark is None:
            msg = f"{page}: it is not said what becomes of\n{block[0]}"
            raise ValueError(msg)
        yield Snippet(text=block["text"], file=mark["file"], host=bool(mark["host"]))


def write(found: Iterable[Snippet], folder: Path) -> None:
    """Write the files among some blocks."""
    for snippet in found:
        if snippet.file is not None:
            (folder / snippet.file).write_text(snippet.text, encoding="utf-8")


def plugin() -> list[str]:
    """Return the plugins to name to pytest: the SDK's plugin, unless it is installed."""
    installed = importlib.metadata.entry_points(group="pytest11", name="spec_kitty")
    return [] if installed else ["spec_kitty_client.testing.pytest_plugin"]


def shell(folder: Path, script: str) -> "subprocess.CompletedProcess[str]":
    """Run a shell script in a folder, with this Python and the packages under test.

    pytest takes warnings for errors there, and has the plugin also if it is not installed; git
    has an identity.
    """
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "-Werror --strict-markers"}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env["PYTEST_PLUGINS"] = ",".join(plugin())
    for who in ("AUTHOR", "COMMITTER"):  # a bare machine has no git identity
        env |= {f"GIT_{who}_NAME": "Ada", f"GIT_{who}_EMAIL": "ada@example.invalid"}
    return subprocess.run(
        ["sh", "-euc", script], cwd=folder, env=env, check=False, capture_output=True, text=True
    )
