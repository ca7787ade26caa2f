"""Limit how many agents work at the same time: in total, per role, and per agent."""

from collections import Counter
from collections.abc import Mapping

from attrs import field, frozen

from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.settings import Settings

__all__ = ["Limit", "Slots", "limits_of"]

_BOTH: tuple[Role, ...] = ("implement", "review")


@frozen
class Limit:
    """The maximum number of agents that work at the same time in some roles together."""

    maximum: int
    roles: frozenset[Role]


def limits_of(settings: Settings, agents: Mapping[Role, str]) -> tuple[Limit, ...]:
    """Return the limits that the settings of a run ask for.

    Args:
        settings: The settings.
        agents: The name of the agent in each role. An agent in both roles has one limit for both.
    """
    limits = [Limit(settings.max_concurrent, frozenset(_BOTH))]
    of_roles = zip(_BOTH, (settings.max_implementing, settings.max_reviewing), strict=True)
    limits += [
        Limit(maximum, frozenset({role})) for role, maximum in of_roles if maximum is not None
    ]
    for name, maximum in settings.max_per_agent.items():
        limits.append(Limit(maximum, frozenset(role for role in _BOTH if agents[role] == name)))
    return tuple(limits)


@frozen
class Slots:
    """The slots of a run. Each is held by one work package while an agent works on it."""

    limits: tuple[Limit, ...]
    _holders: dict[str, Role] = field(factory=dict, init=False)
    _taken: Counter[Role] = field(factory=Counter[Role], init=False)

    def free(self, role: Role) -> int:
        """Return how many more agents may start in a role."""
        room = [
            limit.maximum - sum(self._taken[other] for other in limit.roles)
            for limit in self.limits
            if role in limit.roles
        ]
        return max(0, min(room))

    def take(self, name: str, role: Role) -> None:
        """Give a work package a slot."""
        self._holders[name] = role
        self._taken[role] += 1

    def release(self, name: str) -> bool:
        """Take back the slot of a work package; return whether it held one."""
        role = self._holders.pop(name, None)
        if role is None:
            return False
        self._taken[role] -= 1
        return True
