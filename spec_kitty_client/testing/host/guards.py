"""What a host asks of a transition, one function for each rule.

Source: CONTRACT of every release, and ``tests/corpus``, which holds an attempt at every pair
of lanes. What there is between the lanes is in `spec_kitty_client.contract.lanes`, for clients
and for this host alike.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from packaging.version import Version

from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import Lane, Need, lanes_of, moves, needs
from spec_kitty_client.testing.host.answers import Crashed, Refused
from spec_kitty_client.testing.host.board import Mission, Package
from spec_kitty_client.testing.host.files import COUNTED
from spec_kitty_client.testing.host.releases import Release

__all__ = ["GUARDS", "Attempt", "check", "lane_named"]


@frozen(kw_only=True)
class Attempt:
    """A transition that is asked for."""

    release: Release
    mission: Mission
    wp: str
    to: str
    actor: str
    forced: bool
    note: str
    review_ref: str | None
    evidence: Mapping[str, Any] | None
    review_result: Mapping[str, Any] | None
    worked_on: Callable[[], bool]
    """Tells whether there is a commit of the work package."""
    has_open_subtasks: Callable[[], bool] = lambda: False
    """Tells whether the host sees an open subtask of it."""
    subtasks_complete: bool = False
    """Whether the caller says that there is none."""

    @property
    def package(self) -> Package:
        """The work package."""
        return self.mission.packages[self.wp]

    @property
    def move(self) -> tuple[Lane, Lane]:
        """From where to where."""
        return Lane(self.package.lane), Lane(self.to)


Guard = Callable[[Attempt], None]

_TAKEN = (
    (Lane.PLANNED, Lane.CLAIMED),
    (Lane.CLAIMED, Lane.IN_PROGRESS),
    (Lane.FOR_REVIEW, Lane.IN_REVIEW),
)
"""The ways on which somebody takes a work package."""


def lane_named(word: str, release: Release) -> Lane:
    """Return the lane that a word stands for.

    Raises:
        Refused: If there is none, up to 3.1.0.
        Crashed: The same later: the host does not expect it.
    """
    lane = word.strip().lower()
    lane = {"doing": "in_progress"}.get(lane, lane)
    if release.dialect is Dialect.F1 and lane == Lane.CLAIMED:
        return Lane.IN_PROGRESS
    if release.dialect is Dialect.M0 and lane == Lane.IN_REVIEW:
        return Lane.FOR_REVIEW
    if lane in lanes_of(release.dialect):
        return Lane(lane)
    msg = f"Unknown lane: {word!r}"
    if release.since("3.1.1") and not (lane == "genesis" and release.since("3.2.0")):
        raise Crashed(msg)
    raise Refused(ErrorCode.TRANSITION_REJECTED, msg)


def check(attempt: Attempt) -> None:
    """Let a transition pass, or not.

    Raises:
        Refused: If it does not.
    """
    if not attempt.forced:
        work_is_committed(attempt)
    evidence_is_whole(attempt)
    if attempt.forced:
        force_is_explained(attempt)
        return
    for guard in GUARDS:
        guard(attempt)


def _refuse(attempt: Attempt, why: str) -> Refused:
    before, to = attempt.package.lane, attempt.to
    return Refused(ErrorCode.TRANSITION_REJECTED, f"{attempt.wp}: {before} -> {to}: {why}")


def force_is_explained(attempt: Attempt) -> None:
    """From 2.1.0 on force takes an actor and a note."""
    if attempt.release.since("2.1.0") and not (attempt.note.strip() and attempt.actor.strip()):
        raise _refuse(attempt, "force needs an actor and a note")


def there_is_a_way(attempt: Attempt) -> None:
    """The lanes are joined; 1.0.2 added the way back from for_review to planned."""
    known = attempt.move in moves(attempt.release.dialect)
    back = attempt.move == (Lane.FOR_REVIEW, Lane.PLANNED)
    if not known or (back and attempt.release.version < Version("1.0.2")):
        raise _refuse(attempt, "there is no such way")


def _wants(attempt: Attempt, need: Need) -> bool:
    return need in needs(*attempt.move, attempt.release.dialect)


def note_is_given(attempt: Attempt) -> None:
    """Giving work back takes a note."""
    if _wants(attempt, Need.NOTE) and not attempt.note.strip():
        raise _refuse(attempt, "a note is needed")


def review_ref_is_given(attempt: Attempt) -> None:
    """Sending reviewed work back takes a reference to the review."""
    if _wants(attempt, Need.REVIEW_REF) and not (attempt.review_ref or "").strip():
        raise _refuse(attempt, "a review-ref is needed")


def evidence_is_given(attempt: Attempt) -> None:
    """Approving what is not in review takes evidence; a review result is none."""
    if _wants(attempt, Need.EVIDENCE) and not attempt.evidence:
        raise _refuse(attempt, "evidence is needed")


def review_result_is_given(attempt: Attempt) -> None:
    """Every way out of in_review takes a review result."""
    if _wants(attempt, Need.REVIEW_RESULT) and not attempt.review_result:
        raise _refuse(attempt, "a review result is needed")


def there_is_an_option_for_it(attempt: Attempt) -> None:
    """What the rule asks for cannot be given on this command line: only force passes."""
    if _wants(attempt, Need.FORCE):
        raise _refuse(attempt, "the proof that it needs cannot be given")


def somebody_does_it(attempt: Attempt) -> None:
    """Claiming, starting and reviewing takes an actor (2.1.0 and later)."""
    if attempt.release.since("2.1.0") and attempt.move in _TAKEN and not attempt.actor.strip():
        raise _refuse(attempt, "an actor is needed")


def subtasks_are_done(attempt: Attempt) -> None:
    """Work with open subtasks is not handed in (2.1.0 and later).

    Up to 3.2.5 hosts believe a caller who says that there are none.
    """
    believed = attempt.subtasks_complete and not attempt.release.since(COUNTED)
    handed_in = attempt.move == (Lane.IN_PROGRESS, Lane.FOR_REVIEW)
    if not handed_in or believed or not attempt.release.since("2.1.0"):
        return
    if attempt.has_open_subtasks():
        raise _refuse(attempt, "there are open subtasks")


def verdict_fits(attempt: Attempt) -> None:
    """What is approved or done was approved by its review (3.2.6 and later)."""
    if not attempt.release.has(Feature.REVIEW_RESULT):
        return
    if attempt.to not in (Lane.APPROVED, Lane.DONE):
        return
    for review in (attempt.review_result, (attempt.evidence or {}).get("review")):
        if review and review.get("verdict") != "approved":
            raise _refuse(attempt, "the review did not approve it")


def proofs_agree(attempt: Attempt) -> None:
    """Evidence, review result and review-ref tell of one review (3.2.6 and later)."""
    result = attempt.review_result
    if result is None or not _wants(attempt, Need.REVIEW_RESULT):
        return
    said = (attempt.evidence or {}).get("review") or result
    if any(said.get(k) != result.get(k) for k in ("reviewer", "verdict", "reference")):
        raise _refuse(attempt, "evidence and review result disagree")
    if attempt.review_ref is not None and attempt.review_ref != result.get("reference"):
        raise _refuse(attempt, "the review-ref is not that of the review result")


def work_is_committed(attempt: Attempt) -> None:
    """What is handed in has a commit (3.2.2 and later)."""
    if not attempt.release.has(Feature.WORKTREES) or attempt.to != Lane.FOR_REVIEW:
        return
    if not attempt.worked_on():
        lane = attempt.mission.lanes[attempt.wp]
        raise Refused(
            ErrorCode.TRANSITION_REJECTED,
            f"{attempt.wp} has no commit in its worktree",
            {"wp_id": attempt.wp, "lane_id": lane},
            mission=attempt.mission,
        )


def evidence_is_whole(attempt: Attempt) -> None:
    """Evidence that is given tells who reviewed, and what came of it."""
    if attempt.evidence is None:
        return
    review = attempt.evidence.get("review")
    if not isinstance(review, dict) or not all(
        map(review.get, ("reviewer", "verdict", "reference"))
    ):
        raise _refuse(attempt, "the evidence tells of no review")


GUARDS: tuple[Guard, ...] = (
    there_is_a_way,
    somebody_does_it,
    note_is_given,
    review_ref_is_given,
    evidence_is_given,
    review_result_is_given,
    there_is_an_option_for_it,
    subtasks_are_done,
    verdict_fits,
    proofs_agree,
)
"""The rules that force switches off, in the order in which they are asked."""


def parse_evidence(text: str | None) -> Mapping[str, Any] | None:
    """Read ``--evidence-json``.

    Raises:
        Refused: If it is no JSON object.
    """
    return _object(text, "--evidence-json")


def parse_review_result(text: str | None) -> Mapping[str, Any] | None:
    """Read ``--review-result-json``.

    Raises:
        Refused: If it is no JSON object, or lacks something.
    """
    result = _object(text, "--review-result-json")
    if result is None:
        return None
    missing = [k for k in ("reviewer", "verdict", "reference") if not result.get(k)]
    if missing or result["verdict"] not in ("approved", "changes_requested"):
        msg = f"--review-result-json: {', '.join(missing) or 'verdict'} is missing or unknown"
        raise Refused(ErrorCode.USAGE_ERROR, msg)
    return result


def _object(text: str | None, option: str) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise Refused(ErrorCode.USAGE_ERROR, f"{option} is not JSON: {e}") from e
    if not isinstance(value, dict):
        raise Refused(ErrorCode.USAGE_ERROR, f"{option} is no JSON object")
    return value
