"""How many agents may work at the same time: altogether, in a role, and of one name."""

from collections import Counter
from collections.abc import Mapping

from attrs import field, frozen

from spec_kitty_orchestrator.settings import Settings
from spec_kitty_orchestrator.state.history import Role

__all__ = ["Limit", "Slots", "limits_of"]

_ROLES: tuple[Role, ...] = ("implement", "review")


@frozen
class Limit:
    """How many may work at the same time in some roles together."""

    most: int
    roles: frozenset[Role]


def limits_of(settings: Settings, agents: Mapping[Role, str]) -> tuple[Limit, ...]:
    """Return the limits of a run; that of an agent is one of the roles which it has."""
    limits = [Limit(settings.max_concurrent, frozenset(_ROLES))]
    of_roles = zip(_ROLES, (settings.max_implementing, settings.max_reviewing), strict=True)
    limits += [Limit(most, frozenset({role})) for role, most in of_roles if most is not None]
    for name, most in settings.max_per_agent.items():
        limits.append(Limit(most, frozenset(role for role in _ROLES if agents[role] == name)))
    return tuple(limits)


@frozen
class Slots:
    """The slots of a run, and who has taken one."""

    limits: tuple[Limit, ...]
    taken: Counter[Role] = field(factory=Counter[Role])

    def free(self, role: Role) -> int:
        """Return how many more may start in a role."""
        room = [
            limit.most - sum(self.taken[other] for other in limit.roles)
            for limit in self.limits
            if role in limit.roles
        ]
        return max(0, min(room))
