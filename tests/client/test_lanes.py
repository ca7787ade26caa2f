"""Tests of `spec_kitty_client.lanes`."""

import pickle

import pytest

from spec_kitty_client.lanes import POLICY_LANES, Lane, UnknownLane, parse_lane

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
    """The old name of a lane is understood."""
    assert parse_lane("doing") is Lane.IN_PROGRESS


@pytest.mark.parametrize("word", ["genesis", "", "Planned", "in review", "übergabe"])
def test_an_unknown_lane_is_kept_as_it_came(word: str) -> None:
    """A host that adds a lane does not break a reader, and the word is not changed."""
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
    """A lane can be sent to another process."""
    copy = pickle.loads(pickle.dumps(lane))  # noqa: S301

    assert copy == lane
    assert type(copy) is type(lane)


def test_the_targets_that_need_a_policy() -> None:
    """The five lanes in which somebody works or reviews need one; the others do not."""
    without = {Lane.PLANNED, Lane.DONE, Lane.BLOCKED, Lane.CANCELED}

    assert frozenset(Lane) - without == POLICY_LANES
