"""The lower bound for the time of a run, and the causes of the rest.

This module measures nothing: it computes from the traces of agents and host.
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
    random = Random(seed)  # noqa: S311 - repeatable with a seed
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
    """Return the larger of the longest path and the time that the slots need for all work."""
    until: dict[str, float] = {}
    for wp, needs in dag.items():
        until[wp] = seconds[wp] + max((until[name] for name in needs), default=0.0)
    return max(*until.values(), sum(seconds.values()) / slots)


@dataclass(frozen=True)
class AgentRun:
    """One run of an agent, from its trace."""

    wp: str
    role: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """The duration of the run."""
        return self.end - self.start


def most_at_once(runs: Iterable[AgentRun]) -> int:
    """Return the maximum number of agents that ran at the same time."""
    marks = [mark for run in runs for mark in ((run.start, 1), (run.end, -1))]
    now = most = 0
    for _, step in sorted(marks):  # at the same moment, an end comes first
        now += step
        most = max(most, now)
    return most


@dataclass(frozen=True)
class Wait:
    """A start of an agent: the earliest possible time, the real one, and the run before it."""

    run: AgentRun
    possible: float
    after: AgentRun | None
    """The last agent run that it had to wait for; None: it waited for the host only."""
    handed_over: bool
    """Whether another agent was at the same work package before."""

    @property
    def seconds(self) -> float:
        """The time between the earliest possible start and the real one."""
        return self.run.start - self.possible


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A whole run of an orchestrator, on one clock."""

    dag: Dag
    slots: int
    started: float
    ended: float
    first_answer: float
    """The time of the host's first answer."""
    done: Mapping[str, float] = field(default_factory=dict)
    """The time at which the host had answered that a work package is done."""
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
        """Return the wait of each start of an agent.

        The first agent of a work package can start when the host has answered that all dependencies
        are done; a later one when the agent before it has ended. Each takes a slot: that of the
        agent before it, else the one that has been free for longest.
        """
        slots: list[AgentRun | None] = [None] * self.slots
        last: dict[str, AgentRun] = {}
        found = []
        for run in sorted(self.runs, key=lambda r: r.start):
            before = last.get(run.wp)
            free = [i for i, s in enumerate(slots) if s is None or s.end <= run.start]
            if not free:  # more agents than slots: another orchestrator counts slots in another way
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
        """Return the time beyond the lower bound by cause; the parts add up to it.

        The chain goes from the last agent back to the first, each to the one that it waited for.
        The gaps between two agents are lost time, and so is the time of the agents in the chain
        beyond the bound, because of the order of starts.
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
        """Return the lower bound for the real durations of the agents."""
        return lower_bound(self.dag, self.work(), self.slots)


def _end(run: AgentRun | None) -> float:
    return run.end if run else 0.0
