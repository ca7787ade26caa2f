"""Prove that a mission's work is in a branch, even after the host has removed its lanes.

Before a merge the SDK records the head commit of every lane under
``refs/spec-kitty-client/merges/<slug>/``, and after it the new commit of the target. `git gc` keeps
these commits, so that work left out by a squash can be restored. Clones do not fetch these refs.
"""

from collections.abc import Iterable, Mapping

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.workflow.git import changed, commit_of, fork_point, git, is_ancestor

__all__ = ["holds", "left_out", "record_lanes", "record_result", "recorded"]

_RESULT = "target"


def _refs(slug: str) -> str:
    return f"refs/spec-kitty-client/merges/{slug}"


def record_lanes(slug: str, heads: Mapping[str, str], top: str) -> Steps[None]:
    """Record the head commit of each branch that is about to be merged.

    Args:
        slug: Slug of the mission.
        heads: Commit of each branch, by branch name.
        top: Path of the primary checkout.
    """
    for branch, head in heads.items():
        name = f"{_refs(slug)}/lanes/{branch.rpartition('/')[2]}"
        yield from git("update-ref", name, head, folder=top)


def record_result(slug: str, commit: str, top: str) -> Steps[None]:
    """Record the commit of the target after a proven merge."""
    yield from git("update-ref", f"{_refs(slug)}/{_RESULT}", commit, folder=top)


def recorded(slug: str, top: str) -> Steps[tuple[str | None, tuple[str, ...]]]:
    """Return the target's commit after the last proven merge or None, and the merged heads."""
    form = "--format=%(refname)%00%(objectname)"
    listed = yield from git("for-each-ref", form, _refs(slug), folder=top)
    rows: dict[str, str] = {}
    for row in listed.splitlines():
        name, _, commit = row.partition("\0")
        rows[name] = commit
    result = rows.pop(f"{_refs(slug)}/{_RESULT}", None)
    return result, tuple(rows.values())


def holds(target: str, commits: Iterable[str], top: str) -> Steps[bool]:
    """Return whether a branch contains all these commits, or the files as they left them.

    False if there are no commits: nothing is proven then.
    """
    every = tuple(dict.fromkeys(commits))
    for commit in every:
        if not (yield from _has(target, commit, top)):
            return False
    return bool(every)


def _has(target: str, commit: str, top: str) -> Steps[bool]:
    if (yield from commit_of(commit, top)) is None:
        return False
    if (yield from is_ancestor(commit, target, top)):
        return True
    try:
        base = yield from fork_point(target, commit, top)
    except GitFailed:  # no common ancestor
        return False
    files = yield from changed(base, commit, top)
    return bool(files) and not files & (yield from changed(commit, target, top))


def left_out(commits: Iterable[str], heads: Iterable[str], top: str) -> Steps[str]:
    """Return the first of these commits that no branch contains, or an empty string."""
    branches = tuple(heads)
    for commit in dict.fromkeys(commits):
        args = ("rev-list", "--max-count=1", commit, "--not", *branches)
        if (yield from git(*args, folder=top)).strip():
            return commit
    return ""
