"""Which work package comes next: the dependency graph, and what may be started.

A work package may be begun once all that it depends on is done: that is the rule of every host,
and what is only approved is brought to done first. From 3.2.6 on what was canceled for a reason is
enough as well; the reason is not told. The host has the last word, when it is asked to begin.

Nothing here looks at every work package because of one that has moved: what may be started
is in a queue, and what a move unlocks is found by its dependents.
"""

from collections.abc import Iterable, Mapping

from attrs import evolve

from spec_kitty_client import AnyLane, Lane, Mission, WorkPackage
from spec_kitty_orchestrator.scheduling.paths import ENDED, Costs, behind, left
from spec_kitty_orchestrator.scheduling.queues import Queue
from spec_kitty_orchestrator.scheduling.slots import Limit, Slots
from spec_kitty_orchestrator.settings import Order
from spec_kitty_orchestrator.state.history import Role

__all__ = ["ENDED", "ROLES", "Board"]

ROLES: Mapping[AnyLane, Role] = {
    Lane.APPROVED: "review",
    Lane.IN_REVIEW: "review",
    Lane.FOR_REVIEW: "review",
    Lane.IN_PROGRESS: "implement",
    Lane.CLAIMED: "implement",
    Lane.PLANNED: "implement",
}
"""Whose turn it is in a lane, the lane that is nearest to the end first."""

_STAGES = {lane: stage for stage, lane in enumerate(ROLES)}
_EQUAL: Costs = {"implement": 1.0, "review": 1.0}
_NOTICEABLE = 1.25  # by which factor a cost has to change before everything is reckoned anew
_PAID_BY_EVENT = 4  # work packages: that is how many a new reckoning may look at per event


