"""The life of a work package in the words of its users, the same on every host.

Each verb does what this release needs for it, and is safe to repeat: where an answer is lost
or is a no, the state is read, and what has taken effect already is a success. `force` goes out
in one case only: where the host's rule asks for a review result or evidence and its command
line has no option for it (2.1.0 to 3.2.5), with a note that says so; then the state is read
first, because force also opens the ways that are wrong.
"""

from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Literal, TypeVar

from attrs import Attribute, evolve, field, frozen

from spec_kitty_client._engine.core import Negotiate, Steps
from spec_kitty_client.api import replies
from spec_kitty_client.api.commands import (
    AcceptMission,
    Evidence,
    MissionState,
    ReviewResult,
    ReviewVerdict,
    StartReview,
    Transition,
)
from spec_kitty_client.codes import ErrorCode
from spec_kitty_client.contract import Contract
from spec_kitty_client.contract.dialects import Dialect, Feature
from spec_kitty_client.contract.lanes import AnyLane, Lane, Need, allowed, needs
from spec_kitty_client.errors import (
    AcceptanceUnavailable,
    GitFailed,
    GitUnavailable,
    HostError,
    InvalidCall,
    TransitionRejected,
)
from spec_kitty_client.values import Value
from spec_kitty_client.workflow.git import commit_folder, root
from spec_kitty_client.workflow.layout import PackageLayout, read_files
from spec_kitty_client.workflow.steps import Package, insist, refusal, slug_of, state
from spec_kitty_client.workflow.subtasks import advice, complete
from spec_kitty_client.workflow.worktrees import (
    folder_of,
)

