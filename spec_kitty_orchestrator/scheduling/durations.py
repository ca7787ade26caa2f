"""How long agents take, as the journal tells: what the order of work is reckoned with."""

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from statistics import median

from attrs import define, field

from spec_kitty_orchestrator.state.history import Role
from spec_kitty_orchestrator.state.journal import Event

__all__ = ["Durations", "learn"]

_LAST = 20  # runs of one agent in one role: enough for a median, and recent
_LEAST = 0.001  # seconds; nothing takes no time


def _recent() -> deque[float]:
    return deque(maxlen=_LAST)


@define
class Durations:
    """Seconds from the start of a run of an agent to its result, for each agent and role.

    Runs that failed or were stopped say nothing of how long the work takes. The median does
    not mind one that was found ended in the morning.
    """

    _begun: dict[tuple[str, str], Event] = field(factory=dict)
    """The runs that are open, by mission and work package."""
    _seconds: defaultdict[tuple[str, Role], deque[float]] = field(
        factory=lambda: defaultdict(_recent)
    )

    def apply(self, event: Event) -> None:
        """Take in one more event, of whatever mission."""
        match event["kind"]:
            case "attempt-started":
                self._begun[event["mission"], event["wp"]] = event
            case "implemented" | "verdict":
                if begun := self._begun.pop((event["mission"], event["wp"]), None):
                    seconds = max(_LEAST, event["at"] - begun["at"])
                    self._seconds[begun["agent"], begun["role"]].append(seconds)
            case "attempt-failed" | "attempt-stopped":
                self._begun.pop((event["mission"], event["wp"]), None)
            case _:
                pass

    def costs(self, agents: Mapping[Role, str]) -> dict[Role, float]:
        """Return what a step of each role takes; where nothing is known, as long as another."""
        known = {
            role: median(self._seconds[name, role])
            for role, name in agents.items()
            if (name, role) in self._seconds
        }
        usual = max(known.values(), default=1.0)
        return {role: known.get(role, usual) for role in agents}


def learn(events: Iterable[Event]) -> Durations:
    """Return what a journal tells; what this version cannot read is passed over."""
    durations = Durations()
    for event in events:
        with suppress(KeyError, TypeError):
            durations.apply(event)
    return durations
