"""Merge a mission without losing anything.

A host's merge alone may lose work:

* It deletes uncommitted files in the worktrees of lanes (3.1.0 and later).
* It resets the mission's folder, and with it the acceptance (3.2.7).
* It merges everything, then fails if the checkout of the target has changes (3.2.0 and later).
* It leaves the index of the target's checkout stale: the next commit reverts the merge (3.1.x).
* It reports a repeated merge as a failure (3.1.0 and later), and a squash that it never
  committed as a success (1.0.x).
* A squash reverts newer changes on the target (3.2.0 and later).
* It leaves planning work out (3.1.0 and later).

So the SDK checks every worktree first, commits the mission's folder, compares the target before
and after, and proves that the merge has happened. If the host fails, the SDK reads in git what has
changed.
"""

from attrs import evolve

from spec_kitty_client._engine.core import Negotiate, Steps
from spec_kitty_client.api.commands import MergeMission
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import GitFailed, HostError, MergeDamaged
from spec_kitty_client.workflow.common import state
from spec_kitty_client.workflow.git import (
    branches,
    changed,
    commit_folder,
    commit_of,
    dirty,
    git,
    is_ancestor,
    ref_of,
    root,
)
from spec_kitty_client.workflow.integration import merged_tree, prepare, tidy
from spec_kitty_client.workflow.layout import layout_of, read_files
from spec_kitty_client.workflow.merge_checks import check, obstacles
from spec_kitty_client.workflow.merge_context import (
    HOST_STATE,
    KEEP_BRANCHES,
    MergeContext,
    Merged,
    Work,
)
from spec_kitty_client.workflow.merge_failure import Snapshot, explain, missing_branches, take
from spec_kitty_client.workflow.proof import (
    holds,
    left_out,
    record_lanes,
    record_result,
    recorded,
    unproven,
)

__all__ = ["Merged", "find_obstacles", "merge"]

_HOST_FILES = frozenset(
    {"meta.json", "lanes.json", "tasks.md", "status.json", "status.events.jsonl"}
)
"""Files in a mission's folder that the host writes; all others may be work of the user."""


