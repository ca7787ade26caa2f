"""Properties of the benchmark's arithmetic: lower bounds, late starts and lost time."""

import heapq
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import load, table
from tests.bench.bounds import AgentRun, Dag, Trace, chain, layered, lower_bound, most_at_once, wide
from tests.bench.figures import figure, judge, worse
from tests.bench.stage import Call

DIAMOND: Dag = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP01"], "WP04": ["WP02", "WP03"]}


def results(name: str, *seconds: float, cpu: str = "a") -> dict:
    return {"machine": {"cpu": cpu, "cores": 2}, "calls": {name: figure(seconds)}}


def played(dag: Dag, slots: int, delays: list[float]) -> Trace:
    """Play a run in which each start of an agent is late by the next delay."""
    late = iter(delays * (4 * len(dag)))
    free, runs, done = [0.0] * slots, [], {}
    for wp, needs in dag.items():
        start = max(heapq.heappop(free), *(done[name] for name in needs), 1.0) + next(late)
        implemented = AgentRun(wp, "implement", start, start + 5)
        start = implemented.end + next(late)
        reviewed = AgentRun(wp, "review", start, start + 2)
        runs += [implemented, reviewed]
        done[wp] = reviewed.end + next(late)
        heapq.heappush(free, done[wp])
    return Trace(
        dag=dag,
        slots=slots,
        started=0.0,
        ended=max(done.values()) + next(late),
        first_answer=1.0,
        done=done,
        runs=runs,
    )


def test_lower_bound_is_the_longest_path_or_the_work_by_slots() -> None:
    """The lower bound is the longer of the critical path and the work divided by the slots."""
    seconds = dict.fromkeys(DIAMOND, 7.0)
    assert lower_bound(DIAMOND, seconds, 4) == 21
    assert lower_bound(DIAMOND, seconds, 1) == 28
    assert lower_bound(wide(8), dict.fromkeys(wide(8), 7.0), 4) == 14
    assert lower_bound(chain(4), dict.fromkeys(chain(4), 7.0), 4) == 28


@given(st.integers(3, 30), st.integers(0, 99))
def test_layers_depend_on_the_layer_before_and_on_nothing_but_the_seed(
    count: int, seed: int
) -> None:
    """A seed always gives the same mission, in which dependencies come first."""
    dag = layered(count, seed)
    assert dag == layered(count, seed)
    names = list(dag)
    assert len(names) == count
    for place, name in enumerate(names):
        assert all(names.index(needed) < place for needed in dag[name])
        assert len(set(dag[name])) == len(dag[name]) <= 2


def test_agents_that_follow_each_other_are_not_at_the_same_time() -> None:
    """An end and a start at the same moment count as one agent."""
    runs = [AgentRun("WP01", "implement", 0, 5), AgentRun("WP01", "review", 5, 7)]
    assert most_at_once(runs) == 1
    assert most_at_once([*runs, AgentRun("WP02", "implement", 6, 9)]) == 2
    assert most_at_once([]) == 0


def test_a_start_is_late_from_when_it_was_possible() -> None:
    """A start counts as late only after the host allows it and a slot is free."""
    trace = played({"WP01": [], "WP02": ["WP01"], "WP03": []}, 1, [0.5])
    by = {(w.run.wp, w.run.role): w for w in trace.waits()}
    assert by["WP01", "implement"].seconds == pytest.approx(0.5)  # after the first answer
    assert by["WP01", "review"].seconds == pytest.approx(0.5)
    assert by["WP02", "implement"].seconds == pytest.approx(0.5)  # after WP01 was done
    assert by["WP03", "implement"].seconds == pytest.approx(1.0)  # after the slot was free
    assert [w.handed_over for w in trace.waits()] == [False, True] * 3


@given(
    st.sampled_from([wide(8), chain(4), DIAMOND, layered(12, 0), layered(12, 1)]),
    st.integers(1, 5),
    st.lists(st.floats(0, 9), min_size=1, max_size=5),
)
def test_what_was_lost_adds_up(dag: Dag, slots: int, delays: list[float]) -> None:
    """Every second beyond the lower bound is accounted for, once."""
    trace = played(dag, slots, delays)
    assert trace.bound() == pytest.approx(lower_bound(dag, dict.fromkeys(dag, 7.0), slots))
    assert sum(trace.account().values()) == pytest.approx(trace.wall - trace.bound())
    assert all(wait.seconds >= -1e-9 for wait in trace.waits())


def test_only_what_is_worse_by_more_than_the_factor_is_told() -> None:
    """The benchmark ignores noise, times too small to matter, and figures without a baseline."""
    assert [str(w) for w in worse(results("x_s", 2.6), results("x_s", 2.0), 1.25)] == [
        "calls/x_s: 2.6, was 2 (1.30 x)"
    ]
    assert not worse(results("x_s", 2.4), results("x_s", 2.0), 1.25)
    assert not worse(results("x_s", 0.04), results("x_s", 0.01), 1.25)
    assert not worse(results("x_s", 1.0), results("y_s", 0.1), 1.25)


def test_another_machine_is_compared_by_ratios_alone() -> None:
    """On another CPU the benchmark compares ratios and ignores times."""
    assert not worse(results("x_s", 9.0, cpu="b"), results("x_s", 2.0), 1.25)
    assert worse(results("ratio", 9.0, cpu="b"), results("ratio", 2.0), 1.25)


def test_the_first_goal_that_fits_counts() -> None:
    """A figure with a goal of its own is not judged by the general goal."""
    verbs = {verb: {"ratio": figure([0.9, 0.1, 0.04])} for verb in ("merge-mission", "list-ready")}
    found = list(judge({"calls": {"3.2.7": {"verbs": verbs}}}))
    assert found == [("calls/3.2.7/verbs/list-ready/ratio", 0.1, 1 / 18)]


def test_tables_replace_what_is_between_the_comments(tmp_path: Path) -> None:
    """The benchmark replaces the text between the comments and keeps the rest of the page."""
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench: begin -->\nold\n<!-- bench: end -->\nb\n", encoding="utf-8")
    for text in ("one\n", "two\n"):
        table.insert(page, text)
    said = page.read_text(encoding="utf-8")
    assert said == "a\n<!-- bench: begin -->\n\ntwo\n\n<!-- bench: end -->\nb\n"


@given(st.lists(st.floats(0.01, 5.0), min_size=20, max_size=30), st.floats(0.01, 9.0))
def test_the_cost_of_a_work_package_is_without_host_and_agents(
    costs: list[float], elsewhere: float
) -> None:
    """The cost of a work package leaves out the seconds of host calls and of agents."""
    now, calls, agents = 0.0, [], []
    for number, cost in enumerate(costs):
        wp = f"WP{number:02d}"
        agents.append(AgentRun(wp, "implement", now + cost / 2, now + cost / 2 + elsewhere))
        now += cost + elsewhere
        calls.append(Call("transition", wp, "done", 0, now, now + elsewhere, 1))
        now += elsewhere
    found = load.costs(calls, agents) | load.cpu_costs(calls, [(c.end, c.end) for c in calls])
    assert found["last_cpu_s"]["median"] == pytest.approx(
        sum(costs[-6:]) / 6 + 2 * elsewhere, abs=1e-4
    )
    assert found["first_cost_s"]["median"] == pytest.approx(median(costs[1:7]), abs=1e-4)
    assert found["last_cost_s"]["median"] == pytest.approx(median(costs[-6:]), abs=1e-4)
    assert found["last_host_and_agents_s"]["median"] == pytest.approx(2 * elsewhere, abs=1e-4)
