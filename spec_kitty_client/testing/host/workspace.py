"""The git workspace of a simulated host: the interface, and the one that exists only in memory."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from attrs import frozen

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.testing.host.answers import Refused
from spec_kitty_client.testing.host.board import PLANNING, Mission
from spec_kitty_client.testing.host.files import COUNTED, has_open_box, tasks_md, ticked
from spec_kitty_client.testing.host.releases import Release

__all__ = [
    "InMemoryWorkspace",
    "WorkspaceBackend",
    "branch_of",
    "cannot_allocate",
    "cannot_merge",
    "failed_merge",
    "is_in_checkout",
    "is_passed_over",
    "is_stale",
    "needed",
    "units",
]

_DEFAULT = "main"
"""The branch that hosts up to 4.0.0rc4 use for the planning lane, for every target."""


class WorkspaceBackend(Protocol):
    """The branches, worktrees and files that a simulated host changes."""

    @property
    def root(self) -> str:
        """The primary checkout."""
        ...

    def allocate(self, mission: Mission, wp: str) -> None:
        """Make the worktree of a work package, or check that an existing one is clean.

        Raises:
            Refused: If the host cannot make or use the worktree.
        """
        ...

    def start(self, mission: Mission, wp: str) -> None:
        """Start a work package that has passed the checks of a claim."""
        ...

    def is_worked_on(self, mission: Mission, wp: str) -> bool:
        """Return whether a work package has a commit."""
        ...

    def has_open_subtasks(self, mission: Mission, wp: str) -> bool:
        """Return whether the host counts a subtask of a work package as not done."""
        ...

    def marked(self, mission: Mission, subtasks: Sequence[str], *, done: bool) -> None:
        """Record that subtasks are done, or open again."""
        ...

    def moved(self, mission: Mission) -> None:
        """Record the present lanes of a mission's work packages."""
        ...

    def accepted(self, mission: Mission) -> None:
        """Record that a mission is accepted."""
        ...

    def merge(self, mission: Mission, target: str, strategy: str, *, push: bool) -> list[str]:
        """Merge a mission and return the ids of the merged work packages.

        Raises:
            Refused: If the host refuses the merge.
            Crashed: If the host ends with a traceback.
        """
        ...


def branch_of(release: Release, mission: Mission, wp: str) -> str:
    """Return the branch of a work package; from 3.1.0 on, the branch of its execution lane."""
    if not release.has(Feature.LANES):
        return f"{mission.slug}-{wp}"
    if mission.lanes[wp] == PLANNING:
        return mission.target if is_in_checkout(release, mission, wp) else _DEFAULT
    return f"{mission.branch}-{mission.lanes[wp]}"


def is_in_checkout(release: Release, mission: Mission, wp: str) -> bool:
    """Return whether a work package is worked on in the primary checkout.

    Source: 4.0.0rc7, for planning work packages.
    """
    return release.dialect is Dialect.M5 and mission.lanes[wp] == PLANNING


def units(release: Release, mission: Mission) -> dict[str, str]:
    """Return the branches to merge, in merge order, each with its first work package.

    No host merges the branch of the planning lane.
    """
    found: dict[str, str] = {}
    for wp in mission.packages:
        if not (release.has(Feature.LANES) and mission.lanes[wp] == PLANNING):
            found.setdefault(branch_of(release, mission, wp), wp)
    return found


def needed(release: Release, mission: Mission, wp: str) -> list[str]:
    """Return the branches that the lane of a work package depends on."""
    lane, own = mission.lanes[wp], branch_of(release, mission, wp)
    together = [name for name in mission.packages if mission.lanes[name] == lane]
    needs = [need for name in together for need in mission.packages[name].dependencies]
    branches = dict.fromkeys(branch_of(release, mission, need) for need in needs)
    return [branch for branch in branches if branch != own]


def begin_merge(release: Release, mission: Mission, there: Collection[str]) -> None:
    """Record that a merge has merged at least one lane into the mission's branch.

    The host merges one lane after another and fails at the first missing one. Source: 3.2.7
    under ``coord``, which reports ``mission_type`` from then on.
    """
    first = next(iter(units(release, mission)), None)
    if release.since("3.2.6") and first in there:
        mission.has_lanes = True


def is_stale(release: Release, mission: Mission) -> bool:
    """Return whether a merge refuses the planning lane as stale, which is a bug of the host.

    Source: 3.2.5, when a mission's status is on a coordination branch.
    """
    planned = PLANNING in mission.lanes.values()
    return planned and mission.coordinated and release.dialect is Dialect.M3


def is_passed_over(release: Release, mission: Mission, wp: str) -> bool:
    """Return whether a merge skips a work package without a branch, because it is done.

    Source: 1.0.3 and 2.1.3. Host 3.0.3 merges nothing in this case.
    """
    return not release.since("3.0.0") and mission.packages[wp].lane == Lane.DONE


