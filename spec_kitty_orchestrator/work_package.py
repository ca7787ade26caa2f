"""One work package: what to do next, given the lane the host reports.

A fresh work package, a resumed one and one that somebody left half-done take the same
path: the lane names the step, each step ends with the lane that the host then reports,
and the journal tells only whether an agent's run of that step is there already.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from spec_kitty_client import (
    AnyLane,
    ErrorCode,
    HostError,
    Lane,
    Review,
    SpecKittyError,
    WorkPackage,
    Workspace,
)
from spec_kitty_orchestrator import prompts
from spec_kitty_orchestrator import verdict as review
from spec_kitty_orchestrator.attempt import Attempts, Spoken
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.errors import is_of_the_host
from spec_kitty_orchestrator.scheduling.board import ROLES
from spec_kitty_orchestrator.state.history import Role
from spec_kitty_orchestrator.worktree import GitError, Worktree

__all__ = ["Life", "NotYet", "Trouble"]

_NOT_NOW = (ErrorCode.DEPENDENCIES_NOT_SATISFIED, ErrorCode.TRANSITION_REJECTED)
_LONGEST_NOTE = 2000  # characters of a reason that go to the host


class Trouble(Exception):
    """A work package cannot go on; the others can.

    Args:
        reason: Why, and what to do next.
        host: Whether it is the host that cannot be worked with.
    """

    def __init__(self, reason: str, *, host: bool = False) -> None:
        super().__init__(reason, host)
        self.reason = reason
        self.host = host


class NotYet(Exception):
    """The host does not let a work package begin.

    What it depends on is not finished, or somebody else has taken it elsewhere.
    """


class _GivingUp(Exception):
    """The agents had their chances at this step."""


class Life:
    """The life of one work package in one run, as far as one agent's turn.

    After it the work package may have to wait for a slot; what the next turn has to know
    is in the lane and in the journal.

    Args:
        run: The run.
        wp: The work package.
        approved: Awaited when no agent is needed any more, and only the host is to be told.
    """

    def __init__(self, run: Run, wp: WorkPackage, approved: Callable[[], Awaitable[None]]) -> None:
        self._run = run
        self._approved = approved
        self._wp = wp.wp_id
        self._lane = wp.lane
        self._record = run.history.record(wp.wp_id)
        self._let_go = False
        """Whether it has no slot for an agent any more."""
        self._begun_at: str | None = None
        """Where a worktree that others share was when the work was begun."""
        self._steps: dict[AnyLane, Callable[[], Awaitable[AnyLane]]] = {
            Lane.PLANNED: self._claim,
            Lane.CLAIMED: self._claim,
            Lane.IN_PROGRESS: self._implement,
            Lane.FOR_REVIEW: self._begin_review,
            Lane.IN_REVIEW: self._review,
            Lane.APPROVED: self._finish,
        }

    async def live(self) -> AnyLane:
        """Take the work package as far as its agent can, and return the lane it ends in.

        Raises:
            NotYet: If it cannot be begun, and nothing has happened.
            Trouble: If it cannot go on.
        """
        role = ROLES[self._lane]
        try:
            while ROLES.get(self._lane) == role and not self._let_go:
                self._lane = await self._steps[self._lane]()
                self._run.journal.write("lane", wp=self._wp, lane=self._lane)
        except SpecKittyError as e:
            raise Trouble(str(e), host=is_of_the_host(e)) from e
        except (GitError, OSError) as e:
            reason = f"{e}. Put the worktree in order, then `resume`."
            raise Trouble(reason) from e
        return self._lane

    # Implement

    async def _claim(self) -> AnyLane:
        try:
            claimed = await self._run.host.claim(self._wp)
        except HostError as e:
            if e.code in _NOT_NOW:
                raise NotYet(str(e)) from e
            raise
        await self._note(claimed, fresh=claimed.from_lane == Lane.PLANNED)
        return claimed.to_lane

    async def _implement(self) -> AnyLane:
        if not await self._has_worktree():
            await self._claim()
        await self._begin()
        try:
            head = await self._implemented()
        except _GivingUp as e:
            return await self._block(str(e))
        return await self._submit(head)

    async def _begin(self) -> None:
        """Let the work begin where others who share the worktree have ended theirs."""
        if not self._is_shared or self._record.open:
            return
        self._begun_at = await self._worktree.head()
        if not self._record.attempts and self._begun_at != self._record.base:
            self._run.journal.write("base", wp=self._wp, base=self._begun_at)

    async def _implemented(self) -> str:
        """Return the commit to hand in: the one that is there, or that of an agent's run."""
        closed = self._record.closed_by
        if closed and closed["kind"] == "implemented" and not self._record.open:
            if await self._is_there(str(closed["head"])):
                return str(closed["head"])
        while True:
            spoken = await self._attempt("implement", self._implement_prompt)
            failure, head = spoken.failure, None
            if failure is None:
                failure, head = await self._commit(spoken)
            if head is not None:
                number = spoken.attempt.number
                self._run.journal.write(
                    "implemented", wp=self._wp, number=number, head=head, begun=self._begun_at
                )
                return head
            self._failed("implement", failure or "")

    async def _commit(self, spoken: Spoken) -> tuple[str | None, str | None]:
        """Commit what an agent left; return why not, or the commit."""
        attempt = spoken.attempt
        message = f"{self._wp}: implemented by {attempt.agent} (attempt {attempt.number})"
        try:
            head = await self._worktree.commit(message)
        except GitError as e:
            return str(e), None
        if head in (self._record.submitted or self._record.base, self._begun_at):
            return f"{attempt.agent} says it is done, but changed nothing", None
        return None, head

    async def _implement_prompt(self) -> str:
        return prompts.implement(
            wp=self._wp,
            mission=self._run.host.mission,
            task=self._task(),
            verdict=self._record.findings,
            failures=self._record.failures,
        )

    async def _submit(self, head: str) -> AnyLane:
        """Hand it in; what the host finds missing goes to the implementer."""
        try:
            lane = await self._run.host.submit(self._wp)
        except HostError as e:
            if e.code is None or e.outcome == "unknown":
                raise
            self._failed("implement", f"the host did not take it: {e.failure.message}")
            return self._lane
        if lane == Lane.FOR_REVIEW:  # and not where somebody else has taken it meanwhile
            self._run.journal.write("submitted", wp=self._wp, head=head)
        return lane

    # Review

    async def _begin_review(self) -> AnyLane:
        lane = await self._run.host.begin_review(self._wp, self._lane)
        return await self._review() if lane == self._lane else lane

    async def _review(self) -> AnyLane:
        if not await self._has_worktree():
            await self._note(await self._run.host.workspace(self._wp))
        if self._record.open or not await self._has_verdict():
            try:
                await self._judge()
            except _GivingUp as e:
                return await self._block(str(e))
        return await self._conclude()

    async def _has_verdict(self) -> bool:
        """Return whether the last verdict is about the commit that is there now."""
        closed = self._record.closed_by or {}
        if closed.get("kind") != "verdict":
            return False
        return bool(closed.get("head") == await self._judged_head())

    async def _judge(self) -> None:
        """Let reviewers run until one ends with a verdict that counts."""
        while True:
            before, head = await self._worktree.head(), await self._judged_head()
            spoken = await self._attempt("review", self._review_prompt)
            verdict = review.parse(spoken.text)
            changed = await self._changed_by_reviewer(before)
            if isinstance(verdict, review.Verdict) and not changed:
                # A run that failed cannot approve, but it may well find something.
                if spoken.failure is None or verdict.verdict == "changes_requested":
                    self._note_verdict(spoken, verdict, head)
                    return
            why = verdict if isinstance(verdict, str) else ""
            self._failed("review", spoken.failure or changed or why)

    def _note_verdict(self, spoken: Spoken, verdict: review.Verdict, head: str) -> None:
        attempt = spoken.attempt
        self._run.journal.write(
            "verdict",
            wp=self._wp,
            number=attempt.number,
            head=head,
            reviewer=attempt.agent,
            reference=self._relative(attempt.directory),
            **review.plain(verdict),
        )

    async def _changed_by_reviewer(self, head: str) -> str | None:
        """Who changes what it reviews has reviewed something else. Nothing is lost."""
        files = await self._worktree.set_aside(f"left by the reviewer of {self._wp}")
        if files:
            self._run.journal.write("set-aside", wp=self._wp, files=files, where="git stash")
        if await self._worktree.head() != head:
            return "the reviewer committed to the branch it was to review"
        return None

    async def _review_prompt(self) -> str:
        spans = await self._spans()
        return prompts.review(
            wp=self._wp,
            mission=self._run.host.mission,
            task=self._task(),
            spans=spans,
            changes=await self._worktree.changes(spans, prompts.LONGEST_DIFF),
            earlier=self._record.findings,
            failures=self._record.failures,
        )

    async def _spans(self) -> list[tuple[str, str]]:
        """Return between which commits the work to be reviewed was done.

        In a shared worktree others may have worked between two rounds.
        """
        head, spans = await self._judged_head(), self._record.spans
        if self._is_shared and spans and spans[-1][1] == head:
            return spans
        return [(self._record.base or "HEAD", head)]

    async def _conclude(self) -> AnyLane:
        """Tell the host the verdict: done, back to work, or back to work once too often."""
        approved, result = self._result()
        if approved:
            return await self._finish()
        rounds, most = self._record.rounds, self._run.settings.max_rounds
        if rounds > most:
            summary = (self._record.findings or {}).get("summary", "")
            return await self._block(f"reviewers asked for changes {rounds} times: {summary}")
        return await self._run.host.request_changes(self._wp, self._lane, result)

    async def _finish(self) -> AnyLane:
        self._let_go = True
        await self._approved()
        _, result = self._result()
        return await self._run.host.finish(self._wp, self._lane, result)

    # What the steps have in common

    @property
    def _is_shared(self) -> bool:
        return self._wp in self._run.lanes or self._run.history.shares(self._wp)

    async def _is_there(self, head: str) -> bool:
        """Return whether a commit is what would be handed in now."""
        if self._is_shared:  # others may have gone on
            return await self._worktree.has(head)
        return head == await self._worktree.head()

    async def _judged_head(self) -> str:
        """Return the commit to judge: in a shared worktree, others may have gone on."""
        if self._is_shared and self._record.submitted and not self._record.by_hand:
            return self._record.submitted
        return await self._worktree.head()

    @property
    def _worktree(self) -> Worktree:
        return self._run.worktree(Path(self._record.workspace or "."))

    async def _has_worktree(self) -> bool:
        return self._record.workspace is not None and await self._worktree.is_there()

    async def _note(self, workspace: Workspace, *, fresh: bool = False) -> None:
        """Write down where the work package is worked on, and from which commit on."""
        path = Path(workspace.workspace_path)
        if path == self._run.settings.repo_root:
            reason = (
                f"the host wants it done in the primary checkout {path}, where other people's "
                "changes would be committed with it; use a mission with lane worktrees"
            )
            raise Trouble(reason)
        tree = self._run.worktree(path)
        # What is in a lane before the claim is another work package's.
        base = await (
            tree.head() if fresh else tree.base(workspace.lane_base_ref, workspace.lane_branch)
        )
        self._run.journal.write(
            "claimed",
            wp=self._wp,
            workspace=str(path),
            prompt=workspace.prompt_path,
            base=base,
            target=workspace.lane_base_ref,
        )

    def _task(self) -> str:
        return prompts.work_package_text(Path(self._record.prompt or ""))

    async def _attempt(self, role: Role, prompt: Callable[[], Awaitable[str]]) -> Spoken:
        """Run the agent once more, unless it had its chances.

        Raises:
            _GivingUp: With the reasons of the failures.
        """
        failures = self._record.failures
        if len(failures) >= self._run.settings.max_attempts and not self._record.open:
            raise _GivingUp("; ".join(failures))
        attempts = Attempts(
            mission=self._run.host.mission,
            wp=self._wp,
            agent=self._run.agents[role],
            policy=self._run.policy,
            record=self._record,
            journal=self._run.journal,
            logs=self._run.logs / self._wp,
            time_limit=self._run.settings.agent_timeout,
            runner=self._run.runner,
        )
        return await attempts.run(role, prompt)

    def _failed(self, role: Role, reason: str) -> None:
        self._run.journal.write("attempt-failed", wp=self._wp, role=role, reason=reason)

    def _result(self) -> tuple[bool, Review]:
        """Return whether it is approved, and by whom; one given by hand is not in the journal."""
        event = self._record.closed_by or {}
        overruled = self._lane == Lane.APPROVED and event.get("verdict") != "approved"
        if event.get("kind") != "verdict" or overruled:
            event = {}
        review = Review(
            reviewer=str(event.get("reviewer", self._run.settings.actor)),
            reference=str(event.get("reference", f"lane {self._lane}")),
        )
        return event.get("verdict", "approved") == "approved", review

    async def _block(self, reason: str) -> AnyLane:
        """Give it to a human, with the reason. The work stays where it is."""
        review = Review(
            reviewer=self._run.agents["review"].name,
            reference=self._relative(str(self._run.logs / self._wp)),
        )
        note = _sendable(reason)[:_LONGEST_NOTE]
        lane = await self._run.host.block(self._wp, self._lane, note, review)
        self._run.journal.write("blocked", wp=self._wp, reason=reason)
        return lane

    def _relative(self, path: str) -> str:
        return str(Path(path).relative_to(self._run.settings.repo_root))


def _sendable(text: str) -> str:
    """Return a text that a command line can carry, whatever an agent has said."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
