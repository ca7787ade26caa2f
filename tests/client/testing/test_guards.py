"""Tests of `spec_kitty_client.testing.host.guards`, one rule at a time."""

import json
from typing import Any

import pytest

from spec_kitty_client import ErrorCode
from spec_kitty_client.testing.host import Release, guards
from spec_kitty_client.testing.host.answers import Crashed, Refused
from spec_kitty_client.testing.host.board import Mission

APPROVED = {"reviewer": "rev", "verdict": "approved", "reference": "r1"}
REWORK = APPROVED | {"verdict": "changes_requested"}


OTHER = APPROVED | {"reference": "r2"}
ONLY: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "work_is_committed": ("3.2.7", "in_progress", "for_review", {"worked_on": lambda: False}),
    "there_is_a_way": ("3.2.7", "planned", "done", {"evidence": {"review": APPROVED}}),
    "somebody_does_it": ("3.2.7", "planned", "claimed", {"actor": ""}),
    "note_is_given": ("3.2.7", "in_progress", "planned", {}),
    "review_ref_is_given": ("3.2.7", "approved", "planned", {}),
    "evidence_is_given": ("3.2.7", "in_progress", "approved", {}),
    "review_result_is_given": ("3.2.7", "in_review", "planned", {}),
    "there_is_an_option_for_it": ("3.2.5", "in_review", "approved", {"note": "n"}),
    "subtasks_are_done": (
        *("3.2.7", "in_progress", "for_review"),
        {"has_open_subtasks": lambda: True, "subtasks_complete": True},
    ),
    "verdict_fits": ("3.2.7", "in_review", "approved", {"review_result": REWORK}),
    "proofs_agree": (
        *("3.2.7", "in_review", "approved"),
        {"review_result": APPROVED, "evidence": {"review": OTHER}},
    ),
}
"""For each rule a transition that breaks it alone."""


def attempt(release: str, before: str, to: str, **changes: Any) -> guards.Attempt:
    """Return a transition that is valid except for the given changes."""
    of = Release(release)
    mission = Mission.of(of, {"WP01": []}, slug="s", ulid="01K00001", target="work")
    mission.packages["WP01"].lane = before
    given: dict[str, Any] = {
        "actor": "a1",
        "forced": False,
        "note": "",
        "review_ref": None,
        "evidence": None,
        "review_result": None,
        "worked_on": lambda: True,
    }
    return guards.Attempt(release=of, mission=mission, wp="WP01", to=to, **(given | changes))


def refused(rule: guards.Guard, tried: guards.Attempt) -> bool:
    try:
        rule(tried)
    except Refused as e:
        return e.code is ErrorCode.TRANSITION_REJECTED
    return False


@pytest.mark.parametrize(
    ("word", "release", "lane"),
    [
        ("planned", "3.2.7", "planned"),
        (" DONE ", "3.2.7", "done"),
        ("doing", "1.0.3", "in_progress"),
        ("claimed", "1.0.3", "in_progress"),
        ("claimed", "2.1.3", "claimed"),
        ("in_review", "3.1.0", "for_review"),
        ("in_review", "3.1.1", "in_review"),
    ],
)
def test_a_lane_has_several_names(word: str, release: str, lane: str) -> None:
    """Case and blanks of a lane do not matter, and a newer lane may stand for an older one."""
    assert guards.lane_named(word, Release(release)) == lane


@pytest.mark.parametrize(
    ("word", "release", "answer"),
    [
        ("bogus", "3.1.0", Refused),
        ("bogus", "3.1.1", Crashed),
        ("approved", "1.0.3", Refused),
        ("genesis", "3.1.10", Crashed),
        ("genesis", "3.2.0", Refused),
    ],
)
def test_an_unknown_lane_is_refused_or_crashes(
    word: str, release: str, answer: type[Exception]
) -> None:
    """Hosts from 3.1.1 on crash on an unknown lane; genesis is known, but refused."""
    with pytest.raises(answer):
        guards.lane_named(word, Release(release))


def test_there_is_a_way() -> None:
    """A move that the dialect does not allow is refused."""
    assert refused(guards.there_is_a_way, attempt("3.2.7", "planned", "done"))
    assert not refused(guards.there_is_a_way, attempt("3.2.7", "planned", "claimed"))


@pytest.mark.parametrize(("release", "known"), [("1.0.1", False), ("1.0.2", True)])
def test_the_way_back_from_for_review_came_with_1_0_2(release: str, known: bool) -> None:
    """1.0.1 refuses the move from for_review to planned, and 1.0.2 allows it."""
    assert refused(guards.there_is_a_way, attempt(release, "for_review", "planned")) is not known