def cannot_allocate(release: Release, mission: Mission, wp: str, why: str) -> Refused:
    """Return the refusal of a host that cannot make a worktree."""
    # From 3.2.6 on the reason is a field of its own.
    reason = {"reason": why} if release.since("3.2.6") else {}
    code = ErrorCode.LANE_ALLOCATION_FAILED
    return Refused(code, why, {"wp_id": wp, **reason}, mission=mission)


def cannot_merge(release: Release, mission: Mission, target: str, *errors: str) -> Refused:
    """Return the refusal of a host whose checks before a merge failed."""
    details: dict[str, object] = {"errors": list(errors)}
    if release.has(Feature.LANES):
        details |= {"target_branch": target}
    if release.dialect is Dialect.M0:
        details |= {"mission_slug": mission.slug}
    code = ErrorCode.PREFLIGHT_FAILED
    return Refused(code, "Merge failed", details, mission=mission)


def failed_merge(so_far: list[str], wp: str) -> Refused:
    """Return the refusal of hosts up to 3.0.3 when a merge fails half-way."""
    details = {"merged_so_far": so_far, "failed_wp": wp}
    return Refused(ErrorCode.MERGE_FAILED, f"{wp} does not merge", details)


@frozen
class InMemoryWorkspace:
    """A workspace in memory: each started work package has a branch with a commit.

    Every merge succeeds without conflicts.
    """

    release: Release
    root: str = "/simulated"

    def allocate(self, mission: Mission, wp: str) -> None:
        """Record a branch. There is a branch ``main``, over which hosts 3.2.2 to 3.2.5 fail."""
        release, planned = self.release, mission.lanes[wp] == PLANNING
        if planned and release.dialect is Dialect.M3:
            why = f"a branch named {_DEFAULT!r} already exists"
            raise cannot_allocate(release, mission, wp, why)
        branch = branch_of(release, mission, wp)
        mission.branches.add(branch)
        brought = mission.unmerged.intersection(needed(release, mission, wp))
        planned_beside = mission.coordinated and release.since("3.2.6") and not mission.has_lanes
        if brought or planned_beside:
            mission.unmerged.add(branch)  # a merge into the lane makes a commit as well

    def start(self, mission: Mission, wp: str) -> None:
        """Record a branch, which the client makes on older hosts, and a commit."""
        self.allocate(mission, wp)
        mission.unmerged.add(branch_of(self.release, mission, wp))

    def is_worked_on(self, mission: Mission, wp: str) -> bool:
        """Return whether the work package was started."""
        return branch_of(self.release, mission, wp) in mission.unmerged & mission.branches

    def has_open_subtasks(self, mission: Mission, wp: str) -> bool:
        """Read the board, or up to 3.2.5 the boxes that ``tasks.md`` would have."""
        package = mission.packages[wp]
        if self.release.since(COUNTED):
            return not all(package.subtasks.values())
        text = tasks_md(self.release, mission)
        for subtask, done in package.subtasks.items():
            text = ticked(text, subtask, done=done)
        return has_open_box(self.release, text, wp)

    def marked(self, mission: Mission, subtasks: Sequence[str], *, done: bool) -> None:
        """Do nothing: the board has it already."""

    def moved(self, mission: Mission) -> None:
        """Do nothing: the board has it already."""

    def accepted(self, mission: Mission) -> None:
        """Do nothing."""

    def merge(self, mission: Mission, target: str, strategy: str, *, push: bool) -> list[str]:
        """See `WorkspaceBackend.merge`."""
        self._look(mission, target)
        if self.release.has(Feature.LANES):
            mission.branches.clear()
            mission.unmerged.difference_update(units(self.release, mission))
            return list(mission.packages)
        every = units(self.release, mission)
        there = {name: wp for name, wp in every.items() if name in mission.branches}
        wps = list(there.values())
        if wps and (target != mission.target or strategy == "rebase"):
            raise failed_merge([], wps[0])
        if strategy == "squash":
            self._squash(mission, there)
        mission.unmerged.clear()
        if push:
            raise Refused(ErrorCode.PUSH_FAILED, "there is no remote", {"merged_wps": wps})
        return wps

    def _squash(self, mission: Mission, there: Mapping[str, str]) -> None:
        """Squash each branch; the second fails on the first's uncommitted changes (1.0.x)."""
        wps = list(there.values())
        if self.release.dialect is Dialect.F1 and len(wps) > 1:
            raise failed_merge(wps[:1], wps[1])
        for i, name in enumerate(there):
            if name not in mission.unmerged:
                raise failed_merge(wps[:i], wps[i])
            mission.unmerged.remove(name)

    def _look(self, mission: Mission, target: str) -> None:
        """Check that a merge may begin."""
        release, every = self.release, units(self.release, mission)
        missing = [name for name in every if name not in mission.branches]
        passed = [name for name in missing if is_passed_over(release, mission, every[name])]
        errors = [f"there is no {name}" for name in missing if name not in passed]
        if release.has(Feature.LANES) and target not in (mission.target, mission.merge_target):
            errors.insert(0, f"there is no branch {target}")
        else:
            begin_merge(release, mission, mission.branches)
        if is_stale(release, mission):
            errors.append("the planning lane is stale")
        if errors:
            raise cannot_merge(release, mission, target, *errors)
