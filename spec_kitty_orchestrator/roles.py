"""The roles of agents, and the lanes in which each role has to act."""

from collections.abc import Mapping
from typing import Literal

from spec_kitty_client import AnyLane, Lane

__all__ = ["ENDED", "ROLES", "Role"]

Role = Literal["implement", "review"]
"""The part that an agent plays at a work package."""

ROLES: Mapping[AnyLane, Role] = {
    Lane.APPROVED: "review",
    Lane.IN_REVIEW: "review",
    Lane.FOR_REVIEW: "review",
    Lane.IN_PROGRESS: "implement",
    Lane.CLAIMED: "implement",
    Lane.PLANNED: "implement",
}
"""The role that acts next in each lane. The lane nearest to the end comes first."""

ENDED = frozenset({Lane.DONE, Lane.CANCELED})
"""The lanes in which nothing is left to do."""
