"""Tests of `spec_kitty_orchestrator.scheduling.durations`."""

from typing import Any

from spec_kitty_orchestrator.scheduling.durations import Durations, learn
from spec_kitty_orchestrator.state.history import Role
from spec_kitty_orchestrator.state.journal import Event

NAMES: dict[Role, str] = {"implement": "claude-code", "review": "codex"}


def event(kind: str, at: float, wp: str = "WP01", mission: str = "m", **more: Any) -> Event:
    """Return an event as the journal has it."""
    return {"kind": kind, "at": at, "mission": mission, "run": "r", "wp": wp, **more}


def begun(at: float, role: Role = "implement", **more: Any) -> Event:
    """Return the start of an agent."""
    return event("attempt-started", at, role=role, **{"agent": NAMES[role], **more})


def implemented(*seconds: float) -> list[Event]:
    """Return runs of the implementer that took so long."""
    return [e for s in seconds for e in (begun(100.0), event("implemented", 100.0 + s))]


def costs(*events: Event) -> tuple[float, float]:
    """Return what is reckoned for an implementation, and for a review."""
    found = learn(events).costs(NAMES)
    return found["implement"], found["review"]


def test_the_median_counts() -> None:
    """One that was found ended in the morning does not make all others look long."""
    assert costs(*implemented(10, 30_000, 12))[0] == 12


def test_what_was_last_counts() -> None:
    """Agents change: after some time what they took once is forgotten."""
    assert costs(*implemented(*[10] * 500, *[40] * 20))[0] == 40


def test_each_role_has_its_own() -> None:
    """A verdict ends a review, and says nothing of the time for an implementation."""
    review = [begun(0.0, "review"), event("verdict", 7.0)]
    assert costs(*implemented(10), *review) == (10, 7)


def test_each_agent_has_its_own() -> None:
    """Another agent in the same role is another story."""
    other = [begun(0.0, agent="codex"), event("implemented", 500.0)]
    assert costs(*implemented(10), *other)[0] == 10
    assert costs(*other) == (1, 1)


def test_what_is_unknown_takes_as_long_as_what_is_known() -> None:
    """Before the first review, it is taken for as long as an implementation."""
    assert costs() == (1, 1)
    assert costs(*implemented(10)) == (10, 10)


def test_failures_and_interruptions_do_not_count() -> None:
    """How soon an agent fails says nothing of how long its work takes."""
    for end in ("attempt-failed", "attempt-stopped"):
        assert costs(begun(0.0), event(end, 3.0), event("implemented", 9.0)) == (1, 1)


def test_work_packages_and_missions_do_not_mix() -> None:
    """Agents that run at the same time end each for itself."""
    starts = [begun(0.0), begun(5.0, wp="WP02"), begun(8.0, mission="n")]
    ends = [event("implemented", 10.0, "WP02"), event("implemented", 10.0, mission="n")]
    assert costs(*starts, *ends, event("implemented", 10.0)) == (5, 5)


def test_nothing_takes_no_time() -> None:
    """A clock that was put back makes no work package free."""
    assert costs(*implemented(-5))[0] > 0


def test_events_of_later_releases_are_passed_over() -> None:
    """A journal that a newer release wrote into can be learned from."""
    odd = [{"kind": "attempt-started"}, {}, event("attempt-started", 0.0), event("dreamt", 1.0)]
    assert costs(*odd, *implemented(10))[0] == 10


def test_what_has_ended_takes_no_memory() -> None:
    """However long the journal, only the last few of each agent and what is open are kept."""
    made = Durations()
    for i in range(1000):
        for e in (begun(0.0, wp=f"WP{i}"), event("implemented", 5.0, f"WP{i}")):
            made.apply(e)
    assert not made._begun
    assert sum(map(len, made._seconds.values())) == 20
