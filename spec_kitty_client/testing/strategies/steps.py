"""The next call to a host, drawn for the lanes of its mission: a useful or a wrong call."""

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import evolve

from spec_kitty_client.api.commands import (
    AcceptMission,
    AppendHistory,
    Command,
    ContractVersion,
    ListReady,
    MergeMission,
    MissionState,
    OriginCheck,
    ResolveWorkspace,
    StartImplementation,
    StartReview,
    Transition,
)
from spec_kitty_client.api.reviews import Evidence, ReviewResult, ReviewVerdict
from spec_kitty_client.contract.dialects import Feature
from spec_kitty_client.contract.lanes import POLICY_LANES, Lane, Need, lanes_of
from spec_kitty_client.policy import Policy
from spec_kitty_client.testing.strategies.boards import ENDED, Board

__all__ = ["Step", "aside", "forward", "look", "note", "senseless", "unsupported"]

T = TypeVar("T")

Step = Callable[[Board, str, int], Command[Any]]
"""Returns a call, given the board, a work package, and a number that chooses among options."""

_POLICY = Policy(
    orchestrator_id="host-script",
    orchestrator_version="1.0.0",
    agent_family="none",
    approval_mode="supervised",
    sandbox_mode="workspace_write",
    network_mode="none",
)
_ADA, _BOB, _REVIEWER, _REFERENCE = "ada", "bob", "rev", "review-1"
_APPROVED, _CHANGES = ReviewVerdict.APPROVED, ReviewVerdict.CHANGES_REQUESTED


def look(board: Board, wp: str, n: int) -> Command[Any]:
    """Return a call that only reads."""
    reads: list[Command[Any]] = [
        MissionState(mission=board.slug),
        ListReady(mission=board.slug),
        ContractVersion(),
        ResolveWorkspace(mission=board.slug, wp=wp),
    ]
    return _choose([read for read in reads if board.contract.supports(read)], n)


def note(board: Board, wp: str, _n: int) -> Command[Any]:
    """Return a call that adds a note."""
    return AppendHistory(mission=board.slug, wp=wp, note="a note", actor=_owner(board, wp))


def forward(board: Board, wp: str, n: int) -> Command[Any]:
    """Return the next useful call for the first work package that can move, from this one on.

    When all are finished, the call accepts the mission, and then merges it.
    """
    if board.finished:
        if board.accepted:
            return MergeMission(mission=board.slug)
        return AcceptMission(mission=board.slug, actor=_ADA)
    names = [*board.mission]
    start = names.index(wp)
    moves = (_next(board, name) for name in names[start:] + names[:start])
    return next((move for move in moves if move), None) or look(board, wp, n)


def _next(board: Board, wp: str) -> Command[Any] | None:
    lane = board.lanes[wp]
    if board.is_enough(lane) or lane is Lane.CANCELED:
        return None
    if lane is Lane.IN_PROGRESS and not board.may_submit(wp):
        return _start(board, wp)  # a transition moved it, so it has no worktree
    if lane in (Lane.PLANNED, Lane.CLAIMED):
        return None if board.waits(wp) else _start(board, wp)
    if lane is Lane.FOR_REVIEW and board.contract.supports(Feature.IN_REVIEW_LANE):
        return _begin_review(board, wp)
    after = _STRAIGHT[lane]
    if after not in lanes_of(board.dialect):
        after = Lane.DONE  # the dialect has no lane approved
    wanted = dict(board.moves_from(wp)).get(after, frozenset({Need.FORCE, Need.NOTE}))
    return _move(board, wp, after, wanted)


_STRAIGHT = {
    Lane.IN_PROGRESS: Lane.FOR_REVIEW,
    Lane.FOR_REVIEW: Lane.APPROVED,
    Lane.IN_REVIEW: Lane.APPROVED,
    Lane.APPROVED: Lane.DONE,
    Lane.BLOCKED: Lane.IN_PROGRESS,
}


