"""Merge a mission without losing anything.

What hosts do: they throw away what is uncommitted in the worktrees of the lanes (3.1.0 and
later), reset the mission's folder, and with it the acceptance (3.2.7), do it all and then
refuse where the checkout of the target has changes (3.2.0 and later), leave the index of the
target's checkout where it was, so that the next commit would take the merge back (3.1.x),
call a second merge a failure (3.1.0 and later), a squash that nothing was committed of a
success (1.0.x), take back by a squash what the target has newer (3.2.0 and later), and leave
planning work out (3.1.0 and later). So: look into every worktree first, commit the mission's
folder, compare the target before and after, and prove a merge that is said to have been made.
"""

import re

from attrs import evolve, frozen

from spec_kitty_client._engine.core import Negotiate, Steps
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import MergeMission, MergeStrategy
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import (
    GitFailed,
    HostError,
    MergeDamaged,
    UnsupportedByHost,
    WouldLoseWork,
)
from spec_kitty_client.values import Value
from spec_kitty_client.workflow.evidence import (
    holds,
    left_out,
    record_lanes,
    record_result,
    recorded,
)
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
    removed,
    root,
)
from spec_kitty_client.workflow.integration import Integration, conflicts, prepare, tidy
from spec_kitty_client.workflow.layout import MissionLayout, layout_of, read_files
from spec_kitty_client.workflow.steps import state
from spec_kitty_client.workflow.worktrees import branches_of, folder_of

__all__ = ["Merged", "merge"]

_KEEP_BRANCHES = (Dialect.F1, Dialect.F2)
_HOST_STATE = (".kittify/sync-state.json",)
"""Files of the host alone, which it writes while it works (3.2.7), tracked or not."""

_HOST_FILES = frozenset(
    {"meta.json", "lanes.json", "tasks.md", "status.json", "status.events.jsonl"}
)
"""Files in a mission's folder that the host writes; all others there may be somebody's work."""


@frozen(kw_only=True)
class Merged(Value):
    """What came of a merge."""

    target: str
    """The branch."""
    before: str
    """The commit at which it was."""
    after: str
    """The commit at which it is."""
    changed: bool
    """False when the mission had been merged already."""


@frozen(kw_only=True)
class _MergeContext:
    """A mission before its merge."""

    contract: Contract
    top: str
    mission: replies.Mission
    layout: MissionLayout
    target: str
    before: str

    @property
    def slug(self) -> str:
        """The mission's name."""
        return self.mission.mission_slug

    @property
    def folder(self) -> str:
        """The mission's folder, from the root of the repository."""
        return folder_of(self.slug)

    @property
    def integration(self) -> Integration:
        """The branches that take part in the merge."""
        return Integration(
            top=self.top,
            slug=self.slug,
            target=self.target,
            coordination=self.layout.coordination_branch,
        )

    def branches(self) -> Steps[dict[str, str | None]]:
        """Return the branches that hold its work, each with its worktree."""
        wps = tuple(wp.wp_id for wp in self.mission.work_packages)
        return (yield from branches_of(self.contract, self.slug, wps, self.top))

    def lanes(self) -> Steps[dict[str, str | None]]:
        """Return those of the branches that a merge removes: all but the mission's own."""
        found = yield from self.branches()
        return {name: path for name, path in found.items() if name != self.integration.mission}

    def merged(self, after: str, *, changed: bool) -> Merged:
        """Return the result."""
        return Merged(target=self.target, before=self.before, after=after, changed=changed)


def merge(call: MergeMission, commits: tuple[str, ...] = ()) -> Steps[Merged]:
    """Merge a mission into its target branch, with every check that the hosts leave out.

    Args:
        call: The call; without a target, the one that the host would take is named in it.
        commits: The commits that were handed in, as far as the caller knows them. Each has to be
            on a branch that is merged; where the branches are gone, they are the proof that it
            has been done.
    """
    contract: Contract = yield Negotiate()
    context = yield from _look(call, contract)
    call = evolve(call, target=context.target)
    if (yield from _is_merged(context, commits)):
        if call.push:
            msg = f"It is merged already. Push that: git push origin {context.target}"
            raise GitFailed(msg)
        return context.merged(context.before, changed=False)
    _refuse_strategy(call, contract)
    yield from _forget_removed(context)
    yield from _refuse_dirty((yield from context.branches()))
    yield from _refuse_dirty_target(context)
    yield from _refuse_left_out(context, commits)
    yield from _refuse_taking_back(context, call)
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
        e.add_note(f"The target {context.target} was at {context.before}.")
        yield from _tell_missing(e, context)
        # Hosts remove the lanes last: where they are gone now, only the answer was lost.
        if not lanes or (yield from context.lanes()) or contract.dialect in _KEEP_BRANCHES:
            raise
    return (yield from _compare(context, work))


