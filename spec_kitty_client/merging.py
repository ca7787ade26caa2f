"""Merge a mission without losing anything.

What hosts do: they throw away what is uncommitted in the worktrees of the lanes (3.1.0 and
later), reset the mission's folder, and with it the acceptance (3.2.7), do it all and then
refuse where the checkout of the target has changes (3.2.0 and later), leave the index of the
target's checkout where it was, so that the next commit would take the merge back (3.1.x),
call a second merge a failure (3.1.0 and later), and a squash that nothing was committed of a
success (1.0.x). So: look into every worktree first, commit the mission's folder, compare the
target before and after, and recognise a merge that has been made.
"""

import re

from attrs import frozen

from spec_kitty_client import replies
from spec_kitty_client.commands import MergeMission, MergeStrategy
from spec_kitty_client.contract import Contract
from spec_kitty_client.core import Negotiate, Steps
from spec_kitty_client.dialects import Dialect, Feature
from spec_kitty_client.errors import (
    GitFailed,
    HostError,
    MergeDamaged,
    UnsupportedByHost,
    WouldLoseWork,
)
from spec_kitty_client.lanes import Lane
from spec_kitty_client.repository import (
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
from spec_kitty_client.workflow import state
from spec_kitty_client.worktrees import branches_of, folder_of, target_of

__all__ = ["Merged", "merge"]


@frozen(kw_only=True)
class Merged:
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
    target: str
    before: str

    @property
    def folder(self) -> str:
        """The mission's folder, from the root of the repository."""
        return folder_of(self.mission.mission_slug)

    def lanes(self) -> Steps[dict[str, str | None]]:
        """Return the branches that hold its work, each with its worktree."""
        wps = tuple(wp.wp_id for wp in self.mission.work_packages)
        slug = self.mission.mission_slug
        return (yield from branches_of(self.contract, slug, wps, self.top))

    def merged(self, after: str, *, changed: bool) -> Merged:
        """Return the result."""
        return Merged(target=self.target, before=self.before, after=after, changed=changed)


def merge(call: MergeMission) -> Steps[Merged]:
    """Merge a mission into its target branch, with every check that the hosts leave out."""
    contract: Contract = yield Negotiate()
    scene = yield from _look(call, contract)
    lanes = yield from scene.lanes()
    if (yield from _is_merged(scene, lanes)):
        if call.push:
            msg = f"It is merged already. Push that: git push origin {scene.target}"
            raise GitFailed(msg)
        return scene.merged(scene.before, changed=False)
    _refuse_strategy(call, contract)
    yield from _forget_removed(scene)
    yield from _refuse_dirty(lanes)
    yield from _refuse_dirty_target(scene)
    if (yield from commit_folder(scene.top, scene.folder, _message(scene))):
        scene = yield from _look(call, contract)
    work = yield from _work_of(lanes, scene)
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
    name = rf"kitty/mission-{re.escape(scene.mission.mission_slug)}-lane-\w+"
    for branch in dict.fromkeys(re.findall(name, str(error.failure.data.get("errors")))):
        if (yield from commit_of(branch, scene.top)) is None:
            error.add_note(
                f"There is no branch {branch}. If its work was merged before, run "
                f"`git branch {branch} {scene.target}` and merge again."
            )


_KEEP_BRANCHES = (Dialect.F1, Dialect.F2)


def _message(scene: _Scene) -> str:
    return f"chore({scene.mission.mission_slug}): record status"


def _look(call: MergeMission, contract: Contract) -> Steps[_Scene]:
    mission = yield from state(call.mission)
    top = yield from root()
    target = call.target or (yield from target_of(mission.mission_slug, top))
    before = yield from commit_of(target, top)
    if before is None:
        msg = f"there is no branch {target!r} in {top} to merge into"
        raise GitFailed(msg)
    return _Scene(contract=contract, top=top, mission=mission, target=target, before=before)


def _is_merged(scene: _Scene, lanes: dict[str, str | None]) -> Steps[bool]:
    """Tell whether there is nothing left to merge: no lane, or nothing new in any."""
    if not all(wp.lane in (Lane.DONE, Lane.CANCELED) for wp in scene.mission.work_packages):
        return False
    if scene.contract.dialect not in _KEEP_BRANCHES:
        return not lanes
    work = yield from _work_of(lanes, scene)
    return not (yield from _missing(scene, work, scene.before))


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
    own = f"{scene.top}/.worktrees/{scene.mission.mission_slug}-"
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
    if others := [name for name in found if not name.startswith(f"{scene.folder}/")]:
        msg = (
            f"{path} has {scene.target} checked out, with changes that are not committed: "
            f"{', '.join(others[:10])}. This host does not merge then. Commit or stash them."
        )
        raise WouldLoseWork(msg, tuple(f"{path}/{name}" for name in others))


def _work_of(lanes: dict[str, str | None], scene: _Scene) -> Steps[dict[str, set[str]]]:
    """Return the files that each lane has changed since it left the target, by its commit."""
    found: dict[str, set[str]] = {}
    for lane in lanes:
        base = yield from fork_point(scene.before, lane, scene.top)
        head = yield from commit_of(lane, scene.top)
        found[str(head)] = yield from changed(base, lane, scene.top)
    return found


def _compare(scene: _Scene, work: dict[str, set[str]]) -> Steps[Merged]:
    """See that the target has what it had, and what the lanes had, and nothing else."""
    after = yield from commit_of(scene.target, scene.top)
    target, before = scene.target, scene.before
    if after is None or not (yield from is_ancestor(before, after, scene.top)):
        raise MergeDamaged(target, before, "took commits away from it")
    new = yield from changed(before, after, scene.top)
    theirs = {f for files in work.values() for f in files}
    strange = {f for f in new - theirs if not f.startswith(f"{scene.folder}/")}
    if strange:
        what = "changed files that no work package touched"
        raise MergeDamaged(target, before, what, tuple(sorted(strange)))
    rest = {head: files - new for head, files in work.items()}
    if missing := (yield from _missing(scene, rest, after)):
        what = "did not bring what is in the branches of the mission"
        raise MergeDamaged(target, before, what, tuple(sorted(missing)))
    yield from _refresh(scene, after, new)
    return scene.merged(after, changed=after != before)


def _missing(scene: _Scene, work: dict[str, set[str]], commit: str) -> Steps[set[str]]:
    """Return the files that are not in a commit as the lanes have them."""
    found: set[str] = set()
    for head, files in work.items():
        if files:
            found |= files & (yield from changed(head, commit, scene.top))
    return found


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
