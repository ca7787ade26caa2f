"""The host's rules for transitions, one function per rule.

Source: the contract of every release, and ``tests/corpus``, with the recorded answers to every
pair of lanes. The allowed moves are in `spec_kitty_client.contract.lanes`, shared by clients and
this host.
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
    """A requested transition, and what the rules need to know about it."""

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
    """Returns whether the work package has a commit."""
    has_open_subtasks: Callable[[], bool] = lambda: False
    """Returns whether the host counts a subtask as open."""
    subtasks_complete: bool = False
    """Whether the call has ``--subtasks-complete``."""

    @property
    def package(self) -> Package:
        """The work package."""
        return self.mission.packages[self.wp]

    @property
    def move(self) -> tuple[Lane, Lane]:
        """The present lane and the wanted lane."""
        return Lane(self.package.lane), Lane(self.to)


Guard = Callable[[Attempt], None]

_TAKEN = (
    (Lane.PLANNED, Lane.CLAIMED),
    (Lane.CLAIMED, Lane.IN_PROGRESS),
    (Lane.FOR_REVIEW, Lane.IN_REVIEW),
)
"""The moves by which an actor takes a work package."""


def lane_named(word: str, release: Release) -> Lane:
    """Return the lane for a word in a call.

    Raises:
        Refused: If there is no such lane (up to 3.1.0).
        Crashed: If there is no such lane (3.1.1 and later).
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
    """Check a transition by all rules.

    Raises:
        Refused: If a rule forbids it.
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
    """Force needs an actor and a note (2.1.0 and later)."""
    if attempt.release.since("2.1.0") and not (attempt.note.strip() and attempt.actor.strip()):
        raise _refuse(attempt, "force needs an actor and a note")


def there_is_a_way(attempt: Attempt) -> None:
    """The dialect allows the move; 1.0.2 added the one from for_review to planned."""
    known = attempt.move in moves(attempt.release.dialect)
    back = attempt.move == (Lane.FOR_REVIEW, Lane.PLANNED)
    if not known or (back and attempt.release.version < Version("1.0.2")):
        raise _refuse(attempt, "this move is not allowed")


def _wants(attempt: Attempt, need: Need) -> bool:
    return need in needs(*attempt.move, attempt.release.dialect)


def note_is_given(attempt: Attempt) -> None:
    """A move back to planned needs a note."""
    if _wants(attempt, Need.NOTE) and not attempt.note.strip():
        raise _refuse(attempt, "a note is needed")


def review_ref_is_given(attempt: Attempt) -> None:
    """A move of reviewed work back needs a reference to the review."""
    if _wants(attempt, Need.REVIEW_REF) and not (attempt.review_ref or "").strip():
        raise _refuse(attempt, "a review-ref is needed")


def evidence_is_given(attempt: Attempt) -> None:
    """An approval from outside a review needs evidence; a review result is not enough."""
    if _wants(attempt, Need.EVIDENCE) and not attempt.evidence:
        raise _refuse(attempt, "evidence is needed")


def review_result_is_given(attempt: Attempt) -> None:
    """Every move out of in_review needs a review result."""
    if _wants(attempt, Need.REVIEW_RESULT) and not attempt.review_result:
        raise _refuse(attempt, "a review result is needed")


def there_is_an_option_for_it(attempt: Attempt) -> None:
    """A move whose required option is missing from the command line needs force."""
    if _wants(attempt, Need.FORCE):
        raise _refuse(attempt, "there is no option for the proof that it needs")


def somebody_does_it(attempt: Attempt) -> None:
    """A claim, a start and a review need an actor (2.1.0 and later)."""
    if attempt.release.since("2.1.0") and attempt.move in _TAKEN and not attempt.actor.strip():
        raise _refuse(attempt, "an actor is needed")


def subtasks_are_done(attempt: Attempt) -> None:
    """A move to for_review needs all subtasks done (2.1.0 and later).

    Up to 3.2.5 ``--subtasks-complete`` skips this rule.
    """
    believed = attempt.subtasks_complete and not attempt.release.since(COUNTED)
    handed_in = attempt.move == (Lane.IN_PROGRESS, Lane.FOR_REVIEW)
    if not handed_in or believed or not attempt.release.since("2.1.0"):
        return
    if attempt.has_open_subtasks():
        raise _refuse(attempt, "there are open subtasks")


def verdict_fits(attempt: Attempt) -> None:
    """A move to approved or done needs a review that approved (3.2.6 and later)."""
    if not attempt.release.has(Feature.REVIEW_RESULT):
        return
    if attempt.to not in (Lane.APPROVED, Lane.DONE):
        return
    for review in (attempt.review_result, (attempt.evidence or {}).get("review")):
        if review and review.get("verdict") != "approved":
            raise _refuse(attempt, "the review did not approve it")


def proofs_agree(attempt: Attempt) -> None:
    """Evidence, review result and review-ref describe the same review (3.2.6 and later)."""
    result = attempt.review_result
    if result is None or not _wants(attempt, Need.REVIEW_RESULT):
        return
    said = (attempt.evidence or {}).get("review") or result
    if any(said.get(k) != result.get(k) for k in ("reviewer", "verdict", "reference")):
        raise _refuse(attempt, "evidence and review result disagree")
    if attempt.review_ref is not None and attempt.review_ref != result.get("reference"):
        raise _refuse(attempt, "the review-ref is not that of the review result")


def work_is_committed(attempt: Attempt) -> None:
    """A move to for_review needs a commit (3.2.2 and later)."""
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
    """Evidence, if present, names the reviewer, the verdict and the reference."""
    if attempt.evidence is None:
        return
    review = attempt.evidence.get("review")
    if not isinstance(review, dict) or not all(
        map(review.get, ("reviewer", "verdict", "reference"))
    ):
        raise _refuse(attempt, "the evidence has no complete review")


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
"""The rules that force switches off, in the order in which the host checks them."""


def parse_evidence(text: str | None) -> Mapping[str, Any] | None:
    """Read ``--evidence-json``.

    Raises:
        Refused: If it is not a JSON object.
    """
    return _object(text, "--evidence-json")


def parse_review_result(text: str | None) -> Mapping[str, Any] | None:
    """Read ``--review-result-json``.

    Raises:
        Refused: If it is not a JSON object, or a field is missing.
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
        raise Refused(ErrorCode.USAGE_ERROR, f"{option} is not a JSON object")
    return value
