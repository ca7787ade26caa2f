"""How much work is left: of a work package, and of the longest chain that waits for it."""

from collections.abc import Mapping, Sequence

from spec_kitty_client import AnyLane, Lane, WorkPackage
from spec_kitty_orchestrator.state.history import Role

__all__ = ["ENDED", "Costs", "behind", "left"]

Costs = Mapping[Role, float]
"""What a step of each role takes, in whatever unit."""

ENDED = frozenset({Lane.DONE, Lane.CANCELED})


def left(lane: AnyLane, costs: Costs) -> float:
    """Return what is left to do at a work package, as far as its lane tells."""
    if lane in ENDED or lane == Lane.APPROVED:
        return 0.0
    if lane in (Lane.FOR_REVIEW, Lane.IN_REVIEW):
        return costs["review"]
    return costs["implement"] + costs["review"]


def behind(
    packages: Mapping[str, WorkPackage], dependents: Mapping[str, Sequence[str]], costs: Costs
) -> dict[str, float]:
    """Return the length of the longest chain that waits behind each; cycles count as none."""
    longest = dict.fromkeys(packages, 0.0)
    unseen = {name: len(dependents[name]) for name in packages}
    todo = [name for name, count in unseen.items() if count == 0]
    while todo:
        name = todo.pop()
        wp = packages[name]
        # Nothing waits for what has ended, nor for what waits behind that.
        length = 0.0 if wp.lane in ENDED else left(wp.lane, costs) + longest[name]
        for dependency in dict.fromkeys(wp.dependencies):
            if dependency in packages:
                longest[dependency] = max(longest[dependency], length)
                unseen[dependency] -= 1
                if unseen[dependency] == 0:
                    todo.append(dependency)
    return longest