def aside(board: Board, wp: str, n: int) -> Command[Any]:
    """Return any allowed move with its required options, or a read if there is none.

    On hosts where ``start-review`` ends a review, it is one of the moves.
    """
    ends = not board.contract.supports(Feature.IN_REVIEW_LANE)
    if n % 2 == 0 and ends and board.lanes[wp] is Lane.FOR_REVIEW:
        return _begin_review(board, wp)
    moves = board.moves_from(wp)
    return _move(board, wp, *_choose(moves, n)) if moves else look(board, wp, n)


def senseless(board: Board, wp: str, n: int) -> Command[Any]:
    """Return a call that a host has to refuse, or a read if there is none of the chosen kind."""
    kind, rest = n % len(_SENSELESS), n // len(_SENSELESS)
    return _SENSELESS[kind](board, wp, rest)


def unsupported(board: Board, wp: str, n: int) -> Command[Any]:
    """Return a call whose verb, option or lane this host lacks; a read if it lacks none."""
    done = Transition(mission=board.slug, wp=wp, to=Lane.DONE, actor=_ADA)
    calls: list[Command[Any]] = [
        ResolveWorkspace(mission=board.slug, wp=wp),
        *(evolve(done, to=lane, policy=_POLICY) for lane in Lane),
        evolve(done, evidence=_evidence(_APPROVED)),
        evolve(done, review_result=_result(_APPROVED)),
        AcceptMission(mission=board.slug, actor=_ADA, origin_check=OriginCheck.OFF),
    ]
    missing = [call for call in calls if not board.contract.supports(call)]
    return _choose(missing, n) if missing else look(board, wp, n)


def _choose(options: list[T], n: int) -> T:
    return options[n % len(options)]


def _owner(board: Board, wp: str) -> str:
    return board.actors.get(wp) or _ADA


def _start(board: Board, wp: str) -> StartImplementation:
    return StartImplementation(mission=board.slug, wp=wp, actor=_owner(board, wp), policy=_POLICY)


def _begin_review(board: Board, wp: str) -> StartReview:
    begins = board.contract.supports(Feature.IN_REVIEW_LANE)
    return StartReview(
        mission=board.slug,
        wp=wp,
        actor=_REVIEWER,
        policy=_POLICY,
        review_ref=None if begins else _REFERENCE,
    )


def _result(verdict: ReviewVerdict) -> ReviewResult:
    return ReviewResult(reviewer=_REVIEWER, verdict=verdict, reference=_REFERENCE)


def _evidence(verdict: ReviewVerdict) -> Evidence:
    return Evidence.of(_result(verdict))


def _move(board: Board, wp: str, after: Lane, wanted: frozenset[Need]) -> Transition:
    """Return a move with its required options, and those that an orchestrator usually adds."""
    verdict = _APPROVED if after in ENDED else _CHANGES
    says = after is Lane.FOR_REVIEW and board.contract.supports(Feature.EVIDENCE)
    return Transition(
        mission=board.slug,
        wp=wp,
        to=after,
        actor=_owner(board, wp),
        policy=_POLICY if after in POLICY_LANES else None,
        note="because" if Need.NOTE in wanted else None,
        review_ref=_REFERENCE if Need.REVIEW_REF in wanted else None,
        review_result=_result(verdict) if Need.REVIEW_RESULT in wanted else None,
        evidence=_evidence(verdict) if Need.EVIDENCE in wanted else None,
        subtasks_complete=says,
        implementation_evidence_present=says,
        force=Need.FORCE in wanted,
    )


# Wrong calls


def _unknown_wp(board: Board, wp: str, n: int) -> Command[Any]:
    known: list[Any] = [
        _start(board, wp),
        note(board, wp, n),
        _move(board, wp, Lane.IN_PROGRESS, frozenset()),
    ]
    return evolve(_choose(known, n), wp="WP99")


def _unknown_mission(board: Board, wp: str, n: int) -> Command[Any]:
    known: list[Any] = [MissionState(mission=board.slug), _start(board, wp), note(board, wp, n)]
    return evolve(_choose(known, n), mission="no-such-mission")


