"""The lanes a work package moves through, and which of them need a policy.

Source: host contract 1.4.0 and 1.5.0 (host 3.2.6 and 3.2.7).
"""

from enum import StrEnum

__all__ = ["POLICY_LANES", "AnyLane", "Lane", "UnknownLane", "parse_lane"]


class Lane(StrEnum):
    """A lane of the host's board."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    IN_PROGRESS = "in_progress"
    FOR_REVIEW = "for_review"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    DONE = "done"
    BLOCKED = "blocked"
    CANCELED = "canceled"


class UnknownLane(str):
    """A lane this SDK has no name for, kept as the host spelled it.

    Hosts add lanes. One that is unknown can be read and compared, but not be the
    target of a transition: hosts answer an unknown target with a traceback.
    """

    __slots__ = ()


AnyLane = Lane | UnknownLane

_ALIASES = {"doing": Lane.IN_PROGRESS}

POLICY_LANES = frozenset(
    {Lane.CLAIMED, Lane.IN_PROGRESS, Lane.FOR_REVIEW, Lane.IN_REVIEW, Lane.APPROVED}
)
"""Targets for which ``transition`` must carry a policy (host 3.1.1 and later)."""


def parse_lane(value: str) -> AnyLane:
    """Turn the host's word into a lane; ``doing`` is the old name of ``in_progress``."""
    try:
        return _ALIASES.get(value) or Lane(value)
    except ValueError:
        return UnknownLane(value)
