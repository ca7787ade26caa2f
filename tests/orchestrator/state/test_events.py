"""Tests of `spec_kitty_orchestrator.state.events`."""

import json
import pickle
from typing import Any

import pytest

from spec_kitty_orchestrator.state.events import (
    KINDS,
    AcceptanceSkipped,
    Accepted,
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
    BaseMoved,
    Blocked,
    ChangesKept,
    Claimed,
    Event,
    Finding,
    FinishFailed,
    HostRetried,
    Implemented,
    JournalRepaired,
    LaneReported,
    MergeStarted,
    MissionMerged,
    NoteGiven,
    RunAborted,
    RunEnded,
    RunStarted,
    Submitted,
    UnknownEvent,
    VerdictGiven,
    WarningGiven,
    WorkPackageStuck,
)
from spec_kitty_orchestrator.state.journal import event_from_dict

FINDING = Finding(id="F1", severity="minor", where="a.py:1", what="a typo")
EVENTS: list[Event] = [
    RunStarted(settings={"max_rounds": 3, "max_per_agent": {"codex": 1}}, version="0.1.0"),
    RunEnded(outcome="done", exit_code=0, unfinished={"WP01": "is planned"}, next=("a", "b")),
    RunAborted(removed=("/w",), left={"/v": "uncommitted"}),
    WarningGiven(message="x"),
    NoteGiven(message="x"),
    JournalRepaired(damaged=1, recovered=2, aside="/j"),
    HostRetried(attempt=1, because="x"),
    Accepted(at_host="2026"),
    AcceptanceSkipped(reason="x", command=None),
    MergeStarted(target=None, strategy="merge"),
    MissionMerged(target="work", strategy="merge", before="a", after="b", changed=False),
    FinishFailed(reason="x"),
    LaneReported(wp="WP01", lane="done"),
    Claimed(wp="WP01", workspace="/w", prompt="/p", base="b", target="work"),
    BaseMoved(wp="WP01", base="b"),
    AttemptStarted(wp="WP01", role="review", number=1, agent="codex", directory="/d"),
    Implemented(wp="WP01", number=1, head="h", begun="g"),
    Submitted(wp="WP01", head="h"),
    VerdictGiven(
        wp="WP01",
        number=2,
        head="h",
        reviewer="codex",
        reference="logs",
        verdict="changes_requested",
        summary="s",
        findings=(FINDING,),
    ),
    ChangesKept(wp="WP01", files=("a", "b"), where="refs/x/1", reason="r"),
    AttemptFailed(wp="WP01", role="implement", reason="x"),
    AttemptStopped(wp="WP01", role="implement", number=1, reason="lost"),
    Blocked(wp="WP01", reason="x"),
    WorkPackageStuck(wp="WP01", reason="x"),
]
LANE: dict[str, Any] = {"kind": "lane", "at": 1.0, "mission": "m", "run": "r", "wp": "WP01"}


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: str(e.kind))
def test_an_event_survives_json_and_pickle(event: Event) -> None:
    """An event is the same after it was written and read."""
    assert event_from_dict(json.loads(json.dumps(event.to_dict()))) == event
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - bytes of this test


def test_every_kind_is_tested() -> None:
    """The list above has every kind of event that a journal can hold."""
    assert {event.kind for event in EVENTS} == set(KINDS)


def test_the_json_of_an_event_is_flat() -> None:
    """Scripts find kind, time, mission, run and the event's own fields side by side."""
    event = LaneReported(at=1.0, mission="m", run="r", wp="WP01", lane="done")
    assert event.to_dict() == {**LANE, "lane": "done"}
    assert ChangesKept(wp="WP01", files=("a", "b"), where="refs/x/1", reason="r").to_dict()[
        "files"
    ] == ["a", "b"]


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"kind": "dreamt", "mission": "m", "at": 1.0},
        {"kind": ["lane"]},
        LANE,
        {**LANE, "lane": None},
        {**LANE, "lane": "done", "at": "noon"},
        {"kind": "run-ended", "outcome": "done", "unfinished": None},
        {"kind": "kept", "wp": "WP01", "files": None},
        {"kind": "attempt-failed", "wp": "WP01", "role": "sing", "reason": "x"},
    ],
)
def test_events_of_other_versions_stay_readable(raw: dict[str, Any]) -> None:
    """An unknown kind or a field that does not fit is kept as it is, and stops no reader."""
    event = event_from_dict(raw)
    assert isinstance(event, UnknownEvent)
    assert event.mission == raw.get("mission", "")
    assert event.to_dict() == raw


def test_fields_of_other_versions_are_ignored() -> None:
    """A field that a newer version added does not make the event unreadable."""
    event = event_from_dict({**LANE, "lane": "done", "colour": "red"})
    assert event == LaneReported(at=1.0, mission="m", run="r", wp="WP01", lane="done")


def test_a_journal_of_the_first_versions_can_be_read() -> None:
    """Fields that were added later have defaults."""
    told = {"wp": "WP01", "workspace": "/w", "prompt": "/p", "base": "b"}
    assert isinstance(event_from_dict({"kind": "claimed", **told}), Claimed)
    ended = event_from_dict({"kind": "implemented", "wp": "WP01", "number": 1, "head": "h"})
    assert isinstance(ended, Implemented)
    merged = event_from_dict({"kind": "merged", "target": "work", "strategy": "merge"})
    assert isinstance(merged, MissionMerged)
    assert merged.changed
