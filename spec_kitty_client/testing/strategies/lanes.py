"""Strategies for the board: lanes, and the moves between them."""

from typing import Literal, overload

from attrs import frozen
from hypothesis import strategies as st

from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.contract.lanes import (
    AnyLane,
    Lane,
    Need,
    UnknownLane,
    lanes_of,
    moves,
    parse_lane,
)

__all__ = ["Move", "lanes", "transitions"]

# Some that hosts have inside or may get, one that nobody would think of.
_STRANGE = st.sampled_from(["genesis", "uninitialized", "rework"]) | st.text(max_size=12)


@frozen(kw_only=True)
class Move:
    """A work package's way from one lane to another, by the rules of a dialect."""

    dialect: Dialect
    before: Lane
    after: Lane
    needs: frozenset[Need] | None
    """What ``transition`` has to bring along, beside actor and policy; None: no host of this
    dialect allows it, whatever it brings (but force)."""


@overload
def lanes(
    dialect: Dialect | None = None, *, unknown: Literal[False] = False
) -> st.SearchStrategy[Lane]: ...
@overload
def lanes(dialect: Dialect | None = None, *, unknown: bool) -> st.SearchStrategy[AnyLane]: ...
def lanes(
    dialect: Dialect | None = None, *, unknown: bool = False
) -> st.SearchStrategy[Lane] | st.SearchStrategy[AnyLane]:
    """Choose a lane, for code that must cope with each of them. Shrinks to ``planned``.

    Args:
        dialect: Only the lanes that it has; None: of every dialect.
        unknown: Also draw lanes that this SDK has no name for, as a newer host may answer
            them. They can be read, but not be the target of a transition.
    """
    has = set(Lane) if dialect is None else lanes_of(dialect)
    known = st.sampled_from([lane for lane in Lane if lane in has])
    return known | _unknown() if unknown else known


def _unknown() -> st.SearchStrategy[UnknownLane]:
    return _STRANGE.filter(lambda word: isinstance(parse_lane(word), UnknownLane)).map(UnknownLane)


def transitions(dialect: Dialect | None = None, *, allowed: bool = True) -> st.SearchStrategy[Move]:
    """Choose a move, for code that takes or predicts decisions of the board.

    Shrinks to the move that comes first in the order of the board, of the oldest dialect.
    Both lanes are lanes of the dialect.

    Args:
        dialect: Whose rules; None: those of any.
        allowed: Draw moves that hosts allow if their needs are met, or else those that no
            host allows. To stay in a lane counts as a move.
    """
    whose = Dialect if dialect is None else [dialect]
    return st.sampled_from(
        [m for d in whose for m in _moves(d) if (m.needs is not None) is allowed]
    )


def _moves(dialect: Dialect) -> list[Move]:
    has, known = lanes_of(dialect), moves(dialect)
    board = [lane for lane in Lane if lane in has]
    return [
        Move(dialect=dialect, before=before, after=after, needs=known.get((before, after)))
        for before in board
        for after in board
    ]
