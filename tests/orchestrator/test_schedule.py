"""Tests of `spec_kitty_orchestrator.schedule`."""

import time
from collections.abc import Mapping, Sequence

import pytest

from spec_kitty_client import Lane, Mission, WorkPackage
from spec_kitty_client.lanes import parse_lane
from spec_kitty_orchestrator.schedule import Board


def mission(packages: Mapping[str, Sequence[str]], **lanes: str) -> Mission:
    """Return a mission: what each work package needs, and where it is if not planned."""
    made = tuple(
        WorkPackage(wp_id=wp, lane=parse_lane(lanes.get(wp, "planned")), dependencies=tuple(needs))
        for wp, needs in packages.items()
    )
    return Mission(mission_slug="m", summary={}, work_packages=made)


def board(packages: Mapping[str, Sequence[str]], ready: str = "", **lanes: str) -> Board:
    """Return a board with what is ready."""
    made = Board(ready=set(ready.split()))
    made.update(mission(packages, **lanes))
    return made


def startable(made: Board, slots: int = 99) -> list[str]:
    """Return the names of what would be started."""
    return [wp.wp_id for wp in made.startable(slots)]


def test_only_what_the_host_calls_ready_is_begun() -> None:
    """Dependencies are the host's to judge: planned work waits for list-ready."""
    assert startable(board({"A": [], "B": []}, ready="B")) == ["B"]


def test_what_is_under_way_goes_on() -> None:
    """Work packages that a run left in the middle are taken up, ready or not."""
    lanes = {"A": "claimed", "B": "in_progress", "C": "for_review", "D": "in_review"}
    made = board({name: [] for name in "ABCDE"}, **lanes, E="approved")
    assert startable(made) == ["E", "D", "C", "B", "A"]


@pytest.mark.parametrize("lane", ["done", "blocked", "canceled", "hovering"])
def test_what_is_ended_or_a_humans_is_left_alone(lane: str) -> None:
    """No agent starts at what is done, blocked, canceled or in an unknown lane."""
    assert startable(board({"A": []}, ready="A", A=lane)) == []


def test_slots_are_counted() -> None:
    """What is under way in this run takes its slot, and is not started twice."""
    made = board({name: [] for name in "ABCD"}, ready="A B C D")
    made.busy = {"A"}
    assert startable(made, 3) == ["B", "C"]
    assert startable(made, 1) == []
    made.busy = {"A", "B", "C"}
    assert startable(made, 1) == []


def test_reviews_come_before_new_work() -> None:
    """What is nearest to its end is finished first, because that frees others."""
    made = board({"A": [], "B": []}, ready="A", B="for_review")
    assert startable(made, 1) == ["B"]


def test_the_longest_chain_comes_first() -> None:
    """Of what may be begun, that with the longest chain waiting behind it is begun first."""
    needs = {"A": [], "B": [], "C": ["B"], "D": ["C"], "E": [], "F": ["E"]}
    assert startable(board(needs, ready="A B E")) == ["B", "E", "A"]


def test_the_order_of_the_plan_decides_the_rest() -> None:
    """Equal work packages are begun in the order in which the host lists them."""
    assert startable(board({"B": [], "C": [], "A": []}, ready="A B C")) == ["B", "C", "A"]


def test_what_is_stuck_is_not_tried_again() -> None:
    """A work package that cannot go on in this run is left, with its reason."""
    made = board({"A": [], "B": []}, ready="A B")
    made.stuck["A"] = "somebody else has it"
    assert startable(made) == ["B"]
    assert made.unfinished()["A"] == "somebody else has it"


def test_an_end_unlocks_what_waited_for_it() -> None:
    """The host is asked when the last missing dependency of something has ended."""
    needs = {"A": [], "B": [], "C": ["A", "B"], "D": []}
    assert not board(needs, A="done", B="in_progress").unlocks("A")
    assert board(needs, A="done", B="approved").unlocks("A")
    assert not board(needs, A="done", B="done").unlocks("D")


@pytest.mark.parametrize("lane", ["blocked", "canceled"])
def test_a_bad_end_unlocks_nothing(lane: str) -> None:
    """A dependency that was given up leaves what needs it where it is."""
    made = board({"A": [], "B": ["A"]}, A=lane)
    assert not made.unlocks("A")
    assert made.unfinished()["B"] == "waits for A"


def test_what_is_ready_or_begun_is_not_unlocked_again() -> None:
    """No call is spent on what the host has said already."""
    made = board({"A": [], "B": ["A"]}, ready="B", A="done")
    assert not made.unlocks("A")
    made.ready, made.busy = set(), {"B"}
    assert not made.unlocks("A")
    assert not made.waits()


def test_a_report_is_news_only_when_something_changed() -> None:
    """A heartbeat that finds everything as it was wakes nobody."""
    made = board({"A": [], "B": []})
    assert not made.update(mission({"A": [], "B": []}))
    assert made.update(mission({"A": [], "B": []}, B="done"))
    assert made.lane("B") == Lane.DONE


def test_a_report_says_nothing_of_what_this_run_is_doing() -> None:
    """The run's own calls know more than a report that was asked for earlier."""
    made = board({"A": []}, ready="A")
    made.busy.add("A")
    assert not made.update(mission({"A": []}, A="for_review"))
    assert made.lane("A") == Lane.PLANNED


def test_new_work_packages_are_taken_in() -> None:
    """A mission may grow during a run; chains are measured again."""
    made = board({"A": [], "B": []}, ready="A B")
    assert made.update(mission({"A": [], "B": [], "C": ["B"]}))
    assert startable(made) == ["B", "A"]


def test_a_dependency_that_does_not_exist_is_waited_for() -> None:
    """A plan that names a work package which is not there leaves the other one waiting."""
    assert board({"A": ["Z"]}).unfinished() == {"A": "waits for Z"}


def test_what_is_done_is_not_unfinished() -> None:
    """Done and canceled need nothing more; anything else does, with its lane."""
    made = board({n: [] for n in "ABCD"}, A="done", B="canceled", C="in_review", D="hovering")
    assert made.unfinished() == {"C": "is in_review", "D": "is hovering"}


def test_cycles_do_not_hang() -> None:
    """A plan that contradicts itself starts what it can, and says what waits for what."""
    needs = {"A": ["B"], "B": ["A"], "C": ["C"], "D": [], "E": ["A", "D"]}
    made = board(needs, ready="D")
    assert startable(made) == ["D"]
    assert made.unfinished()["A"] == "waits for B"
    assert made.unfinished()["C"] == "waits for C"


def test_a_long_chain_is_no_effort() -> None:
    """Ten thousand work packages in a row are ordered at once, without recursion."""
    needs: dict[str, list[str]] = {"WP0": []}
    needs |= {f"WP{i}": [f"WP{i - 1}"] for i in range(1, 10_000)}
    begun = time.process_time()
    made = board({**needs, "X": []}, ready="X WP0")
    assert startable(made, 1) == ["WP0"]
    assert made.unfinished()["WP9999"] == "waits for WP9998"
    assert time.process_time() - begun < 5
