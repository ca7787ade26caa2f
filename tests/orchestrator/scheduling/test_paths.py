"""Tests of `spec_kitty_orchestrator.scheduling.paths`."""

from collections.abc import Mapping, Sequence

import pytest

from spec_kitty_client import WorkPackage
from spec_kitty_client.contract.lanes import parse_lane
from spec_kitty_orchestrator.scheduling.paths import Costs, behind, left

COSTS: Costs = {"implement": 10.0, "review": 3.0}


def chains(packages: Mapping[str, Sequence[str]], **lanes: str) -> dict[str, float]:
    """Return how much work waits behind each."""
    made = {
        wp: WorkPackage(
            wp_id=wp, lane=parse_lane(lanes.get(wp, "planned")), dependencies=tuple(needs)
        )
        for wp, needs in packages.items()
    }
    dependents = {wp: [name for name in made if wp in packages[name]] for wp in made}
    return behind(made, dependents, COSTS)


@pytest.mark.parametrize(
    ("lane", "seconds"),
    [
        ("planned", 13),
        ("claimed", 13),
        ("in_progress", 13),
        ("for_review", 3),
        ("in_review", 3),
        ("approved", 0),
        ("done", 0),
        ("canceled", 0),
        ("blocked", 13),
        ("hovering", 13),
    ],
)
def test_the_lane_says_what_is_left(lane: str, seconds: float) -> None:
    """What is past does not count; what a human has to open again may have it all before it."""
    assert left(parse_lane(lane), COSTS) == seconds


def test_the_longest_chain_counts() -> None:
    """Of several that wait, the one with the most work behind it decides."""
    needs = {"A": [], "B": ["A"], "C": ["A"], "D": ["C"]}
    assert chains(needs) == {"A": 26, "B": 0, "C": 13, "D": 0}


def test_what_is_past_makes_a_chain_shorter() -> None:
    """A dependent that is in review already is no longer a whole work package."""
    assert chains({"A": [], "B": ["A"]}, B="in_review") == {"A": 3, "B": 0}


@pytest.mark.parametrize("lane", ["done", "canceled"])
def test_nothing_waits_for_what_has_ended(lane: str) -> None:
    """Neither what has ended nor what depends on it gets anybody to begin earlier."""
    assert chains({"A": [], "B": ["A"], "C": ["B"]}, B=lane)["A"] == 0


def test_cycles_and_strangers_count_as_none() -> None:
    """A plan that contradicts itself, or names what is not there, is measured all the same."""
    needs = {"A": ["B", "Z"], "B": ["A"], "C": [], "D": ["C", "C"]}
    assert chains(needs) == {"A": 0, "B": 0, "C": 13, "D": 0}
