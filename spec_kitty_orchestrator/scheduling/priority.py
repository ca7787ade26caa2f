"""Estimate how much work is left, in expected seconds of agents.

The longest chain of work that waits for a work package (its critical path) decides which one
starts first. The seconds come from the journal: the median of an agent's recent runs.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from attrs import define, field

from spec_kitty_client import AnyLane, Lane, WorkPackage
from spec_kitty_orchestrator.roles import ENDED, Role
from spec_kitty_orchestrator.state.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
    Event,
    Implemented,
    VerdictGiven,
)

__all__ = ["Costs", "Durations", "critical_path", "learn_durations", "remaining_work"]

Costs = Mapping[Role, float]
"""The expected seconds of a step of each role."""

_RECENT_RUNS = 20  # per agent and role: enough for a median, and recent
_SHORTEST = 0.001  # seconds; a clock that was set back must not make work free


def remaining_work(lane: AnyLane, costs: Costs) -> float:
    """Return the seconds of agent work that a work package in a lane still needs."""
    if lane in ENDED or lane == Lane.APPROVED:
        return 0.0
    if lane in (Lane.FOR_REVIEW, Lane.IN_REVIEW):
        return costs["review"]
    return costs["implement"] + costs["review"]


def critical_path(
    packages: Mapping[str, WorkPackage], dependents: Mapping[str, Sequence[str]], costs: Costs
) -> dict[str, float]:
    """Return the seconds of the longest chain of dependents behind each work package.

    Args:
        packages: The work packages by name.
        dependents: The names of those that depend on each.
        costs: The expected seconds of a step of each role.

    Returns:
        The seconds by name, without the work package's own. Cycles count as nothing.
    """
    longest = dict.fromkeys(packages, 0.0)
    unseen = {name: len(dependents[name]) for name in packages}
    todo = [name for name, count in unseen.items() if count == 0]
    while todo:
        name = todo.pop()
        wp = packages[name]
        # An ended work package delays no other one, and neither does the chain behind it.
        length = 0.0 if wp.lane in ENDED else remaining_work(wp.lane, costs) + longest[name]
        for dependency in dict.fromkeys(wp.dependencies):
            if dependency in packages:
                longest[dependency] = max(longest[dependency], length)
                unseen[dependency] -= 1
                if unseen[dependency] == 0:
                    todo.append(dependency)
    return longest


def _recent() -> deque[float]:
    return deque(maxlen=_RECENT_RUNS)


@define
class Durations:
    """The seconds from the start of an agent run to its result, per agent and role.

    Failed and stopped runs do not count, because they do not show how long the work takes.
    The median tolerates a run whose end was noticed only the next morning.
    """

    _running: dict[tuple[str, str], AttemptStarted] = field(factory=dict)
    """The open runs, by mission and work package."""
    _seconds: defaultdict[tuple[str, Role], deque[float]] = field(
        factory=lambda: defaultdict(_recent)
    )

    def apply(self, event: Event) -> None:
        """Learn from one more event, of any mission."""
        match event:
            case AttemptStarted():
                self._running[event.mission, event.wp] = event
            case Implemented() | VerdictGiven():
                if start := self._running.pop((event.mission, event.wp), None):
                    seconds = max(_SHORTEST, event.at - start.at)
                    self._seconds[start.agent, start.role].append(seconds)
            case AttemptFailed() | AttemptStopped():
                self._running.pop((event.mission, event.wp), None)
            case _:
                pass

    def costs(self, agents: Mapping[Role, str]) -> dict[Role, float]:
        """Return the expected seconds of a step of each role.

        Args:
            agents: The name of the agent in each role.

        Returns:
            The median of the agent's recent runs. A role without any is taken to be as slow as
            the slowest known one; with none known at all, each role costs 1.0.
        """
        known = {
            role: median(self._seconds[name, role])
            for role, name in agents.items()
            if (name, role) in self._seconds
        }
        usual = max(known.values(), default=1.0)
        return {role: known.get(role, usual) for role in agents}


def learn_durations(events: Iterable[Event]) -> Durations:
    """Return the durations learned from the events of a journal."""
    durations = Durations()
    for event in events:
        durations.apply(event)
    return durations
