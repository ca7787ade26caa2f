"""The git commands of the orchestrator: commit an agent's changes, diff a work package's."""

import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from attrs import frozen

from spec_kitty_client.transports import program
from spec_kitty_client.transports.git import git_environment, git_words
from spec_kitty_orchestrator.errors import OrchestratorError, UsageProblem

__all__ = ["GitError", "Worktree", "git", "root_of"]

_TIME_LIMIT = 600.0  # seconds; a commit runs the hooks of the repository


class GitError(OrchestratorError):
    """A git command failed."""


class GitNotFound(GitError):
    """There is no git on PATH."""


def git(folder: Path, *args: str) -> str:
    """Run git and return its stdout. Bytes that are not UTF-8 are escaped.

    Args:
        folder: The working directory.
        args: The arguments of git.

    Raises:
        GitError: If git fails, takes longer than ten minutes, or is not installed.
    """
    env = git_environment(os.environ)
    where = shutil.which("git")
    if where is None:
        msg = "There is no program 'git' on PATH. Install git."
        raise GitNotFound(msg)
    try:
        done = program.run((where, *git_words(args)), cwd=folder, env=env, time_limit=_TIME_LIMIT)
    except program.CannotStart as e:
        raise GitError(str(e)) from e
    if done.exit_code != 0:
        output = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()
        end = f"exit code {done.exit_code}"
        if done.exit_code is None:
            end = f"it did not end within {_TIME_LIMIT:.0f} s"
        msg = f"git {args[0]} in {folder}: {output[-2000:] or end}"
        raise GitError(msg)
    return done.stdout.decode("utf-8", "backslashreplace")


def root_of(folder: Path) -> Path:
    """Return the primary checkout of the repository around a folder.

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
    """A checkout in which agents work. Every method runs git in a thread."""

    path: Path

    async def is_there(self) -> bool:
        """Return whether the folder exists."""
        import anyio  # see `_git`

        return await anyio.Path(self.path).is_dir()

    async def head(self) -> str:
        """Return the commit of HEAD."""
        return (await self._git("rev-parse", "HEAD")).strip()

    async def dirty(self) -> list[str]:
        """Return the uncommitted files, as ``git status`` names them."""
        listed = await self._git(
            "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames"
        )
        return [entry[3:] for entry in listed.split("\0") if entry[2:3] == " "]

    async def has(self, commit: str) -> bool:
        """Return whether a commit is HEAD or an ancestor of HEAD."""
        return not await self._git("rev-list", "--max-count=1", commit, "--not", "HEAD")

    async def commit(self, message: str) -> str:
        """Commit all changes, if there are any, and return HEAD.

        Raises:
            GitError: If git or a hook of the repository rejects the commit.
        """
        if await self.dirty():
            await self._git("add", "--all")
            await self._git("commit", "--quiet", f"--message={message}")
        return await self.head()

    async def base(self, ref: str | None, branch: str | None) -> str:
        """Return the commit before the work on a branch.

        That is the fork point from `ref`, if the branch has commits that no other branch has;
        else HEAD, because there is no work yet.

        Args:
            ref: The ref that the branch was made from, if the host named one.
            branch: The branch that is checked out, if the host named it.
        """
        if ref and branch:
            others = (f"--exclude={branch}", "--branches")
            if await self._git("rev-list", "--max-count=1", "HEAD", "--not", *others):
                return await self._fork_point("HEAD", ref)
        return await self.head()

    async def changes(self, spans: Sequence[tuple[str, str]], limit: int) -> tuple[str, str]:
        """Return the diffs between pairs of commits, as ``(statistics, text)``.

        Args:
            spans: Pairs of commits, the older one first.
            limit: The maximum number of characters of the text.
        """
        stats, texts = [], []
        for before, after in spans:
            stats.append(await self._git("diff", "--stat=100", f"{before}..{after}"))
            texts.append(await self._git("diff", f"{before}..{after}"))
        return "".join(stats), "".join(texts)[:limit]

    async def _fork_point(self, one: str, other: str) -> str:
        """Return the newest common ancestor of two commits."""
        return (await self._git("merge-base", one, other)).strip()

    async def stash(self, message: str) -> list[str]:
        """Stash all uncommitted changes and return the files."""
        files = await self.dirty()
        if files:
            await self._git("stash", "push", "--include-untracked", f"--message={message}")
        return files

    async def _git(self, *args: str) -> str:
        import anyio.to_thread  # not needed by `root_of`, which has to be quick

        return await anyio.to_thread.run_sync(partial(git, self.path, *args))
