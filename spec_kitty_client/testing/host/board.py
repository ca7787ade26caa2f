"""The state of a simulated host: its missions, and where their work packages stand."""

import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, product

from attrs import Factory, define, field

from spec_kitty_client.dialects import Feature
from spec_kitty_client.errors import InvalidCall
from spec_kitty_client.lanes import Lane
from spec_kitty_client.testing.host.releases import Release

__all__ = ["Mission", "Move", "Package", "lane_ids"]

Dag = Mapping[str, Sequence[str]]
"""Work packages, each with what it depends on."""


@define
class Move:
    """One event of a mission."""

    wp: str
    before: str
    after: str
    actor: str
    forced: bool = False


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


@define
class Mission:
    """A mission with its work packages.

    Attributes:
        slug: Its name.
        ulid: Its id, by which hosts from 3.2.0 on find it as well.
        packages: The work packages in the order of the plan.
        lanes: The execution lane of each, such as ``lane-a``.
        target: The branch that it is merged into.
        moves: Everything that happened to its work packages.
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
    names: tuple[str, ...] = Factory(
        lambda self: (self.slug, self.ulid, self.ulid[:8]), takes_self=True
    )

    @classmethod
    def of(cls, release: Release, dag: Dag, *, slug: str, ulid: str, target: str) -> "Mission":
        """Make a mission of which everything is planned.

        Raises:
            InvalidCall: If a work package depends on one that is not there, or on itself.
        """
        _check(dag)
        packages = {wp: Package(dependencies=list(needs)) for wp, needs in dag.items()}
        lanes = lane_ids(release, dag)
        return cls(slug=slug, ulid=ulid, packages=packages, lanes=lanes, target=target)

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


def _check(dag: Dag) -> None:
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


def lane_ids(release: Release, dag: Dag) -> dict[str, str]:
    """Return the execution lane of each work package, as finalising its tasks lays them out.

    Up to 3.1.10 work packages that depend on each other share one; from 3.2.0 on each has its
    own, unless they own the same files.
    """
    groups = {wp: wp for wp in dag}
    if not release.has(Feature.DEPENDENCY_CHECK):
        for wp, needs in dag.items():
            joined = {groups[name] for name in (wp, *needs)}
            groups = {k: groups[wp] if g in joined else g for k, g in groups.items()}
    letters, names = _letters(), dict[str, str]()
    for wp in dag:
        if groups[wp] not in names:
            names[groups[wp]] = f"lane-{next(letters)}"
    return {wp: names[groups[wp]] for wp in dag}


def _letters() -> Iterator[str]:
    """Yield a, b ... z, aa, ab ..."""
    for size in count(1):
        yield from map("".join, product(string.ascii_lowercase, repeat=size))
