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
class _Scene:
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
    scene = yield from _look(call, contract)
    call = evolve(call, target=scene.target)
    if (yield from _is_merged(scene, commits)):
        if call.push:
            msg = f"It is merged already. Push that: git push origin {scene.target}"
            raise GitFailed(msg)
        return scene.merged(scene.before, changed=False)
    _refuse_strategy(call, contract)
    yield from _forget_removed(scene)
    yield from _refuse_dirty((yield from scene.branches()))
    yield from _refuse_dirty_target(scene)
    yield from _refuse_left_out(scene, commits)
    yield from _refuse_taking_back(scene, call)
    if (yield from _commit_records(scene)):
        scene = yield from _look(call, contract)
    yield from prepare(scene.integration)
    work = yield from _work_of((yield from scene.branches()), scene)
    lanes = yield from scene.lanes()
    yield from record_lanes(
        scene.slug, {n: w.head for n, w in work.items() if n in lanes}, scene.top
    )
    try:
        yield call
    except HostError as e:
        e.add_note(f"The target {scene.target} was at {scene.before}.")
        yield from _tell_missing(e, scene)
        # Hosts remove the lanes last: where they are gone now, only the answer was lost.
        if not lanes or (yield from scene.lanes()) or contract.dialect in _KEEP_BRANCHES:
            raise
    return (yield from _compare(scene, work))


def _tell_missing(error: HostError, scene: _Scene) -> Steps[None]:
    """Say what to do about the branches that a host names, and that are not there.

    From 3.1.0 on it takes every lane or none, and removes them all at the end. Whether a branch
    that is gone has been merged before is not to be seen, so it is not made again here.
    """
    name = rf"kitty/mission-{re.escape(scene.slug)}-lane-\w+"
    for branch in dict.fromkeys(re.findall(name, str(error.failure.data.get("errors")))):
        if (yield from commit_of(branch, scene.top)) is None:
            error.add_note(
                f"There is no branch {branch}. If its work was merged before, run "
                f"`git branch {branch} {scene.target}` and merge again."
            )


def _message(scene: _Scene) -> str:
    return f"chore({scene.slug}): record status"


def _look(call: MergeMission, contract: Contract) -> Steps[_Scene]:
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
    return _Scene(
        contract=contract, top=top, mission=mission, layout=layout, target=target, before=before
    )


def _is_merged(scene: _Scene, commits: tuple[str, ...]) -> Steps[bool]:
    """Tell whether it is proven that nothing is left to merge."""
    if not all(wp.lane in (Lane.DONE, Lane.CANCELED) for wp in scene.mission.work_packages):
        return False
    lanes = yield from scene.lanes()
    if lanes:
        heads = tuple(f"refs/heads/{name}" for name in lanes)
        proven = _is_whole(scene, lanes) and (
            yield from holds(scene.before, (*heads, *commits), scene.top)
        )
        return bool(proven)
    result, heads = yield from recorded(scene.slug, scene.top)
    if result and (yield from is_ancestor(result, scene.before, scene.top)):
        return (yield from holds(scene.before, commits, scene.top)) if commits else True
    return (yield from holds(scene.before, (*heads, *commits), scene.top))


def _is_whole(scene: _Scene, lanes: dict[str, str | None]) -> bool:
    """Return whether all work packages that are done have a branch of theirs."""
    done = [wp.wp_id for wp in scene.mission.work_packages if wp.lane == Lane.DONE]
    if scene.contract.dialect in _KEEP_BRANCHES:
        return all(f"{scene.slug}-{wp}" in lanes for wp in done)
    packages = (scene.layout.packages[wp] for wp in done)
    mission = scene.integration.mission
    return all(f"{mission}-{p.lane}" in lanes for p in packages if not p.planning)


def _refuse_strategy(call: MergeMission, contract: Contract) -> None:
    """Refuse what fails half-way, or cannot work."""
    if contract.dialect is Dialect.F1 and call.strategy == MergeStrategy.SQUASH:
        what = "squash that commits what it has merged; use merge, or a host that has"
        raise UnsupportedByHost(what, since="2.1.0", release=str(contract.release))
    if contract.dialect in _KEEP_BRANCHES and call.strategy == MergeStrategy.REBASE:
        what = "rebase of branches that are checked out in worktrees; use merge, or a host that has"
        raise UnsupportedByHost(what, since="3.2.0", release=str(contract.release))


def _forget_removed(scene: _Scene) -> Steps[None]:
    """Have git forget the mission's worktrees that somebody removed, or no branch can go."""
    own = f"{scene.top}/.worktrees/{scene.slug}-"
    for path in (yield from removed(scene.top)):
        if path.startswith(own):
            yield from git("worktree", "remove", path, folder=scene.top)


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


def _refuse_dirty_target(scene: _Scene) -> Steps[None]:
    """Name what a host refuses to advance a branch over, before it has merged everything."""
    if not scene.contract.supports(Feature.CLEAN_TARGET):
        return
    path = (yield from branches(scene.top, scene.target)).get(scene.target)
    found = (yield from dirty(path, untracked=False)) if path else ()
    own = (f"{scene.folder}/", *_HOST_STATE)
    if others := [name for name in found if not name.startswith(own)]:
        msg = (
            f"{path} has {scene.target} checked out, with changes that are not committed: "
            f"{', '.join(others[:10])}. This host does not merge then. Commit or stash them."
        )
        raise WouldLoseWork(msg, tuple(f"{path}/{name}" for name in others))