def _without_policy(board: Board, wp: str, n: int) -> Command[Any]:
    moves = [
        _move(board, wp, lane, wanted)
        for lane, wanted in board.moves_from(wp)
        if lane in POLICY_LANES
    ]
    known: list[Any] = [_start(board, wp), _begin_review(board, wp), *moves]
    return evolve(_choose(known, n), policy=None)


def _wrong_lane(board: Board, wp: str, n: int) -> Command[Any]:
    """Return a move to a wrong lane that has all other required options."""
    open_ways = {lane for lane, _ in board.moves_from(wp)}
    has = lanes_of(board.dialect)
    closed = [lane for lane in Lane if lane in has and lane not in open_ways]
    proof = {Need.EVIDENCE} if board.contract.supports(Feature.EVIDENCE) else set[Need]()
    wanted = frozenset({Need.NOTE, Need.REVIEW_REF} | proof)
    return _move(board, wp, _choose(closed, n), wanted) if closed else look(board, wp, n)


def _without_needs(board: Board, wp: str, n: int) -> Command[Any]:
    moves = [lane for lane, wanted in board.moves_from(wp) if wanted]
    return _move(board, wp, _choose(moves, n), frozenset()) if moves else look(board, wp, n)


def _other_actor(board: Board, wp: str, n: int) -> Command[Any]:
    begun = (Lane.CLAIMED, Lane.IN_PROGRESS)
    theirs = _choose([name for name, lane in board.lanes.items() if lane in begun] or [wp], n)
    other = _BOB if _owner(board, theirs) == _ADA else _ADA
    return evolve(_start(board, theirs), actor=other)


def _other_reviewer(board: Board, wp: str, n: int) -> Command[Any]:
    reviewed = [name for name, lane in board.lanes.items() if lane is Lane.IN_REVIEW] or [wp]
    return evolve(_begin_review(board, _choose(reviewed, n)), actor=_BOB)


def _too_early(board: Board, wp: str, n: int) -> Command[Any]:
    waiting = [name for name in board.mission if board.waits(name)]
    return _start(board, _choose(waiting, n)) if waiting else _accept(board, wp, n)


def _accept(board: Board, _wp: str, _n: int) -> Command[Any]:
    return AcceptMission(mission=board.slug, actor=_ADA)


def _again(board: Board, wp: str, n: int) -> Command[Any]:
    """Return the last call again; a read if that was a merge, which changes every lane."""
    repeated = board.last is not None and not isinstance(board.last, MergeMission)
    return board.last if repeated and board.last else look(board, wp, n)


def _force(board: Board, wp: str, n: int) -> Command[Any]:
    """Return a forced move to any lane, every second time without the required note."""
    has = lanes_of(board.dialect)
    lane = _choose([lane for lane in Lane if lane in has], n // 2)
    why = {Need.FORCE} if n % 2 else {Need.FORCE, Need.NOTE}
    return _move(board, wp, lane, frozenset(why))


def _wrong_verdict(board: Board, wp: str, n: int) -> Command[Any]:
    """Return an approval whose verdict asks for changes."""
    proofs = {Need.EVIDENCE, Need.REVIEW_RESULT}
    moves = board.moves_from(wp)
    moves = [(lane, wanted) for lane, wanted in moves if lane in ENDED and wanted & proofs]
    if not moves:
        return look(board, wp, n)
    move = _move(board, wp, *_choose(moves, n))
    return evolve(
        move,
        review_result=_result(_CHANGES) if move.review_result else None,
        evidence=_evidence(_CHANGES) if move.evidence else None,
    )


_SENSELESS: tuple[Step, ...] = (
    _unknown_wp,
    _unknown_mission,
    _without_policy,
    _wrong_lane,
    _without_needs,
    _other_actor,
    _other_reviewer,
    _too_early,
    _accept,
    _again,
    _force,
    _wrong_verdict,
)