def _tell_missing(error: HostError, context: _MergeContext) -> Steps[None]:
    """Say what to do about the branches that a host names, and that are not there.

    From 3.1.0 on it takes every lane or none, and removes them all at the end. Whether a branch
    that is gone has been merged before is not to be seen, so it is not made again here.
    """
    name = rf"kitty/mission-{re.escape(context.slug)}-lane-\w+"
    for branch in dict.fromkeys(re.findall(name, str(error.failure.data.get("errors")))):
        if (yield from commit_of(branch, context.top)) is None:
            error.add_note(
                f"There is no branch {branch}. If its work was merged before, run "
                f"`git branch {branch} {context.target}` and merge again."
            )


def _message(context: _MergeContext) -> str:
    return f"chore({context.slug}): record status"


def _look(call: MergeMission, contract: Contract) -> Steps[_MergeContext]:
    mission = yield from state(call.mission)
    top = yield from root()
    files = yield from read_files(mission.mission_slug, top)
    layout = yield from layout_of(contract, files, tuple(mission.lanes()), top)
    target = call.target or layout.target
    before = yield from commit_of(f"refs/heads/{target}", top)
    if before is None:
        told = "" if call.target else f", which the mission names as its {layout.target_source}"
        msg = f"there is no branch {target!r} in {top} to merge into{told}"
        raise GitFailed(msg)
    return _MergeContext(
        contract=contract, top=top, mission=mission, layout=layout, target=target, before=before
    )


def _is_merged(context: _MergeContext, commits: tuple[str, ...]) -> Steps[bool]:
    """Tell whether it is proven that nothing is left to merge."""
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


def _is_whole(context: _MergeContext, lanes: dict[str, str | None]) -> bool:
    """Return whether all work packages that are done have a branch of theirs."""
    done = [wp.wp_id for wp in context.mission.work_packages if wp.lane == Lane.DONE]
    if context.contract.dialect in _KEEP_BRANCHES:
        return all(f"{context.slug}-{wp}" in lanes for wp in done)
    packages = (context.layout.packages[wp] for wp in done)
    mission = context.integration.mission
    return all(f"{mission}-{p.lane}" in lanes for p in packages if not p.planning)


def _refuse_strategy(call: MergeMission, contract: Contract) -> None:
    """Refuse what fails half-way, or cannot work."""
    if contract.dialect is Dialect.F1 and call.strategy == MergeStrategy.SQUASH:
        what = "squash that commits what it has merged; use merge, or a host that has"
        raise UnsupportedByHost(what, since="2.1.0", release=str(contract.release))
    if contract.dialect in _KEEP_BRANCHES and call.strategy == MergeStrategy.REBASE:
        what = "rebase of branches that are checked out in worktrees; use merge, or a host that has"
        raise UnsupportedByHost(what, since="3.2.0", release=str(contract.release))


def _forget_removed(context: _MergeContext) -> Steps[None]:
    """Have git forget the mission's worktrees that somebody removed, or no branch can go."""
    own = f"{context.top}/.worktrees/{context.slug}-"
    for path in (yield from removed(context.top)):
        if path.startswith(own):
            yield from git("worktree", "remove", path, folder=context.top)


def _refuse_dirty(lanes: dict[str, str | None]) -> Steps[None]:
    found: list[str] = []
    for path in lanes.values():
        if path is not None:
            found += [f"{path}/{name}" for name in (yield from dirty(path))]
    if found:
        msg = (
            f"a merge would throw away what is not committed: {', '.join(found[:10])}. Commit it "
            "or remove it."
        )
        raise WouldLoseWork(msg, tuple(found))


def _refuse_dirty_target(context: _MergeContext) -> Steps[None]:
    """Name what a host refuses to advance a branch over, before it has merged everything."""
    if not context.contract.supports(Feature.CLEAN_TARGET):
        return
    path = (yield from branches(context.top, context.target)).get(context.target)
    found = (yield from dirty(path, untracked=False)) if path else ()
    own = (f"{context.folder}/", *_HOST_STATE)
    if others := [name for name in found if not name.startswith(own)]:
        msg = (
            f"{path} has {context.target} checked out, with changes that are not committed: "
            f"{', '.join(others[:10])}. This host does not merge then. Commit or stash them."
        )
        raise WouldLoseWork(msg, tuple(f"{path}/{name}" for name in others))