def _refuse_left_out(scene: _Scene, commits: tuple[str, ...]) -> Steps[None]:
    if not (yield from scene.lanes()):
        return  # the host tells what it misses
    heads = (*(yield from scene.branches()), scene.before)
    missing = yield from left_out(commits, heads, scene.top)
    if missing:
        msg = (
            f"the commit {missing[:12]} was handed in, and no branch that would be merged into "
            f"{scene.target} has it. `git branch --all --contains {missing[:12]}` tells where it "
            "is: merge that into the lane's branch."
        )
        raise WouldLoseWork(msg, (missing,))


def _refuse_taking_back(scene: _Scene, call: MergeMission) -> Steps[None]:
    """Refuse a squash over something newer: hosts then take the lane's side (3.2.0 and later)."""
    if call.strategy != MergeStrategy.SQUASH or not scene.contract.supports(Feature.CLEAN_TARGET):
        return
    for lane in (yield from scene.lanes()):
        files = yield from conflicts(scene.before, lane, scene.top, apart=f"{scene.folder}/")
        if files:
            msg = (
                f"{scene.target} has changes newer than {lane} in {', '.join(sorted(files)[:10])}, "
                "which a squash of this host would take back. Merge the target into the lane's "
                "worktree first, or merge with the strategy merge."
            )
            raise WouldLoseWork(msg, tuple(sorted(files)))


def _commit_records(scene: _Scene) -> Steps[bool]:
    """Commit what the host has written about the mission, and about itself where it is tracked."""
    path = (yield from branches(scene.top, scene.target)).get(scene.target)
    committed = False
    if path and scene.contract.supports(Feature.CLEAN_TARGET):
        found = yield from dirty(path, untracked=False)
        for name in _HOST_STATE:
            if name in found:
                yield from commit_folder(path, name, f"chore({scene.slug}): record host state")
                committed = True
    return (yield from commit_folder(scene.top, scene.folder, _message(scene))) or committed


@frozen(kw_only=True)
class _Work:
    """What a branch has changed since it left the target."""

    head: str
    files: set[str]


def _work_of(lanes: dict[str, str | None], scene: _Scene) -> Steps[dict[str, _Work]]:
    """Return the work of each branch."""
    found: dict[str, _Work] = {}
    for lane in lanes:
        base = yield from fork_point(scene.before, lane, scene.top)
        head = yield from commit_of(lane, scene.top)
        found[lane] = _Work(head=str(head), files=(yield from changed(base, lane, scene.top)))
    return found


def _compare(scene: _Scene, work: dict[str, _Work]) -> Steps[Merged]:
    """See that the target has what it had, and what the lanes had, and nothing else."""
    after = yield from commit_of(f"refs/heads/{scene.target}", scene.top)
    target, before = scene.target, scene.before
    if after is None or not (yield from is_ancestor(before, after, scene.top)):
        raise MergeDamaged(target, before, "took commits away from it")
    new = yield from changed(before, after, scene.top)
    theirs = {f for lane in work.values() for f in lane.files}
    strange = {f for f in new - theirs if not f.startswith(f"{scene.folder}/")}
    if strange:
        what = "changed files that no work package touched"
        raise MergeDamaged(target, before, what, tuple(sorted(strange)))
    if missing := (yield from _missing(work, new, after, scene)):
        what = "did not bring what is in the branches of the mission"
        raise MergeDamaged(target, before, what, tuple(sorted(missing)))
    _refuse_unproven(scene, work)
    yield from _refresh(scene, after, new)
    yield from record_result(scene.slug, after, scene.top)
    yield from tidy(scene.integration)
    return scene.merged(after, changed=after != before)


def _missing(work: dict[str, _Work], new: set[str], after: str, scene: _Scene) -> Steps[set[str]]:
    """Return the files that are not in the target as the lanes have them."""
    found: set[str] = set()
    for lane in work.values():
        if files := {f for f in lane.files - new if not _is_hosts(f, scene.folder)}:
            found |= files & (yield from changed(lane.head, after, scene.top))
    return found


def _is_hosts(path: str, folder: str) -> bool:
    """Return whether a file of the mission is written by the host, and differs between branches."""
    inside = path.removeprefix(f"{folder}/")
    return inside != path and (inside in _HOST_FILES or inside.startswith("tasks/"))


def _refuse_unproven(scene: _Scene, work: dict[str, _Work]) -> None:
    """Tell of work packages without a branch: hosts up to 3.0.3 pass over them in silence."""
    if scene.contract.dialect not in _KEEP_BRANCHES:
        return
    worked = [wp.wp_id for wp in scene.mission.work_packages if wp.lane != Lane.CANCELED]
    if gone := tuple(wp for wp in worked if f"{scene.slug}-{wp}" not in work):
        raise MergeDamaged(scene.target, scene.before, "left out work without a branch", gone)


def _refresh(scene: _Scene, after: str, new: set[str]) -> Steps[None]:
    """Bring a stale checkout of the target up to date (3.1.x), keeping what is the user's.

    Raises:
        GitFailed: If local changes stand in the way.
    """
    if (yield from checked_out(scene.top)) != scene.target:
        return
    listed = yield from git("diff", "--cached", "--name-only", "-z", "HEAD", folder=scene.top)
    if not new & set(listed.split("\0")):
        return
    try:
        yield from git("read-tree", "-m", "-u", scene.before, after, folder=scene.top)
    except GitFailed as e:
        msg = (
            f"The mission is merged into {scene.target}, but its checkout {scene.top} is not up "
            f"to date, and a commit there would take the merge back. Put your changes aside, "
            f"then `git reset --hard`. {e}"
        )
        raise GitFailed(msg) from e
