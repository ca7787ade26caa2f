"""Which work package comes next: the dependency graph, and what may be started."""

from collections.abc import Iterable

from attrs import define, field

from spec_kitty_client import AnyLane, Lane, Mission, WorkPackage

__all__ = ["Board"]

_ENDED = frozenset({Lane.DONE, Lane.CANCELED})
_UNDER_WAY = (Lane.APPROVED, Lane.IN_REVIEW, Lane.FOR_REVIEW, Lane.IN_PROGRESS, Lane.CLAIMED)


@define
class Board:
    """The mission as the host last reported it, and what this run does with it."""

    packages: dict[str, WorkPackage] = field(factory=dict)
    ready: set[str] = field(factory=set)
    """What ``list-ready`` said may be started."""
    busy: set[str] = field(factory=set)
    """Under way in this run."""
    stuck: dict[str, str] = field(factory=dict)
    """Cannot go on in this run, with the reason."""
    _depth: dict[str, int] = field(factory=dict)

    def update(self, mission: Mission) -> bool:
        """Take in the host's report and return whether anything had changed.

        What is under way in this run is left out: its own calls tell more.
        """
        if self.packages.keys() != {wp.wp_id for wp in mission.work_packages}:
            self._depth = _depths(mission.work_packages)
        news = {wp.wp_id: wp for wp in mission.work_packages if wp.wp_id not in self.busy}
        changed = any(self.packages.get(name) != wp for name, wp in news.items())
        self.packages |= news
        return changed

    def lane(self, wp: str) -> AnyLane:
        """Return where a work package stands."""
        return self.packages[wp].lane

    def startable(self, slots: int) -> list[WorkPackage]:
        """Return what to start now, at most as many as there are free slots.

        What is nearest to its end comes first, since that frees others; then what has the
        longest chain of work packages waiting behind it; then the order of the plan.
        """
        free = max(0, slots - len(self.busy))
        waiting = [wp for wp in self.packages.values() if self._may_start(wp)]
        waiting.sort(key=lambda wp: (_distance(wp.lane), -self._depth.get(wp.wp_id, 0)))
        return waiting[:free]

    def _may_start(self, wp: WorkPackage) -> bool:
        if wp.wp_id in self.busy or wp.wp_id in self.stuck:
            return False
        return wp.lane in _UNDER_WAY or (wp.lane == Lane.PLANNED and wp.wp_id in self.ready)

    def unlocks(self, wp: str) -> bool:
        """Return whether the host may have a new answer because this one has ended."""
        return any(wp in p.dependencies and not self._missing(p) for p in self._waiting())

    def waits(self) -> bool:
        """Return whether some planned work package is not known to be ready."""
        return any(True for _ in self._waiting())

    def _waiting(self) -> Iterable[WorkPackage]:
        planned = (p for p in self.packages.values() if p.lane == Lane.PLANNED)
        return (p for p in planned if p.wp_id not in self.ready | self.busy)

    def unfinished(self) -> dict[str, str]:
        """Return what is not done, each with the reason."""
        left = [wp for wp in self.packages.values() if wp.lane not in _ENDED]
        return {wp.wp_id: self.stuck.get(wp.wp_id) or self._why(wp) for wp in left}

    def _why(self, wp: WorkPackage) -> str:
        missing = self._missing(wp)
        if wp.lane == Lane.PLANNED and missing:
            return f"waits for {', '.join(missing)}"
        return f"is {wp.lane}"

    def _missing(self, wp: WorkPackage) -> list[str]:
        return [name for name in wp.dependencies if self._is_open(name)]

    def _is_open(self, wp: str) -> bool:
        return wp not in self.packages or self.lane(wp) not in (Lane.DONE, Lane.APPROVED)


def _distance(lane: AnyLane) -> int:
    return _UNDER_WAY.index(lane) if lane in _UNDER_WAY else len(_UNDER_WAY)


def _depths(packages: Iterable[WorkPackage]) -> dict[str, int]:
    """Return the length of the longest chain that waits behind each; cycles count as none."""
    needs = {wp.wp_id: set(wp.dependencies) for wp in packages}
    open_dependents = dict.fromkeys(needs, 0)
    for dependencies in needs.values():
        for name in dependencies & needs.keys():
            open_dependents[name] += 1
    depth = dict.fromkeys(needs, 0)
    todo = [name for name, count in open_dependents.items() if count == 0]
    while todo:
        name = todo.pop()
        for dependency in needs[name] & needs.keys():
            depth[dependency] = max(depth[dependency], depth[name] + 1)
            open_dependents[dependency] -= 1
            if open_dependents[dependency] == 0:
                todo.append(dependency)
    return depth
