"""Strategies for lanes, and for moves between lanes."""

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

# Lanes that hosts use internally or may get, and any other text.
_STRANGE = st.sampled_from(["genesis", "uninitialized", "rework"]) | st.text(max_size=12)


@frozen(kw_only=True)
class Move:
    """A move of a work package from one lane to another, in one dialect."""

    dialect: Dialect
    before: Lane
    after: Lane
    needs: frozenset[Need] | None
    """The options that ``transition`` requires, beside actor and policy; None: no host of this
    dialect allows the move without force."""


@overload
def lanes(
    dialect: Dialect | None = None, *, unknown: Literal[False] = False
) -> st.SearchStrategy[Lane]: ...
@overload
def lanes(dialect: Dialect | None = None, *, unknown: bool) -> st.SearchStrategy[AnyLane]: ...
def lanes(
    dialect: Dialect | None = None, *, unknown: bool = False
) -> st.SearchStrategy[Lane] | st.SearchStrategy[AnyLane]:
    """Draw a lane, for code that must handle all lanes. Shrinks to ``planned``.

    Args:
        dialect: Only lanes of this dialect; None: all lanes.
        unknown: Also draw lanes that this SDK does not know, as newer hosts may report. They
            can be read, but are no target of a transition.
    """
    has = set(Lane) if dialect is None else lanes_of(dialect)
    known = st.sampled_from([lane for lane in Lane if lane in has])
    return known | _unknown() if unknown else known


def _unknown() -> st.SearchStrategy[UnknownLane]:
    return _STRANGE.filter(lambda word: isinstance(parse_lane(word), UnknownLane)).map(UnknownLane)


def transitions(dialect: Dialect | None = None, *, allowed: bool = True) -> st.SearchStrategy[Move]:
    """Draw a move, for code that decides or predicts moves of work packages.

    Both lanes are lanes of the dialect. Shrinks to the first move of the oldest dialect, in the
    order of the lanes.

    Args:
        dialect: The dialect whose rules apply; None: any dialect.
        allowed: True: draw moves that hosts allow with the required options. False: draw moves
            that no host allows. Staying in a lane counts as a move.
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
