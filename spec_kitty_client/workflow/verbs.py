"""The workflow verbs of a work package, the same on every host release.

Each verb adapts to the host's release and is idempotent. After a lost answer or a refusal it
reads the mission's state, and a work package that is already in the target lane is a success.

A verb sends ``--force`` in one case only: the host's rule requires a review result or evidence,
and its command line has no option for it (2.1.0 to 3.2.5). The note of the transition says so.
Before that the verb reads the state, because force switches off all other rules as well.
"""

from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Literal, TypeVar

from attrs import Attribute, evolve, field, frozen

from spec_kitty_client._engine.core import Negotiate, Steps
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import (
    MissionState,
    StartReview,
    Transition,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult, ReviewVerdict
from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import AnyLane, Lane, Need, allowed, needs
from spec_kitty_client.errors import (
    GitFailed,
    HostError,
    InvalidCall,
    TransitionRejected,
)
from spec_kitty_client.values import Value
from spec_kitty_client.workflow.common import (
    WorkPackageFacts,
    refusal,
    retry_idempotent,
    slug_of,
    state,
)
from spec_kitty_client.workflow.git import root
from spec_kitty_client.workflow.layout import PackageLayout, read_files
from spec_kitty_client.workflow.subtasks import advice, complete

__all__ = [
    "Moved",
    "Review",
    "Subtasks",
    "approve",
    "begin_review",
    "block",
    "finish",
    "lane_of",
    "request_changes",
    "submit_for_review",
]

R = TypeVar("R", bound=replies.Reply)

Subtasks = Literal["refuse", "complete"]
"""``"refuse"``: let the host refuse the work while subtasks are open. ``"complete"``: mark them
done first."""

_HANDED_IN = frozenset({Lane.FOR_REVIEW, Lane.IN_REVIEW, Lane.APPROVED, Lane.DONE})
_ENDED = frozenset({Lane.DONE, Lane.CANCELED})


@frozen(kw_only=True)
class Moved(Value):
    """The result of a workflow verb."""

    wp_id: str
    lane: AnyLane
    """The lane of the work package now."""
    changed: bool
    """False if an earlier call had already moved the work package there."""


def _not_empty(_: object, attribute: "Attribute[str]", value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        msg = f"Review: {attribute.name} must be a non-empty string, not {value!r}"
        raise InvalidCall(msg)


@frozen
class Review(Value):
    """The author of a review and a pointer to it: ``Review("ada", "reviews/WP01.md")``.

    Raises:
        InvalidCall: If the reviewer or the reference is empty.
    """

    reviewer: str = field(validator=_not_empty)
    """Name of the person or agent; hosts record it with the verdict."""
    reference: str = field(validator=_not_empty)
    """A pointer to the review, in any form: a path, a URL, a commit."""
    feedback_path: str | None = field(default=None, kw_only=True)
    """Path of a file with the findings, for the implementer (host 3.2.6 and later)."""

    def result(self, verdict: ReviewVerdict) -> ReviewResult:
        """Return the review as the option ``--review-result-json`` (host 3.2.6 and later)."""
        return ReviewResult(
            reviewer=self.reviewer,
            verdict=verdict,
            reference=self.reference,
            feedback_path=self.feedback_path,
        )


def submit_for_review(
    at: WorkPackageFacts, note: str | None = None, subtasks: Subtasks = "refuse"
) -> Steps[Moved]:
    """Submit an implementation for review.

    Args:
        at: The work package.
        note: Text for the mission's history.
        subtasks: Whether to mark open subtasks done first; see `Subtasks`.

    Returns:
        The lane of the work package now.

    Raises:
        TransitionRejected: If the host refuses. Its notes name open subtasks and the command
            that marks them done.
        InvalidCall: If ``subtasks`` is neither ``"refuse"`` nor ``"complete"``.
    """
    if subtasks not in ("refuse", "complete"):
        msg = f"subtasks={subtasks!r} is not a choice. Use 'refuse' or 'complete'."
        raise InvalidCall(msg)
    contract: Contract = yield Negotiate()
    call = Transition(mission=at.mission, wp=at.wp, actor=at.actor, to=Lane.FOR_REVIEW, note=note)
    if subtasks == "complete" and contract.supports(Feature.SUBTASK_GATE):
        slug, package = yield from _package(contract, at)
        yield from complete(slug, package, contract)
        call = evolve(call, subtasks_complete=_has_subtasks_flag(contract))
    try:
        return (yield from _send_once(call, _HANDED_IN))
    except TransitionRejected as e:
        with suppress(GitFailed):  # without git, the refusal is raised without advice
            slug, package = yield from _package(contract, at)
            if subtasks == "refuse" and (why := advice(slug, package, contract)):
                e.add_note(why)
        raise


def _has_subtasks_flag(contract: Contract) -> bool:
    """Return whether the host obeys ``--subtasks-complete`` (3.1.0 to 3.2.5)."""
    return contract.supports(Feature.EVIDENCE) and not contract.supports(Feature.SUBTASK_EVENTS)


def _package(contract: Contract, at: WorkPackageFacts) -> Steps[tuple[str, PackageLayout]]:
    """Return the slug of a mission, and the layout of one of its work packages."""
    slug = yield from slug_of(contract, at.mission)
    top = yield from root()
    return slug, (yield from read_files(slug, top)).package(at.wp, contract)


def begin_review(at: WorkPackageFacts) -> Steps[Moved]:
    """Begin a review.

    Hosts up to 3.1.0 have no lane for a running review; there, this only checks that a review
    may begin. Hosts 3.1.x answer a repeated call and a second reviewer with the same refusal, so
    there a running review counts as the caller's own.

    Args:
        at: The work package.

    Returns:
        The lane of the work package now.

    Raises:
        TransitionRejected: If the work package is not in ``for_review``.
    """
    contract: Contract = yield Negotiate()
    if contract.supports(Feature.REPEATABLE_REVIEW):
        reply = yield from retry_idempotent(_review(at))
        return Moved(wp_id=at.wp, lane=reply.to_lane, changed=reply.from_lane != reply.to_lane)
    if contract.supports(Feature.IN_REVIEW_LANE):
        return (yield from _send_once(_review(at), {Lane.IN_REVIEW}))
    lane = at.lane or (yield from lane_of(at))
    if lane != Lane.FOR_REVIEW:
        raise _not_allowed(_review(at), lane, "a review")
    return Moved(wp_id=at.wp, lane=lane, changed=False)


def approve(at: WorkPackageFacts, review: Review, note: str | None = None) -> Steps[Moved]:
    """Record that a review approved the work: ``approved``, or ``done`` on hosts 1.0.x.

    Args:
        at: The work package, in review.
        review: The reviewer, and a pointer to the review.
        note: Text for the mission's history.

    Returns:
        The lane of the work package now.

    Raises:
        TransitionRejected: If the work package is not in review.
    """
    contract: Contract = yield Negotiate()
    rule = _TransitionRule(
        to=Lane.APPROVED if contract.supports(Feature.APPROVED_LANE) else Lane.DONE,
        allowed_from={_review_lane(contract)},
        reached={Lane.APPROVED, Lane.DONE},
    )
    return (yield from _move_reviewed(contract, at, rule, review, note))


def finish(at: WorkPackageFacts, review: Review, note: str | None = None) -> Steps[Moved]:
    """Move reviewed or approved work to ``done``.

    Args:
        at: The work package, in review or ``approved``.
        review: The reviewer, and a pointer to the review.
        note: Text for the mission's history.

    Returns:
        The lane of the work package now.

    Raises:
        TransitionRejected: If the work package is in another lane.
    """
    contract: Contract = yield Negotiate()
    rule = _TransitionRule(
        to=Lane.DONE,
        allowed_from={_review_lane(contract), Lane.APPROVED},
        reached={Lane.DONE},
    )
    return (yield from _move_reviewed(contract, at, rule, review, note))


def request_changes(at: WorkPackageFacts, review: Review, note: str | None = None) -> Steps[Moved]:
    """Move reviewed or approved work back to ``in_progress``, because it needs changes.

    Args:
        at: The work package, in review or ``approved``.
        review: The reviewer, and a pointer to the findings.
        note: Text for the mission's history.

    Returns:
        The lane of the work package now.

    Raises:
        TransitionRejected: If the work package is in another lane.
    """
    contract: Contract = yield Negotiate()
    rule = _TransitionRule(
        to=Lane.IN_PROGRESS,
        allowed_from={_review_lane(contract), Lane.APPROVED},
        reached={Lane.IN_PROGRESS},
    )
    return (yield from _move_reviewed(contract, at, rule, review, note))


def block(at: WorkPackageFacts, reason: str, review: Review) -> Steps[Moved]:
    """Move a work package to ``blocked``, until a person has looked at it.

    Args:
        at: The work package, in any lane but ``done`` and ``canceled``.
        reason: The reason, for that person.
        review: The person or agent that blocks it, and a pointer to the details.

    Returns:
        The lane of the work package now.

    Raises:
        TransitionRejected: If the work package has ended.
    """
    contract: Contract = yield Negotiate()
    if contract.dialect is Dialect.F1:
        at = evolve(at, lane=None)  # read the lane: hosts 1.0.x would move even done work
    rule = _TransitionRule(to=Lane.BLOCKED, allowed_from=set(Lane) - _ENDED, reached={Lane.BLOCKED})
    return (yield from _move_reviewed(contract, at, rule, review, reason))


def _review(at: WorkPackageFacts) -> StartReview:
    return StartReview(mission=at.mission, wp=at.wp, actor=at.actor)


def _review_lane(contract: Contract) -> Lane:
    reviewed = contract.supports(Feature.IN_REVIEW_LANE)
    return Lane.IN_REVIEW if reviewed else Lane.FOR_REVIEW


@frozen(kw_only=True)
class _TransitionRule:
    """The lane that a verb moves a work package to, and the lanes it accepts before and after."""

    to: Lane
    allowed_from: AbstractSet[AnyLane]
    """The lanes from which the verb may move it. Some hosts allow more: they move blocked work back
    to ``in_progress``, and approve unreviewed work if the call has evidence."""
    reached: AbstractSet[AnyLane]
    """The lanes in which the verb has already taken effect."""


def _move_reviewed(
    contract: Contract,
    at: WorkPackageFacts,
    rule: _TransitionRule,
    review: Review,
    note: str | None,
) -> Steps[Moved]:
    """Move a work package, with the evidence that this host requires for the move."""
    lane = at.lane
    if lane is None or _forced(contract, lane, rule.to):
        lane = yield from lane_of(at)
        if lane in rule.reached:
            return Moved(wp_id=at.wp, lane=lane, changed=False)
    plain = Transition(mission=at.mission, wp=at.wp, actor=at.actor, to=rule.to, note=note)
    if lane not in rule.allowed_from or not allowed(lane, rule.to, contract.dialect):
        raise _not_allowed(plain, lane, rule.to)
    if (lane, rule.to) == (Lane.FOR_REVIEW, Lane.IN_PROGRESS):  # up to 3.1.0: start-review
        start = evolve(_review(at), review_ref=review.reference)
        return (yield from _send_once(start, rule.reached))
    call = _add_required_evidence(contract, plain, lane, review)
    return (yield from _send_once(call, rule.reached))


def _forced(contract: Contract, lane: AnyLane, to: Lane) -> bool:
    known = allowed(lane, to, contract.dialect)
    return known and Need.FORCE in needs(lane, to, contract.dialect)


def _add_required_evidence(
    contract: Contract, call: Transition, lane: AnyLane, review: Review
) -> Transition:
    """Add a transition's required options; to an approval, evidence if the host accepts it."""
    assert isinstance(call.to, Lane)  # noqa: S101 - the verbs use only known lanes
    wanted = needs(lane, call.to, contract.dialect)
    approved = call.to in (Lane.APPROVED, Lane.DONE)
    verdict = ReviewVerdict.APPROVED if approved else ReviewVerdict.CHANGES_REQUESTED
    result = review.result(verdict)
    if Need.FORCE in wanted:
        why = (
            f"{verdict} by {review.reviewer} ({review.reference}); forced, because this host has "
            "no option for the result of a review"
        )
        call = evolve(call, force=True, note=f"{call.note}. {why}" if call.note else why)
    if Need.NOTE in wanted and call.note is None:
        call = evolve(call, note=f"{verdict} by {review.reviewer}")
    if Need.REVIEW_RESULT in wanted:
        call = evolve(call, review_result=result)
    if approved and contract.supports(Feature.EVIDENCE):
        call = evolve(call, evidence=Evidence.of(result))
    return evolve(call, review_ref=review.reference)


def _send_once(
    call: Transition | StartReview, reached: AbstractSet[AnyLane], first: HostError | None = None
) -> Steps[Moved]:
    """Send a call that is not idempotent; after an error, read the lane before any repetition.

    Args:
        call: The call.
        reached: The lanes in which the call has taken effect.
        first: The error of an earlier, equal call that may have taken effect.
    """
    try:
        reply = yield call
    except HostError as e:
        unsettled = first or (e if e.outcome == "unknown" else None)
        try:
            lane = yield from lane_of(WorkPackageFacts(mission=call.mission, wp=call.wp))
        except HostError as blind:
            if unsettled is None:
                raise
            raise unsettled from blind
        if lane in reached:
            return Moved(wp_id=call.wp, lane=lane, changed=False)
        if first or e.outcome == "not_applied":
            raise
        return (yield from _send_once(call, reached, first=e))
    return Moved(wp_id=call.wp, lane=reply.to_lane, changed=reply.from_lane != reply.to_lane)


def lane_of(at: WorkPackageFacts) -> Steps[AnyLane]:
    """Read the lane of a work package.

    Raises:
        NotFound: If the mission has no such work package.
    """
    found = yield from state(at.mission)
    wp = next((wp for wp in found.work_packages if wp.wp_id == at.wp), None)
    if wp is None:
        msg = f"there is no work package {at.wp} in {found.mission_slug}"
        raise refusal(MissionState(mission=at.mission), ErrorCode.WP_NOT_FOUND, msg)
    return wp.lane


def _not_allowed(call: Transition | StartReview, lane: AnyLane, to: str) -> HostError:
    msg = f"{call.wp} is in lane {lane}, and cannot move from there to {to}"
    return refusal(call, ErrorCode.TRANSITION_REJECTED, msg, from_lane=lane)
