"""The lanes of work packages, and the moves between lanes that each dialect allows.

Source: every host from 1.0.0 to 3.2.7 and 4.0.0rc7; ``tests/corpus`` has the recorded answer of
each of them to every pair of lanes.
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
    """A lane of a mission's board: the state of a work package."""

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
    """A lane that this SDK does not know, spelled as the host reported it.

    Newer hosts may add lanes. An unknown lane can be read and compared, but is no valid target of
    a transition: hosts answer an unknown target with a traceback.
    """

    __slots__ = ()


AnyLane = Lane | UnknownLane

_ALIASES = {"doing": Lane.IN_PROGRESS}

POLICY_LANES = frozenset(
    {Lane.CLAIMED, Lane.IN_PROGRESS, Lane.FOR_REVIEW, Lane.IN_REVIEW, Lane.APPROVED}
)
"""The targets for which ``transition`` needs a policy. Hosts before 3.1.1 need none for
``approved``."""


def parse_lane(value: str) -> AnyLane:
    """Return the lane for a host's word; ``doing`` is an old name of ``in_progress``."""
    try:
        return _ALIASES.get(value) or Lane(value)
    except ValueError:
        return UnknownLane(value)


class Need(StrEnum):
    """An option that the host requires for a transition."""

    NOTE = "note"
    REVIEW_REF = "review_ref"
    EVIDENCE = "evidence"
    REVIEW_RESULT = "review_result"
    FORCE = "force"
    """The host's rule requires something that its command line has no option for."""


Needs = frozenset[Need]
_NOTHING: Needs = frozenset()
_FORCED: Needs = frozenset({Need.FORCE, Need.NOTE})
_Moves = dict[tuple[Lane, Lane], Needs]


def lanes_of(dialect: Dialect) -> frozenset[Lane]:
    """Return the lanes that a dialect has."""
    later = {
        Lane.CLAIMED: Feature.CLAIMED_LANE,
        Lane.APPROVED: Feature.APPROVED_LANE,
        Lane.IN_REVIEW: Feature.IN_REVIEW_LANE,
    }
    return frozenset(a for a in Lane if a not in later or dialect.has(later[a]))


def allowed(before: AnyLane, after: AnyLane, dialect: Dialect) -> bool:
    """Return whether a dialect allows a move from one lane to another.

    Moves that are possible only with ``--force`` are not included, except those whose required
    option is missing from the command line; see `needs`.

    Args:
        before: The lane of the work package.
        after: The lane to move to.
        dialect: The dialect of the host.
    """
    return (before, after) in moves(dialect)


def needs(before: AnyLane, after: AnyLane, dialect: Dialect) -> Needs:
    """Return the options that a move requires, beside the actor and, to some lanes, a policy.

    Args:
        before: The lane of the work package.
        after: The lane to move to.
        dialect: The dialect of the host.

    Raises:
        KeyError: If the move is not `allowed`.
    """
    return moves(dialect)[before, after]  # type: ignore[index]  # no key is an unknown lane


@cache
def moves(dialect: Dialect) -> Mapping[tuple[Lane, Lane], Needs]:
    """Return every move that a dialect allows, with the options that it requires."""
    if dialect is Dialect.F1:
        return _f1()
    reviewed = _in_review() if dialect.has(Feature.IN_REVIEW_LANE) else _for_review()
    return {move: _passable(n, dialect) for move, n in (_common() | reviewed).items()}


def _passable(wanted: Needs, dialect: Dialect) -> Needs:
    """Require force and a note if the dialect lacks a required option (2.1.0 and later)."""
    options = {Need.EVIDENCE: Feature.EVIDENCE, Need.REVIEW_RESULT: Feature.REVIEW_RESULT}
    missing = any(n in wanted and not dialect.has(f) for n, f in options.items())
    return _FORCED if missing else wanted


def _to(*after: Lane, before: Iterable[Lane], needs: Need | None = None) -> _Moves:
    wanted = _NOTHING if needs is None else frozenset({needs})
    return {(b, a): wanted for b in before for a in after}


def _f1() -> _Moves:
    """1.0.0 to 1.0.3. A move to the same lane succeeds; 1.0.2 added for_review to planned."""
    every = lanes_of(Dialect.F1)
    return (
        {(lane, lane): _NOTHING for lane in every}
        | _to(Lane.IN_PROGRESS, before=[Lane.PLANNED])
        | _to(Lane.FOR_REVIEW, before=[Lane.IN_PROGRESS])
        | _to(Lane.IN_PROGRESS, Lane.PLANNED, before=[Lane.FOR_REVIEW], needs=Need.REVIEW_REF)
        | _to(Lane.DONE, before=[Lane.FOR_REVIEW])
        | _to(Lane.BLOCKED, Lane.CANCELED, before=every)
    )


def _common() -> _Moves:
    """2.1.0 and later: the moves that do not depend on the lane of a review."""
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


def _for_review() -> _Moves:
    """2.1.0 to 3.1.0: the moves out of a review, which happens in for_review."""
    back = (Lane.IN_PROGRESS, Lane.PLANNED)
    return _to(Lane.APPROVED, Lane.DONE, before=[Lane.FOR_REVIEW], needs=Need.EVIDENCE) | _to(
        *back, before=[Lane.FOR_REVIEW], needs=Need.REVIEW_REF
    )


def _in_review() -> _Moves:
    """3.1.1 and later: the moves into and out of in_review; each move out needs a result."""
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
