"""Tests of `spec_kitty_orchestrator.scheduling.priority`."""

from collections.abc import Mapping, Sequence
from itertools import chain

import pytest

from spec_kitty_client import WorkPackage
from spec_kitty_client.contract.lanes import parse_lane
from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.scheduling.priority import (
    Costs,
    Durations,
    critical_path,
    learn_durations,
    remaining_work,
)
from spec_kitty_orchestrator.state.events import (
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
    Event,
    Implemented,
    UnknownEvent,
    VerdictGiven,
)

COSTS: Costs = {"implement": 10.0, "review": 3.0}


def chains(packages: Mapping[str, Sequence[str]], **lanes: str) -> dict[str, float]:
    """Return the critical path behind each work package."""
    made = {
        wp: WorkPackage(
            wp_id=wp, lane=parse_lane(lanes.get(wp, "planned")), dependencies=tuple(needs)
        )
        for wp, needs in packages.items()
    }
    dependents = {wp: [name for name in made if wp in packages[name]] for wp in made}
    return critical_path(made, dependents, COSTS)


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
    """Finished steps do not count; a blocked work package may need all steps again."""
    assert remaining_work(parse_lane(lane), COSTS) == seconds


def test_the_longest_chain_counts() -> None:
    """The dependent with the most work behind it decides."""
    needs = {"A": [], "B": ["A"], "C": ["A"], "D": ["C"]}
    assert chains(needs) == {"A": 26, "B": 0, "C": 13, "D": 0}


def test_what_is_past_makes_a_chain_shorter() -> None:
    """A dependent in review counts with its review only."""
    assert chains({"A": [], "B": ["A"]}, B="in_review") == {"A": 3, "B": 0}


@pytest.mark.parametrize("lane", ["done", "canceled"])
def test_nothing_waits_for_what_has_ended(lane: str) -> None:
    """Ended dependents, and the chains behind them, do not count."""
    assert chains({"A": [], "B": ["A"], "C": ["B"]}, B=lane)["A"] == 0


def test_cycles_and_strangers_count_as_none() -> None:
    """Cycles and unknown dependencies do not disturb the critical path."""
    needs = {"A": ["B", "Z"], "B": ["A"], "C": [], "D": ["C", "C"]}
    assert chains(needs) == {"A": 0, "B": 0, "C": 13, "D": 0}


NAMES: dict[Role, str] = {"implement": "claude-code", "review": "codex"}


def begun(
    at: float, role: Role = "implement", wp: str = "WP01", mission: str = "m", agent: str = ""
) -> Event:
    """Return the start of an agent run."""
    agent = agent or NAMES[role]
    return AttemptStarted(
        at=at, mission=mission, wp=wp, role=role, number=1, agent=agent, directory="/d"
    )


def ended(at: float, wp: str = "WP01", mission: str = "m") -> Event:
    """Return the end of an implementation."""
    return Implemented(at=at, mission=mission, wp=wp, number=1, head="h")


def judged(at: float) -> Event:
    """Return the end of a review."""
    about = {"wp": "WP01", "reviewer": "codex", "reference": "logs", "head": "h"}
    return VerdictGiven(at=at, mission="m", number=2, verdict="approved", summary="fine", **about)


def implemented(*seconds: float) -> list[Event]:
    """Return the events of implementations with these durations in seconds."""
    return list(chain(*((begun(100.0), ended(100.0 + s)) for s in seconds)))


def costs(*events: Event) -> tuple[float, float]:
    """Return the expected seconds of an implementation and of a review."""
    found = learn_durations(events).costs(NAMES)
    return found["implement"], found["review"]


def test_the_median_counts() -> None:
    """A run whose end was noticed hours later does not distort the estimate."""
    assert costs(*implemented(10, 30_000, 12))[0] == 12


def test_what_was_last_counts() -> None:
    """Only the recent runs of an agent count."""
    assert costs(*implemented(*[10] * 500, *[40] * 20))[0] == 40


def test_each_role_has_its_own() -> None:
    """A verdict counts for the duration of reviews, not of implementations."""
    review = [begun(0.0, "review"), judged(7.0)]
    assert costs(*implemented(10), *review) == (10, 7)


def test_each_agent_has_its_own() -> None:
    """The runs of another agent in the same role do not count."""
    other = [begun(0.0, agent="codex"), ended(500.0)]
    assert costs(*implemented(10), *other)[0] == 10
    assert costs(*other) == (1, 1)


def test_what_is_unknown_takes_as_long_as_what_is_known() -> None:
    """A role without a known duration costs as much as the known one."""
    assert costs() == (1, 1)
    assert costs(*implemented(10)) == (10, 10)


def test_failures_and_interruptions_do_not_count() -> None:
    """Failed and stopped runs do not count."""
    about = {"at": 3.0, "mission": "m", "wp": "WP01"}
    failed = AttemptFailed(**about, role="implement", reason="no")
    stopped = AttemptStopped(**about, role="implement", number=1, reason="lost")
    for end in (failed, stopped):
        assert costs(begun(0.0), end, ended(9.0)) == (1, 1)


def test_work_packages_and_missions_do_not_mix() -> None:
    """Runs of several work packages and missions at the same time do not mix."""
    starts = [begun(0.0), begun(5.0, wp="WP02"), begun(8.0, mission="n")]
    ends = [ended(10.0, "WP02"), ended(10.0, mission="n")]
    assert costs(*starts, *ends, ended(10.0)) == (5, 5)


def test_nothing_takes_no_time() -> None:
    """A clock that was set back does not make work free."""
    assert costs(*implemented(-5))[0] > 0


def test_events_of_later_releases_are_passed_over() -> None:
    """Events of a newer version do not disturb the estimates."""
    assert costs(UnknownEvent(raw={"kind": "dreamt"}), *implemented(10))[0] == 10


def test_what_has_ended_takes_no_memory() -> None:
    """Only the recent durations and the open runs are kept in memory."""
    made = Durations()
    for i in range(1000):
        for e in (begun(0.0, wp=f"WP{i}"), ended(5.0, f"WP{i}")):
            made.apply(e)
    assert not made._running
    assert sum(map(len, made._seconds.values())) == 20
