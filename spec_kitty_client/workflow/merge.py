"""Merge a mission without losing anything.

A host's merge, left to itself, may lose work:

* It deletes uncommitted files in the worktrees of lanes (3.1.0 and later).
* It resets the mission's folder, and with it the acceptance (3.2.7).
* It merges everything, then fails if the checkout of the target has changes (3.2.0 and later).
* It leaves the index of the target's checkout stale: the next commit reverts the merge (3.1.x).
* It reports a repeated merge as a failure (3.1.0 and later), and a squash that it never
  committed as a success (1.0.x).
* A squash reverts newer changes on the target (3.2.0 and later).
* It leaves planning work out (3.1.0 and later).

So the SDK checks every worktree first, commits the mission's folder, compares the target before
and after, and proves that the merge has happened.
"""

import re

from attrs import evolve, frozen

from spec_kitty_client._engine.core import Negotiate, Steps
from spec_kitty_client.api.commands import MergeMission
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import (
    GitFailed,
    HostError,
    MergeDamaged,
)
from spec_kitty_client.workflow.common import state
from spec_kitty_client.workflow.git import (
    branches,
    changed,
    checked_out,
    commit_folder,
    commit_of,
    dirty,
    fork_point,
    git,
    is_ancestor,
    root,
)
from spec_kitty_client.workflow.integration import prepare, tidy
from spec_kitty_client.workflow.layout import layout_of, read_files
from spec_kitty_client.workflow.merge_checks import (
    HOST_STATE,
    KEEP_BRANCHES,
    MergeContext,
    Merged,
    check,
)
from spec_kitty_client.workflow.proof import (
    holds,
    record_lanes,
    record_result,
    recorded,
)

__all__ = ["Merged", "merge"]

_HOST_FILES = frozenset(
    {"meta.json", "lanes.json", "tasks.md", "status.json", "status.events.jsonl"}
)
"""Files in a mission's folder that the host writes; all others may be somebody's work."""


def merge(call: MergeMission, commits: tuple[str, ...] = ()) -> Steps[Merged]:
    """Merge a mission into its target branch, with every check that hosts leave out.

    Args:
        call: The host call. Without a target, the SDK names the host's default in it.
        commits: The commits handed in for review, as far as the caller knows them. Each must be
            on a branch that is merged. If the branches are gone already, these commits prove
            whether the merge has happened.

    Raises:
        WouldLoseWork: If the merge would lose something; nothing was changed.
        MergeDamaged: If the target does not have exactly the mission's work after the merge.
        GitFailed: If git fails, or the target does not exist.
        UnsupportedByHost: If this host cannot merge with that strategy.
        IntegrationFailed: If the host refuses or fails.
    """
    contract: Contract = yield Negotiate()
    context = yield from _look(call, contract)
    call = evolve(call, target=context.target)
    if (yield from _is_merged(context, commits)):
        if call.push:
            msg = (
                f"{context.slug} is merged already, but this call cannot push it. Run "
                f"`git push origin {context.target}`."
            )
            raise GitFailed(msg)
        return context.merged(context.before, changed=False)
    yield from check(context, call, commits)
    if (yield from _commit_records(context)):
        context = yield from _look(call, contract)
    yield from prepare(context.integration)
    work = yield from _work_of((yield from context.branches()), context)
    lanes = yield from context.lanes()
    yield from record_lanes(
        context.slug, {n: w.head for n, w in work.items() if n in lanes}, context.top
    )
    try:
        yield call
    except HostError as e:
        e.add_note(f"Before the merge, {context.target} was at commit {context.before}.")
        yield from _tell_missing(e, context)
        # Hosts remove the lanes last: if they are gone, the merge worked and its answer was lost.
        if not lanes or (yield from context.lanes()) or contract.dialect in KEEP_BRANCHES:
            raise
    return (yield from _compare(context, work))


def _tell_missing(error: HostError, context: MergeContext) -> Steps[None]:
    """Add the command that restores each branch that the host misses.

    From 3.1.0 on hosts merge all lanes or none, and remove them at the end. The SDK cannot see
    whether a missing branch was merged before, so it does not make the branch itself.
    """
    name = rf"kitty/mission-{re.escape(context.slug)}-lane-\w+"
    for branch in dict.fromkeys(re.findall(name, str(error.failure.data.get("errors")))):
        if (yield from commit_of(branch, context.top)) is None:
            error.add_note(
                f"There is no branch {branch}. If its work was merged before, run "
                f"`git branch {branch} {context.target}` and merge again."
            )


def _message(context: MergeContext) -> str:
    return f"chore({context.slug}): record status"


def _look(call: MergeMission, contract: Contract) -> Steps[MergeContext]:
    mission = yield from state(call.mission)
    top = yield from root()
    files = yield from read_files(mission.mission_slug, top)
    layout = yield from layout_of(contract, files, tuple(mission.lanes()), top)
    target = call.target or layout.target
    before = yield from commit_of(f"refs/heads/{target}", top)
    if before is None:
        told = "" if call.target else f" (the mission's {layout.target_source})"
        msg = f"there is no branch {target!r}{told} in {top} to merge into. Create it there."
        raise GitFailed(msg)
    return MergeContext(
        contract=contract, top=top, mission=mission, layout=layout, target=target, before=before
    )


