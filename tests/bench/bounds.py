"""What a run could have taken at least, and where the rest of its time went.

Nothing here measures: it is arithmetic on what the agents and the host have traced.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

__all__ = [
    "AgentRun",
    "Dag",
    "Trace",
    "Wait",
    "chain",
    "layered",
    "lower_bound",
    "most_at_once",
    "wide",
]

Dag = dict[str, list[str]]
"""Work packages with what each depends on, dependencies first."""


def wide(count: int) -> Dag:
    """Return work packages that depend on nothing."""
    return {_name(i): [] for i in range(count)}


def chain(count: int) -> Dag:
    """Return work packages that depend on each other, one after the other."""
    return {_name(i): [_name(i - 1)] if i else [] for i in range(count)}


def layered(count: int, seed: int, layers: int = 3) -> Dag:
    """Return layers in which each work package depends on one or two of the layer before."""
    random = Random(seed)  # noqa: S311 - the same for the same seed is what is wanted
    names = [_name(i) for i in range(count)]
    size = -(-count // layers)
    dag: Dag = {}
    for place, name in enumerate(names):
        before = names[: place // size * size][-size:]
        count_of_needs = min(len(before), random.randint(1, 2))
        dag[name] = sorted(random.sample(before, count_of_needs))
    return dag


def _name(place: int) -> str:
    return f"WP{place + 1:02d}"


def lower_bound(dag: Dag, seconds: Mapping[str, float], slots: int) -> float:
    """Return the longest path through the graph, or what the slots need for all of it."""
    until: dict[str, float] = {}
    for wp, needs in dag.items():
        until[wp] = seconds[wp] + max((until[name] for name in needs), default=0.0)
    return max(*until.values(), sum(seconds.values()) / slots)


@dataclass(frozen=True)
class AgentRun:
    """One run of an agent, as it has traced itself."""

    wp: str
    role: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


def most_at_once(runs: Iterable[AgentRun]) -> int:
    """Return how many agents ran at the same time at most."""
    marks = [mark for run in runs for mark in ((run.start, 1), (run.end, -1))]
    now = most = 0
    for _, step in sorted(marks):  # at the same moment, an end comes first
        now += step
        most = max(most, now)
    return most


@dataclass(frozen=True)
class Wait:
    """A start of an agent: when it was possible, when it was, and what it came after."""

    run: AgentRun
    possible: float
    after: AgentRun | None
    """What ended last of all that it had to wait for; None: nothing but the host."""
    handed_over: bool
    """Whether another agent was at the same work package before."""

    @property
    def seconds(self) -> float:
        """How long it was possible and was not done."""
        return self.run.start - self.possible


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A whole run of an orchestrator, on one clock."""

    dag: Dag
    slots: int
    started: float
    ended: float
    first_answer: float
    """When the host had answered for the first time."""
    done: Mapping[str, float] = field(default_factory=dict)
    """When the host had answered that a work package is done."""
    runs: Sequence[AgentRun] = ()

    @property
    def wall(self) -> float:
        """Seconds from the start of its process to its exit."""
        return self.ended - self.started

    def work(self) -> dict[str, float]:
        """Return the seconds each work package needs: the shortest run of each role."""
        shortest: dict[tuple[str, str], float] = {}
        for run in self.runs:
            key = (run.wp, run.role)
            shortest[key] = min(run.seconds, shortest.get(key, run.seconds))
        return {wp: sum(s for (name, _), s in shortest.items() if name == wp) for wp in self.dag}

    def waits(self) -> list[Wait]:
        """Tell of each start of an agent what it waited for.

        An agent at a work package that another was at before can be started when that one has
        ended; the first one when the host has said that all dependencies are done. Each takes
        a slot: that of the agent before it, else the one that has been free for longest.
        """
        slots: list[AgentRun | None] = [None] * self.slots
        last: dict[str, AgentRun] = {}
        found = []
        for run in sorted(self.runs, key=lambda r: r.start):
            before = last.get(run.wp)
            free = [i for i, s in enumerate(slots) if s is None or s.end <= run.start]
            if not free:  # more agents than slots: somebody else's idea of a slot
                slots.append(None)
                free = [len(slots) - 1]
            own = [i for i in free if before is not None and slots[i] is before]
            slot = own[0] if own else min(free, key=lambda i: _end(slots[i]))
            causes = [r for r in (before, slots[slot]) if r is not None]
            possible = max([self.first_answer, *(r.end for r in causes)])
            if before is None:
                needs = self.dag.get(run.wp, [])
                causes += [last[name] for name in needs if name in last]
                possible = max([possible, *(self.done.get(name, 0.0) for name in needs)])
            after = max(causes, key=_end, default=None)
            found.append(Wait(run, min(possible, run.start), after, before is not None))
            slots[slot] = last[run.wp] = run
        return found

    def account(self) -> dict[str, float]:
        """Say where the time went that is more than the lower bound; it adds up to that.

        From the end of the run backwards: each agent came after another, and that after another,
        to the first. What lies between two of them was lost, and so is what agents on this way
        took more than the bound, because they were not started in the best order.
        """
        if not self.runs:
            return {}
        waits = {wait.run: wait for wait in self.waits()}
        run: AgentRun | None = max(self.runs, key=_end)
        lost = dict.fromkeys(("first_answer", "first_agent", "to_review", "done", "next"), 0.0)
        lost |= {"end": self.ended - _end(run), "order": -self.bound()}
        lost["first_answer"] = self.first_answer - self.started
        while run is not None:
            wait = waits[run]
            lost["order"] += run.seconds
            gap = run.start - (self.first_answer if wait.after is None else wait.after.end)
            if wait.after is None:
                lost["first_agent"] += gap
            elif wait.handed_over and wait.after.wp == run.wp:
                lost["to_review"] += gap
            else:
                told = self.done.get(wait.after.wp, wait.after.end) - wait.after.end
                told = min(max(told, 0.0), gap)
                lost["done"] += told
                lost["next"] += gap - told
            run = wait.after
        return lost

    def bound(self) -> float:
        """Return the lower bound for what the agents really took."""
        return lower_bound(self.dag, self.work(), self.slots)


def _end(run: AgentRun | None) -> float:
    return run.end if run else 0.0
