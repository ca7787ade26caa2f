"""Repositories for the tests of git."""

from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

import anyio

from spec_kitty_orchestrator.git.calls import git

T = TypeVar("T")


def do(awaitable: Awaitable[T]) -> T:
    """Run an async call of a worktree to its end."""

    async def main() -> T:
        return await awaitable

    return anyio.run(main)


def write(path: Path, text: str = "new\n") -> Path:
    """Write a file, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def save(repo: Path, name: str, text: str = "new\n") -> str:
    """Commit a file and return the commit."""
    write(repo / name, text)
    git(repo, "add", "--all")
    git(repo, "commit", "--quiet", f"--message={name}")
    return head_of(repo)


def head_of(folder: Path, ref: str = "HEAD") -> str:
    """Return a commit."""
    return git(folder, "rev-parse", ref).strip()


def linked(repo: Path, branch: str = "lane") -> Path:
    """Add a linked worktree with a branch."""
    path = repo / ".worktrees" / branch
    git(repo, "worktree", "add", "--quiet", "-b", branch, str(path))
    return path


def hook(folder: Path, text: str, name: str = "pre-commit") -> None:
    """Add a hook to a folder of hooks."""
    path = write(folder / name, f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
