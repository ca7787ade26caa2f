"""Accept and merge a finished mission, and name the commands that help after a run."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from spec_kitty_client import (
    AcceptanceUnavailable,
    Lane,
    MergeStrategy,
    NotReady,
    Transition,
    allowed,
)
from spec_kitty_client.api.spelling import spell
from spec_kitty_orchestrator.context import Run
from spec_kitty_orchestrator.ending.refusals import refusal
from spec_kitty_orchestrator.errors import ExitCode, OrchestratorError
from spec_kitty_orchestrator.scheduling.board import Board
from spec_kitty_orchestrator.state import events
from spec_kitty_orchestrator.state.history import History

__all__ = ["accept", "merge", "merge_command", "next_steps", "submitted_commits", "unfinished"]


async def accept(run: Run) -> None:
    """Accept the mission, unless it is accepted already.

    If the host's API cannot accept it (3.2.0 to 3.2.7 with a coordination branch), or requires
    facts that no work package can supply, the run goes on, and its end names the host's own
    command.
    """
    if run.history.accepted:
        return
    try:
        accepted = await run.host.accept()
    except AcceptanceUnavailable as e:
        run.journal.write(events.AcceptanceSkipped(reason=str(e), command=e.command))
        return
    except NotReady as e:
        folder = run.settings.repo_root / "kitty-specs" / run.host.mission
        found = refusal(e, run.host.mission, run.history.lanes, folder)
        if found is None:
            raise
        run.journal.write(events.AcceptanceSkipped(reason=found.reason, command=found.command))
        return
    run.journal.write(events.Accepted(at_host=accepted.accepted_at))


async def merge(run: Run) -> None:
    """Merge the mission into its target branch, or prove that it is merged already."""
    settings = run.settings
    run.journal.write(events.MergeStarted(target=settings.target, strategy=settings.strategy))
    merged = await run.host.merge(
        settings.target,
        MergeStrategy(settings.strategy),
        submitted_commits(run.history),
        push=settings.push,
    )
    run.journal.write(
        events.MissionMerged(
            target=merged.target,
            strategy=settings.strategy,
            before=merged.before,
            after=merged.after,
            changed=merged.changed,
        )
    )
    if merged.teardown_error_code:
        left = f"the host did not clean up after the merge: {merged.teardown_error_code}"
        run.journal.write(events.NoteGiven(message=left))


def submitted_commits(known: History) -> list[str]:
    """Return the commits that agents submitted, of the work packages that are done."""
    packages = known.work_packages.items()
    done = [history for wp, history in packages if known.lanes.get(wp) == Lane.DONE]
    return [history.submitted for history in done if history.submitted and not history.by_hand]


def unfinished(run: Run, board: Board) -> dict[str, str]:
    """Return the work packages that are not done, each with the reason.

    For a work package that an earlier run blocked, the reason is that run's.
    """
    found = board.unfinished()
    for wp, reason in found.items():
        known = run.history.work_packages.get(wp)
        if reason == f"is {Lane.BLOCKED}" and known and known.last_error:
            found[wp] = f"{reason}: {known.last_error}"
    return found


def merge_command(run: Run) -> str:
    """Return the command that merges an accepted mission."""
    settings = run.settings
    words = ["spec-kitty-orchestrator", "resume", "--mission", run.host.mission, "--merge"]
    words += ["--target", settings.target] if settings.target else []
    words += [] if settings.strategy == "merge" else ["--strategy", settings.strategy]
    words += ["--push"] if settings.push else []
    if settings.repo_root != Path.cwd():
        words += ["--repo-root", str(settings.repo_root)]
    return shlex.join(words)


def next_steps(run: Run, code: ExitCode, problem: OrchestratorError | None = None) -> Sequence[str]:
    """Return the commands that a user may want to run next."""
    if problem is not None and problem.next_steps is not None:
        return problem.next_steps
    if code == ExitCode.DONE:
        merge = [] if run.history.merged else [merge_command(run)]
        accept = run.history.accept_command if run.settings.accept else None
        return [*merge, *([accept] if accept else [])]
    blocked = [wp for wp, lane in run.history.lanes.items() if lane == Lane.BLOCKED]
    return [*(_reopen_command(run, wp) for wp in blocked), "spec-kitty-orchestrator resume"]


def _reopen_command(run: Run, wp: str) -> str:
    """Return the command that reopens a blocked work package; hosts 1.0.x require --force."""
    contract = run.host.contract
    forced = contract is not None and not allowed(Lane.BLOCKED, Lane.IN_PROGRESS, contract.dialect)
    call = Transition(
        mission=run.host.mission,
        wp=wp,
        to=Lane.IN_PROGRESS,
        actor=run.settings.actor,
        policy=run.policy,
        force=forced,
        note="reopened by hand" if forced else None,
    )
    return shlex.join(["spec-kitty", *spell(call, contract)])
