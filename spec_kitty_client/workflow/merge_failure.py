"""Explain a failed merge: its conflicts, what it has changed, and the commands that help."""

import re
import shlex
from collections.abc import Iterator
from itertools import combinations

from attrs import evolve, frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import HostError, HostTimeout, IntegrationFailed, MergeConflict
from spec_kitty_client.workflow.git import commit_of, dirty, ref_of
from spec_kitty_client.workflow.integration import conflicts, how_to_resolve
from spec_kitty_client.workflow.merge_context import KEEP_BRANCHES, MergeContext, Work

__all__ = ["Snapshot", "explain", "missing_branches", "take"]


@frozen(kw_only=True)
class Snapshot:
    """The branches of a mission, and the uncommitted files of their worktrees."""

    commits: dict[str, str | None]
    dirty: dict[str, tuple[str, ...]]
    merging: bool
    """Whether the primary checkout is in the middle of a merge."""


def take(context: MergeContext) -> Steps[Snapshot]:
    """Read the branches of a mission, and the uncommitted files of their worktrees."""
    where = yield from context.branches()
    commits: dict[str, str | None] = {}
    for branch in (context.target, *where):
        commits[branch] = yield from commit_of(ref_of(branch), context.top)
    files: dict[str, tuple[str, ...]] = {}
    for path in (context.top, *where.values()):
        if path is not None:
            files[path] = yield from dirty(path)
    merging = (yield from commit_of("MERGE_HEAD", context.top)) is not None
    return Snapshot(commits=commits, dirty=files, merging=merging)


def explain(
    error: HostError, context: MergeContext, work: dict[str, Work], before: Snapshot
) -> Steps[HostError]:
    """Return the error of a failed merge, with the changes and conflicts that git shows.

    Args:
        error: The error of the host call.
        context: The mission before its merge.
        work: Its branches before the merge.
        before: The snapshot before the merge.
    """
    now = yield from take(context)
    # A host that was stopped on another machine may still be at work.
    unchanged = now == before and not isinstance(error, HostTimeout)
    failure = evolve(error.failure, unchanged=unchanged)
    state = _state(context, before, now)
    if isinstance(error, IntegrationFailed):
        found = yield from _find_conflict(context, work)
        if found:
            commands = tuple((yield from _commands(context, found, now)))
            return MergeConflict(failure, found.branches, found.files, commands, state)
    told = type(error)(failure)
    told.add_note(state)
    for note in (yield from _missing(error, context)):
        told.add_note(note)
    return told


def _state(context: MergeContext, before: Snapshot, now: Snapshot) -> str:
    """Return a sentence about the changes of a failed merge."""
    target, was = context.target, context.before
    if now == before:
        return f"Nothing was merged: {target} is still at commit {was}."
    after, open_merge = now.commits[target], ""
    if now.merging and not before.merging:
        top = shlex.quote(context.top)
        open_merge = (
            f"{context.top} is in the middle of the merge; `git -C {top} merge --abort` ends it. "
        )
    if after != was:
        return f"{open_merge}Before the merge, {target} was at commit {was}; now it is at {after}."
    moved = [name for name, commit in now.commits.items() if before.commits.get(name) != commit]
    named = f"; the host has merged some branches, which does no harm: {', '.join(moved)}"
    return f"{open_merge}{target} is still at commit {was}{named if moved else ''}."


def _missing(error: HostError, context: MergeContext) -> Steps[tuple[str, ...]]:
    """Return the command that restores each branch that the host misses.

    From 3.1.0 on hosts merge all lanes or none, and remove them at the end. The SDK cannot see
    whether a missing branch was merged before, so it does not make the branch itself.
    """
    name = rf"kitty/mission-{re.escape(context.slug)}-lane-\w+"
    notes: tuple[str, ...] = ()
    for branch in dict.fromkeys(re.findall(name, str(error.failure.data.get("errors")))):
        if (yield from commit_of(ref_of(branch), context.top)) is None:
            notes += (_how_to_restore(context, branch),)
    return notes


def missing_branches(context: MergeContext) -> Steps[tuple[str, ...]]:
    """Return a sentence for each branch of finished work that the host will miss (3.1.0+)."""
    there = yield from context.branches()
    finished = (Lane.APPROVED, Lane.DONE)
    wps = (wp.wp_id for wp in context.mission.work_packages if wp.lane in finished)
    wanted = dict.fromkeys(branch for wp in wps if (branch := context.branch_of(wp)))
    return tuple(_how_to_restore(context, name) for name in wanted if name not in there)


def _how_to_restore(context: MergeContext, branch: str) -> str:
    return (
        f"There is no branch {branch}. If its work was done in another clone, fetch it: "
        f"`git fetch CLONE {branch}:{branch}`. If its work was merged before, run "
        f"`git branch {branch} {context.target}`. Then merge again."
    )


@frozen(kw_only=True)
class _Conflict:
    branches: tuple[str, str]
    files: tuple[str, ...]


def _find_conflict(context: MergeContext, work: dict[str, Work]) -> Steps[_Conflict | None]:
    """Return the first two branches that have merge conflicts."""
    for branch, other in _pairs(context, work):
        ours, theirs = ref_of(branch), ref_of(other)
        mission = context.integration.mission in (branch, other)
        apart = f"{context.folder}/" if mission else None  # the host merges these files itself
        if files := (yield from conflicts(theirs, ours, context.top, apart=apart)):
            return _Conflict(branches=(branch, other), files=tuple(sorted(files)))
    return None


def _pairs(context: MergeContext, work: dict[str, Work]) -> Iterator[tuple[str, str]]:
    """Yield the branches that a merge brings together: lanes with the target, then one another."""
    mission = context.integration.mission
    lanes = [name for name in work if name != mission]
    yield from ((lane, context.target) for lane in lanes)
    for one, other in combinations(lanes, 2):
        if work[one].files & work[other].files:
            yield other, one
    if mission in work:
        yield mission, context.target
        yield from ((lane, mission) for lane in lanes)


def _commands(context: MergeContext, found: _Conflict, now: Snapshot) -> Steps[list[str]]:
    """Return the shell commands that merge one branch into the other, up to the commit."""
    branch, other = found.branches
    path = (yield from context.branches()).get(branch)
    first: list[str] = []
    if now.merging and context.contract.dialect in KEEP_BRANCHES:
        first.append(f"git -C {shlex.quote(context.top)} merge --abort")
    *resolve, commit = how_to_resolve(context.top, branch, path, other, found.files)
    # A hook of these hosts refuses planning files there, also those that a merge brings.
    hook = " --no-verify" if context.contract.dialect is Dialect.F1 else ""
    return [*first, *resolve, f"{commit}{hook}"]
