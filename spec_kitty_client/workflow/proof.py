"""Prove that a mission's work is in a branch, even after the host has removed its lanes.

Before a merge the SDK records the head commit of every lane under
``refs/spec-kitty-client/merges/<slug>/``, and the target's commit before and after. `git gc` keeps
these commits, so that work left out by a squash can be restored. Clones do not fetch these refs.
"""

from collections.abc import Iterable, Mapping

from attrs import frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.errors import GitFailed
from spec_kitty_client.workflow.git import changed, commit_of, fork_point, git, is_ancestor

__all__ = [
    "MergeRecord",
    "holds",
    "left_out",
    "note_work",
    "record_lanes",
    "record_result",
    "recorded",
    "taken_back",
    "unproven",
]

_RESULT, _BEFORE, _RESUMED = "target", "before", "resumed"


@frozen(kw_only=True)
class MergeRecord:
    """The record of a mission's last merge."""

    before: str | None = None
    """The target's commit before the merge."""
    result: str | None = None
    """The target's commit after it; None if no merge was proven."""
    heads: tuple[str, ...] = ()
    """The heads of the branches that were merged, or about to be."""


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


def record_result(slug: str, before: str, after: str, top: str) -> Steps[None]:
    """Record the commits of the target before and after a proven merge."""
    yield from git("update-ref", "-d", f"{_refs(slug)}/{_RESUMED}", folder=top)
    yield from git("update-ref", f"{_refs(slug)}/{_BEFORE}", before, folder=top)
    yield from git("update-ref", f"{_refs(slug)}/{_RESULT}", after, folder=top)


def note_work(slug: str, top: str) -> Steps[None]:
    """Record that work continues, which makes the record of an earlier merge invalid."""
    if result := (yield from recorded(slug, top)).result:
        yield from git("update-ref", f"{_refs(slug)}/{_RESUMED}", result, folder=top)


def recorded(slug: str, top: str) -> Steps[MergeRecord]:
    """Return the record of the last merge; an empty one if there is none, or work continued."""
    form = "--format=%(refname)%00%(objectname)"
    listed = yield from git("for-each-ref", form, _refs(slug), folder=top)
    rows: dict[str, str] = {}
    for row in filter(None, listed.split("\n")):
        name, _, commit = row.partition("\0")
        rows[name.removeprefix(f"{_refs(slug)}/")] = commit
    if _RESUMED in rows:
        return MergeRecord()
    before, result = rows.pop(_BEFORE, None), rows.pop(_RESULT, None)
    return MergeRecord(before=before, result=result, heads=tuple(rows.values()))


def holds(target: str, commits: Iterable[str], top: str) -> Steps[bool]:
    """Return whether a branch contains all these commits, or the files as they left them.

    False if there are no commits: nothing is proven then.
    """
    every = tuple(commits)
    return bool(every) and not (yield from unproven(target, every, top))


def unproven(target: str, commits: Iterable[str], top: str) -> Steps[tuple[str, ...]]:
    """Return the commits whose content is not proven to be in a branch.

    A commit counts if the branch contains it, unless all its changes were reverted since, or if the
    branch has all its files as it left them. Commits that another one contains are skipped: a
    rework may revert an earlier attempt.

    Args:
        target: A commit or full ref.
        commits: Ids of the commits.
        top: Path of the primary checkout.
    """
    missing: tuple[str, ...] = ()
    for commit in (yield from _newest(commits, top)):
        if not (yield from _has(target, commit, top)):
            missing += (commit,)
    return missing


def _newest(commits: Iterable[str], top: str) -> Steps[tuple[str, ...]]:
    """Return the commits that no other one contains, missing commits included."""
    every = tuple(dict.fromkeys(commits))
    ids: dict[str, str | None] = {}
    for commit in every:
        ids[commit] = yield from commit_of(commit, top)
    known = [full for full in ids.values() if full is not None]
    if not known:
        return every
    args = ("merge-base", "--independent", "--end-of-options", *known)
    newest = (yield from git(*args, folder=top)).split()
    return tuple(commit for commit, full in ids.items() if full is None or full in newest)


def _has(target: str, commit: str, top: str) -> Steps[bool]:
    if (yield from commit_of(commit, top)) is None:
        return False
    if (yield from is_ancestor(commit, target, top)):
        return not (yield from taken_back(target, commit, top))
    try:
        base = yield from fork_point(target, commit, top)
    except GitFailed:  # no common ancestor
        return False
    files = yield from changed(base, commit, top)
    return bool(files) and not files & (yield from changed(commit, target, top))


def taken_back(target: str, commit: str, top: str) -> Steps[tuple[str, ...]]:
    """Return the files of a merged commit if the target has all of them as before the merge.

    Args:
        target: A commit or full ref that contains the commit.
        commit: The head of a branch that was merged.
        top: Path of the primary checkout.
    """
    merge = yield from _merge_of(target, commit, top)
    if merge is None:
        return ()
    base = yield from fork_point(f"{merge}^1", commit, top)
    files = yield from changed(base, commit, top)
    return () if files & (yield from changed(base, target, top)) else tuple(sorted(files))


def _merge_of(target: str, commit: str, top: str) -> Steps[str | None]:
    """Return the merge that brought a commit into a branch; None for a fast-forward."""
    span = ("--end-of-options", f"{commit}..{target}")
    own = (yield from git("rev-list", "--first-parent", "--merges", *span, folder=top)).split()
    above = (yield from git("rev-list", "--ancestry-path", "--merges", *span, folder=top)).split()
    found = [merge for merge in own if merge in set(above)]
    return found[-1] if found else None


def left_out(commits: Iterable[str], heads: Iterable[str], top: str) -> Steps[tuple[str, ...]]:
    """Return the commits that no branch contains.

    Args:
        commits: Ids of the commits; one that does not exist is on no branch.
        heads: Commits or full refs.
        top: Path of the primary checkout.
    """
    others = tuple(f"^{head}" for head in heads)
    found: list[str] = []
    for commit in dict.fromkeys(commits):
        args = ("rev-list", "--max-count=1", "--end-of-options", commit, *others)
        exists = (yield from commit_of(commit, top)) is not None
        if not exists or (yield from git(*args, folder=top)).strip():
            found.append(commit)
    return tuple(found)
