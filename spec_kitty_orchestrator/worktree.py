"""Git: what an agent left in a worktree, and what a work package added."""

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from spec_kitty_client.transports import program
from spec_kitty_client.transports.process import git_environment
from spec_kitty_orchestrator.errors import OrchestratorError, UsageProblem

__all__ = ["GitError", "Worktree", "git", "root_of"]

_LIMIT = 600.0  # seconds; a commit runs the repository's own hooks


class GitError(OrchestratorError):
    """Git did not do what it was asked, with what it said."""


class GitNotFound(GitError):
    """There is no git on PATH."""


def git(folder: Path, *args: str) -> str:
    """Run git and return what it printed; bytes that are no UTF-8 come back escaped.

    Raises:
        GitError: If it fails, or takes longer than ten minutes.
    """
    env = git_environment(os.environ)
    where = shutil.which("git")
    if where is None:
        msg = "There is no program 'git' on PATH. Install git."
        raise GitNotFound(msg)
    try:
        done = program.run((where, *args), cwd=folder, env=env, time_limit=_LIMIT)
    except program.CannotStart as e:
        raise GitError(str(e)) from e
    if done.exit_code != 0:
        said = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()
        end = "it did not end" if done.exit_code is None else f"exit code {done.exit_code}"
        msg = f"git {args[0]} in {folder}: {said[-2000:] or end}"
        raise GitError(msg)
    return done.stdout.decode("utf-8", "backslashreplace")


def root_of(folder: Path) -> Path:
    """Return the primary checkout of the repository that a folder is in.

    Raises:
        UsageProblem: If it is in none, or there is no git.
    """
    try:
        common = git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
    except GitNotFound as e:
        raise UsageProblem(str(e)) from e
    except GitError as e:
        msg = (
            f"{folder} is not in a git repository. Go to your project, or name it with --repo-root."
        )
        raise UsageProblem(msg) from e
    return Path(common).parent


@frozen
class Worktree:
    """A checkout that agents work in. Every method runs git in a thread."""

    path: Path

    async def is_there(self) -> bool:
        """Return whether the folder exists."""
        import anyio  # see `_git`

        return await anyio.Path(self.path).is_dir()

    async def head(self) -> str:
        """Return the commit that is checked out."""
        return (await self._git("rev-parse", "HEAD")).strip()

    async def dirty(self) -> list[str]:
        """Return the files that are not committed, as ``git status`` names them."""
        listed = await self._git(
            "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames"
        )
        return [entry[3:] for entry in listed.split("\0") if entry[2:3] == " "]

    async def has(self, commit: str) -> bool:
        """Return whether a commit is part of what is checked out."""
        return not await self._git("rev-list", "--max-count=1", commit, "--not", "HEAD")

    async def commit(self, message: str) -> str:
        """Commit whatever is there, if there is anything, and return the head.

        Raises:
            GitError: If git or a hook of the repository refuses.
        """
        if await self.dirty():
            await self._git("add", "--all")
            await self._git("commit", "--quiet", f"--message={message}")
        return await self.head()

    async def base(self, ref: str | None, branch: str | None) -> str:
        """Return the commit from which on the branch's work counts.

        That is where it left `ref`, if it has commits that no other branch has; else the
        head, because there is no work yet.
        """
        if ref and branch:
            others = (f"--exclude={branch}", "--branches")
            if await self._git("rev-list", "--max-count=1", "HEAD", "--not", *others):
                return await self._fork_point("HEAD", ref)
        return await self.head()

    async def changes(self, spans: Sequence[tuple[str, str]], limit: int) -> tuple[str, str]:
        """Return what was changed between pairs of commits as ``(statistics, text)``.

        Args:
            spans: Pairs of commits, the older one first.
            limit: Characters after which the text is cut.
        """
        stats, texts = [], []
        for before, after in spans:
            stats.append(await self._git("diff", "--stat=100", f"{before}..{after}"))
            texts.append(await self._git("diff", f"{before}..{after}"))
        return "".join(stats), "".join(texts)[:limit]

    async def _fork_point(self, one: str, other: str) -> str:
        """Return the newest commit that two commits have in common."""
        return (await self._git("merge-base", one, other)).strip()

    async def set_aside(self, why: str) -> list[str]:
        """Stash what is uncommitted, so that nothing is lost, and return the files."""
        files = await self.dirty()
        if files:
            await self._git("stash", "push", "--include-untracked", f"--message={why}")
        return files

    async def _git(self, *args: str) -> str:
        import anyio.to_thread  # whoever only looks for the root has no event loop

        return await anyio.to_thread.run_sync(partial(git, self.path, *args))
