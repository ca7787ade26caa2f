"""The end of a mission: accept it and merge it. What could be lost is the client's to know."""

import shlex
from pathlib import Path

from spec_kitty_client import AcceptanceUnavailable, Lane, MergeStrategy
from spec_kitty_orchestrator.context import Run

__all__ = ["accept", "merge", "merge_command"]


async def accept(run: Run) -> None:
    """Accept the mission; once is enough.

    Where the host's API cannot (3.2.0 to 3.2.7 with a coordination branch), the run goes on, and
    the host's own command is told.
    """
    if run.history.accepted:
        return
    try:
        accepted = await run.host.accept()
    except AcceptanceUnavailable as e:
        run.journal.write("acceptance-unavailable", reason=str(e), command=e.command)
        return
    run.journal.write("accepted", at_host=accepted.accepted_at)


async def merge(run: Run) -> None:
    """Merge the mission into its target branch, or find the proof that it is merged."""
    settings = run.settings
    run.journal.write("merging", target=settings.target, strategy=settings.strategy)
    merged = await run.host.merge(
        settings.target, MergeStrategy(settings.strategy), _handed_in(run), push=settings.push
    )
    run.journal.write(
        "merged",
        target=merged.target,
        strategy=settings.strategy,
        before=merged.before,
        after=merged.after,
        changed=merged.changed,
    )


def _handed_in(run: Run) -> list[str]:
    """Return the commits that agents handed in, of work packages that are done."""
    records = run.history.records.items()
    done = [record for wp, record in records if run.history.lanes.get(wp) == Lane.DONE]
    return [record.submitted for record in done if record.submitted and not record.by_hand]


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