def merge(call: MergeMission, commits: tuple[str, ...] = ()) -> Steps[Merged]:
    """Merge a mission into its target branch, with the checks that hosts do not make.

    Args:
        call: The host call. Without a target, the SDK names the host's default in it.
        commits: The commits submitted for review, as far as the caller knows them. Each must be
            on a branch that is merged. If the branches are gone already, these commits prove
            whether the merge has happened.

    Raises:
        WouldLoseWork: If the merge would lose work; nothing was changed.
        MergeConflict: If branches have merge conflicts; it has the commands that help.
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
            raise GitFailed(_not_pushed(context))
        return context.merged(context.before, changed=False)
    yield from check(context, call, commits)
    if (yield from _commit_records(context)):
        context = yield from _look(call, contract)
    yield from prepare(context.integration)
    yield from _add_canceled(context)
    work = yield from context.work()
    lanes = yield from context.lanes()
    yield from record_lanes(
        context.slug, {n: w.head for n, w in work.items() if n in lanes}, context.top
    )
    snapshot = yield from take(context)
    teardown = None
    try:
        yield call
    except HostError as e:
        teardown = e.failure.teardown_error_code
        if teardown is None:  # with such a code the merge was made
            yield from _settle(e, context, call, work, snapshot)
    merged = yield from _compare(context, work, commits)
    return evolve(merged, teardown_error_code=teardown)


def find_obstacles(call: MergeMission, commits: tuple[str, ...] = ()) -> Steps[tuple[str, ...]]:
    """Return the obstacles to a merge that no work package can remove, as sentences.

    Args:
        call: The host call of the merge.
        commits: See `merge`.

    Raises:
        NotFound: If there is no such mission.
    """
    contract: Contract = yield Negotiate()
    try:
        context = yield from _look(call, contract)
    except GitFailed as e:  # no such target, or damaged files
        return (str(e),)
    found = yield from obstacles(context, call)
    if contract.supports(Feature.LANES) and not (yield from _is_merged(context, commits)):
        found += yield from missing_branches(context)
    return found


def _not_pushed(context: MergeContext) -> str:
    return (
        f"{context.slug} is merged into {context.target}, but that is not pushed. Run `git push "
        f"origin {context.target}`."
    )


def _settle(
    error: HostError,
    context: MergeContext,
    call: MergeMission,
    work: dict[str, Work],
    snapshot: Snapshot,
) -> Steps[None]:
    """Return if a failed call has merged everything all the same; else raise the explained error.

    Hosts remove the lanes last: if they are gone, the merge worked and its answer was lost.
    """
    after = yield from commit_of(ref_of(context.target), context.top)
    if call.push and after != context.before and after:
        heads = tuple(lane.head for lane in work.values())
        if (yield from holds(after, heads, context.top)):
            error.add_note(_not_pushed(context))
            raise error
    kept = context.contract.dialect in KEEP_BRANCHES
    had_lanes = any(name != context.integration.mission for name in work)
    if kept or not had_lanes or (yield from context.lanes()):
        raise (yield from explain(error, context, work, snapshot)) from error


def _message(context: MergeContext) -> str:
    return f"chore({context.slug}): record status"


def _look(call: MergeMission, contract: Contract) -> Steps[MergeContext]:
    mission = yield from state(call.mission)
    top = yield from root()
    files = yield from read_files(mission.mission_slug, top)
    layout = yield from layout_of(contract, files, tuple(mission.lanes()), top)
    target = call.target or layout.target
    before = yield from commit_of(ref_of(target), top)
    if before is None:
        told = "" if call.target else f" (the mission's {layout.target_source})"
        msg = f"there is no branch {target!r}{told} in {top} to merge into. Create it there."
        raise GitFailed(msg)
    return MergeContext(
        contract=contract, top=top, mission=mission, layout=layout, target=target, before=before
    )


def _is_merged(context: MergeContext, commits: tuple[str, ...]) -> Steps[bool]:
    """Return whether there is proof that the mission is merged."""
    if not all(wp.lane in (Lane.DONE, Lane.CANCELED) for wp in context.mission.work_packages):
        return False
    lanes = yield from context.lanes()
    if lanes:
        heads = tuple(map(ref_of, lanes))
        proven = _is_whole(context, lanes) and (
            yield from holds(context.before, (*heads, *commits), context.top)
        )
        return bool(proven)
    return (yield from _is_recorded(context, commits))


def _is_recorded(context: MergeContext, commits: tuple[str, ...]) -> Steps[bool]:
    """Return whether the record of an earlier merge, and the given commits, prove that merge."""
    record, top = (yield from recorded(context.slug, context.top)), context.top
    if not record.result or not (yield from is_ancestor(record.result, context.before, top)):
        return (yield from holds(context.before, (*record.heads, *commits), top))
    if record.before:
        files = yield from changed(record.before, record.result, top)
        work = {name for name in files if not name.startswith(f"{context.folder}/")}
        if work and not work & (yield from changed(record.before, context.before, top)):
            return False  # reverted since
    later = yield from left_out(commits, record.heads, top)
    return not later or (yield from holds(context.before, later, top))


def _is_whole(context: MergeContext, lanes: dict[str, str | None]) -> bool:
    """Return whether every work package in ``done`` has its branch."""
    done = [wp.wp_id for wp in context.mission.work_packages if wp.lane == Lane.DONE]
    wanted = [branch for wp in done if (branch := context.branch_of(wp))]
    return all(branch in lanes for branch in wanted)


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


def _add_canceled(context: MergeContext) -> Steps[None]:
    """Make missing branches of canceled work packages, at the target: hosts require every lane."""
    if not context.contract.supports(Feature.LANES):
        return
    there = yield from context.branches()
    wanted: dict[str, bool] = {}  # branch: whether all its work packages are canceled
    for wp in context.mission.work_packages:
        if branch := context.branch_of(wp.wp_id):
            wanted[branch] = wanted.get(branch, True) and wp.lane == Lane.CANCELED
    if not any(branch in there for branch in wanted):
        return  # every branch is missing: the host reports it
    for branch, canceled in wanted.items():
        if canceled and branch not in there:
            args = ("branch", "--no-track", "--end-of-options", branch, context.before)
            yield from git(*args, folder=context.top)


def _compare(
    context: MergeContext, work: dict[str, Work], commits: tuple[str, ...]
) -> Steps[Merged]:
    """Check that the target has its old commits, all work of the lanes, and nothing else."""
    after = yield from commit_of(ref_of(context.target), context.top)
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
        what = "lacks changes that are in the branches of the mission"
        raise MergeDamaged(target, before, what, tuple(sorted(missing)))
    _refuse_unproven(context, work)
    heads = tuple(lane.head for lane in work.values())
    later = yield from left_out(commits, heads, context.top)
    if lost := (yield from unproven(after, later, context.top)):
        raise MergeDamaged(target, before, "did not bring the commits", lost)
    yield from _refresh(context, after, new)
    yield from record_result(context.slug, before, after, context.top)
    yield from tidy(context.integration)
    return context.merged(after, changed=after != before)


def _missing(
    work: dict[str, Work], new: set[str], after: str, context: MergeContext
) -> Steps[set[str]]:
    """Return the files of the lanes that the target does not have as the lanes left them.

    A file counts as merged with others, and is not compared, if the target or another lane has
    changed it as well and the merge has changed it too.
    """
    found: set[str] = set()
    for name, lane in work.items():
        others = yield from changed(lane.base, context.before, context.top)
        for other, theirs in work.items():
            shared = lane.files & theirs.files if other != name else set[str]()
            if shared and not (yield from is_ancestor(theirs.head, lane.head, context.top)):
                others |= shared
        strict = lane.files - (new & others)
        if files := {f for f in strict if not _is_hosts(f, context.folder)}:
            found |= yield from _differing(files, lane, after, context)
    return found


def _differing(files: set[str], lane: Work, after: str, context: MergeContext) -> Steps[set[str]]:
    """Return the files that the target has neither as the lane left them nor as git merges them."""
    differ = files & (yield from changed(lane.head, after, context.top))
    tree = (yield from merged_tree(context.before, lane.head, context.top)) if differ else None
    return differ & (yield from changed(tree, after, context.top)) if tree else differ


def _is_hosts(path: str, folder: str) -> bool:
    """Return whether the host writes this file of the mission, so that branches differ in it."""
    inside = path.removeprefix(f"{folder}/")
    return inside != path and (inside in _HOST_FILES or inside.startswith("tasks/"))


def _refuse_unproven(context: MergeContext, work: dict[str, Work]) -> None:
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
    path = (yield from branches(context.top, context.target)).get(context.target)
    if path is None:
        return
    listed = yield from git("diff", "--cached", "--name-only", "-z", "HEAD", folder=path)
    if not new & set(listed.split("\0")):
        return
    try:
        yield from git("read-tree", "-m", "-u", context.before, after, folder=path)
    except GitFailed as e:
        msg = (
            f"The mission is merged into {context.target}, but the checkout {path} is not "
            "up to date: a commit there would revert the merge. Save your changes elsewhere, then "
            f"run `git reset --hard` there. {e}"
        )
        raise GitFailed(msg) from e
