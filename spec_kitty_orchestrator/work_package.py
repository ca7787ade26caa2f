"""One work package: choose the next step from the lane that the host reports, and take it.

A new, a resumed and a half-finished work package follow the same code path. The lane names the
step, and each step ends with the lane that the host then reports. The journal tells only
whether an agent run for this step exists already.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from spec_kitty_client import (
    AnyLane,
    ErrorCode,
    HostError,
    Lane,
    Review,
    SpecKittyError,
    WorkPackage,
)
from spec_kitty_orchestrator import prompts
from spec_kitty_orchestrator.attempt import AttemptResult, end_attempts, run_attempt
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.errors import (
    AttemptRejected,
    DependenciesNotReady,
    HostProblem,
    WorkPackageFailed,
    is_host_failure,
)
from spec_kitty_orchestrator.git.calls import GitError
from spec_kitty_orchestrator.roles import ROLES, Role
from spec_kitty_orchestrator.state import events
from spec_kitty_orchestrator.verdict import Verdict, parse
from spec_kitty_orchestrator.workspace import PackageWorktree

__all__ = ["Turn", "WorkPackageRun"]

_CANNOT_START = (ErrorCode.DEPENDENCIES_NOT_SATISFIED, ErrorCode.TRANSITION_REJECTED)


class _LimitReached(Exception):
    """The attempts or rework rounds that the settings allow are used up."""


@frozen(kw_only=True)
class Turn:
    """The end of an agent's turn at a work package."""

    lane: AnyLane
    """The lane that the host reports now."""
    approval: Review | None = None
    """The approval to pass to `WorkPackageRun.finish`, for which no agent is needed."""
    blocked_because: str | None = None
    """Why the work package is blocked, if it is."""