def _refuse_left_out(context: _MergeContext, commits: tuple[str, ...]) -> Steps[None]:
    if not (yield from context.lanes()):
        return  # the host tells what it misses
    heads = (*(yield from context.branches()), context.before)
    missing = yield from left_out(commits, heads, context.top)
    if missing:
        msg = (
            f"the commit {missing[:12]} was handed in, and no branch that would be merged into "
            f"{context.target} has it. `git branch --all --contains {missing[:12]}` tells where it "
            "is: merge that into the lane's branch."
        )
        raise WouldLoseWork(msg, (missing,))


def _refuse_taking_back(context: _MergeContext, call: MergeMission) -> Steps[None]:
    """Refuse a squash over something newer: hosts then take the lane's side (3.2.0 and later)."""
    if call.strategy != MergeStrategy.SQUASH or not context.contract.supports(Feature.CLEAN_TARGET):
        return
    for lane in (yield from context.lanes()):
        files = yield from conflicts(context.before, lane, context.top, apart=f"{context.folder}/")
        if files:
            msg = (
                f"{context.target} has newer changes than {lane} in "
                f"{', '.join(sorted(files)[:10])}, and a squash by this host would revert them. "
                "Merge the target into the lane's worktree first, or use the strategy merge."
            )
            raise WouldLoseWork(msg, tuple(sorted(files)))


def _commit_records(context: _MergeContext) -> Steps[bool]:
    """Commit what the host has written about the mission, and about itself where it is tracked."""
    path = (yield from branches(context.top, context.target)).get(context.target)
    committed = False
    if path and context.contract.supports(Feature.CLEAN_TARGET):
        found = yield from dirty(path, untracked=False)
        for name in _HOST_STATE:
            if name in found:
                yield from commit_folder(path, name, f"chore({context.slug}): record host state")
                committed = True
    return (yield from commit_folder(context.top, context.folder, _message(context))) or committed


@frozen(kw_only=True)
class _Work:
    """What a branch has changed since it left the target."""

    head: str
    files: set[str]


def _work_of(lanes: dict[str, str | None], context: _MergeContext) -> Steps[dict[str, _Work]]:
    """Return the work of each branch."""
    found: dict[str, _Work] = {}
    for lane in lanes:
        base = yield from fork_point(context.before, lane, context.top)
        head = yield from commit_of(lane, context.top)
        found[lane] = _Work(head=str(head), files=(yield from changed(base, lane, context.top)))
    return found


def _compare(context: _MergeContext, work: dict[str, _Work]) -> Steps[Merged]:
    """See that the target has what it had, and what the lanes had, and nothing else."""
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
    work: dict[str, _Work], new: set[str], after: str, context: _MergeContext
) -> Steps[set[str]]:
    """Return the files of the lanes that differ in the target after the merge."""
    found: set[str] = set()
    for lane in work.values():
        if files := {f for f in lane.files - new if not _is_hosts(f, context.folder)}:
            found |= files & (yield from changed(lane.head, after, context.top))
    return found


def _is_hosts(path: str, folder: str) -> bool:
    """Return whether a file of the mission is written by the host, and differs between branches."""
    inside = path.removeprefix(f"{folder}/")
    return inside != path and (inside in _HOST_FILES or inside.startswith("tasks/"))


def _refuse_unproven(context: _MergeContext, work: dict[str, _Work]) -> None:
    """Tell of work packages without a branch: hosts up to 3.0.3 pass over them in silence."""
    if context.contract.dialect not in _KEEP_BRANCHES:
        return
    worked = [wp.wp_id for wp in context.mission.work_packages if wp.lane != Lane.CANCELED]
    if gone := tuple(wp for wp in worked if f"{context.slug}-{wp}" not in work):
        raise MergeDamaged(context.target, context.before, "left out work without a branch", gone)


def _refresh(context: _MergeContext, after: str, new: set[str]) -> Steps[None]:
    """Bring a stale checkout of the target up to date (3.1.x), keeping what is the user's.

    Raises:
        GitFailed: If local changes stand in the way.
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
