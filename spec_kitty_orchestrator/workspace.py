"""The worktree of one work package: before, after and between the agents.

The merged commit has to be the approved one. So an agent starts on the lane branch, the
orchestrator brings its work onto that branch or rejects the attempt, and it takes a reviewer's
changes out again. It keeps everything that it takes out under a ref or in the logs, and records
where in the journal.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from spec_kitty_client import Workspace
from spec_kitty_orchestrator.attempt import AttemptResult
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.errors import AttemptRejected, RepositoryProblem, WorkPackageFailed
from spec_kitty_orchestrator.git.calls import GitError
from spec_kitty_orchestrator.git.changes import Changes
from spec_kitty_orchestrator.git.values import CommitRefused, OffBranch
from spec_kitty_orchestrator.git.worktree import Worktree
from spec_kitty_orchestrator.state import events
from spec_kitty_orchestrator.state.history import WorkPackageHistory

__all__ = ["PackageWorktree"]

_NAMED = 5  # files that a reason lists


@frozen
class PackageWorktree:
    """The worktree of a work package, and its history in the journal."""

    run: Run
    wp: str

    @property
    def history(self) -> WorkPackageHistory:
        """The events of the work package."""
        return self.run.history.work_package(self.wp)

    @property
    def tree(self) -> Worktree:
        """The worktree itself."""
        return self.run.worktree(Path(self.history.workspace or "."), self.history.branch)

    @property
    def is_shared(self) -> bool:
        """Whether other work packages use the same worktree."""
        return self.wp in self.run.lanes or self.run.history.shares_worktree(self.wp)

    # Before an agent

    async def record(self, workspace: Workspace, *, fresh: bool = False) -> None:
        """Record the worktree that the host named, and the commit from which its work counts.

        Args:
            workspace: The host's reply.
            fresh: Whether the work package was just claimed, so that no work of it exists.

        Raises:
            WorkPackageFailed: If the host names the primary checkout.
        """
        path = Path(workspace.workspace_path)
        if path == self.run.settings.repo_root:
            reason = (
                f"the host accepts it only from the primary checkout {path}, where the changes of "
                "other people would be committed with it. Use a mission with lane worktrees."
            )
            raise WorkPackageFailed(reason)
        tree = self.run.worktree(path, workspace.lane_branch)
        await self._restore_link(tree, self.run.logs / self.wp)
        # Commits that are in the worktree before the claim belong to other work packages.
        base = await (tree.head() if fresh else tree.base(workspace.lane_base_ref))
        self.run.journal.write(
            events.Claimed(
                wp=self.wp,
                workspace=str(path),
                prompt=workspace.prompt_path,
                base=base,
                target=workspace.lane_base_ref,
                branch=workspace.lane_branch,
            )
        )

    async def is_there(self) -> bool:
        """Return whether the host has named a worktree and its folder exists."""
        return self.history.workspace is not None and await self.tree.is_there()

    async def take_over(self) -> str:
        """Bring the worktree onto its branch before an implementer starts, and return HEAD."""
        await self._relink()
        try:
            return await self.tree.adopt(self._floor)
        except OffBranch as e:
            commit = await self._goal()
            await self._put_back(commit, f"it was on {e.where}")
            return commit

    async def prepare_review(self) -> str:
        """Check out the commit for the review, and return it."""
        await self._relink()
        commit, position = await self._branch_head(), await self.tree.position()
        elsewhere = self.tree.branch not in (None, position.branch)
        if elsewhere or position.head != commit or await self.tree.status():
            await self._put_back(commit, "it was there before the review")
        return commit

    async def shared_start(self, head: str) -> str | None:
        """Return HEAD of a shared worktree, before an agent is started; else None."""
        history = self.history
        if not self.is_shared or history.running:
            return None
        if not history.attempts and head != history.base:
            self.run.journal.write(events.BaseMoved(wp=self.wp, base=head))
        return head

    # After an implementer

    async def commit(self, result: AttemptResult, start: str | None) -> str:
        """Commit an implementer's changes onto the branch, and return the commit.

        Args:
            result: The end of the attempt.
            start: HEAD of a shared worktree before the attempt.

        Raises:
            AttemptRejected: If there is nothing that can be submitted, with the reason.
            WorkPackageFailed: If git cannot commit, which is no fault of the agent.
        """
        agent = result.attempt.agent
        if result.failure is not None:
            raise AttemptRejected(result.failure)
        await self._relink(Path(result.attempt.directory))
        await self._return_to_branch(agent)
        await self._check_files(agent)
        await self._keep_ignored_files()
        await self._drop_mission_files(start)
        head = await self._commit(result)
        await self._check_links(agent, start)
        if head in (self.history.submitted or self.history.base, start):
            raise AttemptRejected(await self._why_nothing(result.attempt))
        return head

    async def _why_nothing(self, attempt: events.AttemptStarted) -> str:
        """Return why an attempt left nothing to submit."""
        reason = f"{attempt.agent} says it is done, but changed nothing"
        strays = await self.tree.strays(attempt.at)
        own = [b for b in strays if not b.startswith("kitty/") and b != self.history.target]
        if not own:
            return reason
        return (
            f"{reason} on the branch {self.history.branch}. The branch {_some(own)} has commits "
            "that are not there: merge them here if they are the work."
        )

    async def _keep_ignored_files(self) -> None:
        """Keep the files that the work package names and that git ignores."""
        named = [p for p in self.run.owned.get(self.wp, ()) if not set(p) & set("*?[")]
        message = f"{self.wp}: files that git ignores"
        if files := await self.tree.keep_ignored(named, self._rescue, message):
            reason = "git ignores it, so that it is not part of the work"
            self._record_kept(files, self._rescue, reason)

    async def _return_to_branch(self, agent: str) -> None:
        try:
            await self.tree.adopt(self._floor)
        except OffBranch as e:
            kept = await self._put_back(await self._goal(), f"{agent} left it on {e.where}")
            msg = (
                f"{agent} left its work on {e.where}, which lacks commits of the branch "
                f"{self.history.branch}. The work is kept as {kept}: take over what is needed, and "
                f"stay on {self.history.branch}."
            )
            raise AttemptRejected(msg) from e

    async def _check_files(self, agent: str) -> None:
        status = await self.tree.status()
        if status.conflicts:
            msg = f"{agent} left conflicts in {_some(status.conflicts)}. Resolve them."
            raise AttemptRejected(msg)
        own = await self.tree.linked_inside()
        foreign = [path for path in status.repositories if path.rstrip("/") not in own]
        if foreign:
            raise AttemptRejected(_nested(agent, foreign))

    async def _check_links(self, agent: str, start: str | None) -> None:
        links = await self.tree.links(start or self._floor)
        if links.foreign:
            raise AttemptRejected(_nested(agent, links.foreign))
        if links.unpublished:
            msg = (
                f"{agent} changed the submodule {_some(links.unpublished)}, and no remote "
                "repository has these changes, so other checkouts could not get them. Leave the "
                "submodule as it was."
            )
            raise AttemptRejected(msg)

    async def _drop_mission_files(self, start: str | None) -> None:
        """Undo changes to the mission's folder, which only the host may write."""
        folder = f"kitty-specs/{self.run.host.mission}"
        commit, files = await self.tree.changes_to_undo(
            folder,
            before=start or self._floor,
            target=self.history.target,
            owned=self.run.owned.get(self.wp, ()),
        )
        if files:
            message = f"{self.wp}: before its mission files go back"
            kept = await self.tree.keep(self._rescue, message)
            await self.tree.put_back(commit, files)
            reason = f"{folder} is the host's, and the work package does not own these files"
            self._record_kept(files, kept or self.history.branch or "HEAD", reason)

    async def _commit(self, result: AttemptResult) -> str:
        agent = result.attempt.agent
        message = self.run.settings.commit_message.format(
            wp=self.wp.lower(),
            mission=self.run.host.mission,
            agent=agent,
            attempt=result.attempt.number,
        )
        try:
            return await self.tree.commit(message)
        except CommitRefused as e:
            if words := await self.tree.refusal_of(message):
                reason = (
                    f"the commit-msg hook of the repository refuses the message {message!r}: "
                    f"{words}. Set `commit_message`, then `resume`. No work is lost."
                )
                raise WorkPackageFailed(reason, stops_run=RepositoryProblem) from e
            msg = f"a hook of the repository refused the commit of {agent}'s work: {e}"
            raise AttemptRejected(msg) from e
        except (GitError, OSError) as e:
            raise await self._cannot_commit(e) from e

    async def _cannot_commit(self, error: GitError | OSError) -> WorkPackageFailed:
        """Return why git cannot commit. Unless a file is locked, no other commit would succeed."""
        lock = await self.tree.lock()
        if lock.exists():
            reason = (
                f"git cannot commit, because {lock} exists: another git process runs, or one was "
                "killed. If none runs, remove that file, then `resume`. The work is in the worktree"
            )
            return WorkPackageFailed(reason)
        reason = f"git cannot commit: {error}. Correct that, then `resume`. No work is lost."
        return WorkPackageFailed(reason, stops_run=RepositoryProblem)

    # Around a reviewer

    async def reviewed_commit(self) -> str:
        """Return the commit to review: the branch's, or the submitted one if it is shared."""
        history = self.history
        if self.is_shared and history.submitted and not history.by_hand:
            return history.submitted
        return await self._branch_head()

    async def heads(self) -> tuple[str, str]:
        """Return the commit of the branch, and the commit to review."""
        return await self._branch_head(), await self.reviewed_commit()

    async def is_as_reviewed(self, commit: str) -> bool:
        """Return whether the branch is still at the commit that a reviewer saw."""
        return await self.reviewed_commit() == commit

    async def after_review(self, before: str, attempt: events.AttemptStarted) -> str | None:
        """Take a reviewer's changes out again; return an error if the reviewer committed.

        Args:
            before: The commit of the branch before the review.
            attempt: The review.
        """
        aside = Path(attempt.directory)
        await self._relink(aside)
        status, position = await self.tree.status(), await self.tree.position()
        for path in status.repositories:
            _move(self.tree.path / path, aside / "left" / path)
            self._record_kept([path], str(aside / "left" / path), "the reviewer made it")
        moved = position.head != before or await self._branch_head() != before
        if moved or status or self.tree.branch not in (None, position.branch):
            await self._put_back(before, "the reviewer left it")
        return "the reviewer committed to the branch under review" if moved else None

    async def spans(self) -> list[tuple[str, str]]:
        """Return pairs of commits that together hold the work under review.

        In a shared worktree, other work packages may have committed between two rounds.
        """
        head, spans = await self.reviewed_commit(), self.history.spans
        if self.is_shared and spans and spans[-1][1] == head:
            return spans
        return [(self.history.base or "HEAD", head)]

    async def changes(self, limit: int) -> tuple[list[tuple[str, str]], Changes]:
        """Return the commits under review, and their changes.

        Args:
            limit: The maximum number of characters of the diff.
        """
        spans = await self.spans()
        return spans, await self.tree.changes(spans, limit)

    # Shared

    @property
    def _floor(self) -> str:
        return self.history.submitted or self.history.base or "HEAD"

    @property
    def _rescue(self) -> str:
        return f"refs/spec-kitty-orchestrator/rescue/{self.run.host.mission}/{self.wp}"

    async def _branch_head(self) -> str:
        return await self.tree.branch_head() or self._floor

    async def _goal(self) -> str:
        """Return the branch's head, or the submitted commit if the head lacks it."""
        head = await self._branch_head()
        return head if await self.tree.contains(head, self._floor) else self._floor

    async def _relink(self, directory: Path | None = None) -> None:
        """Restore the worktree and its link to the repository if an agent removed them."""
        if not await self.tree.is_there():
            await self.tree.remake(self.history.submitted or self.history.base)
            message = f"{self.wp}: its worktree was removed, and is made again from its branch"
            self.run.journal.write(events.WarningGiven(message=message))
        await self._restore_link(self.tree, directory or self.run.logs / self.wp)

    async def _restore_link(self, tree: Worktree, directory: Path) -> None:
        if moved := await tree.relink(directory / "removed.git"):
            reason = "it stood in the place of the worktree's link to the repository"
            self._record_kept([".git"], str(moved), reason)

    async def _put_back(self, commit: str, reason: str) -> str | None:
        """Check out the branch at a commit; keep everything else, and return where."""
        status = await self.tree.status()
        kept = await self.tree.keep(self._rescue, f"{self.wp}: {reason}", commit)
        await self.tree.restore(commit)
        if kept:
            self._record_kept(status.files, kept, reason)
        return kept

    def _record_kept(self, files: Sequence[str], where: str, reason: str) -> None:
        self.run.journal.write(
            events.ChangesKept(wp=self.wp, files=tuple(files), where=where, reason=reason)
        )


def _nested(agent: str, paths: Sequence[str]) -> str:
    return (
        f"{agent} left a git repository in {_some(paths)}, and git does not take the files of a "
        "repository inside another one. Remove its folder .git and keep the files."
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _move(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, to)