@pytest.mark.parametrize(
    ("before", "to"),
    [("planned", "claimed"), ("claimed", "in_progress"), ("for_review", "in_review")],
)
def test_somebody_does_it(before: str, to: str) -> None:
    """A claim, a start and a review need an actor from 2.1.0 on; a move back does not."""
    for blank in ("", " "):
        assert refused(guards.somebody_does_it, attempt("3.2.7", before, to, actor=blank))
    assert not refused(guards.somebody_does_it, attempt("3.2.7", before, to))
    assert not refused(guards.somebody_does_it, attempt("1.0.3", before, to, actor=""))
    blocked = attempt("3.2.7", "in_progress", "blocked", actor="")
    assert not refused(guards.somebody_does_it, blocked)


def test_nobody_takes_a_work_package() -> None:
    """A move that takes a work package without an actor is refused."""
    with pytest.raises(Refused, match="an actor is needed"):
        guards.check(attempt("3.2.7", "planned", "claimed", actor=" "))


def test_a_note_is_given() -> None:
    """A move back to planned needs a note."""
    back = ("3.2.7", "in_progress", "planned")
    assert refused(guards.note_is_given, attempt(*back, note=" "))
    assert not refused(guards.note_is_given, attempt(*back, note="n"))


def test_a_review_ref_is_given() -> None:
    """A move of approved work back needs a reference to a review."""
    back = ("3.2.7", "approved", "in_progress")
    for nothing in (None, "", " "):
        assert refused(guards.review_ref_is_given, attempt(*back, review_ref=nothing))
    assert not refused(guards.review_ref_is_given, attempt(*back, review_ref="r1"))


def test_evidence_is_given() -> None:
    """Approving without a review needs evidence, and a review result does not count."""
    move = ("3.2.7", "in_progress", "approved")
    assert refused(guards.evidence_is_given, attempt(*move))
    assert not refused(guards.evidence_is_given, attempt(*move, evidence={"review": APPROVED}))
    assert refused(guards.evidence_is_given, attempt(*move, review_result=APPROVED))


def test_a_review_result_is_given() -> None:
    """A move out of in_review needs a review result from 3.2.6 on."""
    move = ("in_review", "in_progress")
    assert refused(guards.review_result_is_given, attempt("3.2.6", *move))
    assert not refused(guards.review_result_is_given, attempt("3.2.6", *move, review_result=REWORK))
    assert not refused(guards.review_result_is_given, attempt("3.2.5", *move))


def test_what_has_no_option_is_forced() -> None:
    """Before 3.2.6 a move out of in_review has no option for its result, and is refused."""
    move = ("in_review", "approved")
    assert refused(guards.there_is_an_option_for_it, attempt("3.2.5", *move))
    assert not refused(guards.there_is_an_option_for_it, attempt("3.2.6", *move))


@pytest.mark.parametrize("proof", ["review_result", "evidence"])
def test_the_verdict_fits(proof: str) -> None:
    """A review that asked for changes cannot approve from 3.2.6 on."""

    def tried(release: str, to: str, review: object) -> bool:
        given = {proof: {"review": review} if proof == "evidence" else review}
        return refused(guards.verdict_fits, attempt(release, "in_review", to, **given))

    assert tried("3.2.6", "approved", REWORK)
    assert tried("3.2.6", "done", REWORK)
    assert not tried("3.2.6", "approved", APPROVED)
    assert not tried("3.2.6", "in_progress", REWORK)
    assert not tried("3.2.5", "approved", REWORK)


EVERY = (guards.work_is_committed, *guards.GUARDS)


@pytest.mark.parametrize("name", ONLY)
def test_every_rule_is_asked(name: str) -> None:
    """A move that breaks only one rule is refused, and force passes it."""
    release, before, to, given = ONLY[name]
    tried = attempt(release, before, to, **given)
    with pytest.raises(Refused):
        guards.check(tried)
    if name != "there_is_a_way":  # the other rules need a move that is allowed
        broken = [rule.__name__ for rule in EVERY if refused(rule, tried)]
        assert broken == [name]
    forced = given | {"forced": True, "note": "n", "actor": "a"}
    guards.check(attempt(release, before, to, **forced))


def test_the_rules_are_known() -> None:
    """Every rule has an example, and is checked once."""
    assert sorted(rule.__name__ for rule in EVERY) == sorted(ONLY)


@pytest.mark.parametrize("differs", ["reviewer", "verdict", "reference"])
def test_evidence_and_result_tell_of_one_review(differs: str) -> None:
    """Evidence and review result that differ in any field are refused."""
    given = {"review_result": APPROVED, "evidence": {"review": APPROVED | {differs: "other"}}}
    assert refused(guards.proofs_agree, attempt("3.2.7", "in_review", "approved", **given))
    # A move that needs no review result does not compare the two.
    assert not refused(guards.proofs_agree, attempt("3.2.7", "in_progress", "approved", **given))


