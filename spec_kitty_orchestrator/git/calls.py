"""Call git, and distinguish its failures."""

import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from spec_kitty_client.errors import GitFailed
from spec_kitty_client.transports import Completed, program
from spec_kitty_client.transports.git import git_environment, git_words
from spec_kitty_orchestrator.errors import OrchestratorError, UsageProblem

__all__ = ["GitError", "GitNotFound", "commit_problem", "git", "root_of", "run_git", "run_steps"]

T = TypeVar("T")
_TIME_LIMIT = 600.0  # seconds; a commit runs the hooks of the repository
_SIGNING = 60.0  # seconds, in which a person may type a passphrase
_LONGEST = 2000  # characters of git's own words in a message


class GitError(OrchestratorError):
    """A git command failed.

    Args:
        message: The command, its folder, and git's own words.
        exit_code: Of git; None if it was not started or did not end in time.
        output: Git's own words, or those of a hook.
    """

    def __init__(self, message: str, exit_code: int | None = None, output: str = "") -> None:
        super().__init__(message)
        self.exit_code_of_git = exit_code
        self.output = output


class GitNotFound(GitError):
    """There is no git on PATH."""


def git(folder: Path, *args: str, time_limit: float = _TIME_LIMIT) -> str:
    """Run git and return its stdout. Bytes that are not UTF-8 are escaped.

    Args:
        folder: The working directory.
        args: The arguments of git.
        time_limit: Seconds.

    Raises:
        GitError: If git fails, takes longer than the time limit, or is not installed.
    """
    argv, env = _call(args, {})
    try:
        done = program.run(argv, cwd=folder, env=env, time_limit=time_limit)
    except program.CannotStart as e:
        raise GitError(str(e)) from e
    return _stdout(done, folder, args)


async def run_git(folder: Path, *args: str, env: Mapping[str, str] | None = None) -> str:
    """Run git in an event loop and return its stdout, as `git` does.

    A cancellation ends git with all its children, hooks included. The search for the repository
    ends at `folder`: if a worktree has no link, git does not use the checkout above it.

    Args:
        folder: The top of a checkout.
        args: The arguments of git.
        env: Variables for this call.

    Raises:
        GitError: If git fails, takes longer than ten minutes, or is not installed.
    """
    return _stdout(await _run(folder, folder, args, env or {}), folder, args)


async def run_steps(folder: Path, steps: Generator[Any, Any, T]) -> T:
    """Run steps of the SDK that only call git, and return their result.

    Args:
        folder: The top of a checkout.
        steps: The steps.

    Raises:
        GitError: If git fails, takes longer than ten minutes, or is not installed.
    """
    with closing(steps):
        try:
            step = next(steps)
            while True:
                where = Path(step.folder or folder)
                step = steps.send(await _run(folder, where, step.args, {}))
        except GitFailed as e:
            raise GitError(str(e)) from e
        except StopIteration as end:
            result: T = end.value
            return result


async def _run(top: Path, folder: Path, args: tuple[str, ...], env: Mapping[str, str]) -> Completed:
    argv, variables = _call(args, env)
    variables["GIT_CEILING_DIRECTORIES"] = str(top.parent)
    try:
        return await program.run_async(argv, cwd=folder, env=variables, time_limit=_TIME_LIMIT)
    except program.CannotStart as e:
        raise GitError(str(e)) from e


def _call(args: tuple[str, ...], env: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    where = shutil.which("git")
    if where is None:
        msg = "There is no program 'git' on PATH. Install git."
        raise GitNotFound(msg)
    return [where, *git_words(args)], {**git_environment(os.environ), **env}


def _stdout(done: Completed, folder: Path, args: tuple[str, ...]) -> str:
    if done.exit_code != 0:
        output = (done.stderr or done.stdout).decode("utf-8", "backslashreplace").strip()
        output = output[-_LONGEST:]
        end = f"exit code {done.exit_code}"
        if done.exit_code is None:
            end = f"it did not end within {done.time_limit:.0f} s"
        command = next((word for word in args if not word.startswith("-") and "=" not in word), "")
        msg = f"git {command} in {folder}: {output or end}"
        raise GitError(msg, done.exit_code, output)
    return done.stdout.decode("utf-8", "backslashreplace")


def commit_problem(root: Path) -> str | None:
    """Return why git cannot commit in a repository, and what helps; None if it can.

    If the repository signs commits, a signature is tried. Git may then ask for a passphrase before
    the run, and not in the middle of it.

    Args:
        root: The primary checkout.
    """
    try:
        git(root, "var", "GIT_COMMITTER_IDENT")
    except GitError:
        return (
            "Git does not know who you are, so that nothing can be committed. Run: git config "
            "--global user.name 'Your Name' && git config --global user.email you@example.com"
        )
    try:
        if not _signs(root):
            return None
        nothing = git(root, "hash-object", "-w", "-t", "tree", os.devnull).strip()
        git(root, "commit-tree", "-S", nothing, "-m", "signature", time_limit=_SIGNING)
    except GitError as e:
        return (
            f"Git cannot sign a commit, as the setting commit.gpgSign asks for: {e.output or e}. "
            "Unlock or correct the key, or run: git config commit.gpgSign false"
        )
    return None


def _signs(root: Path) -> bool:
    try:
        return git(root, "config", "--type=bool", "commit.gpgSign").strip() == "true"
    except GitError:
        return False  # not set


def root_of(folder: Path) -> Path:
    """Return the primary checkout of the repository around a folder.

    In a submodule that is the checkout of the submodule; beside a bare repository, which has no
    primary checkout, it is the worktree around the folder.

    Raises:
        UsageProblem: If the folder is in no repository, git refuses to use it, or there is no git.
    """
    asked = ("--git-common-dir", "--absolute-git-dir", "--show-toplevel")
    try:
        found = git(folder, "rev-parse", "--path-format=absolute", *asked).split("\n")[:3]
    except GitNotFound as e:
        raise UsageProblem(str(e)) from e
    except GitError as e:
        raise UsageProblem(_why_no_repository(folder, e)) from e
    common, own, top = map(Path, found)
    if own.resolve() == common.resolve():
        return top
    return common.parent if common.name == ".git" else top


def _why_no_repository(folder: Path, error: GitError) -> str:
    go = "Go to your project, or name it with --repo-root."
    if not folder.is_dir():
        return f"There is no folder {folder}. {go}"
    if any((above / ".git").exists() for above in (folder, *folder.parents)):
        return f"Git cannot use the repository around {folder}: {error.output or error}"
    if "not a git repository" in error.output:
        return f"{folder} is not in a git repository. {go}"
    return f"{folder} is in no git repository that git can use: {error.output or error} {go}"
