"""Where a work package is worked on, on hosts that leave it to their clients to know.

Up to 3.2.1 ``start-implementation`` names a folder and makes nothing. What merge then takes:
up to 3.0.3 the branch ``<slug>-<WP>`` and a worktree of that name; from 3.1.0 on the execution
lanes of the mission's ``lanes.json``, which finalising its tasks has committed.
"""

import json
from typing import Any

from attrs import evolve, frozen

from spec_kitty_client.contract import Contract
from spec_kitty_client.core import Steps
from spec_kitty_client.dialects import Feature
from spec_kitty_client.errors import GitFailed, WouldLoseWork
from spec_kitty_client.replies import Workspace
from spec_kitty_client.repository import (
    branches,
    checked_out,
    git,
    is_ancestor,
    merge_into,
    root,
    show,
)

__all__ = ["Place", "branches_of", "ensure", "folder_of", "place", "target_of", "workspace"]

_PLANNING = "lane-planning"


@frozen(kw_only=True)
class Place:
    """The branch of a work package, and what it stands on."""

    root: str
    """The primary checkout."""
    branch: str
    base: str
    """The branch that it starts from."""
    target: str
    """The branch that the mission is merged into."""
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


def target_of(slug: str, folder: str) -> Steps[str]:
    """Return the branch that a mission is merged into, as its own files name it."""
    for name in ("lanes.json", "meta.json"):
        facts = yield from _facts(f"{folder_of(slug)}/{name}", folder)
        if isinstance(facts.get("target_branch"), str) and facts["target_branch"]:
            return str(facts["target_branch"])
    return (yield from checked_out(folder)) or "main"


def _facts(path: str, folder: str) -> Steps[dict[str, Any]]:
    text = yield from show(path, folder)
    try:
        facts = json.loads(text or "{}")
    except (ValueError, RecursionError) as e:
        msg = f"{path} is damaged: {e}. Restore it from git."
        raise GitFailed(msg) from e
    return facts if isinstance(facts, dict) else {}


def place(
    contract: Contract, slug: str, wp: str, dependencies: tuple[str, ...] = ()
) -> Steps[Place]:
    """Return where merge will look for the work of a work package."""
    top = yield from root()
    target = yield from target_of(slug, top)
    if not contract.supports(Feature.LANES):
        needs = tuple(f"{slug}-{name}" for name in dependencies)
        return Place(root=top, branch=f"{slug}-{wp}", base=target, target=target, needs=needs)
    path = f"{folder_of(slug)}/lanes.json"
    facts = yield from _facts(path, top)
    try:
        lane = next(lane for lane in facts["lanes"] if wp in lane["wp_ids"])
        mission = str(facts["mission_branch"])
        name, others = str(lane["lane_id"]), [str(n) for n in lane["depends_on_lanes"]]
    except (LookupError, TypeError, StopIteration) as e:
        msg = f"{path} names no lane for {wp}. Finalise the mission's tasks and commit it."
        raise GitFailed(msg) from e
    if name == _PLANNING:
        msg = (
            f"{wp} is planning work, which this host wants done in the primary checkout {top}, "
            "where other people's changes would be committed with it. Do it by hand."
        )
        raise WouldLoseWork(msg, (top,))
    needs = tuple(f"{mission}-{other}" for other in others if other != _PLANNING)
    return Place(
        root=top, branch=f"{mission}-{name}", base=mission, target=target, lane=name, needs=needs
    )


def workspace(there: Workspace, at: Place) -> Workspace:
    """Return what the host said about a workspace, corrected."""
    return evolve(
        there,
        workspace_path=at.path,
        lane_id=at.lane,
        lane_branch=at.branch,
        lane_base_ref=at.target,
    )


def ensure(at: Place) -> Steps[None]:
    """Make the branch and its worktree, unless they are there, with the work that it needs.

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


def branches_of(
    contract: Contract, slug: str, wps: tuple[str, ...], folder: str
) -> Steps[dict[str, str | None]]:
    """Return the branches that hold a mission's work, each with its worktree if it has one."""
    if contract.supports(Feature.LANES):
        mission = f"kitty/mission-{slug}"
        return (yield from branches(folder, mission, f"{mission}-lane-*"))
    return (yield from branches(folder, *(f"{slug}-{wp}" for wp in wps)))
