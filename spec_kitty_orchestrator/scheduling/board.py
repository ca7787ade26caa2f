"""The mission as a graph of work packages, and which of them may start next.

A planned work package may start once all its dependencies are done: that is the rule of every
host. Approved is not enough, so the orchestrator finishes approved work first. From release
3.2.6 on, a host may also accept a canceled dependency, depending on the reason, which only the
host knows. The host has the last word when the orchestrator claims the work package.

The cost of an event does not grow with the mission: the startable work packages are in a
queue, and the end of a work package looks at its dependents only.
"""

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush

from attrs import evolve

from spec_kitty_client import AnyLane, Lane, Mission, WorkPackage
from spec_kitty_orchestrator.roles import ENDED, ROLES, Role
from spec_kitty_orchestrator.scheduling.priority import Costs, critical_path, remaining_work
from spec_kitty_orchestrator.scheduling.slots import Limit, Slots
from spec_kitty_orchestrator.settings import Order

__all__ = ["Board", "Key", "Queue"]

_STAGES = {lane: stage for stage, lane in enumerate(ROLES)}
_EQUAL: Costs = {"implement": 1.0, "review": 1.0}
_NOTICEABLE = 1.25  # the factor by which a cost has to change before all priorities are recomputed
_PACKAGES_PER_EVENT = 4  # recompute at most once per len(packages) / 4 events: linear in total

Key = tuple[int, float, int]
"""The priority of a work package: the smallest key starts first. See `Board`."""


class Queue:
    """A priority queue of names. Each name is in it at most once, with the key of its last `put`.

    Outdated entries stay in the heap until they reach its top, so that each change costs
    O(log n).
    """

    def __init__(self) -> None:
        self._heap: list[tuple[Key, str]] = []
        self._keys: dict[str, Key] = {}

    def put(self, name: str, key: Key) -> None:
        """Add a name, or move it to the place of a new key."""
        if self._keys.get(name) != key:
            self._keys[name] = key
            heappush(self._heap, (key, name))

    def remove(self, name: str) -> None:
        """Remove a name, if it is there."""
        self._keys.pop(name, None)

    def pop(self) -> str | None:
        """Remove and return the name with the smallest key; None if the queue is empty."""
        while self._heap:
            key, name = heappop(self._heap)
            if self._keys.get(name) == key:
                del self._keys[name]
                return name
        return None