def _is_merged(context: MergeContext, commits: tuple[str, ...]) -> Steps[bool]:
    """Return whether it is proven that nothing is left to merge."""
    if not all(wp.lane in (Lane.DONE, Lane.CANCELED) for wp in context.mission.work_packages):
        return False
    lanes = yield from context.lanes()
    if lanes:
        heads = tuple(f"refs/heads/{name}" for name in lanes)
        proven = _is_whole(context, lanes) and (
            yield from holds(context.before, (*heads, *commits), context.top)
        )
        return bool(proven)
    result, heads = yield from recorded(context.slug, context.top)
    if result and (yield from is_ancestor(result, context.before, context.top)):
        return (yield from holds(context.before, commits, context.top)) if commits else True
    return (yield from holds(context.before, (*heads, *commits), context.top))


def _is_whole(context: MergeContext, lanes: dict[str, str | None]) -> bool:
    """Return whether every work package in ``done`` has its branch."""
    done = [wp.wp_id for wp in context.mission.work_packages if wp.lane == Lane.DONE]
    if context.contract.dialect in KEEP_BRANCHES:
        return all(f"{context.slug}-{wp}" in lanes for wp in done)
    packages = (context.layout.packages[wp] for wp in done)
    mission = context.integration.mission
    return all(f"{mission}-{p.lane}" in lanes for p in packages if not p.planning)


def _commit_records(context: MergeContext) -> Steps[bool]:
    """Commit the host's records of the mission, and its own state file if that is tracked."""
    path = (yield from branches(context.top, context.target)).get(context.target)
    committed = False
    if path and context.contract.supports(Feature.CLEAN_TARGET):
        found = yield from dirty(path, untracked=False)
        for name in HOST_STATE:
            if name in found:
                yield from commit_folder(path, name, f"chore({context.slug}): record host state")
                committed = True
    return (yield from commit_folder(context.top, context.folder, _message(context))) or committed


@frozen(kw_only=True)
class _Work:
    """The head of a branch, and the files it has changed since it left the target."""

    head: str
    files: set[str]


def _work_of(lanes: dict[str, str | None], context: MergeContext) -> Steps[dict[str, _Work]]:
    """Return the head and changed files of each branch."""
    found: dict[str, _Work] = {}
    for lane in lanes:
        base = yield from fork_point(context.before, lane, context.top)
        head = yield from commit_of(lane, context.top)
        found[lane] = _Work(head=str(head), files=(yield from changed(base, lane, context.top)))
    return found


def _compare(context: MergeContext, work: dict[str, _Work]) -> Steps[Merged]:
    """Check that the target has its old commits, all work of the lanes, and nothing else."""
    after = yield from commit_of(f"refs/heads/{context.target}", context.top)
    target, before = context.target, context.before
    if after is None or not (yield from is_ancestor(before, after, context.top)):
        raise MergeDamaged(target, before, "took commits away from it")
    new = yield from changed(before, after, context.top)
    theirs = {f for lane in work.values() for f in lane.files}
    strange = {f for f in new - theirs if not f.startswith(f"{context.folder}/")}
    if strange:
        what = "changed files that no work package touched"
        raise MergeDamaged(target, before, what, tuple(sorted(strange)))
    if missing := (yield from _missing(work, new, after, context)):
        what = "did not bring what is in the branches of the mission"
        raise MergeDamaged(target, before, what, tuple(sorted(missing)))
    _refuse_unproven(context, work)
    yield from _refresh(context, after, new)
    yield from record_result(context.slug, after, context.top)
    yield from tidy(context.integration)
    return context.merged(after, changed=after != before)


def _missing(
    work: dict[str, _Work], new: set[str], after: str, context: MergeContext
) -> Steps[set[str]]:
    """Return the files of the lanes that differ in the target after the merge."""
    found: set[str] = set()
    for lane in work.values():
        if files := {f for f in lane.files - new if not _is_hosts(f, context.folder)}:
            found |= files & (yield from changed(lane.head, after, context.top))
    return found


def _is_hosts(path: str, folder: str) -> bool:
    """Return whether the host writes this file of the mission, so that branches differ in it."""
    inside = path.removeprefix(f"{folder}/")
    return inside != path and (inside in _HOST_FILES or inside.startswith("tasks/"))


def _refuse_unproven(context: MergeContext, work: dict[str, _Work]) -> None:
    """Refuse work packages without a branch, which hosts up to 3.0.3 leave out silently."""
    if context.contract.dialect not in KEEP_BRANCHES:
        return
    worked = [wp.wp_id for wp in context.mission.work_packages if wp.lane != Lane.CANCELED]
    if gone := tuple(wp for wp in worked if f"{context.slug}-{wp}" not in work):
        raise MergeDamaged(context.target, context.before, "left out work without a branch", gone)


def _refresh(context: MergeContext, after: str, new: set[str]) -> Steps[None]:
    """Update a stale checkout of the target (3.1.x), keeping the user's changes.

    Raises:
        GitFailed: If local changes are in the way.
    """
    if (yield from checked_out(context.top)) != context.target:
        return
    listed = yield from git("diff", "--cached", "--name-only", "-z", "HEAD", folder=context.top)
    if not new & set(listed.split("\0")):
        return
    try:
        yield from git("read-tree", "-m", "-u", context.before, after, folder=context.top)
    except GitFailed as e:
        msg = (
            f"The mission is merged into {context.target}, but the checkout {context.top} is not "
            "up to date: a commit there would revert the merge. Save your changes elsewhere, then "
            f"run `git reset --hard` there. {e}"
        )
        raise GitFailed(msg) from e
