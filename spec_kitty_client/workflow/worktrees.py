"""Where a work package is worked on, on hosts that leave it to their clients to know.

Up to 3.2.1 ``start-implementation`` names a folder and makes nothing. The merge then takes: up to
3.0.3 the branch ``<slug>-<WP>`` and a worktree of that name; from 3.1.0 on the execution lanes of
the mission's ``lanes.json``, which finalising its tasks has committed.

Planning work has no lane branch on any host. Up to 3.2.7 it gets a branch and a worktree of its
own here, in the folder where hosts from 3.2.2 on look for it: left to themselves, those check the
branch ``main`` out there and merge the dependencies into it.
"""

from typing import TypeVar

from attrs import evolve, frozen

from spec_kitty_client._engine.core import Steps
from spec_kitty_client.api.replies import Workspace
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.errors import GitFailed, WouldLoseWork
from spec_kitty_client.workflow.git import branches, commit_of, git, is_ancestor, merge_into
from spec_kitty_client.workflow.layout import PLANNING_LANE, primary_branch, read_files

__all__ = [
    "Place",
    "branches_of",
    "ensure",
    "folder_of",
    "forget",
    "place",
    "planning_branch",
    "workspace",
]


W = TypeVar("W", bound=Workspace)


@frozen(kw_only=True)
class Place:
    """The branch of a work package, and what it stands on."""

    root: str
    """The primary checkout."""
    branch: str
    base: str
    """The branch that it starts from."""
    target: str
    """The branch that holds the mission's folder, and that its work is compared with."""
    lane: str | None = None
    needs: tuple[str, ...] = ()
    """The branches whose work it needs, if they are there."""

    @property
    def path(self) -> str:
        """The worktree."""
        return f"{self.root}/.worktrees/{self.branch.removeprefix('kitty/mission-')}"


def folder_of(slug: str) -> str:
    """Return the folder of a mission, from the root of the repository."""
    return f"kitty-specs/{slug}"


def planning_branch(slug: str) -> str:
    """Return the branch on which planning work is kept until the mission is merged."""
    return f"kitty/mission-{slug}-{PLANNING_LANE}"


def place(
    contract: Contract, slug: str, wp: str, top: str, dependencies: tuple[str, ...] = ()
) -> Steps[Place]:
    """Return where merge will look for the work of a work package.

    Args:
        contract: What the host speaks.
        slug: The mission.
        wp: The work package.
        top: The primary checkout.
        dependencies: The work packages whose work it needs (up to 3.0.3).

    Raises:
        GitFailed: If the mission's files do not tell.
        WouldLoseWork: If this host takes planning work from the primary checkout alone.
    """
    files = yield from read_files(slug, top)
    planned = files.meta.get("target_branch") or (yield from primary_branch(top))
    target = str(planned)
    if not contract.supports(Feature.LANES):
        needs = tuple(f"{slug}-{name}" for name in dependencies)
        return Place(root=top, branch=f"{slug}-{wp}", base=target, target=target, needs=needs)
    package = files.package(wp, contract)
    mission = files.lanes.get("mission_branch")
    if package.lane is None or not isinstance(mission, str):
        msg = (
            f"{folder_of(slug)}/lanes.json names no lane for {wp}. Finalise the mission's tasks "
            "and commit it."
        )
        raise GitFailed(msg)
    if package.planning and contract.supports(Feature.PLANNING_IN_CHECKOUT):
        raise _left_to_people(wp, top)
    # Dependencies descend from the coordination branch, if there is one, and merge only with that.
    on_target = package.planning and not files.meta.get("coordination_branch")
    return Place(
        root=top,
        branch=f"{mission}-{package.lane}",
        base=target if on_target else mission,
        target=target,
        lane=package.lane,
        needs=tuple(f"{mission}-{other}" for other in package.lane_needs),
    )


def _left_to_people(wp: str, top: str) -> WouldLoseWork:
    msg = (
        f"{wp} is planning work, which this host wants committed in the primary checkout {top}, "
        "where other people's changes would be committed with it. Do it by hand."
    )
    return WouldLoseWork(msg, (top,))


def workspace(there: W, at: Place) -> W:
    """Return what the host said about a workspace, corrected."""
    return evolve(
        there,
        workspace_path=at.path,
        lane_id=at.lane,
        lane_branch=at.branch,
        lane_base_ref=at.target,
    )


def ensure(at: Place) -> Steps[bool]:
    """Make the branch and its worktree, unless they are there, with the work that it needs.

    Returns:
        Whether the branch was made.

    Raises:
        GitFailed: If git refuses, or what it needs does not merge.
    """
    there = yield from branches(at.root, at.branch, at.base, *at.needs)
    if at.base not in there and at.base != at.target:
        yield from git("branch", at.base, at.target, folder=at.root)
    where = there.get(at.branch)
    if where not in (None, at.path):
        msg = f"{at.branch} is checked out in {where}; it has to be in {at.path}"
        raise GitFailed(msg)
    if where is None:  # a folder that is gone, and that git remembers, takes force
        new = ("--force",) if at.branch in there else ("-b", at.branch)
        what = at.branch if at.branch in there else at.base
        yield from git("worktree", "add", "--quiet", *new, at.path, what, folder=at.root)
    for branch in at.needs:
        if branch in there and not (yield from is_ancestor(branch, "HEAD", at.path)):
            yield from merge_into(at.path, branch)
    return at.branch not in there


def forget(at: Place) -> Steps[None]:
    """Take back a worktree and a branch that `ensure` has just made, unless they hold work."""
    commit = yield from commit_of(at.branch, at.root)
    if commit is None or commit != (yield from commit_of(at.base, at.root)):
        return
    yield from git("worktree", "remove", at.path, folder=at.root)
    yield from git("update-ref", "-d", f"refs/heads/{at.branch}", commit, folder=at.root)


def branches_of(
    contract: Contract, slug: str, wps: tuple[str, ...], folder: str
) -> Steps[dict[str, str | None]]:
    """Return the branches that hold a mission's work, each with its worktree if it has one."""
    if contract.supports(Feature.LANES):
        mission = f"kitty/mission-{slug}"
        return (yield from branches(folder, mission, f"{mission}-lane-*"))
    return (yield from branches(folder, *(f"{slug}-{wp}" for wp in wps)))
