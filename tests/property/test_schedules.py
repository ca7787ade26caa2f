"""Properties of the order of work, for any mission and any durations."""

from collections import Counter
from functools import cache
from random import Random
from statistics import mean, median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spec_kitty_client import Lane, WorkPackage
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.scheduling.slots import Limit
from spec_kitty_orchestrator.settings import Order
from tests.bench.order import Puzzle, on_the_board, whole
from tests.property.virtual import Dag, Run, layered

BOTH = frozenset[Role]({"implement", "review"})


@st.composite
def dags(draw: st.DrawFn) -> Dag:
    """Draw a mission without cycles."""
    size = draw(st.integers(1, 14))
    names = draw(st.permutations([f"WP{i:02}" for i in range(size)]))
    return {
        name: draw(st.lists(st.sampled_from(names[:i]), max_size=3, unique=True)) if i else []
        for i, name in enumerate(names)
    }


some = st.integers(1, 4)


def limit(*roles: Role) -> st.SearchStrategy[Limit | None]:
    """Return a limit of some roles, or none."""
    return st.none() | st.builds(Limit, some, st.just(frozenset(roles)))


limits = st.builds(
    lambda most, *others: (Limit(most, BOTH), *(other for other in others if other)),
    *(some, limit("implement"), limit("review"), limit("implement", "review")),
)
orders = st.sampled_from(Order)
seeds = st.integers(0, 2**32)


def any_run(dag: Dag, bounds: tuple[Limit, ...], order: Order, seed: int) -> Run:
    """Return a run with agents of random durations, and some rework."""
    random = Random(seed)  # noqa: S311 - not for secrets
    back = Counter({wp: random.choice((0, 0, 1, 2)) for wp in dag})
    return Run(dag, bounds, order, lambda _wp, _role: random.expovariate(1), back)


@given(dags(), limits, orders, seeds)
def test_no_limit_is_passed(dag: Dag, bounds: tuple[Limit, ...], order: Order, seed: int) -> None:
    """The board never lets more agents work, in all or in one role, than the limits allow."""
    run = any_run(dag, bounds, order, seed)

    def look(now: Run, _started: list[WorkPackage]) -> None:
        for limit in bounds:
            assert sum(now.working[role] for role in limit.roles) <= limit.maximum

    run.look = look
    run.play()


@given(dags(), limits, orders, seeds)
def test_no_slot_stays_free_for_nothing(
    dag: Dag, bounds: tuple[Limit, ...], order: Order, seed: int
) -> None:
    """No ready work package waits while a slot of its role is free."""
    run = any_run(dag, bounds, order, seed)

    def look(now: Run, _started: list[WorkPackage]) -> None:
        for role in BOTH:
            free = all(
                sum(now.working[r] for r in limit.roles) < limit.maximum
                for limit in bounds
                if role in limit.roles
            )
            assert not (free and now.waiting(role))

    run.look = look
    run.play()


@given(dags(), limits, orders, seeds)
def test_nothing_is_started_that_is_not_ready(
    dag: Dag, bounds: tuple[Limit, ...], order: Order, seed: int
) -> None:
    """A work package starts after all its dependencies are done."""
    run = any_run(dag, bounds, order, seed)

    def look(now: Run, started: list[WorkPackage]) -> None:
        assert all(now.is_free(wp.wp_id) for wp in started)

    run.look = look
    run.play()


@given(dags(), limits, orders, seeds)
def test_everything_is_done_in_the_end(
    dag: Dag, bounds: tuple[Limit, ...], order: Order, seed: int
) -> None:
    """The board starts each work package once per agent run, and all are done in the end."""
    run = any_run(dag, bounds, order, seed)
    turns = {wp: 2 + 2 * run.sent_back[wp] for wp in dag}
    run.play()
    assert set(run.lanes.values()) == {Lane.DONE}
    assert Counter(run.starts) == turns


