"""The state of a mission and of its work packages, computed from the events of the journal."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from attrs import define, field

from spec_kitty_orchestrator.state.events import (
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
    Implemented,
    LaneReported,
    MissionMerged,
    RunEnded,
    RunStarted,
    Submitted,
    VerdictGiven,
    WorkPackageEvent,
    WorkPackageStuck,
)

__all__ = ["History", "Result", "WorkPackageHistory", "recall"]

Result = Implemented | VerdictGiven | AttemptFailed
"""The event that ends an agent run with a result."""


@define(kw_only=True)
class WorkPackageHistory:
    """The state of one work package, without its lane, which only the host knows."""

    workspace: str | None = None
    """The worktree."""
    prompt: str | None = None
    """The file with the text of the work package."""
    base: str | None = None
    """The commit before the work package's own work."""
    target: str | None = None
    """The branch that the worktree was made from."""
    branch: str | None = None
    """The branch that belongs in the worktree."""
    submitted: str | None = None
    """The commit that was last submitted for review."""
    spans: list[tuple[str, str]] = field(factory=list)
    """The commits before and after each implementation, if others share the worktree."""
    by_hand: bool = False
    """Whether it was blocked since it was last submitted: a user may have changed the work."""
    attempts: list[AttemptStarted] = field(factory=list)
    running: AttemptStarted | None = None
    """The attempt whose end is not recorded."""
    last_result: Result | None = None
    """The result of the last attempt; None if it was stopped, or the work package blocked."""
    findings: VerdictGiven | None = None
    """The last verdict, if it asked for changes."""
    rework_rounds: int = 0
    """The number of times that a reviewer asked for changes."""
    rework_rounds_since_unblocked: int = 0
    """The same since the work package was last blocked."""
    failures: list[str] = field(factory=list)
    """The reasons of the failed attempts at the current step."""
    kept: list[ChangesKept] = field(factory=list)
    """Everything that was taken out of the worktree."""
    last_error: str | None = None
    ended_at: float | None = None
    """The end of the last attempt, in seconds since the epoch; None while it runs."""

    @property
    def awaits_review(self) -> bool:
        """Whether it was blocked after it was submitted, and no reviewer has asked for changes."""
        judged = self.findings is not None and self.findings.head == self.submitted
        return self.by_hand and self.submitted is not None and not judged

    @property
    def started_at(self) -> float | None:
        """The start of the first attempt, in seconds since the epoch."""
        return self.attempts[0].at if self.attempts else None

    def apply(self, event: WorkPackageEvent) -> None:
        """Take over one more event of this work package."""
        match event:
            case LaneReported():
                self._reach(event.lane)
            case Claimed():
                self.workspace, self.prompt = event.workspace, event.prompt
                self.base = self.base or event.base
                self.target, self.branch = event.target, event.branch or self.branch
            case BaseMoved():
                self.base = event.base
            case Submitted():
                self.submitted, self.by_hand = event.head, False
            case AttemptStarted():
                self.running, self.ended_at = event, None
                self.attempts.append(event)
            case Implemented() | VerdictGiven() | AttemptFailed():
                self.running, self.last_result, self.ended_at = None, event, event.at
                self._count(event)
            case AttemptStopped():
                self.running, self.last_result, self.ended_at = None, None, event.at
            case ChangesKept():
                self.kept.append(event)
            case Blocked() | WorkPackageStuck():
                self.last_error = event.reason
            case _:
                pass  # only the user needs it

    def _reach(self, lane: str) -> None:
        """Reset what counts for one step or until the work package is blocked."""
        if lane in ("for_review", "blocked"):
            self.failures.clear()
        if lane == "blocked":
            self.rework_rounds_since_unblocked, self.by_hand, self.last_result = 0, True, None

    def _count(self, result: Result) -> None:
        match result:
            case Implemented():
                if result.begun:
                    self.spans.append((result.begun, result.head))
            case AttemptFailed():
                self.failures.append(result.reason)
                self.last_error = result.reason
            case VerdictGiven():
                self.failures.clear()
                asked = result.verdict == "changes_requested"
                self.findings = result if asked else None
                self.rework_rounds += asked
                self.rework_rounds_since_unblocked += asked


@define(kw_only=True)
class History:
    """The state of one mission."""

    mission: str
    """The mission's slug."""
    settings: dict[str, Any] = field(factory=dict)
    """The settings of the last run, as `settings.save` returned them."""
    work_packages: dict[str, WorkPackageHistory] = field(factory=dict)
    """By id; only work packages with an event other than a reported lane."""
    lanes: dict[str, str] = field(factory=dict)
    """The lanes that the host last reported to a run."""
    accepted: bool = False
    accept_command: str | None = None
    """The host's own command that accepts the mission, if its API cannot."""
    not_accepted: str | None = None
    """The reason why its API does not accept the mission, with the remedy."""
    merged: bool = False
    ended: RunEnded | None = None
    """The end of the last run; None while it runs, or if it was killed."""
    _by_workspace: defaultdict[str | None, set[str]] = field(
        factory=lambda: defaultdict(set), init=False
    )

    def shares_worktree(self, wp: str) -> bool:
        """Return whether other work packages were claimed into the same worktree."""
        workspace = self.work_package(wp).workspace
        return workspace is not None and len(self._by_workspace[workspace]) > 1

    def work_package(self, wp: str) -> WorkPackageHistory:
        """Return the state of a work package; an empty one if there is no event of it."""
        return self.work_packages.setdefault(wp, WorkPackageHistory())

    def running(self) -> list[str]:
        """Return the work packages with an agent run whose end is not recorded."""
        return [wp for wp, history in self.work_packages.items() if history.running]

    def apply(self, event: Event) -> None:
        """Take over one more event of this mission."""
        match event:
            case RunStarted():
                self.settings, self.ended = dict(event.settings), None
            case RunEnded():
                self.ended = event
            case LaneReported():
                self._move(event)
            case Accepted():
                self.accepted, self.accept_command, self.not_accepted = True, None, None
            case AcceptanceSkipped():
                self.accept_command, self.not_accepted = event.command, event.reason
            case MissionMerged():
                self.merged = True
            case Claimed():
                self._by_workspace[self.work_package(event.wp).workspace].discard(event.wp)
                self._by_workspace[event.workspace].add(event.wp)
                self.work_package(event.wp).apply(event)
            case WorkPackageEvent():
                self.work_package(event.wp).apply(event)
            case _:
                pass  # only the user needs it

    def _move(self, event: LaneReported) -> None:
        self.lanes[event.wp] = event.lane
        # An acceptance or a merge from before this move does not cover the move.
        self.accepted, self.merged = False, False
        if known := self.work_packages.get(event.wp):
            known.apply(event)


def recall(events: Iterable[Event]) -> dict[str, History]:
    """Return the state of each mission in a journal, by slug; the mission run last comes last."""
    histories: dict[str, History] = {}
    for event in events:
        if not event.mission:
            continue  # written by another version of this package
        if isinstance(event, RunStarted) and event.mission in histories:
            histories[event.mission] = histories.pop(event.mission)
        histories.setdefault(event.mission, History(mission=event.mission)).apply(event)
    return histories
