"""The files that the orchestrator keeps in a repository. Git ignores all of them."""

import contextlib
import os
from pathlib import Path

from attrs import frozen

from spec_kitty_orchestrator.errors import UsageProblem

__all__ = ["StateFiles", "make_folder", "open_private", "refuse_link"]


@frozen
class StateFiles:
    """The paths of one repository. All are below ``.kittify/``, but for the lock."""

    root: Path
    """The primary checkout."""

    @property
    def journal(self) -> Path:
        """The journal of all runs, as JSON Lines."""
        return self._own / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """The lock file that a live run holds, with its process id as JSON.

        It is in git's folder, because ``git clean -fdx`` removes all of ``.kittify/``.
        """
        return (_git_folder(self.root) or self._own) / "run.lock"

    @property
    def live(self) -> Path:
        """The process id of the live run once more, in case that the lock file is removed."""
        return self._own / "run.json"

    @property
    def logs(self) -> Path:
        """The prompts, output and exit records of agents, by mission and work package."""
        return self.root / ".kittify" / "logs"

    @property
    def _own(self) -> Path:
        return self.root / ".kittify" / "orchestrator"

    def copy(self, mission: str) -> Path:
        """Return the second copy of the events of a mission, in case the journal is damaged."""
        return self.logs / mission / "events.jsonl"

    def make(self) -> None:
        """Create the folders, which only the user can read and git ignores.

        Raises:
            UsageProblem: If one of them is a symbolic link.
        """
        for folder in (self._own, self.logs):
            make_folder(folder)
        self.lock.parent.mkdir(mode=0o700, exist_ok=True)


def _git_folder(root: Path) -> Path | None:
    """Return the orchestrator's folder in the shared git folder; None if there is no git folder."""
    git = _follow(root / ".git")  # a file in a submodule
    git = _follow(git / "commondir", otherwise=git)  # in a worktree of a bare repository
    return git / "spec-kitty-orchestrator" if git.is_dir() else None


def _follow(pointer: Path, otherwise: Path | None = None) -> Path:
    """Return the folder that a file of git names."""
    if not pointer.is_file():
        return otherwise or pointer
    name = pointer.read_bytes().removeprefix(b"gitdir:").strip()
    return pointer.parent / os.fsdecode(name)


def make_folder(folder: Path) -> None:
    """Create a folder with a ``.gitignore`` that covers all of it.

    Raises:
        UsageProblem: If it, or the folder that it is in, is a symbolic link.
    """
    refuse_link(folder.parent, folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        ignore = open_private(folder / ".gitignore", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(ignore, b"*\n")
        os.close(ignore)


def open_private(path: Path | str, flags: int) -> int:
    """Return a file descriptor. A file that is created is readable by its user alone.

    Raises:
        OSError: If it cannot be opened, or is a symbolic link.
    """
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def refuse_link(*paths: Path) -> None:
    """Check that no path is a symbolic link, which could lead out of the repository.

    Raises:
        UsageProblem: If one is.
    """
    for path in paths:
        if path.is_symlink():
            msg = (
                f"{path} is a symbolic link to {path.readlink()}. The orchestrator, the host and "
                f"agents write into the repository only. Remove the link: rm {path}"
            )
            raise UsageProblem(msg)