__all__ = [
    "Moved",
    "Review",
    "Subtasks",
    "accept",
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
"""Whether open subtasks are left open, so that the host refuses, or marked done first."""

_HANDED_IN = frozenset({Lane.FOR_REVIEW, Lane.IN_REVIEW, Lane.APPROVED, Lane.DONE})
_ENDED = frozenset({Lane.DONE, Lane.CANCELED})


@frozen(kw_only=True)
class Moved(Value):
    """What a workflow verb has done."""

    wp_id: str
    lane: AnyLane
    """Where the work package is now."""
    changed: bool
    """False when it was there already: the effect of an earlier call."""


def _not_empty(_: object, attribute: "Attribute[str]", value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        msg = f"Review: {attribute.name} must be a text that is not empty, not {value!r}"
        raise InvalidCall(msg)


@frozen
class Review(Value):
    """A review's author and where it can be read: ``Review("ada", "reviews/WP01.md")``."""

    reviewer: str = field(validator=_not_empty)
    """Name of the person or agent; hosts record it with the verdict."""
    reference: str = field(validator=_not_empty)
    """Any text that leads to the review: a path, an address, a commit."""
    feedback_path: str | None = field(default=None, kw_only=True)
    """Path of a file with the findings, for the implementer (host 3.2.6)."""

    def result(self, verdict: ReviewVerdict) -> ReviewResult:
        """Return it as newer hosts want it."""
        return ReviewResult(
            reviewer=self.reviewer,
            verdict=verdict,
            reference=self.reference,
            feedback_path=self.feedback_path,
        )


def submit_for_review(
    at: Package, note: str | None = None, subtasks: Subtasks = "refuse"
) -> Steps[Moved]:
    """Hand in the implementation; with ``subtasks="complete"``, mark its subtasks done first."""
    if subtasks not in ("refuse", "complete"):
        msg = f"subtasks={subtasks!r}: choose 'refuse' or 'complete'"
        raise InvalidCall(msg)
    contract: Contract = yield Negotiate()
    call = Transition(mission=at.mission, wp=at.wp, actor=at.actor, to=Lane.FOR_REVIEW, note=note)
    if subtasks == "complete" and contract.supports(Feature.SUBTASK_GATE):
        slug, package = yield from _package(contract, at)
        yield from complete(slug, package, contract)
        call = evolve(call, subtasks_complete=_takes_word_for_subtasks(contract))
    try:
        return (yield from _once(call, _HANDED_IN))
    except TransitionRejected as e:
        with suppress(GitFailed):  # the refusal matters more than what is added to it
            slug, package = yield from _package(contract, at)
            if subtasks == "refuse" and (why := advice(slug, package, contract)):
                e.add_note(why)
        raise


def _takes_word_for_subtasks(contract: Contract) -> bool:
    """Return whether the host believes ``--subtasks-complete`` (3.1.0 to 3.2.5)."""
    return contract.supports(Feature.EVIDENCE) and not contract.supports(Feature.SUBTASK_EVENTS)


def _package(contract: Contract, at: Package) -> Steps[tuple[str, PackageLayout]]:
    """Return the slug of a mission, and how one of its work packages is laid out."""
    slug = yield from slug_of(contract, at.mission)
    top = yield from root()
    return slug, (yield from read_files(slug, top)).package(at.wp, contract)


def begin_review(at: Package) -> Steps[Moved]:
    """Begin a review. Where there is no lane for it (up to 3.1.0), see that it may begin.

    3.1.x refuses a second reviewer and the first one's repetition in the same words: there,
    one that is under way is taken for one's own.
    """
    contract: Contract = yield Negotiate()
    if contract.supports(Feature.REPEATABLE_REVIEW):
        reply = yield from insist(_review(at))
        return Moved(wp_id=at.wp, lane=reply.to_lane, changed=reply.from_lane != reply.to_lane)
    if contract.supports(Feature.IN_REVIEW_LANE):
        return (yield from _once(_review(at), {Lane.IN_REVIEW}))
    lane = at.lane or (yield from lane_of(at))
    if lane != Lane.FOR_REVIEW:
        raise _no_way(_review(at), lane, "a review")
    return Moved(wp_id=at.wp, lane=lane, changed=False)


def approve(at: Package, review: Review, note: str | None = None) -> Steps[Moved]:
    """Record that a review approved the work; where there is no lane for that, it is done."""
    contract: Contract = yield Negotiate()
    to = Lane.APPROVED if contract.supports(Feature.APPROVED_LANE) else Lane.DONE
    way = _Way(to=to, out_of={_review_lane(contract)}, reached={Lane.APPROVED, Lane.DONE})
    return (yield from _judge(contract, at, way, review, note))


def finish(at: Package, review: Review, note: str | None = None) -> Steps[Moved]:
    """Bring approved work to its end: from the review itself, or from ``approved``."""
    contract: Contract = yield Negotiate()
    way = _Way(to=Lane.DONE, out_of={_review_lane(contract), Lane.APPROVED}, reached={Lane.DONE})
    return (yield from _judge(contract, at, way, review, note))


def request_changes(at: Package, review: Review, note: str | None = None) -> Steps[Moved]:
    """Record that a review wants changes: back to ``in_progress``."""
    contract: Contract = yield Negotiate()
    back = Lane.IN_PROGRESS
    way = _Way(to=back, out_of={_review_lane(contract), Lane.APPROVED}, reached={back})
    return (yield from _judge(contract, at, way, review, note))


def block(at: Package, reason: str, review: Review) -> Steps[Moved]:
    """Take a work package off the board until a human has looked, with the reason."""
    contract: Contract = yield Negotiate()
    if contract.dialect is Dialect.F1:
        at = evolve(at, lane=None)  # it would take back even what is done
    way = _Way(to=Lane.BLOCKED, out_of=set(Lane) - _ENDED, reached={Lane.BLOCKED})
    return (yield from _judge(contract, at, way, review, reason))


def accept(mission: str, actor: str | None) -> Steps[replies.MissionAccepted]:
    """Accept a mission, and commit what the host wrote about it, which a merge would reset.

    Raises:
        AcceptanceUnavailable: If the host cannot accept a mission of this topology (3.2.0 to
            3.2.7 with a coordination branch); nothing was sent.
    """
    contract: Contract = yield Negotiate()
    if not contract.supports(Feature.COORD_ACCEPT) and contract.supports(Feature.CLEAN_TARGET):
        with suppress(GitUnavailable):  # the host crashes then, which is an error as well
            yield from _refuse_coordinated(contract, mission)
    accepted = yield from insist(AcceptMission(mission=mission, actor=actor))
    slug, top = accepted.mission_slug, (yield from root())
    yield from commit_folder(top, folder_of(slug), f"chore({slug}): record acceptance")
    return accepted


def _refuse_coordinated(contract: Contract, mission: str) -> Steps[None]:
    top = yield from root()
    slug = yield from slug_of(contract, mission)
    meta = (yield from read_files(slug, top)).meta
    if meta.get("coordination_branch"):
        raise AcceptanceUnavailable(
            slug, topology=str(meta.get("topology", "coord")), release=str(contract.release)
        )


# What the verbs have in common


def _review(at: Package) -> StartReview:
    return StartReview(mission=at.mission, wp=at.wp, actor=at.actor)


def _review_lane(contract: Contract) -> Lane:
    reviewed = contract.supports(Feature.IN_REVIEW_LANE)
    return Lane.IN_REVIEW if reviewed else Lane.FOR_REVIEW


@frozen(kw_only=True)
class _Way:
    """Where a verb leads."""

    to: Lane
    out_of: AbstractSet[AnyLane]
    """The lanes in which it makes sense. A host may let more pass: what is blocked may go
    on, and what nobody has reviewed may be approved by whoever brings the evidence."""
    reached: AbstractSet[AnyLane]
    """The lanes which show that it has taken effect."""


def _judge(
    contract: Contract, at: Package, way: _Way, review: Review, note: str | None
) -> Steps[Moved]:
    """Move a work package with what this way on this host has to bring along."""
    lane = at.lane
    if lane is None or _forced(contract, lane, way.to):
        lane = yield from lane_of(at)
        if lane in way.reached:
            return Moved(wp_id=at.wp, lane=lane, changed=False)
    plain = Transition(mission=at.mission, wp=at.wp, actor=at.actor, to=way.to, note=note)
    if lane not in way.out_of or not allowed(lane, way.to, contract.dialect):
        raise _no_way(plain, lane, way.to)
    if (lane, way.to) == (Lane.FOR_REVIEW, Lane.IN_PROGRESS):  # what start-review once meant
        call = evolve(_review(at), review_ref=review.reference)
        return (yield from _once(call, way.reached))
    return (yield from _once(_equip(contract, plain, lane, review), way.reached))


def _forced(contract: Contract, lane: AnyLane, to: Lane) -> bool:
    known = allowed(lane, to, contract.dialect)
    return known and Need.FORCE in needs(lane, to, contract.dialect)


def _equip(contract: Contract, call: Transition, lane: AnyLane, review: Review) -> Transition:
    """Give a transition what it needs, and the evidence of an approval wherever it can go."""
    assert isinstance(call.to, Lane)  # noqa: S101 - the verbs name no other
    wanted = needs(lane, call.to, contract.dialect)
    approved = call.to in (Lane.APPROVED, Lane.DONE)
    verdict = ReviewVerdict.APPROVED if approved else ReviewVerdict.CHANGES_REQUESTED
    result = review.result(verdict)
    if Need.FORCE in wanted:
        why = (
            f"{verdict} by {review.reviewer} ({review.reference}); forced, because this host has "
            "no option for a review's outcome"
        )
        call = evolve(call, force=True, note=f"{call.note}. {why}" if call.note else why)
    if Need.NOTE in wanted and call.note is None:
        call = evolve(call, note=f"{verdict} by {review.reviewer}")
    if Need.REVIEW_RESULT in wanted:
        call = evolve(call, review_result=result)
    if approved and contract.supports(Feature.EVIDENCE):
        call = evolve(call, evidence=Evidence.of(result))
    return evolve(call, review_ref=review.reference)


def _once(
    call: Transition | StartReview, reached: AbstractSet[AnyLane], first: HostError | None = None
) -> Steps[Moved]:
    """Send what must not be repeated blindly.

    Args:
        call: The call.
        reached: The lanes which show that it has taken effect.
        first: The error of an earlier call that may have taken effect.
    """
    try:
        reply = yield call
    except HostError as e:
        unsettled = first or (e if e.outcome == "unknown" else None)
        try:
            lane = yield from lane_of(Package(mission=call.mission, wp=call.wp))
        except HostError as blind:
            if unsettled is None:
                raise
            raise unsettled from blind
        if lane in reached:
            return Moved(wp_id=call.wp, lane=lane, changed=False)
        if first or e.outcome == "not_applied":
            raise
        return (yield from _once(call, reached, first=e))
    return Moved(wp_id=call.wp, lane=reply.to_lane, changed=reply.from_lane != reply.to_lane)


def lane_of(at: Package) -> Steps[AnyLane]:
    """Read in which lane a work package is. Only hosts 1.0.x tell who moved it there."""
    found = yield from state(at.mission)
    wp = next((wp for wp in found.work_packages if wp.wp_id == at.wp), None)
    if wp is None:
        msg = f"there is no work package {at.wp} in {found.mission_slug}"
        raise refusal(MissionState(mission=at.mission), ErrorCode.WP_NOT_FOUND, msg)
    return wp.lane


def _no_way(call: Transition | StartReview, lane: AnyLane, to: str) -> HostError:
    msg = f"{call.wp} is {lane}, from where there is no way to {to}"
    return refusal(call, ErrorCode.TRANSITION_REJECTED, msg, from_lane=lane)
