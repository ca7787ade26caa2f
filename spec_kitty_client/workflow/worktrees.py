"""Make the worktrees of work packages, on hosts that do not make them.

Up to 3.2.1 ``start-implementation`` names a folder and makes nothing. The host's merge then takes
the branch ``<slug>-<WP>`` from a worktree of that name (up to 3.0.3), or the execution lanes in
the mission's ``lanes.json``, which the finalised tasks contain (3.1.0 and later).

Planning work has no lane branch on any host. For hosts up to 3.2.7 the SDK makes a branch and a
worktree for it, in the folder where hosts from 3.2.2 on look for one. Without it, those hosts
check out ``main`` in that folder and merge the dependencies into ``main``.
"""

from typing import TypeVar

from attrs import evolve, frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.api.replies import Workspace
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.errors import GitFailed, WouldLoseWork
from spec_kitty_client.workflow.git import (
    branches,
    commit_of,
    git,
    is_ancestor,
    merge_into,
    ref_of,
)
from spec_kitty_client.workflow.layout import PLANNING_LANE, primary_branch, read_files

__all__ = [
    "LaneWorktree",
    "branches_of",
    "ensure_worktree",
    "folder_of",
    "locate_worktree",
    "planning_branch",
    "remove_new_worktree",
    "with_worktree",
]


W = TypeVar("W", bound=Workspace)


@frozen(kw_only=True)
class LaneWorktree:
    """The branch and worktree of a work package, and the branches it builds on."""

    root: str
    """The primary checkout."""
    branch: str
    base: str
    """The branch at which it starts."""
    target: str
    """The branch with the mission's folder; changes are compared with it."""
    lane: str | None = None
    needs: tuple[str, ...] = ()
    """The branches whose work it needs, as far as they exist."""

    @property
    def path(self) -> str:
        """The path of the worktree."""
        return f"{self.root}/.worktrees/{self.branch.removeprefix('kitty/mission-')}"


def folder_of(slug: str) -> str:
    """Return the folder of a mission, relative to the root of the repository."""
    return f"kitty-specs/{slug}"


def planning_branch(slug: str) -> str:
    """Return the branch for planning work until the mission is merged."""
    return f"kitty/mission-{slug}-{PLANNING_LANE}"


def locate_worktree(
    contract: Contract, slug: str, wp: str, top: str, dependencies: tuple[str, ...] = ()
) -> Steps[LaneWorktree]:
    """Return the worktree in which a merge looks for the work of a work package.

    Args:
        contract: The host's contract.
        slug: Slug of the mission.
        wp: Id of the work package.
        top: Path of the primary checkout.
        dependencies: Ids of the work packages whose work it needs (up to 3.0.3).

    Raises:
        GitFailed: If the mission's files name no lane for the work package.
        WouldLoseWork: If the work package is planning work, and this host takes that only from
            the primary checkout (4.0.0rc5 and later).
    """
    files = yield from read_files(slug, top)
    planned = files.meta.get("target_branch")
    named = isinstance(planned, str) and planned
    target = str(planned) if named else (yield from primary_branch(top))
    if not contract.supports(Feature.LANES):
        needs = tuple(f"{slug}-{name}" for name in dependencies)
        own = f"{slug}-{wp}"
        return LaneWorktree(root=top, branch=own, base=target, target=target, needs=needs)
    package = files.package(wp, contract)
    mission = files.lanes.get("mission_branch")
    if package.lane is None or not isinstance(mission, str):
        msg = (
            f"{folder_of(slug)}/lanes.json names no lane for {wp}. Run `spec-kitty agent mission "
            f"finalize-tasks --mission {slug}` and commit the file."
        )
        raise GitFailed(msg)
    if package.planning and contract.supports(Feature.PLANNING_IN_CHECKOUT):
        raise _left_to_people(wp, top)
    # Dependencies start from the coordination branch, if there is one, and merge only with it.
    on_target = package.planning and not files.meta.get("coordination_branch")
    return LaneWorktree(
        root=top,
        branch=f"{mission}-{package.lane}",
        base=target if on_target else mission,
        target=target,
        lane=package.lane,
        needs=tuple(f"{mission}-{other}" for other in package.lane_needs),
    )


def _left_to_people(wp: str, top: str) -> WouldLoseWork:
    msg = (
        f"{wp} is planning work. This host accepts it only from the primary checkout {top}, "
        "where changes of other people would be committed with it. Do this work package by hand."
    )
    return WouldLoseWork(msg, (top,))


def with_worktree(there: W, at: LaneWorktree) -> W:
    """Return the host's reply about a workspace, with the real worktree in it."""
    return evolve(
        there,
        workspace_path=at.path,
        lane_id=at.lane,
        lane_branch=at.branch,
        lane_base_ref=at.target,
    )


def ensure_worktree(at: LaneWorktree) -> Steps[bool]:
    """Make the branch and its worktree if they do not exist, and merge its dependencies.

    Returns:
        Whether the branch is new.

    Raises:
        GitFailed: If git refuses, or a dependency has merge conflicts.
    """
    there = yield from branches(at.root, at.branch, at.base, *at.needs)
    if at.base not in there and at.base != at.target:
        args = ("branch", "--no-track", "--end-of-options", at.base, ref_of(at.target))
        yield from git(*args, folder=at.root)
    where = there.get(at.branch)
    if where not in (None, at.path):
        msg = (
            f"{at.branch} is checked out in {where}, but the host looks for it in {at.path}. "
            f"Run `git -C {where} switch --detach` and call again."
        )
        raise GitFailed(msg)
    if where is None:  # --force: git may still know a worktree whose folder is gone
        new = ("--force",) if at.branch in there else ("--no-track", "-b", at.branch)
        what = at.branch if at.branch in there else ref_of(at.base)
        args = ("worktree", "add", "--quiet", *new, "--end-of-options", at.path, what)
        yield from git(*args, folder=at.root)
    for branch in at.needs:
        if branch in there and not (yield from is_ancestor(ref_of(branch), "HEAD", at.path)):
            yield from merge_into(at.path, branch)
    return at.branch not in there


def remove_new_worktree(at: LaneWorktree) -> Steps[None]:
    """Remove the worktree and branch that `ensure_worktree` has just made, if they have no work."""
    commit = yield from commit_of(ref_of(at.branch), at.root)
    if commit is None or commit != (yield from commit_of(ref_of(at.base), at.root)):
        return
    yield from git("worktree", "remove", at.path, folder=at.root)
    yield from git("update-ref", "-d", f"refs/heads/{at.branch}", commit, folder=at.root)


def branches_of(
    contract: Contract, slug: str, wps: tuple[str, ...], folder: str
) -> Steps[dict[str, str | None]]:
    """Return the branches with a mission's work, each with its worktree or None."""
    if contract.supports(Feature.LANES):
        mission = f"kitty/mission-{slug}"
        return (yield from branches(folder, mission, f"{mission}-lane-*"))
    return (yield from branches(folder, *(f"{slug}-{wp}" for wp in wps)))
