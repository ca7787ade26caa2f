"""Prepare the mission's branch for the host's merge.

Hosts merge the lanes into the mission's branch, and that into the target. They miss planning work,
which they expect on the target itself. With a coordination branch, their merge also fails with a
conflict if the status files were committed on the target (3.2.0 to 3.2.7).
"""

import shlex
from contextlib import suppress

from attrs import frozen

from spec_kitty_client._engine.core import Git, Steps
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.transports import Completed
from spec_kitty_client.workflow.git import (
    branches,
    changed,
    commit_of,
    fork_point,
    git,
    is_ancestor,
    merge_into,
    ref_of,
)
from spec_kitty_client.workflow.worktrees import folder_of, planning_branch

__all__ = ["Integration", "conflicts", "how_to_resolve", "merged_tree", "prepare", "tidy"]

_MOST = 5  # files in a command


@frozen(kw_only=True)
class Integration:
    """The branches of a mission that is about to be merged."""

    top: str
    """The primary checkout."""
    slug: str
    target: str
    coordination: str | None
    """The branch that holds the status files, if that is not the target."""

    @property
    def mission(self) -> str:
        """The mission's branch, into which the host merges the lanes."""
        return f"kitty/mission-{self.slug}"

    @property
    def status_files(self) -> tuple[str, ...]:
        """The files in which the host records the lanes of work packages."""
        folder = folder_of(self.slug)
        return f"{folder}/status.events.jsonl", f"{folder}/status.json"


def prepare(what: Integration) -> Steps[None]:
    """Merge newer status files and planning work into the mission's branch.

    Raises:
        GitFailed: If there are conflicts; the merge is aborted, and the message has the commands
            that resolve them.
    """
    if what.coordination and (yield from _is_behind(what)):
        yield from _merge_onto(what, what.mission, what.target, keep=what.status_files)
    planning = planning_branch(what.slug)
    there = yield from branches(what.top, planning, what.mission)
    if planning not in there:
        return
    # Most hosts make no mission branch if all work packages are planning work.
    onto = what.mission if what.mission in there else what.target
    if not (yield from is_ancestor(ref_of(planning), ref_of(onto), what.top)):
        yield from _merge_onto(what, onto, planning)


def merged_tree(one: str, other: str, top: str) -> Steps[str | None]:
    """Return the tree of a merge of two commits; None if git cannot, or there are conflicts."""
    args = ("merge-tree", "--write-tree", "--no-messages", "--end-of-options", one, other)
    done: Completed = yield Git(args, top)
    return done.stdout.decode().strip() if done.exit_code == 0 else None


def conflicts(one: str, other: str, top: str, *, apart: str | None = None) -> Steps[set[str]]:
    """Return the files with merge conflicts between two commits.

    Args:
        one: A commit.
        other: Another commit.
        top: Path of the primary checkout.
        apart: Path prefix of files to ignore; None: ignore none.
    """
    base = yield from fork_point(one, other, top)
    both = (yield from changed(base, one, top)) & (yield from changed(base, other, top))
    both = {name for name in both if apart is None or not name.startswith(apart)}
    if not both:
        return both
    how = ("--write-tree", "--name-only", "--no-messages", "-z", "--end-of-options")
    args = ("merge-tree", *how, one, other)
    done: Completed = yield Git(args, top)
    if done.exit_code == 0:
        return set()
    # git before 2.38 has no `merge-tree --write-tree`: count every file that both have changed.
    named = done.stdout.decode("utf-8", "backslashreplace").split("\0")[1:]
    return both & set(named) if done.exit_code == 1 else both


def how_to_resolve(
    top: str, branch: str, path: str | None, other: str, files: tuple[str, ...]
) -> tuple[str, ...]:
    """Return the shell commands that merge one branch into another one, conflicts included.

    The user edits the files before the last two.

    Args:
        top: Path of the primary checkout.
        branch: The branch to merge into.
        path: Its worktree; None: one is made.
        other: The branch to merge.
        files: The files with conflicts.
    """
    made = path or f"{top}/.worktrees/{branch.removeprefix('kitty/mission-')}"
    here, root = f"git -C {shlex.quote(made)}", f"git -C {shlex.quote(top)}"
    first = () if path else (f"{root} worktree add {shlex.quote(made)} {branch}",)
    named = " ".join(map(shlex.quote, files)) if 0 < len(files) <= _MOST else "--all"
    return (*first, f"{here} merge {other}", f"{here} add {named}", f"{here} commit --no-edit")


