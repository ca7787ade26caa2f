"""The git commands of the workflow verbs, as steps; git runs where the host runs.

Branches are passed to git as full refs: a tag of the same name would win otherwise, and a name
that begins with ``-`` would be an option. Refs from callers come after ``--end-of-options``.
"""

from contextlib import suppress

from spec_kitty_client._engine.core import Git, Steps
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.transports import Completed

__all__ = [
    "branches",
    "changed",
    "checked_out",
    "commit_folder",
    "commit_of",
    "dirty",
    "fork_point",
    "git",
    "is_ancestor",
    "merge_into",
    "ref_of",
    "removed",
    "root",
    "show",
    "show_all",
]

_GREP = ("grep", "--text", "--untracked", "--no-exclude-standard", "--no-color")


def ref_of(branch: str) -> str:
    """Return the full ref of a branch."""
    return f"refs/heads/{branch}"


def git(*args: str, folder: str | None = None) -> Steps[str]:
    """Run git and return its standard output.

    Args:
        args: Arguments for git.
        folder: Where it runs; None: the transport's folder.

    Raises:
        GitFailed: If git fails or times out; the message has its error output.
    """
    done: Completed = yield Git(args, folder)
    if done.exit_code != 0:
        said = (done.stderr.strip() or done.stdout.strip()).decode("utf-8", "backslashreplace")
        end = "timed out" if done.exit_code is None else f"exit code {done.exit_code}"
        where = f" in {folder}" if folder else ""
        msg = f"git {args[0]}{where}: {said[-2000:] or end}"
        raise GitFailed(msg)
    return done.stdout.decode("utf-8", "backslashreplace")


def root() -> Steps[str]:
    """Return the path of the repository's primary checkout.

    A bare repository has none: there it is the worktree in which git runs.

    Raises:
        GitFailed: If this is no repository, or a worktree of one whose git folder is elsewhere.
    """
    asked = ("--path-format=absolute", "--git-common-dir", "--git-dir", "--show-toplevel")
    common, own, top = (yield from git("rev-parse", *asked)).split("\n")[:3]
    if common == own:
        return top  # also in a submodule, whose git folder is elsewhere
    if not common.endswith("/.git"):
        if (yield from git("rev-parse", "--is-bare-repository", folder=common)).strip() == "true":
            return top
        msg = f"{top} is a worktree of {common}. Run this in the primary checkout."
        raise GitFailed(msg)
    return common.removesuffix("/.git")


def show(path: str, folder: str) -> Steps[str | None]:
    """Return the text of a file, committed or not; None if it does not exist."""
    return (yield from show_all((path,), folder)).get(path)


def show_all(paths: tuple[str, ...], folder: str) -> Steps[dict[str, str]]:
    """Return the text of files, committed or not, by path.

    Args:
        paths: Files and folders, relative to ``folder``. Missing ones are left out.
        folder: The top of a checkout.

    Raises:
        GitFailed: If git cannot read them.
    """
    # `git grep` with a pattern that matches every line prints whole files, many in one call.
    args = (*_GREP, "--null", "-e", "", "--", *paths)
    done: Completed = yield Git(args, folder)
    if done.exit_code == 1:
        return {}  # no line matches: none of the files exists
    if done.exit_code != 0:
        yield from git(*args, folder=folder)  # fails again, and raises
    found: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "backslashreplace").split("\n"):
        path, is_line, text = line.partition("\0")
        if is_line:
            found.setdefault(path, []).append(text)
    return {path: "\n".join([*lines, ""]) for path, lines in found.items()}


def commit_of(ref: str, folder: str) -> Steps[str | None]:
    """Return the commit id of a ref, or None if there is no such ref."""
    try:
        args = ("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        found = yield from git(*args, folder=folder)
    except GitFailed:
        return None
    return found.strip()


def checked_out(folder: str) -> Steps[str]:
    """Return the branch that is checked out; empty for a detached HEAD."""
    return (yield from git("branch", "--show-current", folder=folder)).strip()


def dirty(folder: str, *, untracked: bool = True) -> Steps[tuple[str, ...]]:
    """Return the paths with uncommitted changes, as ``git status`` prints them."""
    flags = ("--porcelain", "-z", "--no-renames")
    which = "all" if untracked else "no"
    listed = yield from git("status", *flags, f"--untracked-files={which}", folder=folder)
    return tuple(entry[3:] for entry in listed.split("\0") if entry[2:3] == " ")


def branches(folder: str, *names: str) -> Steps[dict[str, str | None]]:
    """Return the existing branches of these names or patterns, each with its worktree or None.

    A worktree whose folder was deleted counts as None.
    """
    gone = yield from removed(folder)
    form = "--format=%(refname)%00%(worktreepath)"
    listed = yield from git("for-each-ref", form, *map(ref_of, names), folder=folder)
    rows = [row.partition("\0") for row in listed.split("\n") if row]
    return {
        ref.removeprefix(ref_of("")): path if path and path not in gone else None
        for ref, _, path in rows
    }


def removed(folder: str) -> Steps[set[str]]:
    """Return the paths of worktrees that git still lists, but whose folder was deleted."""
    listed = yield from git("worktree", "list", "--porcelain", folder=folder)
    return {
        entry.partition("\n")[0].removeprefix("worktree ")
        for entry in listed.split("\n\n")
        if "\nprunable" in entry
    }


def commit_folder(folder: str, inside: str, message: str) -> Steps[bool]:
    """Commit the changes inside one folder only, and return whether there were any."""
    listed = yield from git("status", "--porcelain", "-z", "--", inside, folder=folder)
    if listed:
        yield from git("add", "--", inside, folder=folder)
        yield from git("commit", "--quiet", f"--message={message}", "--", inside, folder=folder)
    return bool(listed)


def merge_into(folder: str, branch: str) -> Steps[None]:
    """Merge a branch into the branch checked out in a folder; abort if there are conflicts.

    Raises:
        GitFailed: If there are merge conflicts.
    """
    try:
        message = f"--message=Merge branch '{branch}'"
        yield from git("merge", "--quiet", "--ff", message, ref_of(branch), folder=folder)
    except GitFailed as e:
        with suppress(GitFailed):  # the merge may not have started
            yield from git("merge", "--abort", folder=folder)
        msg = f"{branch} does not merge into {folder}. Merge it there by hand and try again. {e}"
        raise GitFailed(msg) from e


def fork_point(one: str, other: str, folder: str) -> Steps[str]:
    """Return the merge base of two commits.

    Raises:
        GitFailed: If they have no common ancestor.
    """
    return (yield from git("merge-base", "--end-of-options", one, other, folder=folder)).strip()


def is_ancestor(old: str, new: str, folder: str) -> Steps[bool]:
    """Return whether one commit is an ancestor of another one, or the same."""
    commit = yield from commit_of(old, folder)
    try:
        return (yield from fork_point(old, new, folder)) == commit
    except GitFailed:  # no common ancestor
        return False


def changed(before: str, after: str, folder: str) -> Steps[set[str]]:
    """Return the paths of the files that differ between two commits."""
    args = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", "--ignore-submodules=none")
    listed = yield from git(*args, "--end-of-options", before, after, folder=folder)
    return set(filter(None, listed.split("\0")))