@given(dags(), limits, seeds)
def test_the_longest_path_comes_first(dag: Dag, bounds: tuple[Limit, ...], seed: int) -> None:
    """No ready work package starts before one with a longer critical path."""
    run = any_run(dag, bounds, Order.LONGEST_PATH, seed)

    @cache
    def path(wp: str) -> int:
        return 1 + max((path(name) for name, needs in dag.items() if wp in needs), default=0)

    def look(now: Run, started: list[WorkPackage]) -> None:
        begun = [wp.wp_id for wp in started if wp.lane == Lane.PLANNED]
        waiting = {wp for wp in now.waiting("implement") if now.lanes[wp] == Lane.PLANNED}
        shortest = min(map(path, begun), default=99)
        assert all(path(wp) <= shortest for wp in waiting)

    run.look = look
    run.play()


@given(dags(), limits, seeds)
def test_the_plan_is_followed_where_it_is_asked_for(
    dag: Dag, bounds: tuple[Limit, ...], seed: int
) -> None:
    """No ready work package starts before one that the plan lists earlier."""
    run = any_run(dag, bounds, Order.PLAN, seed)
    place = {wp: place for place, wp in enumerate(dag)}

    def look(now: Run, started: list[WorkPackage]) -> None:
        begun = [place[wp.wp_id] for wp in started if wp.lane == Lane.PLANNED]
        waiting = [place[wp] for wp in now.waiting("implement") if now.lanes[wp] == Lane.PLANNED]
        assert max(begun, default=-1) < min(waiting, default=99)

    run.look = look
    run.play()


@pytest.mark.parametrize("order", Order)
def test_an_event_costs_the_same_in_a_large_mission(
    order: Order, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times as many work packages need at most eleven times as many queue updates."""
    looks = Counter[int]()
    size = 0
    original = Board._queue

    def counted(board: Board, name: str) -> None:
        looks[size] += 1
        original(board, name)

    monkeypatch.setattr(Board, "_queue", counted)
    for size in (10, 100):
        wide = {f"A{i:03}": list[str]() for i in range(size)}
        wide |= {f"B{i:03}": [f"A{i:03}", f"A{(i + 1) % size:03}"] for i in range(size)}
        chain = {f"C{i:03}": [f"C{i - 1:03}"] if i else [] for i in range(size)}
        Run({**wide, **chain}, (Limit(4, BOTH),), order).play()
    assert looks[100] < 11 * looks[10]


@settings(max_examples=5)
@given(st.integers(3, 5), seeds)
def test_longest_path_first_ends_earlier(slots: int, seed: int) -> None:
    """Longest path first takes no longer than plan order, on average over layered missions."""
    random = Random(seed)  # noqa: S311 - not for secrets
    missions = [layered(random, layers=6, widest=2 * slots) for _ in range(30)]
    bounds = (Limit(slots, BOTH),)
    took = {o: mean(Run(dag, bounds, o).play() for dag in missions) for o in Order}
    assert took[Order.LONGEST_PATH] <= took[Order.PLAN]


def test_longest_path_first_is_never_much_worse() -> None:
    """If the estimates are exact, no mission takes 1 % more than in plan order."""
    for seed in range(100):
        puzzle = Puzzle.of(seed)
        took = {o: on_the_board(puzzle, puzzle.always(), o) for o in Order}
        assert took[Order.LONGEST_PATH] <= 1.01 * took[Order.PLAN], seed


@pytest.mark.parametrize("order", Order)
def test_a_whole_run_takes_what_the_board_says(order: Order) -> None:
    """The loop loses no virtual second between two agents.

    The order of two agents that end together depends on calls, and may lengthen or shorten the
    run by the time of one work package.
    """
    lost = []
    for seed in range(20):
        puzzle = Puzzle.of(seed)
        seconds = puzzle.always()
        board = on_the_board(puzzle, seconds, order)
        lost.append(whole(puzzle, seconds, order) - board)
        longest = max(sum(each.values()) for each in seconds.values())
        assert abs(lost[-1]) < longest + 5, seed
    assert abs(median(lost)) < 5
