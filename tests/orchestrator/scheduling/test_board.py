"""Tests of `spec_kitty_orchestrator.scheduling.board`."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from spec_kitty_client import Lane, Mission, WorkPackage
from spec_kitty_client.contract.lanes import parse_lane
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.scheduling.board import Board, Key, Queue
from spec_kitty_orchestrator.scheduling.slots import Limit
from spec_kitty_orchestrator.settings import Order

BOTH = frozenset[Role]({"implement", "review"})


def mission(packages: Mapping[str, Sequence[str]], **lanes: str) -> Mission:
    """Return a mission from the dependencies of each work package, and its lane if not planned."""
    made = tuple(
        WorkPackage(wp_id=wp, lane=parse_lane(lanes.get(wp, "planned")), dependencies=tuple(needs))
        for wp, needs in packages.items()
    )
    return Mission(mission_slug="m", summary={}, work_packages=made)


def limits(slots: int, **roles: int) -> tuple[Limit, ...]:
    """Return a limit for all agents, and one for each given role."""
    of_roles = {"implement": frozenset[Role]({"implement"}), "review": frozenset[Role]({"review"})}
    return Limit(slots, BOTH), *(Limit(most, of_roles[role]) for role, most in roles.items())


def board(
    packages: Mapping[str, Sequence[str]],
    slots: int | tuple[Limit, ...] = 99,
    *,
    order: Order = Order.LONGEST_PATH,
    costs: Mapping[Role, float] | None = None,
    running: str = "",
    canceled_is_enough: bool = False,
    **lanes: str,
) -> Board:
    """Return a board."""
    bounds = limits(slots) if isinstance(slots, int) else slots
    more: dict[str, Any] = {"costs": costs} if costs else {}
    more["canceled_is_enough"] = canceled_is_enough
    made = mission(packages, **lanes)
    return Board(made, bounds, order=order, running=running.split(), **more)


def taken(made: Board) -> list[str]:
    """Return the names of the started work packages."""
    return [wp.wp_id for wp in made.start_ready()]


# Work packages that may start


def test_only_what_waits_for_nothing_is_begun() -> None:
    """Planned work waits until all its dependencies are done; approved is not enough."""
    needs = {"A": [], "B": [], "C": ["A"], "D": ["B"], "E": ["B", "F"], "F": []}
    made = board(needs, A="done", B="blocked", F="done")
    assert taken(made) == ["C"]
    assert made.has_open_dependencies("D")


def test_what_is_under_way_goes_on() -> None:
    """A work package that a run left in the middle continues."""
    lanes = {"A": "claimed", "B": "in_progress", "C": "for_review", "D": "in_review"}
    made = board({name: [] for name in "ABCDE"}, **lanes, E="approved")
    assert taken(made) == ["E", "D", "C", "B", "A"]


@pytest.mark.parametrize("lane", ["done", "blocked", "canceled", "hovering"])
def test_what_is_ended_or_a_humans_is_left_alone(lane: str) -> None:
    """No agent starts at a work package that is done, blocked, canceled or in an unknown lane."""
    assert taken(board({"A": []}, A=lane)) == []


def test_nothing_is_started_twice() -> None:
    """A work package that this run works on is not started again until it is released."""
    made = board({"A": []})
    assert taken(made) == ["A"]
    assert taken(made) == []
    made.release("A", Lane.FOR_REVIEW)
    assert taken(made) == ["A"]
    assert made.busy == {"A": "review"}


def test_what_is_stuck_is_not_tried_again() -> None:
    """A work package that cannot go on in this run is left, with its reason."""
    made = board({"A": [], "B": []}, slots=1)
    assert taken(made) == ["A"]
    made.release("A", Lane.IN_PROGRESS, "somebody else has it")
    assert taken(made) == ["B"]
    assert made.unfinished()["A"] == "somebody else has it"


# Slots


def test_slots_are_counted() -> None:
    """No more start than there are free slots; a release frees one."""
    made = board({name: [] for name in "ABCD"}, slots=3)
    assert taken(made) == ["A", "B", "C"]
    assert taken(made) == []
    made.release("B", Lane.DONE)
    assert taken(made) == ["D"]


def test_a_wait_for_a_reviewer_holds_no_slot() -> None:
    """With one reviewer, implementations use the other slots."""
    made = board({name: [] for name in "ABCD"}, slots=limits(2, review=1))
    assert taken(made) == ["A", "B"]
    made.release("A", Lane.FOR_REVIEW)
    assert taken(made) == ["A"]
    made.release("B", Lane.FOR_REVIEW)
    assert taken(made) == ["C"]
    made.release("A", Lane.DONE)
    assert taken(made) == ["B"]


def test_an_approval_releases_the_slot_early() -> None:
    """The slot of approved work without dependents is free before the call to the host."""
    made = board({"A": [], "B": [], "C": []}, slots=2, A="in_review", B="in_progress")
    assert taken(made) == ["A", "B"]
    assert made.release_slot("A")
    assert not made.release_slot("A")
    assert taken(made) == ["C"]
    made.release("A", Lane.DONE)
    made.release("C", Lane.FOR_REVIEW)
    assert taken(made) == ["C"]
    assert taken(made) == []


def test_a_slot_is_kept_for_what_an_end_frees() -> None:
    """The slot stays taken until the dependents can start, because they may be more urgent."""
    made = board({"A": [], "A2": ["A"], "B": []}, slots=1, A="in_review")
    assert taken(made) == ["A"]
    assert not made.release_slot("A")
    assert taken(made) == []
    made.release("A", Lane.DONE)
    assert taken(made) == ["A2"]


def test_a_wait_for_an_implementer_holds_no_slot() -> None:
    """Work for which a review asked changes waits for a slot, and reviews go on."""
    lanes = {"A": "in_review", "B": "for_review", "C": "for_review"}
    made = board({n: [] for n in "ABCD"}, limits(3, implement=1, review=2), **lanes)
    assert taken(made) == ["A", "B", "D"]
    made.release("A", Lane.IN_PROGRESS)
    assert taken(made) == ["C"]
    made.release("D", Lane.FOR_REVIEW)
    assert taken(made) == ["A"]


def test_the_limit_of_an_agent_counts_both_its_roles() -> None:
    """An agent that implements and reviews has one limit for both together."""
    made = board({"A": [], "B": []}, (Limit(9, BOTH), Limit(1, BOTH)))
    assert taken(made) == ["A"]
    made.release("A", Lane.FOR_REVIEW)
    assert taken(made) == ["A"]


# The order


def test_reviews_come_before_new_work() -> None:
    """A review is started first, because its end lets other work packages start."""
    made = board({"A": [], "B": []}, slots=1, B="for_review")
    assert taken(made) == ["B"]


def test_the_longest_chain_comes_first() -> None:
    """The ready work package with the longest chain of dependents starts first."""
    needs = {"A": [], "B": [], "C": ["B"], "D": ["C"], "E": [], "F": ["E"]}
    assert taken(board(needs)) == ["B", "E", "A"]


def test_what_is_left_counts_and_not_how_many() -> None:
    """The remaining seconds of a chain decide, not its number of work packages."""
    needs = {"A": [], "B": ["A"], "C": [], "D": ["C"]}
    lanes = {"B": "for_review"}
    assert taken(board(needs, slots=2, **lanes)) == ["B", "C"]
    costs: Mapping[Role, float] = {"implement": 1.0, "review": 9.0}
    assert taken(board(needs, 3, costs=costs, **lanes)) == ["B", "C", "A"]


def test_the_order_of_the_plan_decides_the_rest() -> None:
    """Equal work packages are begun in the order in which the host lists them."""
    assert taken(board({"B": [], "C": [], "A": []})) == ["B", "C", "A"]


def test_the_order_of_the_plan_can_be_asked_for() -> None:
    """With ``plan``, chains do not matter; started work packages still come first."""
    needs = {"A": [], "B": [], "C": ["B"], "D": []}
    made = board(needs, order=Order.PLAN, D="in_progress")
    assert taken(made) == ["D", "A", "B"]


def test_agents_that_run_already_come_first() -> None:
    """An agent that an earlier run left running counts towards the limit."""
    made = board({"A": [], "B": []}, slots=1, running="B", A="in_progress", B="in_progress")
    assert taken(made) == ["B"]
    made.release("B", Lane.IN_PROGRESS)
    assert taken(made) == ["A"]


def test_an_implementer_that_runs_already_comes_before_a_review() -> None:
    """After a crash, a new reviewer beside it would be one agent more than the limit allows."""
    made = board({"A": [], "B": []}, slots=1, running="B", A="for_review", B="in_progress")
    assert taken(made) == ["B"]


def test_an_agent_that_runs_already_and_must_wait_holds_no_slot() -> None:
    """A work package that a person moved back waits for its dependencies again."""
    made = board({"A": [], "B": ["A"]}, slots=1, running="B", A="in_progress", B="planned")
    assert taken(made) == ["A"]
    made.release("A", Lane.DONE)
    assert taken(made) == ["B"]


@pytest.mark.parametrize(("implement", "review", "first"), [(1.1, 1.2, "D"), (5.0, 1.0, "A")])
def test_costs_that_change_noticeably_change_the_order(
    implement: float, review: float, first: str
) -> None:
    """The measured seconds of agents decide which chain is the longest."""
    needs = {"A": [], "B": ["A"], "D": [], "E": ["D"], "F": ["E"], "G": ["F"]}
    made = board({**needs, "H": []}, 4, **dict.fromkeys("EFGH", "in_review"))
    assert taken(made) == ["E", "F", "G", "H"]
    for name in "EF":
        made.release(name, Lane.IN_REVIEW)
    made.release("H", Lane.DONE)
    made.update_estimates({"implement": implement, "review": review})
    assert taken(made) == ["E", "F", first]


def test_a_large_mission_is_not_reckoned_anew_at_every_event() -> None:
    """Priorities are recomputed at most once per many events."""
    made = board({f"WP{i}": [] for i in range(400)}, 1)
    walks = set()
    for i in range(200):
        (wp,) = made.start_ready()
        made.release(wp.wp_id, Lane.DONE)
        made.update_estimates({"implement": 1.0, "review": 2.0 + i % 2 * 2})
        walks.add(id(made._queues))
    assert len(walks) <= 3


# Work packages that an end unlocks


def test_an_end_unlocks_what_waited_for_it() -> None:
    """A work package starts when its last dependency is done."""
    needs = {"A": [], "B": [], "C": ["A", "B"], "D": []}
    made = board(needs, A="in_progress", B="in_progress", D="in_progress")
    assert sorted(taken(made)) == ["A", "B", "D"]
    made.release("D", Lane.DONE)
    made.release("A", Lane.DONE)
    assert taken(made) == []
    made.release("B", Lane.DONE)
    assert taken(made) == ["C"]


@pytest.mark.parametrize("lane", [Lane.BLOCKED, Lane.CANCELED])
def test_a_bad_end_unlocks_nothing(lane: Lane) -> None:
    """A blocked or canceled dependency leaves its dependents waiting."""
    made = board({"A": [], "B": ["A"]})
    assert taken(made) == ["A"]
    made.release("A", lane)
    assert taken(made) == []
    assert made.unfinished()["B"] == "waits for A"


def test_a_slot_goes_to_the_longer_chain_that_an_end_unlocks() -> None:
    """A more urgent dependent starts before work packages that were ready earlier."""
    made = board({"A": [], "A2": ["A"], "A3": ["A2"], "B": [], "C": []}, slots=2)
    assert taken(made) == ["A", "B"]
    made.release("A", Lane.DONE)
    assert taken(made) == ["A2"]


def test_what_is_planned_again_is_begun_again() -> None:
    """A work package whose claim was rejected may start again."""
    made = board({"A": []})
    assert taken(made) == ["A"]
    made.release("A", Lane.PLANNED)
    assert taken(made) == ["A"]


def test_what_is_undone_is_waited_for_again() -> None:
    """If a user moves a dependency back, its dependents wait for it again."""
    needs = {"A": [], "B": ["A"]}
    made = board(needs, A="done")
    assert made.update(mission(needs, A="in_progress"))
    assert taken(made) == ["A"]
    assert made.has_open_dependencies("B")


# Reports of the host


def test_a_report_is_news_only_when_something_changed() -> None:
    """A report without changes does not wake the loop."""
    made = board({"A": [], "B": []})
    assert not made.update(mission({"A": [], "B": []}))
    assert made.update(mission({"A": [], "B": []}, B="done"))
    assert made.packages["B"].lane == Lane.DONE


def test_a_report_unlocks_what_others_have_finished() -> None:
    """A dependency that a user finished lets its dependents start."""
    needs = {"A": [], "B": ["A"], "C": []}
    made = board(needs, A="blocked")
    assert made.update(mission(needs, A="blocked", C="blocked"))
    assert taken(made) == []
    assert made.update(mission(needs, A="done", C="blocked"))
    assert taken(made) == ["B"]


def test_a_report_says_nothing_of_what_this_run_is_doing() -> None:
    """A report does not change work packages that this run works on."""
    made = board({"A": []})
    assert taken(made) == ["A"]
    assert not made.update(mission({"A": []}, A="for_review"))
    assert made.packages["A"].lane == Lane.PLANNED


def test_a_report_says_nothing_of_what_has_ended_since() -> None:
    """A report that is older than the end of a work package does not start it again."""
    made = board({"A": [], "B": []})
    assert taken(made) == ["A", "B"]
    made.release("B", Lane.DONE)
    asked_at = made.moves
    made.release("A", Lane.DONE)
    assert not made.update(mission({"A": [], "B": []}, A="in_review", B="done"), asked_at)
    assert taken(made) == []
    assert made.update(mission({"A": [], "B": []}, A="in_progress", B="done"), made.moves)
    assert taken(made) == ["A"]


def test_new_work_packages_are_taken_in() -> None:
    """New work packages join the board during a run, and chains are computed again."""
    made = board({"A": [], "B": []})
    assert made.update(mission({"A": [], "B": [], "C": ["B"]}))
    assert taken(made) == ["B", "A"]


# Unfinished work packages


@pytest.mark.parametrize("canceled_is_enough", [False, True])
def test_what_waits_for_a_canceled_one(*, canceled_is_enough: bool) -> None:
    """A dependent of a canceled work package starts only if the host may accept it."""
    needs = {"A": [], "B": ["A"], "C": ["D"], "D": []}
    made = board(needs, canceled_is_enough=canceled_is_enough, A="canceled")
    assert taken(made) == (["D", "B"] if canceled_is_enough else ["D"])
    made.release("D", Lane.CANCELED)
    assert taken(made) == (["C"] if canceled_is_enough else [])
    assert made.has_open_dependencies("C") is not canceled_is_enough


def test_a_dependency_that_does_not_exist_is_waited_for() -> None:
    """A work package waits for a dependency that does not exist."""
    assert board({"A": ["Z"]}).unfinished() == {"A": "waits for Z"}


def test_what_is_done_is_not_unfinished() -> None:
    """Work packages in other lanes than done and canceled are unfinished."""
    made = board({n: [] for n in "ABCD"}, A="done", B="canceled", C="in_review", D="hovering")
    assert made.unfinished() == {"C": "is in_review", "D": "is hovering"}


def test_cycles_do_not_hang() -> None:
    """In a cyclic graph, the work packages outside the cycle start."""
    needs = {"A": ["B"], "B": ["A"], "C": ["C"], "D": [], "E": ["A", "D"]}
    made = board(needs)
    assert taken(made) == ["D"]
    made.release("D", Lane.DONE)
    assert taken(made) == []
    assert made.unfinished()["A"] == "waits for B"
    assert made.unfinished()["C"] == "waits for C"


def test_a_long_chain_is_no_effort() -> None:
    """Ten thousand work packages in a row are ordered at once, without recursion."""
    needs: dict[str, list[str]] = {"WP0": []}
    needs |= {f"WP{i}": [f"WP{i - 1}"] for i in range(1, 10_000)}
    begun = time.process_time()
    made = board({**needs, "X": []}, slots=1)
    assert taken(made) == ["WP0"]
    assert made.unfinished()["WP9999"] == "waits for WP9998"
    assert time.process_time() - begun < 5


# Shared worktrees


def shared(**lanes: str) -> Board:
    """Return a board of four, of which the first three share a worktree."""
    packages = {f"WP{i:02d}": [] for i in range(1, 5)}
    worktrees = dict.fromkeys(("WP01", "WP02", "WP03"), "lane-a")
    return Board(mission(packages, **lanes), limits(9), lanes=worktrees)


def test_those_that_share_a_worktree_take_turns() -> None:
    """Work packages of one worktree start one at a time, each after the release of the other."""
    made = shared()
    assert taken(made) == ["WP01", "WP04"]
    assert taken(made) == []
    made.release("WP01", Lane.FOR_REVIEW)
    assert taken(made) == ["WP01"]  # a review comes first
    made.release("WP01", Lane.DONE)
    assert taken(made) == ["WP02"]
    made.release("WP02", Lane.BLOCKED, "is blocked")
    assert taken(made) == ["WP03"]


def test_what_is_under_way_in_a_worktree_goes_first() -> None:
    """A work package that an earlier run started goes first: it may have left files there."""
    assert taken(shared(WP02="in_progress")) == ["WP02", "WP04"]


def test_what_is_left_to_people_is_never_started() -> None:
    """A work package left to the user never starts; its dependents have a reason as well."""
    packages = {"WP01": [], "WP02": ["WP01"]}
    made = Board(mission(packages), limits(9), stuck={"WP01": "is for a person"})
    assert taken(made) == []
    assert made.unfinished() == {"WP01": "is for a person", "WP02": "waits for WP01"}


# The queue


def at(position: int) -> Key:
    """Return the key of a position in the plan."""
    return 0, 0.0, position


def drained(queue: Queue) -> list[str]:
    """Return all names of a queue, in order."""
    found = []
    while name := queue.pop():
        found.append(name)
    return found


def test_the_least_key_comes_first() -> None:
    """Names come out in the order of their keys, not of their arrival."""
    queue = Queue()
    for name, key in (("b", 2), ("c", 3), ("a", 1)):
        queue.put(name, at(key))
    assert drained(queue) == ["a", "b", "c"]
    assert queue.pop() is None


def test_the_last_key_counts() -> None:
    """A name that is put in again moves to its new position, and comes out once."""
    queue = Queue()
    for name, key in (("a", 1), ("b", 2), ("a", 3), ("b", 2)):
        queue.put(name, at(key))
    assert drained(queue) == ["b", "a"]


def test_what_is_removed_is_gone_until_it_is_put_in_again() -> None:
    """A removed name stays out until it is put in again, with its new key."""
    queue = Queue()
    queue.put("a", at(1))
    queue.put("b", at(2))
    queue.remove("a")
    queue.remove("nobody")
    queue.put("a", at(3))
    queue.put("a", at(1))
    queue.remove("a")
    queue.put("a", at(1))
    assert drained(queue) == ["a", "b"]
