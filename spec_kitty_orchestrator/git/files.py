"""Look at the files of a worktree and of the repository that it belongs to, without git."""

import hashlib
import os
import shutil
from pathlib import Path

__all__ = ["blob_id", "copy_if_there", "is_rebasing", "own_folder", "relink", "write_text"]

_SHA1_DIGITS = 40


def own_folder(common: Path, worktree: Path) -> Path | None:
    """Return the repository's folder for a worktree, found without the link in the worktree."""
    for back in common.glob("worktrees/*/gitdir"):
        link = back.parent / back.read_text(encoding="utf-8", errors="replace").strip()
        if link.parent.resolve() == worktree.resolve():
            return back.parent
    return None


def relink(worktree: Path, own: Path, aside: Path) -> Path | None:
    """Point the worktree's ``.git`` at its folder; return where another ``.git`` was moved."""
    link, moved = worktree / ".git", None
    if link.is_file() and not link.is_symlink():
        text = link.read_text(encoding="utf-8", errors="replace").strip()
        if (worktree / text.removeprefix("gitdir: ")).resolve() == own.resolve():
            return None
    if link.is_symlink() or link.exists():
        aside.parent.mkdir(parents=True, exist_ok=True)
        moved = Path(shutil.move(link, aside))
    link.write_text(f"gitdir: {own}\n", encoding="utf-8")
    return moved


def is_rebasing(own: Path) -> bool:
    """Return whether a rebase is not finished.

    Args:
        own: The folder of the worktree in the repository.
    """
    return any((own / state).exists() for state in ("rebase-merge", "rebase-apply"))


def copy_if_there(file: Path, to: Path) -> None:
    """Copy a file, if it exists."""
    if file.exists():
        shutil.copy(file, to)


def write_text(file: Path, text: str) -> None:
    """Write a text file."""
    file.write_text(text, encoding="utf-8", errors="backslashreplace")


def blob_id(path: Path, length: int) -> str | None:
    """Return the id that git gives to the bytes of a file; None if it cannot be read.

    Args:
        path: The file.
        length: The number of digits of an id in this repository: SHA-1, else SHA-256.
    """
    digest = hashlib.sha1(usedforsecurity=False) if length == _SHA1_DIGITS else hashlib.sha256()
    try:
        with path.open("rb") as file:
            digest.update(b"blob %d\0" % os.fstat(file.fileno()).st_size)
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError:
        return None
    return digest.hexdigest()
