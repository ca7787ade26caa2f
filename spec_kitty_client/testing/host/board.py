"""The state of a simulated host: its missions, and where their work packages stand."""

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
    """A work package of a plan that has more than dependencies.

    Args:
        needs: The work packages that it depends on.
        subtasks: The ids of its subtasks, such as ``T001``; they are open at first.
        owns: Globs of the files that it owns; work packages that own the same share a lane.
        planning: Whether it is a planning work package and not one for code.
    """

    needs: Sequence[str] = field(default=(), converter=_words)
    subtasks: Sequence[str] = field(default=(), converter=_words)
    owns: Sequence[str] = field(default=(), converter=_words)
    planning: bool = False

    @classmethod
    def of(cls, planned: "Sequence[str] | PackagePlan") -> "PackagePlan":
        """Return what a plan says about a work package, in full."""
        return planned if isinstance(planned, PackagePlan) else cls(needs=planned)


Plan = Mapping[str, Sequence[str] | PackagePlan]
"""Work packages, each with what it depends on, or with all that there is to say about it."""


@define
class Move:
    """One event of a mission."""

    wp: str
    before: str
    after: str
    actor: str
    forced: bool = False


@define
class Mark:
    """One event of the subtasks of a work package."""

    wp: str
    subtasks: list[str]
    done: bool
    moves: int
    """How many moves the mission had before."""


@define
class Package:
    """Where a work package stands."""

    dependencies: list[str]
    lane: str = Lane.PLANNED
    actor: str | None = None
    """Who moved it last, and has it."""
    events: int = 0
    """How often it was moved."""
    reason: str = ""
    """The note of its last move."""
    notes: list[str] = field(factory=list)
    subtasks: dict[str, bool] = field(factory=dict)
    """Each subtask, and whether it is done."""
    owns: list[str] = field(factory=list)
    planning: bool = False
    claimed_at: str = ""
    """The commit of the target when it was claimed; 4.0.0 looks for later ones."""

    @classmethod
    def of(cls, plan: PackagePlan) -> "Package":
        """Return a work package that is planned."""
        subtasks = dict.fromkeys(plan.subtasks, False)
        needs, owns = list(plan.needs), list(plan.owns)
        return cls(dependencies=needs, subtasks=subtasks, owns=owns, planning=plan.planning)


@define
class Mission:
    """A mission with its work packages.

    Attributes:
        slug: Its name.
        ulid: Its id, by which hosts from 3.2.0 on find it as well.
        packages: The work packages in the order of the plan.
        lanes: The execution lane of each, such as ``lane-a``.
        target: The branch that it was planned on, and is merged into.
        merge_target: The branch that ``meta.json`` names for the merge instead, if it does.
        topology: ``lanes``, or one that keeps its state on a coordination branch.
        headed: Whether the boxes in ``tasks.md`` are under a heading of their own.
        has_lanes: Whether a merge has brought lanes into its branch, if only the first ones.
        moves: Everything that happened to its work packages.
        marks: Everything that happened to its subtasks.
        branches: The branches that there would be if there were a repository.
        unmerged: Those of them that no merge has taken yet.
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
        """Make a mission of which everything is planned.

        Raises:
            InvalidCall: If a work package depends on one that is not there, or on itself, or
                two have the same subtask.
        """
        whole = {wp: PackagePlan.of(planned) for wp, planned in plan.items()}
        _check({wp: planned.needs for wp, planned in whole.items()})
        _check_subtasks(whole)
        packages = {wp: Package.of(planned) for wp, planned in whole.items()}
        lanes = lane_ids(release, plan)
        return cls(slug=slug, ulid=ulid, packages=packages, lanes=lanes, target=target, **more)

    @property
    def coordinated(self) -> bool:
        """Whether its state is on a coordination branch."""
        return self.topology in ("coord", "lanes_with_coord")

    @property
    def branch(self) -> str:
        """The branch of the mission, which is its coordination branch where it has one."""
        return f"kitty/mission-{self.slug}"

    @property
    def base(self) -> str:
        """The branch that its lanes begin at."""
        return self.branch if self.coordinated else self.target

    def owner(self, subtask: str) -> str | None:
        """Return the work package of a subtask."""
        return next((wp for wp, p in self.packages.items() if subtask in p.subtasks), None)

    def mark(self, wp: str, subtasks: Sequence[str], *, done: bool) -> None:
        """Take subtasks of a work package for done, or for open."""
        self.packages[wp].subtasks |= dict.fromkeys(subtasks, done)
        self.marks.append(Mark(wp, list(subtasks), done, len(self.moves)))

    def called(self, ulid: str) -> "Mission":
        """Return the mission with another id."""
        self.ulid, self.names = ulid, (self.slug, ulid, ulid[:8])
        return self

    def open_dependencies(self, wp: str, is_enough: Callable[[Package], bool]) -> list[str]:
        """Return what a work package still waits for."""
        needs = self.packages[wp].dependencies
        return [n for n in needs if n not in self.packages or not is_enough(self.packages[n])]

    def move(
        self, wp: str, after: str, actor: str, *, forced: bool = False, reason: str = ""
    ) -> None:
        """Put a work package into a lane."""
        package = self.packages[wp]
        self.moves.append(Move(wp, package.lane, after, actor, forced))
        package.lane, package.actor, package.reason = after, actor, reason
        package.events += 1


def _check(dag: Mapping[str, Sequence[str]]) -> None:
    done: set[str] = set()
    left = dict(dag)
    if missing := {n for needs in dag.values() for n in needs} - dag.keys():
        msg = f"there are no work packages {', '.join(sorted(missing))} to depend on"
        raise InvalidCall(msg)
    while ready := [wp for wp, needs in left.items() if done.issuperset(needs)]:
        done.update(ready)
        for wp in ready:
            del left[wp]
    if left:
        msg = f"the work packages {', '.join(left)} depend on each other in a circle"
        raise InvalidCall(msg)


def _check_subtasks(plan: Mapping[str, PackagePlan]) -> None:
    every = [subtask for planned in plan.values() for subtask in planned.subtasks]
    if twice := sorted({subtask for subtask in every if every.count(subtask) > 1}):
        msg = f"the subtasks {', '.join(twice)} are there twice"
        raise InvalidCall(msg)


def lane_ids(release: Release, plan: Plan) -> dict[str, str]:
    """Return the execution lane of each work package, as finalising its tasks lays them out.

    Work packages that own the same files share one, and so do, up to 3.1.10, those that depend
    on each other. Planning work packages share one that is not a branch of its own.
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
    """Yield the work packages that have to share the lane of one."""
    if not release.has(Feature.DEPENDENCY_CHECK):
        yield from (name for name in planned.needs if name in code)
    for name, other in code.items():
        if name != wp and set(planned.owns) & set(other.owns):
            yield name


def _letters() -> Iterator[str]:
    """Yield a, b ... z, aa, ab ..."""
    for size in count(1):
        yield from map("".join, product(string.ascii_lowercase, repeat=size))
