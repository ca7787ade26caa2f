"""The state of a simulated host: its missions, work packages and their lanes."""

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, product
from typing import Any

from attrs import Factory, define, field, frozen

from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import Lane
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.testing.host.releases import Release

__all__ = ["PLANNING", "Mark", "Mission", "Move", "Package", "PackagePlan", "Plan", "lane_ids"]

PLANNING = "lane-planning"
"""The execution lane of all planning work packages (3.1.0 and later)."""


def _words(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(words)


@frozen(kw_only=True)
class PackagePlan:
    """A work package of a plan: its dependencies, subtasks and files.

    Args:
        needs: Ids of the work packages that it depends on.
        subtasks: Ids of its subtasks, such as ``T001``; all are open at the start.
        owns: Globs of the files that it owns; work packages with a common glob share a lane.
        planning: Whether it is planning work instead of code.
    """

    needs: Sequence[str] = field(default=(), converter=_words)
    subtasks: Sequence[str] = field(default=(), converter=_words)
    owns: Sequence[str] = field(default=(), converter=_words)
    planning: bool = False

    @classmethod
    def of(cls, planned: "Sequence[str] | PackagePlan") -> "PackagePlan":
        """Return a plan's entry as a `PackagePlan`; a list has the dependencies."""
        return planned if isinstance(planned, PackagePlan) else cls(needs=planned)


Plan = Mapping[str, Sequence[str] | PackagePlan]
"""Work packages by id, each with the ids of its dependencies or with a `PackagePlan`."""


@define
class Move:
    """One move of a work package to another lane."""

    wp: str
    before: str
    after: str
    actor: str
    forced: bool = False


@define
class Mark:
    """One marking of subtasks as done or open."""

    wp: str
    subtasks: list[str]
    done: bool
    moves: int
    """Number of moves in the mission before this."""


@define
class Package:
    """The state of a work package."""

    dependencies: list[str]
    lane: str = Lane.PLANNED
    actor: str | None = None
    """The actor of the last move, who holds the work package."""
    events: int = 0
    """Number of moves."""
    reason: str = ""
    """The note of its last move."""
    notes: list[str] = field(factory=list)
    subtasks: dict[str, bool] = field(factory=dict)
    """Whether each subtask is done, by id."""
    owns: list[str] = field(factory=list)
    planning: bool = False
    claimed_at: str = ""
    """The target's commit at the claim; 4.0.0 requires later commits."""

    @classmethod
    def of(cls, plan: PackagePlan) -> "Package":
        """Return a new work package, in lane ``planned``."""
        subtasks = dict.fromkeys(plan.subtasks, False)
        needs, owns = list(plan.needs), list(plan.owns)
        return cls(dependencies=needs, subtasks=subtasks, owns=owns, planning=plan.planning)


@define
class Mission:
    """A mission with its work packages.

    Attributes:
        slug: Its slug.
        ulid: Its id; hosts from 3.2.0 on accept it in calls as well.
        packages: The work packages by id, in plan order.
        lanes: The execution lane of each work package, such as ``lane-a``.
        target: The branch on which it was planned, and into which it is merged by default.
        merge_target: The branch in ``meta.json`` to merge into instead; None: the target.
        topology: ``lanes``, or a topology with a coordination branch.
        headed: Whether the boxes in ``tasks.md`` have a heading of their own.
        has_lanes: Whether a merge has merged at least one lane into the mission's branch.
        moves: All moves of its work packages.
        marks: All markings of its subtasks.
        branches: The branches that a repository would have, for a host without git.
        unmerged: The branches among them that are not merged yet.
    """

    slug: str
    ulid: str
    packages: dict[str, Package]
    lanes: dict[str, str]
    target: str
    accepted_at: str | None = None
    branches: set[str] = field(factory=set)
    unmerged: set[str] = field(factory=set)
    moves: list[Move] = field(factory=list)
    marks: list[Mark] = field(factory=list)
    merge_target: str | None = None
    topology: str = "lanes"
    headed: bool = False
    has_lanes: bool = False
    names: tuple[str, ...] = Factory(
        lambda self: (self.slug, self.ulid, self.ulid[:8]), takes_self=True
    )

    @classmethod
    def of(
        cls, release: Release, plan: Plan, *, slug: str, ulid: str, target: str, **more: Any
    ) -> "Mission":
        """Return a new mission, with all work packages in lane ``planned``.

        Raises:
            InvalidCall: If a dependency does not exist, dependencies form a cycle, or two work
                packages have the same subtask.
        """
        whole = {wp: PackagePlan.of(planned) for wp, planned in plan.items()}
        _check({wp: planned.needs for wp, planned in whole.items()})
        _check_subtasks(whole)
        packages = {wp: Package.of(planned) for wp, planned in whole.items()}
        lanes = lane_ids(release, plan)
        return cls(slug=slug, ulid=ulid, packages=packages, lanes=lanes, target=target, **more)

    @property
    def coordinated(self) -> bool:
        """Whether its status is on a coordination branch."""
        return self.topology in ("coord", "lanes_with_coord")

    @property
    def branch(self) -> str:
        """The branch of the mission; also its coordination branch, if it has one."""
        return f"kitty/mission-{self.slug}"

    @property
    def base(self) -> str:
        """The branch at which its lanes start."""
        return self.branch if self.coordinated else self.target

    def owner(self, subtask: str) -> str | None:
        """Return the id of the work package with a subtask, or None."""
        return next((wp for wp, p in self.packages.items() if subtask in p.subtasks), None)

    def mark(self, wp: str, subtasks: Sequence[str], *, done: bool) -> None:
        """Mark subtasks of a work package as done or open."""
        self.packages[wp].subtasks |= dict.fromkeys(subtasks, done)
        self.marks.append(Mark(wp, list(subtasks), done, len(self.moves)))

    def called(self, ulid: str) -> "Mission":
        """Change the mission's id, and return the mission."""
        self.ulid, self.names = ulid, (self.slug, ulid, ulid[:8])
        return self

    def open_dependencies(self, wp: str, is_enough: Callable[[Package], bool]) -> list[str]:
        """Return the dependencies that a work package still waits for."""
        needs = self.packages[wp].dependencies
        return [n for n in needs if n not in self.packages or not is_enough(self.packages[n])]

    def move(
        self, wp: str, after: str, actor: str, *, forced: bool = False, reason: str = ""
    ) -> None:
        """Move a work package to a lane."""
        package = self.packages[wp]
        self.moves.append(Move(wp, package.lane, after, actor, forced))
        package.lane, package.actor, package.reason = after, actor, reason
        package.events += 1


def _check(dag: Mapping[str, Sequence[str]]) -> None:
    done: set[str] = set()
    left = dict(dag)
    if missing := {n for needs in dag.values() for n in needs} - dag.keys():
        msg = f"the plan has dependencies that do not exist: {', '.join(sorted(missing))}"
        raise InvalidCall(msg)
    while ready := [wp for wp, needs in left.items() if done.issuperset(needs)]:
        done.update(ready)
        for wp in ready:
            del left[wp]
    if left:
        msg = f"the work packages {', '.join(left)} depend on each other in a cycle"
        raise InvalidCall(msg)


def _check_subtasks(plan: Mapping[str, PackagePlan]) -> None:
    every = [subtask for planned in plan.values() for subtask in planned.subtasks]
    if twice := sorted({subtask for subtask in every if every.count(subtask) > 1}):
        msg = f"the plan has the subtasks {', '.join(twice)} more than once"
        raise InvalidCall(msg)


def lane_ids(release: Release, plan: Plan) -> dict[str, str]:
    """Return the execution lane of each work package, as the host computes it.

    Work packages that own the same files share a lane; up to 3.1.10 so do work packages that
    depend on each other. All planning work shares one lane, which has no branch.
    """
    whole = {wp: PackagePlan.of(planned) for wp, planned in plan.items()}
    code = {wp: planned for wp, planned in whole.items() if not planned.planning}
    groups = {wp: wp for wp in code}
    for wp, planned in code.items():
        joined = {groups[name] for name in (wp, *_together(release, wp, planned, code))}
        groups = {k: groups[wp] if g in joined else g for k, g in groups.items()}
    letters, names = _letters(), dict[str, str]()
    for wp in code:
        if groups[wp] not in names:
            names[groups[wp]] = f"lane-{next(letters)}"
    return {wp: names[groups[wp]] if wp in code else PLANNING for wp in whole}


def _together(
    release: Release, wp: str, planned: PackagePlan, code: Mapping[str, PackagePlan]
) -> Iterator[str]:
    """Yield the work packages that must share the lane of this one."""
    if not release.has(Feature.DEPENDENCY_CHECK):
        yield from (name for name in planned.needs if name in code)
    for name, other in code.items():
        if name != wp and set(planned.owns) & set(other.owns):
            yield name


def _letters() -> Iterator[str]:
    """Yield a, b ... z, aa, ab ..."""
    for size in count(1):
        yield from map("".join, product(string.ascii_lowercase, repeat=size))
