"""Where the work of a mission is: branches and worktrees, or the mere thought of them."""

from collections.abc import Mapping
from typing import Protocol

from attrs import frozen

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.dialects import Dialect, Feature
from spec_kitty_client.lanes import Lane
from spec_kitty_client.testing.host.answers import Refused
from spec_kitty_client.testing.host.board import Mission
from spec_kitty_client.testing.host.releases import Release

__all__ = [
    "Land",
    "Thought",
    "branch_of",
    "cannot_merge",
    "failed_merge",
    "is_passed_over",
    "units",
]


class Land(Protocol):
    """What a host does outside of its board."""

    @property
    def root(self) -> str:
        """The primary checkout."""
        ...

    def allocate(self, mission: Mission, wp: str) -> None:
        """Make the worktree of a work package."""
        ...

    def start(self, mission: Mission, wp: str) -> None:
        """Begin work: with a worktree, if this release makes it (3.2.2 and later)."""
        ...

    def is_worked_on(self, mission: Mission, wp: str) -> bool:
        """Tell whether there is a commit of a work package."""
        ...

    def moved(self, mission: Mission) -> None:
        """Write down where the work packages of a mission stand now."""
        ...

    def accepted(self, mission: Mission) -> None:
        """Write down that a mission is accepted."""
        ...

    def merge(self, mission: Mission, target: str, strategy: str, *, push: bool) -> list[str]:
        """Merge a mission and return the work packages that were merged.

        Raises:
            Refused: If it cannot be.
            Crashed: Where the host does not expect it.
        """
        ...


def branch_of(release: Release, mission: Mission, wp: str) -> str:
    """Return the branch of a work package that merge takes."""
    if not release.has(Feature.LANES):
        return f"{mission.slug}-{wp}"
    return f"kitty/mission-{mission.slug}-{mission.lanes[wp]}"


def units(release: Release, mission: Mission) -> dict[str, str]:
    """Return the branches to be merged, in their order, each with its first work package."""
    found: dict[str, str] = {}
    for wp in mission.packages:
        found.setdefault(branch_of(release, mission, wp), wp)
    return found


def is_passed_over(release: Release, mission: Mission, wp: str) -> bool:
    """Return whether a merge does without the branch of a work package: one that is done.

    Source: 1.0.3 and 2.1.3; 3.0.3 merges nothing then.
    """
    return not release.since("3.0.0") and mission.packages[wp].lane == Lane.DONE


def cannot_merge(release: Release, mission: Mission, target: str, *errors: str) -> Refused:
    """Return what a host answers that does not begin a merge."""
    details: dict[str, object] = {"errors": list(errors)}
    if release.has(Feature.LANES):
        details |= {"target_branch": target}
    if release.dialect is Dialect.M0:
        details |= {"mission_slug": mission.slug}
    code = ErrorCode.PREFLIGHT_FAILED
    return Refused(code, "Merge failed", details, mission=mission)


def failed_merge(so_far: list[str], wp: str) -> Refused:
    """Return what hosts up to 3.0.3 answer when a merge fails half-way."""
    details = {"merged_so_far": so_far, "failed_wp": wp}
    return Refused(ErrorCode.MERGE_FAILED, f"{wp} does not merge", details)


@frozen
class Thought:
    """No repository: what is started has a branch with a commit, and every merge is clean."""

    release: Release
    root: str = "/simulated"

    def allocate(self, mission: Mission, wp: str) -> None:
        """Think of a branch."""
        mission.branches.add(branch_of(self.release, mission, wp))

    def start(self, mission: Mission, wp: str) -> None:
        """Think of a branch, which on older hosts the client makes, and of a commit."""
        self.allocate(mission, wp)
        mission.unmerged.add(branch_of(self.release, mission, wp))

    def is_worked_on(self, mission: Mission, wp: str) -> bool:
        """Tell whether it was started."""
        return branch_of(self.release, mission, wp) in mission.unmerged

    def moved(self, mission: Mission) -> None:
        """Do nothing: the board is all there is."""

    def accepted(self, mission: Mission) -> None:
        """Do nothing."""

    def merge(self, mission: Mission, target: str, strategy: str, *, push: bool) -> list[str]:
        """See `Land.merge`."""
        self._look(mission, target)
        if self.release.has(Feature.LANES):
            mission.branches.clear()
            mission.unmerged.clear()
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
        """A second one finds the first uncommitted (1.0.x), or nothing to commit."""
        wps = list(there.values())
        if self.release.dialect is Dialect.F1 and len(wps) > 1:
            raise failed_merge(wps[:1], wps[1])
        for i, name in enumerate(there):
            if name not in mission.unmerged:
                raise failed_merge(wps[:i], wps[i])
            mission.unmerged.remove(name)

    def _look(self, mission: Mission, target: str) -> None:
        """See that a merge may begin."""
        release, every = self.release, units(self.release, mission)
        missing = [name for name in every if name not in mission.branches]
        passed = [name for name in missing if is_passed_over(release, mission, every[name])]
        errors = [f"there is no {name}" for name in missing if name not in passed]
        if release.has(Feature.LANES) and target != mission.target:
            errors.insert(0, f"there is no branch {target}")
        if errors:
            raise cannot_merge(release, mission, target, *errors)
