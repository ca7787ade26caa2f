"""The lanes a work package moves through, and the ways between them in each dialect.

Source: every host from 1.0.0 to 3.2.7 and 4.0.0rc7; ``tests/corpus`` holds an attempt at
every pair of lanes on each of them.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache

from spec_kitty_client.contract.dialects import Dialect, Feature

__all__ = [
    "POLICY_LANES",
    "AnyLane",
    "Lane",
    "Need",
    "UnknownLane",
    "allowed",
    "lanes_of",
    "needs",
    "parse_lane",
]


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
"""Targets for which ``transition`` carries a policy: hosts from 3.1.1 on need it for all of
them, older ones for those that they have, but for approved."""


def parse_lane(value: str) -> AnyLane:
    """Turn the host's word into a lane; ``doing`` is the old name of ``in_progress``."""
    try:
        return _ALIASES.get(value) or Lane(value)
    except ValueError:
        return UnknownLane(value)


class Need(StrEnum):
    """What a transition has to bring along."""

    NOTE = "note"
    REVIEW_REF = "review_ref"
    EVIDENCE = "evidence"
    REVIEW_RESULT = "review_result"
    FORCE = "force"
    """The host's rule asks for something that its command line has no option for."""


Needs = frozenset[Need]
_NOTHING: Needs = frozenset()
_FORCED: Needs = frozenset({Need.FORCE, Need.NOTE})
_Ways = dict[tuple[Lane, Lane], Needs]


def lanes_of(dialect: Dialect) -> frozenset[Lane]:
    """Return the lanes that a dialect has."""
    later = {
        Lane.CLAIMED: Feature.CLAIMED_LANE,
        Lane.APPROVED: Feature.APPROVED_LANE,
        Lane.IN_REVIEW: Feature.IN_REVIEW_LANE,
    }
    return frozenset(a for a in Lane if a not in later or dialect.has(later[a]))


def allowed(before: AnyLane, after: AnyLane, dialect: Dialect) -> bool:
    """Return whether a host lets a work package move from one lane to another.

    What the move has to bring along is told by `needs`. That force opens every way is
    not counted: it switches the rules off.
    """
    return (before, after) in ways(dialect)


def needs(before: AnyLane, after: AnyLane, dialect: Dialect) -> Needs:
    """Return what a move has to bring along, beside the actor and, to some lanes, a policy.

    Raises:
        KeyError: If it is not `allowed`.
    """
    return ways(dialect)[before, after]  # type: ignore[index]  # an unknown lane is no member


@cache
def ways(dialect: Dialect) -> Mapping[tuple[Lane, Lane], Needs]:
    """Return every move that a dialect allows, with its needs."""
    if dialect is Dialect.F1:
        return _f1()
    reviewed = _in_review() if dialect.has(Feature.IN_REVIEW_LANE) else _for_review()
    return {move: _passable(n, dialect) for move, n in (_common() | reviewed).items()}


def _passable(wanted: Needs, dialect: Dialect) -> Needs:
    """What there is no option for can only be forced, which takes a note (2.1.0 and later)."""
    options = {Need.EVIDENCE: Feature.EVIDENCE, Need.REVIEW_RESULT: Feature.REVIEW_RESULT}
    missing = any(n in wanted and not dialect.has(f) for n, f in options.items())
    return _FORCED if missing else wanted


def _to(*after: Lane, before: Iterable[Lane], needs: Need | None = None) -> _Ways:
    wanted = _NOTHING if needs is None else frozenset({needs})
    return {(b, a): wanted for b in before for a in after}


def _f1() -> _Ways:
    """1.0.0 to 1.0.3. Staying where one is is a silent success there; 1.0.2 added the way back."""
    every = lanes_of(Dialect.F1)
    return (
        {(lane, lane): _NOTHING for lane in every}
        | _to(Lane.IN_PROGRESS, before=[Lane.PLANNED])
        | _to(Lane.FOR_REVIEW, before=[Lane.IN_PROGRESS])
        | _to(Lane.IN_PROGRESS, Lane.PLANNED, before=[Lane.FOR_REVIEW], needs=Need.REVIEW_REF)
        | _to(Lane.DONE, before=[Lane.FOR_REVIEW])
        | _to(Lane.BLOCKED, Lane.CANCELED, before=every)
    )


def _common() -> _Ways:
    """2.1.0 and later, wherever a review happens."""
    under_way = [Lane.PLANNED, Lane.CLAIMED, Lane.IN_PROGRESS, Lane.FOR_REVIEW, Lane.APPROVED]
    return (
        _to(Lane.CLAIMED, before=[Lane.PLANNED])
        | _to(Lane.IN_PROGRESS, before=[Lane.CLAIMED, Lane.BLOCKED])
        | _to(Lane.FOR_REVIEW, before=[Lane.IN_PROGRESS])
        | _to(Lane.APPROVED, before=[Lane.IN_PROGRESS], needs=Need.EVIDENCE)
        | _to(Lane.PLANNED, before=[Lane.IN_PROGRESS], needs=Need.NOTE)
        | _to(Lane.DONE, before=[Lane.APPROVED], needs=Need.EVIDENCE)
        | _to(Lane.IN_PROGRESS, Lane.PLANNED, before=[Lane.APPROVED], needs=Need.REVIEW_REF)
        | _to(Lane.BLOCKED, Lane.CANCELED, before=under_way)
        | _to(Lane.CANCELED, before=[Lane.BLOCKED])
    )


def _for_review() -> _Ways:
    """2.1.0 to 3.1.0: a review happens in for_review."""
    back = (Lane.IN_PROGRESS, Lane.PLANNED)
    return _to(Lane.APPROVED, Lane.DONE, before=[Lane.FOR_REVIEW], needs=Need.EVIDENCE) | _to(
        *back, before=[Lane.FOR_REVIEW], needs=Need.REVIEW_REF
    )


def _in_review() -> _Ways:
    """3.1.1 and later: a review has a lane of its own, left only with its result."""
    out = (
        Lane.APPROVED,
        Lane.DONE,
        Lane.IN_PROGRESS,
        Lane.PLANNED,
        Lane.BLOCKED,
        Lane.CANCELED,
    )
    return _to(Lane.IN_REVIEW, before=[Lane.FOR_REVIEW]) | _to(
        *out, before=[Lane.IN_REVIEW], needs=Need.REVIEW_RESULT
    )