def test_the_review_ref_is_that_of_the_result() -> None:
    """A review_ref that differs from the reference of the review result is refused."""
    move = ("3.2.7", "in_review", "in_progress")
    for reference, wrong in (("r2", True), ("r1", False), (None, False)):
        tried = attempt(*move, review_result=REWORK, review_ref=reference)
        assert refused(guards.proofs_agree, tried) is wrong


def test_work_is_committed() -> None:
    """From 3.2.2 on work without a commit is refused, with its lane in the answer."""
    given = {"worked_on": lambda: False}
    handed_in = attempt("3.2.2", "in_progress", "for_review", **given)
    with pytest.raises(Refused) as caught:
        guards.work_is_committed(handed_in)
    assert caught.value.details == {"wp_id": "WP01", "lane_id": "lane-a"}
    before = attempt("3.2.1", "in_progress", "for_review", **given)
    assert not refused(guards.work_is_committed, before)
    other = attempt("3.2.2", "in_progress", "blocked", **given)
    assert not refused(guards.work_is_committed, other)


@pytest.mark.parametrize(
    ("release", "complete", "passes"),
    [
        ("1.0.3", False, True),
        ("2.1.0", False, False),
        ("3.1.0", False, False),
        ("3.1.0", True, True),
        ("3.2.5", True, True),
        ("3.2.6", True, False),
    ],
)
def test_subtasks_are_done(release: str, complete: bool, passes: bool) -> None:
    """Open subtasks stop work from 2.1.0 on, and from 3.2.6 on also if called complete."""
    given = {"has_open_subtasks": lambda: True, "subtasks_complete": complete}
    tried = attempt(release, "in_progress", "for_review", **given)
    assert refused(guards.subtasks_are_done, tried) is not passes
    given |= {"has_open_subtasks": lambda: False}
    tried = attempt(release, "in_progress", "for_review", **given)
    assert not refused(guards.subtasks_are_done, tried)


def test_subtasks_matter_to_nothing_else() -> None:
    """Subtasks are checked only for the move from in_progress to for_review."""
    given = {"has_open_subtasks": lambda: True}
    for move in (("in_progress", "approved"), ("in_review", "for_review"), ("planned", "claimed")):
        assert not refused(guards.subtasks_are_done, attempt("3.2.7", *move, **given))


def test_force_is_explained() -> None:
    """Force needs an actor and a note from 2.1.0 on."""
    move = ("planned", "done")
    for missing in ({"note": " "}, {"actor": " "}):
        given = {"forced": True, "note": "n"} | missing
        assert refused(guards.force_is_explained, attempt("2.1.0", *move, **given))
        assert not refused(guards.force_is_explained, attempt("1.0.3", *move, **given))
        with pytest.raises(Refused, match="force"):
            guards.check(attempt("2.1.0", *move, **given))


def test_force_opens_every_way() -> None:
    """Force switches the other rules off."""
    guards.check(attempt("3.2.7", "planned", "done", forced=True, note="n"))


@pytest.mark.parametrize(
    "evidence",
    [{}, {"review": None}, {"review": []}, {"review": {}}, {"review": APPROVED | {"reviewer": ""}}],
)
def test_evidence_is_whole(evidence: object) -> None:
    """Evidence needs a complete review, even if it is optional or the move is forced."""
    assert refused(guards.evidence_is_whole, attempt("3.2.7", "planned", "done", evidence=evidence))
    for how in ({}, {"forced": True, "note": "n"}):
        with pytest.raises(Refused, match="the evidence has no complete review"):
            guards.check(attempt("3.2.7", "planned", "blocked", evidence=evidence, **how))
    whole = attempt("3.2.7", "planned", "blocked", evidence={"review": APPROVED})
    guards.check(whole)
    guards.evidence_is_whole(attempt("3.2.7", "planned", "blocked"))


@pytest.mark.parametrize("read", [guards.parse_evidence, guards.parse_review_result])
def test_proofs_are_json_objects(read: Any) -> None:
    """Evidence and review results that are not JSON objects are usage errors."""
    for wrong in ("{", "[]", "1", "[" * 100_000):
        with pytest.raises(Refused) as caught:
            read(wrong)
        assert caught.value.code is ErrorCode.USAGE_ERROR
    assert read(None) is None


@pytest.mark.parametrize("change", [{"reviewer": ""}, {"reference": None}, {"verdict": "meh"}])
def test_a_review_result_is_whole(change: dict[str, object]) -> None:
    """A review result without reviewer or reference, or with another verdict, is refused."""
    with pytest.raises(Refused) as caught:
        guards.parse_review_result(json.dumps(APPROVED | change))
    assert caught.value.code is ErrorCode.USAGE_ERROR
    assert guards.parse_review_result(json.dumps(REWORK)) == REWORK
