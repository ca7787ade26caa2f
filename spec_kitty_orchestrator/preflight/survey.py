"""Survey a mission before a run: its needs, and the problems that would stop the run."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from spec_kitty_client import Contract, Feature, Lane, Mission, MissionLayout
from spec_kitty_orchestrator.preflight.plan import PROTECTION_OFF, checked_out, protects
from spec_kitty_orchestrator.roles import ENDED

__all__ = ["Survey", "survey", "unreadable"]


@frozen(kw_only=True)
class Survey:
    """The facts of a mission that matter to a run."""

    layout: MissionLayout
    target: str
    """The branch that a merge goes into."""
    target_source: str
    """The source: ``--target``, a key of ``meta.json``, or ``primary branch``."""
    subtasks: Mapping[str, tuple[str, ...]]
    """The subtasks of each work package that is not submitted yet, which the run will mark."""
    planning: tuple[str, ...]
    """The work packages that are planning work."""
    shared: Mapping[str, tuple[str, ...]]
    """The work packages of each execution lane that several of them share, which take turns."""
    left_to_people: Mapping[str, str]
    """The work packages that no agent can be started on here, each with the reason."""
    notes: tuple[str, ...]
    """Sentences that a user should read before the run."""
    problems: tuple[str, ...]
    """Problems that have to be fixed before a run can start."""

    @property
    def worktrees(self) -> dict[str, str]:
        """The execution lane of each work package that shares its worktree with others."""
        return {wp: lane for lane, wps in self.shared.items() for wp in wps}

    @property
    def owned(self) -> dict[str, tuple[str, ...]]:
        """The files that each work package may change; planning work that names none: all."""
        packages = self.layout.packages.items()
        return {wp: p.owned_files or (("*",) if p.planning else ()) for wp, p in packages}

    def lines(self) -> list[str]:
        """Return the needs of the mission, one a line."""
        lines = [f"topology:  {self.layout.topology or 'none named'}"]
        lines.append(f"target:    {self.target} ({self.target_source})")
        if self.subtasks:
            every = ", ".join(f"{wp}: {' '.join(ids)}" for wp, ids in self.subtasks.items())
            lines.append(f"subtasks:  marked done on submission ({every})")
        if self.planning:
            lines.append(f"planning:  {', '.join(self.planning)}")
        for lane, wps in self.shared.items():
            lines.append(f"{lane}: {', '.join(wps)} share a worktree and take turns")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "topology": self.layout.topology,
            "target": self.target,
            "target_source": self.target_source,
            "subtasks": {wp: list(ids) for wp, ids in self.subtasks.items()},
            "planning": list(self.planning),
            "shared_lanes": {lane: list(wps) for lane, wps in self.shared.items()},
            "left_to_people": dict(self.left_to_people),
            "notes": list(self.notes),
            "problems": list(self.problems),
        }


def survey(
    layout: MissionLayout,
    mission: Mission,
    contract: Contract,
    root: Path,
    *,
    target: str | None = None,
    accept: bool = True,
    merge: bool = False,
    obstacles: tuple[str, ...] = (),
) -> Survey:
    """Return the survey of a mission on this host.

    Args:
        layout: The layout of the mission.
        mission: The lanes of its work packages.
        contract: The contract of the host.
        root: The primary checkout.
        target: The branch to merge into, if the user has named one.
        accept: Whether the mission is to be accepted.
        merge: Whether it is to be merged.
        obstacles: The obstacles to a merge now; they are problems if the mission is to be merged,
            else notes.
    """
    left = dict(_left_to_people(layout, mission, contract))
    planning = tuple(wp for wp, package in layout.packages.items() if package.planning)
    return Survey(
        layout=layout,
        target=target or layout.target,
        target_source="--target" if target else layout.target_source,
        subtasks=_subtasks(layout, mission, left),
        planning=planning,
        shared=_shared(layout),
        left_to_people=left,
        notes=(
            *_planning_notes(layout, planning, left),
            *_end_notes(layout, contract, accept),
            *(f"a merge would be refused: {obstacle}" for obstacle in obstacles if not merge),
        ),
        problems=(
            *_problems(layout, mission, contract, root, left),
            *(_merge_problems(layout, contract, target or layout.target) if merge else ()),
            *(
                f"The merge at the end would be refused: {obstacle}"
                for obstacle in obstacles
                if merge
            ),
        ),
    )


def unreadable(root: Path, mission: str) -> str | None:
    """Return why a host crashes when it reads a mission, if front matter is missing.

    Args:
        root: The primary checkout.
        mission: The mission's slug.
    """
    files = sorted((root / "kitty-specs" / mission / "tasks").glob("WP*.md"))
    bare = [p for p in files if not p.read_text("utf-8-sig", "replace").startswith("---")]
    if not bare:
        return None
    return (
        f"{', '.join(str(p.relative_to(root)) for p in bare)} without front matter: the host "
        "cannot read the mission. Begin each file with work_package_id, title, dependencies, "
        "subtasks, execution_mode and owned_files between two lines `---`, and run `spec-kitty "
        f"agent mission finalize-tasks --mission {mission}`."
    )


def _waiting(layout: MissionLayout, mission: Mission) -> list[str]:
    """Return the work packages that are still to be implemented."""
    early = (Lane.PLANNED, Lane.CLAIMED, Lane.IN_PROGRESS)
    return [wp for wp, lane in mission.lanes().items() if lane in early and wp in layout.packages]


def _subtasks(
    layout: MissionLayout, mission: Mission, left: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    waiting = (wp for wp in _waiting(layout, mission) if wp not in left)
    every = {wp: layout.packages[wp].subtasks for wp in waiting}
    return {wp: ids for wp, ids in every.items() if ids}


def _shared(layout: MissionLayout) -> dict[str, tuple[str, ...]]:
    lanes: dict[str, list[str]] = {}
    for wp, package in layout.packages.items():
        if package.lane:
            lanes.setdefault(package.lane, []).append(wp)
    return {lane: tuple(wps) for lane, wps in lanes.items() if len(wps) > 1}


def _left_to_people(
    layout: MissionLayout, mission: Mission, contract: Contract
) -> Iterator[tuple[str, str]]:
    """Yield the work packages that this host accepts only from the primary checkout."""
    if not contract.supports(Feature.PLANNING_IN_CHECKOUT):
        return
    for wp, lane in mission.lanes().items():
        if lane not in ENDED and wp in layout.packages and layout.packages[wp].planning:
            reason = (
                "has to be done by a person: this host accepts its work only from the primary "
                "checkout, where other people's changes would be committed with an agent's"
            )
            yield wp, reason


def _problems(
    layout: MissionLayout,
    mission: Mission,
    contract: Contract,
    root: Path,
    left: Mapping[str, str],
) -> Iterator[str]:
    yield from _branch_problems(layout, contract, root)
    yield from _lanes_problems(layout, contract, root)
    waiting = [wp for wp in _waiting(layout, mission) if wp not in left]
    for wp in waiting:
        package = layout.packages[wp]
        file = f"kitty-specs/{layout.mission_slug}"
        if package.roster_problem:
            yield (
                f"{wp} cannot be submitted: {package.roster_problem}. Write `subtasks: []`, or the "
                f"list, into the front matter of its file in {file}/tasks and commit it."
            )
        if package.open_boxes and not contract.supports(Feature.EVIDENCE):
            yield (
                f"{wp} cannot be submitted: {package.open_boxes} of its boxes in {file}/tasks.md "
                "are not ticked and have no id such as T001, so no command can tick them. "
                "Give them ids, or tick them, and commit the file."
            )
    open_ones = [wp for wp, lane in mission.lanes().items() if lane not in ENDED]
    if open_ones and len(left) == len(open_ones):
        yield (
            f"Every work package of {layout.mission_slug} that is left has to be done by a person: "
            f"this host accepts work under the topology {layout.topology} only from the primary "
            "checkout. Make missions for agents with `--topology lanes`."
        )


def _lanes_problems(layout: MissionLayout, contract: Contract, root: Path) -> Iterator[str]:
    """Yield why the host would crash at the first claim because it cannot read the lanes."""
    if not contract.supports(Feature.LANES):
        return
    path = f"kitty-specs/{layout.mission_slug}/lanes.json"
    try:
        facts = json.loads((root / path).read_text("utf-8"))
    except (OSError, ValueError):
        return  # it does not exist, or the layout has reported the damage
    if isinstance(facts, dict) and "feature_slug" in facts and "mission_slug" not in facts:
        yield (
            f"{path} has `feature_slug`, as hosts before 3.1.0 wrote it, and this host cannot read "
            "it. Rename the key to `mission_slug` and commit the file."
        )


def _branch_problems(layout: MissionLayout, contract: Contract, root: Path) -> Iterator[str]:
    """Yield why the host could not commit where it records the state of the mission."""
    if layout.coordination_branch or not contract.supports(Feature.PROTECTED_BRANCHES):
        return
    own, here = layout.planning_branch, checked_out(root)
    if protects(root, own):
        yield (
            f"{layout.mission_slug} records its state on {own!r}, where this host refuses to "
            f"commit. Check {own} out and set {PROTECTION_OFF}=1, or move the mission to a "
            "branch of its own."
        )
    elif own != here:
        yield (
            f"{layout.mission_slug} records its state on {own!r}, and {here or 'no branch'!r} is "
            f"checked out: git checkout {own}"
        )


def _merge_problems(layout: MissionLayout, contract: Contract, target: str) -> Iterator[str]:
    """Yield why the merge at the end would be refused."""
    own = layout.planning_branch
    if contract.supports(Feature.MERGE_NEEDS_CHECKOUT) and target != own:
        yield (
            f"This host merges into {target!r} only while that is checked out, and "
            f"{layout.mission_slug} is worked on with {own!r} checked out. Leave --merge out, and "
            f"merge at the end: git checkout {target} && spec-kitty consolidate --mission "
            f"{layout.mission_slug}"
        )


def _planning_notes(
    layout: MissionLayout, planning: tuple[str, ...], left: Mapping[str, str]
) -> Iterator[str]:
    if left:
        names = ", ".join(left)
        yield f"{names}: planning work, which has to be done by a person in the primary checkout"
    elif planning:
        yield (
            f"{', '.join(planning)}: planning work, done on the branch "
            f"kitty/mission-{layout.mission_slug}-lane-planning and merged with the rest"
        )


def _end_notes(layout: MissionLayout, contract: Contract, accept: bool) -> Iterator[str]:
    if accept and layout.coordination_branch and not contract.supports(Feature.COORD_ACCEPT):
        yield (
            f"the host's API cannot accept a mission of the topology {layout.topology}: the run "
            "continues without it, and ends with the command that accepts it"
        )
