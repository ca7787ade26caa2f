"""Tests of `spec_kitty_orchestrator.state.history`."""

from typing import Any

from spec_kitty_orchestrator.state.history import Record, recall
from spec_kitty_orchestrator.state.journal import Event

CLAIM: dict[str, Any] = {"workspace": "/w", "prompt": "/p", "base": "b1", "target": "work"}


def event(kind: str, at: float = 0.0, mission: str = "m", **fields: Any) -> Event:
    """Return an event as the journal has it."""
    return {"kind": kind, "at": at, "mission": mission, "run": "r", **fields}


def of_wp(kind: str, at: float = 0.0, **fields: Any) -> Event:
    """Return an event of WP01."""
    return event(kind, at, wp="WP01", **fields)


def started(number: int, role: str = "implement", at: float = 0.0) -> Event:
    """Return the start of an attempt."""
    return of_wp("attempt-started", at, role=role, number=number, agent="x", directory="/d")


def failed(reason: str) -> Event:
    """Return the failure of an attempt."""
    return of_wp("attempt-failed", role="implement", reason=reason)


def verdict(word: str) -> Event:
    """Return a verdict."""
    return of_wp("verdict", number=2, reviewer="x", verdict=word, summary="s", findings=[])


def fold(*events: Event) -> Record:
    """Return what some events tell about WP01."""
    return recall([event("run-started", settings={}), *events])["m"].record("WP01")


def test_an_attempt_is_open_until_something_is_known_of_its_end() -> None:
    """A run that was killed leaves an open attempt, which the next one looks for."""
    record = fold(started(1, at=5.0))
    assert record.open == record.attempts[0]
    assert (record.open.number, record.started_at, record.ended_at) == (1, 5.0, None)


def test_every_kind_of_end_closes_an_attempt() -> None:
    """Implemented, verdict, failed and stopped all tell how it ended, and when."""
    ends = [of_wp("implemented", 7.0, number=1, head="h"), verdict("approved"), failed("no")]
    ends.append(of_wp("attempt-stopped", role="implement", number=1, reason="lost"))
    for end in ends:
        record = fold(started(1), end)
        assert record.open is None
        assert record.closed_by == end
        assert record.ended_at == end["at"]


def test_failures_are_collected() -> None:
    """Failures at one step add up, and the last one is shown."""
    record = fold(started(1), failed("one"), started(2), failed("two"))
    assert record.failures == ["one", "two"]
    assert record.last_error == "two"


def test_an_interruption_is_no_failure() -> None:
    """An attempt that was stopped neither counts nor forgives."""
    stopped = of_wp("attempt-stopped", role="implement", number=2, reason="stopped")
    assert fold(started(1), failed("one"), started(2), stopped).failures == ["one"]


def test_a_verdict_forgives_failures() -> None:
    """The step after a verdict has all its attempts."""
    assert fold(started(1, "review"), failed("one"), verdict("approved")).failures == []


def test_rounds_are_counted() -> None:
    """Each verdict that asks for changes is a round; an approval is none."""
    record = fold(verdict("changes_requested"), verdict("changes_requested"))
    assert (record.rounds, record.reworks) == (2, 2)
    assert record.findings == verdict("changes_requested")
    record = fold(verdict("changes_requested"), verdict("approved"))
    assert (record.rounds, record.findings) == (1, None)


def test_a_block_forgives_rounds_and_failures() -> None:
    """Whoever takes it out of blocked gives it all its chances; what was done stays counted."""
    asked = verdict("changes_requested")
    block = of_wp("blocked", reason="too often"), of_wp("lane", lane="blocked")
    record = fold(asked, failed("one"), *block)
    assert (record.rounds, record.reworks, record.failures) == (0, 1, [])
    assert record.last_error == "too often"


def test_the_first_base_counts() -> None:
    """A second claim, of a run that goes on, does not hide what was done before it."""
    record = fold(of_wp("claimed", **CLAIM), of_wp("claimed", **{**CLAIM, "base": "b2"}))
    assert (record.base, record.workspace, record.target) == ("b1", "/w", "work")


def test_missions_do_not_mix() -> None:
    """Several missions in one journal have a history each; the one last run comes last."""
    histories = recall(
        [
            event("run-started", mission="a", settings={"max_rounds": 1}),
            event("run-started", mission="b", settings={}),
            event("lane", mission="a", wp="WP01", lane="done"),
            event("lane", mission="b", wp="WP01", lane="planned"),
            event("run-started", mission="a", settings={"max_rounds": 2}),
        ]
    )
    assert list(histories) == ["b", "a"]
    assert histories["a"].lanes == {"WP01": "done"}
    assert histories["b"].lanes == {"WP01": "planned"}
    assert histories["a"].settings == {"max_rounds": 2}


def test_the_end_of_a_run_is_the_last_runs_own() -> None:
    """A run that is under way, or was killed, has no end; the one before had."""
    begin, end = event("run-started", settings={}), event("run-ended", outcome="done")
    assert recall([begin, end])["m"].ended == end
    assert recall([begin, end, begin])["m"].ended is None


def test_an_acceptance_is_over_when_a_lane_changes() -> None:
    """A mission that is worked on again has to be accepted again."""
    accepted = event("accepted")
    assert recall([accepted])["m"].accepted
    assert not recall([accepted, of_wp("lane", lane="in_progress")])["m"].accepted


def test_events_of_later_releases_are_passed_over() -> None:
    """A journal that a newer release wrote into can be read."""
    histories = recall([event("run-started", settings={}), of_wp("dreamt"), event("rested")])
    assert histories["m"].record("WP01") == Record()


def claimed(wp: str, workspace: str) -> Event:
    """Return a claim of a work package."""
    return event("claimed", wp=wp, **{**CLAIM, "workspace": workspace})


def test_a_worktree_is_shared_by_those_who_were_claimed_into_it() -> None:
    """Work packages with one worktree share it, and one that has moved out does not."""
    history = recall([claimed("A", "/w"), claimed("B", "/w"), claimed("C", "/v")])["m"]
    assert [history.shares(wp) for wp in "ABCD"] == [True, True, False, False]
    history.apply(claimed("B", "/v"))
    assert [history.shares(wp) for wp in "ABC"] == [False, True, True]


def test_whoever_is_claimed_twice_does_not_share_with_itself() -> None:
    """A second claim of the same work package makes no second one."""
    assert not recall([claimed("A", "/w"), claimed("A", "/w")])["m"].shares("A")