class WorkPackageRun:
    """Runs one work package for the turn of one agent: the implementer or the reviewer.

    The next turn, which may have to wait for a slot, starts from the lane and the journal.

    Args:
        run: The run.
        wp: The work package, as the host reported it.
    """

    def __init__(self, run: Run, wp: WorkPackage) -> None:
        self._run = run
        self._wp = wp.wp_id
        self._lane = wp.lane
        self._history = run.history.work_package(wp.wp_id)
        self._worktree = PackageWorktree(run, wp.wp_id)
        self._steps: dict[AnyLane, Callable[[], Awaitable[AnyLane | Review]]] = {
            Lane.PLANNED: self._claim,
            Lane.CLAIMED: self._claim,
            Lane.IN_PROGRESS: self._implement,
            Lane.FOR_REVIEW: self._begin_review,
            Lane.IN_REVIEW: self._review,
            Lane.APPROVED: self._approval,
        }

    async def run_turn(self) -> Turn:
        """Take steps until the work package is approved, blocked, or needs the other role.

        Raises:
            DependenciesNotReady: If the host rejects the claim. Nothing has changed.
            WorkPackageFailed: If the work package cannot go on.
        """
        try:
            with _as_failure():
                return await self._take_steps_or_block()
        except WorkPackageFailed:
            await end_attempts(self._run, [self._wp])  # an agent that still runs would need a slot
            raise

    async def finish(self, approval: Review) -> Turn:
        """Move an approved work package to done.

        Args:
            approval: The approval that `run_turn` returned.

        Raises:
            WorkPackageFailed: If the host cannot do it.
        """
        with _as_failure():
            await self._check_reviewed()
            self._reach(await self._run.host.finish(self._wp, self._lane, approval))
        return self._end_turn()

    async def _take_steps_or_block(self) -> Turn:
        try:
            return await self._take_steps()
        except _LimitReached as e:
            return await self._block(str(e))

    async def _take_steps(self) -> Turn:
        role = ROLES[self._lane]
        while ROLES.get(self._lane) == role:
            result = await self._steps[self._lane]()
            if isinstance(result, Review):
                return Turn(lane=self._lane, approval=result)
            self._reach(result)
        return self._end_turn()

    def _end_turn(self, reason: str = "the user or another program blocked it") -> Turn:
        blocked = f"is blocked: {reason}" if self._lane == Lane.BLOCKED else None
        return Turn(lane=self._lane, blocked_because=blocked)

    def _reach(self, lane: AnyLane) -> None:
        self._lane = lane
        self._run.journal.write(events.LaneReported(wp=self._wp, lane=lane))

    # Implement

    async def _claim(self) -> AnyLane:
        try:
            claimed = await self._run.host.claim(self._wp)
        except HostError as e:
            if e.code in _CANNOT_START:
                raise DependenciesNotReady(str(e)) from e
            raise
        await self._worktree.record(claimed, fresh=claimed.from_lane == Lane.PLANNED)
        return claimed.to_lane

    async def _implement(self) -> AnyLane:
        if not await self._worktree.is_there():
            await self._claim()
        if (
            self._history.running
        ):  # an earlier run left the agent: nothing is touched before its end
            return await self._submit(await self._run_implementer(None))
        now = await self._worktree.take_over()
        start = await self._worktree.shared_start(now)
        head = await self._existing_commit(now) or await self._run_implementer(start)
        return await self._submit(head)

    async def _existing_commit(self, now: str) -> str | None:
        """Return the commit of an earlier attempt that is not submitted, or not reviewed, yet."""
        result = self._history.last_result
        if isinstance(result, events.Implemented):
            tree = self._worktree.tree
            if self._worktree.is_shared:  # other work packages may have committed on top of it
                return result.head if await tree.contains(now, result.head) else None
            return result.head if result.head == now else None
        if self._history.awaits_review and self._history.submitted == now:
            return now  # the reviewers failed, not the work
        return None

    async def _run_implementer(self, start: str | None) -> str:
        """Run implementers until one leaves a change, and return its commit."""
        while True:
            result = await self._attempt("implement", self._implement_prompt)
            try:
                head = await self._worktree.commit(result, start)
            except AttemptRejected as e:
                self._record_failure("implement", str(e))
                continue
            number = result.attempt.number
            self._run.journal.write(
                events.Implemented(wp=self._wp, number=number, head=head, begun=start)
            )
            return head

    async def _implement_prompt(self) -> str:
        return prompts.implement(
            wp=self._wp,
            mission=self._run.host.mission,
            task=self._task(),
            verdict=self._history.findings,
            failures=self._history.failures,
        )

    async def _submit(self, head: str) -> AnyLane:
        """Submit for review. A refusal by the host is a failure; the next prompt says why."""
        try:
            lane = await self._run.host.submit(self._wp)
        except HostError as e:
            if e.code is None or e.outcome == "unknown":
                raise
            self._record_failure("implement", f"the host rejected it: {e.failure.message}")
            return self._lane
        if lane == Lane.FOR_REVIEW:  # and not a lane that the user moved it to
            self._run.journal.write(events.Submitted(wp=self._wp, head=head))
        return lane

    # Review

    async def _begin_review(self) -> AnyLane | Review:
        lane = await self._run.host.begin_review(self._wp, self._lane)
        return await self._review() if lane == self._lane else lane

    async def _review(self) -> AnyLane | Review:
        if self._history.workspace is None:
            await self._worktree.record(await self._run.host.workspace(self._wp))
        verdict = await self._existing_verdict() or await self._run_reviewer()
        review = Review(reviewer=verdict.reviewer, reference=verdict.reference)
        if verdict.verdict == "approved":
            return review
        rounds = self._history.rework_rounds_since_unblocked
        if rounds > self._run.settings.max_rounds:
            reason = f"reviewers asked for changes {rounds} times: {verdict.summary}"
            raise _LimitReached(reason)
        return await self._run.host.request_changes(self._wp, self._lane, review)

    async def _existing_verdict(self) -> events.VerdictGiven | None:
        """Return the last verdict, if it is about the current commit."""
        result = self._history.last_result
        if isinstance(result, events.VerdictGiven) and not self._history.running:
            if await self._worktree.is_as_reviewed(result.head):
                return result
        return None

    async def _run_reviewer(self) -> events.VerdictGiven:
        """Run reviewers until one gives a verdict that counts."""
        while True:
            if not self._history.running:
                await self._worktree.prepare_review()
            before, head = await self._worktree.heads()
            result = await self._attempt("review", self._review_prompt)
            try:
                verdict = await self._valid_verdict(result, before)
            except AttemptRejected as e:
                self._record_failure("review", str(e))
            else:
                return self._record_verdict(result.attempt, verdict, head)

    async def _valid_verdict(self, result: AttemptResult, before: str) -> Verdict:
        verdict = parse(result.text)
        changed = await self._worktree.after_review(before, result.attempt)
        if isinstance(verdict, Verdict) and not changed:
            # A failed run cannot approve, but its findings are still worth a rework round.
            if result.failure is None or verdict.verdict == "changes_requested":
                return verdict
        raise AttemptRejected(result.failure or changed or str(verdict))

    def _record_verdict(
        self, attempt: events.AttemptStarted, verdict: Verdict, head: str
    ) -> events.VerdictGiven:
        return self._run.journal.write(
            events.VerdictGiven(
                wp=self._wp,
                number=attempt.number,
                head=head,
                reviewer=attempt.agent,
                reference=self._relative(Path(attempt.directory)),
                verdict=verdict.verdict,
                summary=verdict.summary,
                findings=verdict.findings,
            )
        )

    async def _review_prompt(self) -> str:
        spans, changes = await self._worktree.changes(prompts.MAX_DIFF)
        return prompts.review(
            wp=self._wp,
            mission=self._run.host.mission,
            task=self._task(),
            spans=spans,
            changes=changes,
            owned=self._run.owned.get(self._wp, ()),
            earlier=self._history.findings,
            failures=self._history.failures,
        )

    async def _check_reviewed(self) -> None:
        """Refuse to finish if the branch is not at the commit that the reviewer approved."""
        result = self._history.last_result
        if not isinstance(result, events.VerdictGiven):
            return  # a user approved it, so any commit on the branch may be merged
        if await self._worktree.is_as_reviewed(result.head):
            return
        reason = (
            f"was approved at commit {result.head[:12]}, and its branch "
            f"{self._history.branch} was changed since. Look at `git log {result.head[:12]}.."
            f"{self._history.branch}`: if that may be merged, move the work package to "
            "done; else move it back to planned"
        )
        raise WorkPackageFailed(reason)

    async def _approval(self) -> Review:
        """Return the approval of a work package in approved: the last reviewer's, or a user's."""
        result = self._history.last_result
        if isinstance(result, events.VerdictGiven) and result.verdict == "approved":
            return Review(reviewer=result.reviewer, reference=result.reference)
        return Review(reviewer=self._run.settings.actor, reference=f"lane {self._lane}")

    # Shared by the steps

    def _task(self) -> str:
        return prompts.work_package_text(Path(self._history.prompt or ""))

    async def _attempt(self, role: Role, prompt: Callable[[], Awaitable[str]]) -> AttemptResult:
        """Run the agent of a role, unless too many attempts at this step have failed."""
        failures = self._history.failures
        if len(failures) >= self._run.settings.max_attempts and not self._history.running:
            raise _LimitReached("; ".join(dict.fromkeys(failures)))
        return await run_attempt(self._run, self._wp, role, prompt)

    def _record_failure(self, role: Role, reason: str) -> None:
        self._run.journal.write(events.AttemptFailed(wp=self._wp, role=role, reason=reason))

    async def _block(self, reason: str) -> Turn:
        """Move the work package to blocked, for a user to look at. The work stays where it is."""
        review = Review(
            reviewer=self._run.agents["review"].name,
            reference=self._relative(self._run.logs / self._wp),
        )
        lane = await self._run.host.block(self._wp, self._lane, reason, review)
        self._run.journal.write(events.Blocked(wp=self._wp, reason=reason))
        self._reach(lane)
        return self._end_turn(reason)

    def _relative(self, path: Path) -> str:
        return str(path.relative_to(self._run.settings.repo_root))


@contextmanager
def _as_failure() -> Generator[None]:
    """Turn errors of the SDK, of git and of the file system into `WorkPackageFailed`."""
    try:
        yield
    except SpecKittyError as e:
        stops = HostProblem if is_host_failure(e) else None
        raise WorkPackageFailed(str(e), stops_run=stops) from e
    except (GitError, OSError) as e:
        reason = f"{e}. Correct that, then `resume`."
        raise WorkPackageFailed(reason) from e
