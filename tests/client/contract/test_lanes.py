"""Tests of `spec_kitty_client.contract.lanes`."""

import pickle

import pytest

from spec_kitty_client.contract.dialects import Dialect
from spec_kitty_client.contract.lanes import (
    POLICY_LANES,
    Lane,
    Need,
    UnknownLane,
    allowed,
    lanes_of,
    needs,
    parse_lane,
)
from tests.client.releases import EDGES, OPTIONLESS

CONTRACT = (
    "planned",
    "claimed",
    "in_progress",
    "for_review",
    "in_review",
    "approved",
    "done",
    "blocked",
    "canceled",
)


def test_the_lanes_are_those_of_the_contract() -> None:
    """No lane of contract 1.5.0 is missing, invented or misspelled."""
    assert tuple(Lane) == CONTRACT


@pytest.mark.parametrize("word", CONTRACT)
def test_a_word_of_the_contract_becomes_a_lane(word: str) -> None:
    """A lane that the SDK knows is a member, so it can be compared by identity."""
    assert parse_lane(word) is Lane(word)


def test_doing_is_in_progress() -> None:
    """The SDK reads doing, the old name of the lane, as in_progress."""
    assert parse_lane("doing") is Lane.IN_PROGRESS


@pytest.mark.parametrize("word", ["genesis", "", "Planned", "in review", "übergabe"])
def test_an_unknown_lane_is_kept_as_it_came(word: str) -> None:
    """The SDK keeps the text of a lane that it does not know."""
    lane = parse_lane(word)

    assert type(lane) is UnknownLane
    assert lane == word


@pytest.mark.parametrize("lane", [Lane.DONE, UnknownLane("parked")])
def test_a_lane_is_text(lane: Lane | UnknownLane) -> None:
    """Both kinds of lane print as the host spells them and work as keys of plain text."""
    assert f"{lane}" == str(lane) == "".join(lane)
    assert {lane: 1}[str(lane)] == 1


@pytest.mark.parametrize("lane", [Lane.DONE, UnknownLane("parked")])
def test_a_lane_keeps_its_type_when_pickled(lane: Lane | UnknownLane) -> None:
    """A pickled lane keeps its text and its type."""
    copy = pickle.loads(pickle.dumps(lane))  # noqa: S301

    assert copy == lane
    assert type(copy) is type(lane)


def test_the_targets_that_need_a_policy() -> None:
    """Every lane but planned, done, blocked and canceled needs a policy."""
    without = {Lane.PLANNED, Lane.DONE, Lane.BLOCKED, Lane.CANCELED}

    assert frozenset(Lane) - without == POLICY_LANES


LANES = {
    "F1": set(CONTRACT) - {"claimed", "approved", "in_review"},
    "F2": set(CONTRACT) - {"in_review"},
    "M0": set(CONTRACT) - {"in_review"},
    **{name: set(CONTRACT) for name in ("M1", "M2", "M3", "M4", "M5")},
}
every_dialect = pytest.mark.parametrize("dialect", Dialect)


@every_dialect
def test_the_lanes_of_a_dialect(dialect: Dialect) -> None:
    """1.0.x has six lanes; claimed and approved came with 2.1.0, in_review with 3.1.1."""
    assert lanes_of(dialect) == LANES[dialect]


@every_dialect
@pytest.mark.parametrize("before", Lane)
def test_the_ways_out_of_a_lane(dialect: Dialect, before: Lane) -> None:
    """A dialect allows exactly the moves that its hosts allow."""
    found = {after for after in Lane if allowed(before, after, dialect)}

    assert found == {b for a, b in EDGES[dialect] if a == before}


@every_dialect
def test_what_the_ways_of_a_dialect_need(dialect: Dialect) -> None:
    """A move needs the option that its rule requires, or force and a note without one."""
    for (before, after), guard in EDGES[dialect].items():
        given = {Need(guard)} if guard else set()
        if guard in OPTIONLESS.get(dialect, ()):
            given = {Need.FORCE, Need.NOTE}
        assert needs(Lane(before), Lane(after), dialect) == given


@every_dialect
def test_force_is_needed_only_where_there_is_no_option(dialect: Dialect) -> None:
    """Force is needed for evidence up to 3.0.3, and for review results in 3.1.1 to 3.2.5."""
    forced = {move for move in EDGES[dialect] if Need.FORCE in needs(*map(Lane, move), dialect)}
    optionless = OPTIONLESS.get(dialect, set())

    assert forced == {move for move, guard in EDGES[dialect].items() if guard in optionless}
    assert bool(forced) is (dialect in ("F2", "M1", "M2", "M3"))


@every_dialect
@pytest.mark.parametrize("lane", [Lane.DONE, Lane.CANCELED])
def test_what_has_ended_stays_ended(dialect: Dialect, lane: Lane) -> None:
    """No move leaves done or canceled, except to blocked or canceled on 1.0.x."""
    targets = {after for after in Lane if allowed(lane, after, dialect)}

    assert targets <= ({Lane.BLOCKED, Lane.CANCELED, lane} if dialect is Dialect.F1 else set())


@every_dialect
def test_there_is_no_way_from_or_to_an_unknown_lane(dialect: Dialect) -> None:
    """No move from or to an unknown lane is allowed."""
    parked = UnknownLane("parked")

    assert not any(allowed(parked, lane, dialect) for lane in Lane)
    assert not any(allowed(lane, parked, dialect) for lane in Lane)


def test_the_needs_of_a_way_that_is_none() -> None:
    """The needs of a move that is not allowed raise KeyError."""
    with pytest.raises(KeyError):
        needs(Lane.PLANNED, Lane.DONE, Dialect.M4)