class Board:
    """The mission as the host last reported it, and the work packages that this run works on.

    Args:
        mission: The host's report.
        limits: The limits on agents that work at the same time.
        order: The order among work packages at the same stage.
        costs: The expected seconds of a step of each role.
        running: Work packages whose agents an earlier run left running. They start first.
        canceled_is_enough: Whether the host may accept a canceled dependency.
        lanes: The execution lane of each work package that shares its worktree with others.
            Work packages of one execution lane take turns.
        stuck: Work packages that this run cannot work on, each with the reason.
    """

    def __init__(
        self,
        mission: Mission,
        limits: tuple[Limit, ...],
        *,
        order: Order = Order.LONGEST_PATH,
        costs: Costs = _EQUAL,
        running: Iterable[str] = (),
        canceled_is_enough: bool = False,
        lanes: Mapping[str, str] | None = None,
        stuck: Mapping[str, str] | None = None,
    ) -> None:
        self._satisfied = ENDED if canceled_is_enough else frozenset({Lane.DONE})
        self.packages: dict[str, WorkPackage] = {}
        self.busy: dict[str, Role] = {}
        """The work packages that this run works on, with the role of the agent."""
        self.stuck = dict(stuck or {})
        """The work packages that cannot go on in this run, each with the reason."""
        self.moves = 0
        """The number of work packages released so far."""
        self._slots = Slots(limits)
        self._order, self._costs, self._running = order, costs, set(running)
        self._lanes = dict(lanes or {})
        self._sharing: dict[str, list[str]] = {}  # work packages by execution lane
        for name, lane in self._lanes.items():
            self._sharing.setdefault(lane, []).append(name)
        self._events_since_ranking = 0
        self._moved: dict[str, int] = {}  # the number of the last move of each
        self._position: dict[str, int] = {}  # in the plan
        self._dependents: dict[str, list[str]] = {}
        self._open_dependencies: dict[str, int] = {}
        self._critical_path: dict[str, float] = {}
        self._queues: dict[Role, Queue] = {"review": Queue(), "implement": Queue()}
        self.update(mission)

    # Events

    def update(self, mission: Mission, asked_at: int | None = None) -> bool:
        """Take over a report of the host; return whether anything changed.

        Work packages that this run works on are skipped, because its own calls are newer than
        the report. So are those that it released after it asked.

        Args:
            mission: The report.
            asked_at: The value of `moves` when the report was asked for; None: the current one.
        """
        changed = self._changed(mission, self.moves if asked_at is None else asked_at)
        if not changed:
            return False
        self.packages |= {wp.wp_id: wp for wp in changed}
        self._link()
        self._rank()
        return True

    def contradicts(self, mission: Mission, asked_at: int) -> bool:
        """Return whether a report denies a move that this run's own calls have made.

        Args:
            mission: The report.
            asked_at: The value of `moves` when the report was asked for.
        """
        return any(wp.wp_id in self._moved for wp in self._changed(mission, asked_at))

    def _changed(self, mission: Mission, asked_at: int) -> list[WorkPackage]:
        """Return the work packages that a report shows as changed."""
        return [
            wp
            for wp in mission.work_packages
            if self.packages.get(wp.wp_id) != wp
            and wp.wp_id not in self.busy
            and self._moved.get(wp.wp_id, 0) <= asked_at
        ]

    def start_ready(self) -> list[WorkPackage]:
        """Return the work packages to start now. Each holds a slot until it is released.

        Those with a running agent come first, because it runs anyway. Then come reviews, because
        the end of a review lets other work packages start.
        """
        started: list[WorkPackage] = []
        for wp in [wp for name in sorted(self._running) if (wp := self.packages.get(name))]:
            if self._may_start(wp) and self._slots.free(ROLES[wp.lane]):
                self._queues[ROLES[wp.lane]].remove(wp.wp_id)
                started.append(self._start(wp.wp_id, ROLES[wp.lane]))
        for role, queue in self._queues.items():
            while self._slots.free(role) and (name := queue.pop()):
                started.append(self._start(name, role))
        return started

    def _start(self, name: str, role: Role) -> WorkPackage:
        self._running.discard(name)
        self.busy[name] = role
        self._slots.take(name, role)
        self._queue_sharing(name)
        return self.packages[name]

    def has_free_slot(self) -> bool:
        """Return whether an agent could start if a work package were ready."""
        return any(self._slots.free(role) for role in self._queues)

    def release_slot(self, name: str) -> bool:
        """Release the slot of a work package whose agent is no longer needed.

        The slot stays taken if another work package depends on this one: its dependents may be more
        urgent than the work packages that are ready now, and they need the slot.

        Returns:
            Whether the slot is free now.
        """
        return not self._dependents[name] and self._slots.release(name)

    def release(self, name: str, lane: AnyLane, stuck: str | None = None) -> None:
        """Record the lane that a work package reached in an agent's turn, and free its slot.

        Args:
            name: The work package.
            lane: Its lane, as the host reported it.
            stuck: The reason, if it cannot go on in this run.
        """
        del self.busy[name]
        self._slots.release(name)
        before = self.packages[name]
        self.packages[name] = evolve(before, lane=lane)
        self.moves += 1
        self._events_since_ranking += 1
        self._moved[name] = self.moves
        if stuck is not None:
            self.stuck[name] = stuck
        if closed := (lane in self._satisfied) - (before.lane in self._satisfied):
            for dependent in self._dependents[name]:
                self._open_dependencies[dependent] -= closed
                self._queue(dependent)
        self._queue(name)
        self._queue_sharing(name)

    def update_estimates(self, costs: Costs) -> None:
        """Recompute all priorities if the expected seconds of a step changed noticeably.

        Args:
            costs: The expected seconds of a step of each role.
        """
        noticeable = any(
            max(cost, self._costs[role]) > _NOTICEABLE * min(cost, self._costs[role])
            for role, cost in costs.items()
        )
        if noticeable and self._events_since_ranking * _PACKAGES_PER_EVENT >= len(self.packages):
            self._costs = costs
            self._rank()

    def has_open_dependencies(self, name: str) -> bool:
        """Return whether a work package has to wait for another one."""
        return self._open_dependencies[name] > 0

    # Order

    def _link(self) -> None:
        """Build the graph: the dependents of each work package, and its open dependencies."""
        self._position = {name: position for position, name in enumerate(self.packages)}
        self._dependents = {name: [] for name in self.packages}
        self._open_dependencies = dict.fromkeys(self.packages, 0)
        for name, wp in self.packages.items():
            for dependency in dict.fromkeys(wp.dependencies):
                self._open_dependencies[name] += self._is_open(dependency)
                if dependency in self.packages:
                    self._dependents[dependency].append(name)

    def _rank(self) -> None:
        """Compute the critical paths and fill the queues."""
        self._events_since_ranking = 0
        if self._order == Order.LONGEST_PATH:
            self._critical_path = critical_path(self.packages, self._dependents, self._costs)
        self._queues = {role: Queue() for role in self._queues}
        for name in self.packages:
            self._queue(name)

    def _queue(self, name: str) -> None:
        """Put a work package into the queue of its next role, or remove it if it must wait."""
        wp = self.packages[name]
        if self._may_start(wp):
            self._queues[ROLES[wp.lane]].put(name, self._key(wp))
        elif wp.lane in ROLES:
            self._queues[ROLES[wp.lane]].remove(name)

    def _sharing_with(self, name: str) -> list[str]:
        """Return the other work packages in the same worktree."""
        lane = self._lanes.get(name)
        return [] if lane is None else [wp for wp in self._sharing[lane] if wp != name]

    def _queue_sharing(self, name: str) -> None:
        for other in self._sharing_with(name):
            if other in self.packages:
                self._queue(other)

    def _may_start(self, wp: WorkPackage) -> bool:
        name = wp.wp_id
        if name in self.busy or name in self.stuck or wp.lane not in ROLES:
            return False
        if any(other in self.busy for other in self._sharing_with(name)):
            return False
        return wp.lane != Lane.PLANNED or not self.has_open_dependencies(name)

    def _key(self, wp: WorkPackage) -> Key:
        """Return the priority: by stage, critical path and plan."""
        length = 0.0
        if self._order == Order.LONGEST_PATH:
            length = remaining_work(wp.lane, self._costs) + self._critical_path[wp.wp_id]
        return _STAGES[wp.lane], -length, self._position[wp.wp_id]

    # Result

    def unfinished(self) -> dict[str, str]:
        """Return the work packages that are not done or canceled, each with the reason."""
        rest = [wp for wp in self.packages.values() if wp.lane not in ENDED]
        return {wp.wp_id: self.stuck.get(wp.wp_id) or self._reason(wp) for wp in rest}

    def _reason(self, wp: WorkPackage) -> str:
        missing = [name for name in wp.dependencies if self._is_open(name)]
        if wp.lane == Lane.PLANNED and missing:
            return f"waits for {', '.join(missing)}"
        return f"is {wp.lane}"

    def _is_open(self, name: str) -> bool:
        return name not in self.packages or self.packages[name].lane not in self._satisfied
