"""Tests of `spec_kitty_orchestrator.state.history`."""

from attrs import evolve

from spec_kitty_orchestrator.roles import Role
from spec_kitty_orchestrator.state.events import (
    Accepted,
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
    Blocked,
    Claimed,
    Event,
    Implemented,
    LaneReported,
    RunEnded,
    RunStarted,
    UnknownEvent,
    VerdictGiven,
)
from spec_kitty_orchestrator.state.history import History, WorkPackageHistory, recall

START = RunStarted(settings={})
APPROVED = VerdictGiven(
    wp="WP01",
    number=2,
    head="h",
    reviewer="x",
    reference="logs",
    verdict="approved",
    summary="s",
)
ASKED = evolve(APPROVED, verdict="changes_requested")


def started(number: int, role: Role = "implement", at: float = 0.0) -> AttemptStarted:
    """Return the start of an attempt."""
    return AttemptStarted(at=at, wp="WP01", role=role, number=number, agent="x", directory="/d")


def stopped(number: int) -> AttemptStopped:
    """Return the interruption of an attempt."""
    return AttemptStopped(wp="WP01", role="implement", number=number, reason="stopped")


def failed(reason: str) -> AttemptFailed:
    """Return the failure of an attempt."""
    return AttemptFailed(wp="WP01", role="implement", reason=reason)


def claimed(wp: str, workspace: str, base: str = "b1") -> Claimed:
    """Return the claim of a work package."""
    return Claimed(mission="m", wp=wp, workspace=workspace, prompt="/p", base=base, target="work")


def of(*events: Event, mission: str = "m") -> list[Event]:
    """Return events of a mission."""
    return [evolve(event, mission=mission) for event in events]


def told(*events: Event) -> History:
    """Return the state of a mission after some events."""
    return recall(of(*events))["m"]


def fold(*events: Event) -> WorkPackageHistory:
    """Return the state of WP01 after some events."""
    history = History(mission="m")
    for event in (START, *events):
        history.apply(event)
    return history.work_package("WP01")


def test_an_attempt_is_open_until_something_is_known_of_its_end() -> None:
    """An attempt of a killed run stays open, so that the next run looks for it."""
    history = fold(started(1, at=5.0))
    assert history.running == history.attempts[0] == started(1, at=5.0)
    assert (history.started_at, history.ended_at) == (5.0, None)


def test_every_kind_of_end_closes_an_attempt() -> None:
    """Implemented, verdict and failed are the last result; after stopped there is none."""
    implemented = Implemented(at=7.0, wp="WP01", number=1, head="h")
    for end in (implemented, APPROVED, failed("no"), stopped(1)):
        history = fold(started(1), end)
        assert history.running is None
        assert history.last_result == (None if isinstance(end, AttemptStopped) else end)
        assert history.ended_at == end.at


def test_failures_are_collected() -> None:
    """Failures at one step add up, and the last one is shown."""
    history = fold(started(1), failed("one"), started(2), failed("two"))
    assert history.failures == ["one", "two"]
    assert history.last_error == "two"


def test_an_interruption_is_no_failure() -> None:
    """A stopped attempt is no failure, and does not reset the failures."""
    assert fold(started(1), failed("one"), started(2), stopped(2)).failures == ["one"]


def test_a_verdict_forgives_failures() -> None:
    """A verdict resets the failures, so that the next step has all its attempts."""
    assert fold(started(1, "review"), failed("one"), APPROVED).failures == []


def test_rounds_are_counted() -> None:
    """Each verdict that asks for changes is a round; an approval is none."""
    history = fold(ASKED, ASKED)
    assert (history.rework_rounds_since_unblocked, history.rework_rounds) == (2, 2)
    assert history.findings == ASKED
    history = fold(ASKED, APPROVED)
    assert (history.rework_rounds, history.findings) == (1, None)


def test_a_block_forgives_rounds_and_failures() -> None:
    """Reopening a blocked work package resets its limits; the total count stays."""
    block = Blocked(wp="WP01", reason="too often"), LaneReported(wp="WP01", lane="blocked")
    history = fold(ASKED, failed("one"), *block)
    assert (history.rework_rounds_since_unblocked, history.rework_rounds) == (0, 1)
    assert (history.failures, history.last_result) == ([], None)
    assert history.last_error == "too often"


def test_the_first_base_counts() -> None:
    """A second claim keeps the first base, so that earlier work still counts."""
    history = fold(claimed("WP01", "/w"), claimed("WP01", "/w", "b2"))
    assert (history.base, history.workspace, history.target) == ("b1", "/w", "work")


def test_missions_do_not_mix() -> None:
    """Several missions in one journal have a history each; the one last run comes last."""
    histories = recall(
        [
            *of(RunStarted(settings={"max_rounds": 1}), mission="a"),
            *of(START, mission="b"),
            *of(LaneReported(wp="WP01", lane="done"), mission="a"),
            *of(LaneReported(wp="WP01", lane="planned"), mission="b"),
            *of(RunStarted(settings={"max_rounds": 2}), mission="a"),
        ]
    )
    assert list(histories) == ["b", "a"]
    assert histories["a"].lanes == {"WP01": "done"}
    assert histories["b"].lanes == {"WP01": "planned"}
    assert histories["a"].settings == {"max_rounds": 2}


def test_the_end_of_a_run_is_the_last_runs_own() -> None:
    """The end of an earlier run does not count for a run that is under way or was killed."""
    end = RunEnded(mission="m", outcome="done")
    assert told(START, end).ended == end
    assert told(START, end, START).ended is None


def test_an_acceptance_is_over_when_a_lane_changes() -> None:
    """A change of a lane makes an earlier acceptance invalid."""
    assert told(Accepted()).accepted
    assert not told(Accepted(), LaneReported(wp="WP01", lane="in_progress")).accepted


def test_events_of_later_releases_are_passed_over() -> None:
    """Events of a newer version do not disturb the history."""
    dreamt = UnknownEvent(raw={"kind": "dreamt", "wp": "WP01"})
    assert told(START, dreamt).work_package("WP01") == WorkPackageHistory()
    assert recall([dreamt]) == {}


def test_a_worktree_is_shared_by_those_who_were_claimed_into_it() -> None:
    """Work packages in one worktree share it, until one is claimed into another."""
    history = told(claimed("A", "/w"), claimed("B", "/w"), claimed("C", "/v"))
    assert [history.shares_worktree(wp) for wp in "ABCD"] == [True, True, False, False]
    history.apply(claimed("B", "/v"))
    assert [history.shares_worktree(wp) for wp in "ABC"] == [False, True, True]


def test_a_second_claim_shares_nothing() -> None:
    """A work package that is claimed twice does not share the worktree with itself."""
    assert not told(claimed("A", "/w"), claimed("A", "/w")).shares_worktree("A")