def tidy(what: Integration) -> Steps[None]:
    """Remove the branch and worktree of planning work after the merge."""
    branch = planning_branch(what.slug)
    there = yield from branches(what.top, branch)
    if branch not in there:
        return
    if path := there[branch]:
        yield from git("worktree", "remove", path, folder=what.top)
    yield from git("branch", "--quiet", "-D", "--end-of-options", branch, folder=what.top)


def _is_behind(what: Integration) -> Steps[bool]:
    """Return whether the target has commits that the mission's branch has not.

    They may contain status files. If there is planning work, host 3.2.5 refuses any such commit.
    """
    if (yield from commit_of(ref_of(what.mission), what.top)) is None:
        return False
    return not (yield from is_ancestor(ref_of(what.target), ref_of(what.mission), what.top))


def _merge_onto(
    what: Integration, branch: str, source: str, keep: tuple[str, ...] = ()
) -> Steps[None]:
    """Merge a branch into another one, in its worktree or a temporary one.

    Args:
        what: The mission.
        branch: The branch to merge into.
        source: The branch to merge.
        keep: Files that keep the version of ``branch``.
    """
    temporary = f"{what.top}/.worktrees/{what.slug}-merge"
    where = (yield from branches(what.top, branch)).get(branch)
    if where == temporary:  # left over from an interrupted merge
        yield from git("worktree", "remove", "--force", temporary, folder=what.top)
        where = None
    if where is None:
        args = ("worktree", "add", "--quiet", "--force", "--end-of-options", temporary, branch)
        yield from git(*args, folder=what.top)
    try:
        if keep:
            yield from _merge_keeping(where or temporary, source, keep)
        else:
            yield from merge_into(where or temporary, source)
    except GitFailed as e:
        if where is None:
            yield from git("worktree", "remove", "--force", temporary, folder=what.top)
        raise GitFailed((yield from _unresolved(what, branch, source, keep))) from e
    if where is None:
        yield from git("worktree", "remove", "--force", temporary, folder=what.top)


def _unresolved(what: Integration, branch: str, source: str, keep: tuple[str, ...]) -> Steps[str]:
    """Return the message about two branches that do not merge, with the commands that help."""
    found = yield from conflicts(ref_of(branch), ref_of(source), what.top)
    files = tuple(sorted(found - set(keep)))
    # Planning work is brought up to the other branch, in its own worktree.
    to, other = (source, branch) if source == planning_branch(what.slug) else (branch, source)
    path = (yield from branches(what.top, to)).get(to)
    *first, add, done = how_to_resolve(what.top, to, path, other, files)
    before = ", then ".join(f"`{command}`" for command in first)
    return (
        f"{source} does not merge into {branch}: {', '.join(files[:_MOST]) or 'git refuses'}. "
        f"Nothing was merged. Run {before}, edit the files, run `{add}` and `{done}`, and merge "
        "again."
    )


def _merge_keeping(folder: str, source: str, keep: tuple[str, ...]) -> Steps[None]:
    """Merge a branch into the one checked out in a folder, keeping its version of some files."""
    with suppress(GitFailed):  # conflicts are checked below
        args = ("merge", "--quiet", "--no-commit", "--no-ff", ref_of(source))
        yield from git(*args, folder=folder)
    listed = yield from git("ls-tree", "-z", "--name-only", "HEAD", "--", *keep, folder=folder)
    if own := tuple(filter(None, listed.split("\0"))):
        yield from git("checkout", "--quiet", "HEAD", "--", *own, folder=folder)
    unmerged = yield from git("diff", "--name-only", "--diff-filter=U", "-z", folder=folder)
    if unmerged or (yield from commit_of("MERGE_HEAD", folder)) is None:
        with suppress(GitFailed):  # the merge may not have started
            yield from git("merge", "--abort", folder=folder)
        files = ", ".join(filter(None, unmerged.split("\0"))) or "git did not start the merge"
        msg = f"{source} does not merge into {folder}: {files}. Merge it there by hand."
        raise GitFailed(msg)
    yield from git("commit", "--quiet", "--no-edit", folder=folder)