class Board:
    """The mission as the host last reported it, and what this run does with it.

    Args:
        mission: What the host reports.
        limits: How many may work at the same time.
        order: Which comes first of those that are at the same stage.
        costs: What a step of each role takes.
        begun: Those whose agents an earlier run left behind; these run already.
        canceled_is_enough: Whether to ask the host for what waits only for canceled ones.
        lanes: The execution lane of each; those of one lane share a worktree and take turns.
        stuck: Those on which nobody can work in this run, each with the reason.
    """

    def __init__(
        self,
        mission: Mission,
        limits: tuple[Limit, ...],
        *,
        order: Order = Order.LONGEST_PATH,
        costs: Costs = _EQUAL,
        begun: Iterable[str] = (),
        canceled_is_enough: bool = False,
        lanes: Mapping[str, str] | None = None,
        stuck: Mapping[str, str] | None = None,
    ) -> None:
        self._enough = ENDED if canceled_is_enough else frozenset({Lane.DONE})
        self.packages: dict[str, WorkPackage] = {}
        self.busy: dict[str, Role] = {}
        """Who works on what in this run."""
        self.stuck = dict(stuck or {})
        """Cannot go on in this run, with the reason."""
        self.moves = 0
        """How often this run has moved something."""
        self._slots = Slots(limits)
        self._order, self._costs, self._begun = order, costs, set(begun)
        self._let_go: set[str] = set()  # who is busy without a slot
        self._lanes = dict(lanes or {})
        self._mates: dict[str, list[str]] = {}  # who shares a worktree, by lane
        for name, lane in self._lanes.items():
            self._mates.setdefault(lane, []).append(name)
        self._events = 0  # since everything was last reckoned anew
        self._moved: dict[str, int] = {}  # the last move of each
        self._place: dict[str, int] = {}  # in the plan
        self._dependents: dict[str, list[str]] = {}
        self._missing: dict[str, int] = {}  # how many dependencies are not finished
        self._behind: dict[str, float] = {}
        self._queues: dict[Role, Queue] = {"review": Queue(), "implement": Queue()}
        self.update(mission)

    # What happens

    def update(self, mission: Mission, asked_at: int | None = None) -> bool:
        """Take in the host's report and return whether anything had changed.

        What is under way in this run is left out: its own calls tell more. So do those that
        ended after the report was asked for, when there had been `asked_at` moves.
        """
        asked_at = self.moves if asked_at is None else asked_at
        changed = [
            wp
            for wp in mission.work_packages
            if self.packages.get(wp.wp_id) != wp
            and wp.wp_id not in self.busy
            and self._moved.get(wp.wp_id, 0) <= asked_at
        ]
        if not changed:
            return False
        self.packages |= {wp.wp_id: wp for wp in changed}
        self._link()
        self._reckon()
        return True

    def take(self) -> list[WorkPackage]:
        """Return what is to be started now; each has taken its slot until it is given back.

        Reviews come first, since they free others.
        """
        started: list[WorkPackage] = []
        for role, queue in self._queues.items():
            while self._slots.free(role) and (name := queue.pop()):
                self.busy[name] = role
                self._slots.taken[role] += 1
                started.append(self.packages[name])
                self._queue_mates(name)
        return started

    def has_room(self) -> bool:
        """Return whether somebody could begin, if there were something to begin with."""
        return any(self._slots.free(role) for role in self._queues)

    def let_go(self, name: str) -> bool:
        """Give the slot of an agent that has ended to others, while the host is told of its end.

        Only where nothing waits for that end: what it frees may come before all others.
        """
        free = name not in self._let_go and not self._dependents[name]
        if free:
            self._let_go.add(name)
            self._slots.taken[self.busy[name]] -= 1
        return free

    def give_back(self, name: str, lane: AnyLane, stuck: str | None = None) -> None:
        """Take in where a work package has got to; with a reason why it cannot go on."""
        role = self.busy.pop(name)
        if name in self._let_go:
            self._let_go.remove(name)
        else:
            self._slots.taken[role] -= 1
        before = self.packages[name]
        self.packages[name] = evolve(before, lane=lane)
        self.moves += 1
        self._events += 1
        self._moved[name] = self.moves
        if stuck is not None:
            self.stuck[name] = stuck
        self._begun.discard(name)
        if freed := (lane in self._enough) - (before.lane in self._enough):
            for dependent in self._dependents[name]:
                self._missing[dependent] -= freed
                self._queue(dependent)
        self._queue(name)
        self._queue_mates(name)

    def expect(self, costs: Costs) -> None:
        """Take in what steps take now; the order changes when that makes a difference.

        All of it is reckoned anew, so that has to be paid for by as many events.
        """
        noticeable = any(
            max(cost, self._costs[role]) > _NOTICEABLE * min(cost, self._costs[role])
            for role, cost in costs.items()
        )
        if noticeable and self._events * _PAID_BY_EVENT >= len(self.packages):
            self._costs = costs
            self._reckon()

    def waits(self, name: str) -> bool:
        """Return whether a work package depends on what is not finished."""
        return self._missing[name] > 0

    # The order

    def _link(self) -> None:
        """Write down who waits for whom."""
        self._place = {name: place for place, name in enumerate(self.packages)}
        self._dependents = {name: [] for name in self.packages}
        self._missing = dict.fromkeys(self.packages, 0)
        for name, wp in self.packages.items():
            for dependency in dict.fromkeys(wp.dependencies):
                self._missing[name] += self._is_open(dependency)
                if dependency in self.packages:
                    self._dependents[dependency].append(name)

    def _reckon(self) -> None:
        """Put everything in order anew."""
        self._events = 0
        if self._order == Order.LONGEST_PATH:
            self._behind = behind(self.packages, self._dependents, self._costs)
        self._queues = {role: Queue() for role in self._queues}
        for name in self.packages:
            self._queue(name)

    def _queue(self, name: str) -> None:
        """Put a work package where it waits for its turn, or nowhere."""
        wp = self.packages[name]
        if self._may_start(wp):
            self._queues[ROLES[wp.lane]].put(name, self._key(wp))
        elif wp.lane in ROLES:
            self._queues[ROLES[wp.lane]].remove(name)

    def _mates_of(self, name: str) -> list[str]:
        """Return the others that share a worktree with a work package."""
        lane = self._lanes.get(name)
        return [] if lane is None else [m for m in self._mates[lane] if m != name]

    def _queue_mates(self, name: str) -> None:
        for mate in self._mates_of(name):
            if mate in self.packages:
                self._queue(mate)

    def _may_start(self, wp: WorkPackage) -> bool:
        name = wp.wp_id
        if name in self.busy or name in self.stuck or wp.lane not in ROLES:
            return False
        if any(mate in self.busy for mate in self._mates_of(name)):
            return False
        return wp.lane != Lane.PLANNED or not self.waits(name)

    def _key(self, wp: WorkPackage) -> tuple[bool, int, float, int]:
        """Return what decides: the nearest to its end, the longest way to go, the plan."""
        length = 0.0
        if self._order == Order.LONGEST_PATH:
            length = left(wp.lane, self._costs) + self._behind[wp.wp_id]
        return wp.wp_id not in self._begun, _STAGES[wp.lane], -length, self._place[wp.wp_id]

    # What is left

    def unfinished(self) -> dict[str, str]:
        """Return what is not done, each with the reason."""
        rest = [wp for wp in self.packages.values() if wp.lane not in ENDED]
        return {wp.wp_id: self.stuck.get(wp.wp_id) or self._why(wp) for wp in rest}

    def _why(self, wp: WorkPackage) -> str:
        missing = [name for name in wp.dependencies if self._is_open(name)]
        if wp.lane == Lane.PLANNED and missing:
            return f"waits for {', '.join(missing)}"
        return f"is {wp.lane}"

    def _is_open(self, name: str) -> bool:
        return name not in self.packages or self.packages[name].lane not in self._enough
