"""The end of a mission: accept it and merge it. What could be lost is the client's to know."""

import shlex
from pathlib import Path

from spec_kitty_client import MergeStrategy
from spec_kitty_orchestrator.run import Run

__all__ = ["accept", "merge", "merge_command"]


async def accept(run: Run) -> None:
    """Accept the mission; once is enough."""
    if not run.history.accepted:
        accepted = await run.host.accept()
        run.journal.write("accepted", at_host=accepted.accepted_at)


async def merge(run: Run) -> None:
    """Merge the mission into its target branch; once is enough."""
    if run.history.merged:
        return
    settings = run.settings
    run.journal.write("merging", target=settings.target, strategy=settings.strategy)
    merged = await run.host.merge(settings.target, settings.strategy, push=settings.push)
    run.journal.write(
        "merged",
        target=merged.target,
        strategy=settings.strategy,
        before=merged.before,
        after=merged.after,
    )


def merge_command(run: Run) -> str:
    """Return the command that merges an accepted mission."""
    settings = run.settings
    words = ["spec-kitty-orchestrator", "resume", "--mission", run.host.mission, "--merge"]
    words += ["--target", settings.target] if settings.target else []
    words += [] if settings.strategy == MergeStrategy.MERGE else ["--strategy", settings.strategy]
    words += ["--push"] if settings.push else []
    if settings.repo_root != Path.cwd():
        words += ["--repo-root", str(settings.repo_root)]
    return shlex.join(words)
