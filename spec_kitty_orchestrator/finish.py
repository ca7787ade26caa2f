"""The end of a mission: accept it, and merge it without losing anything.

What hosts do at this point (3.2.7): accept writes files and does not commit them; merge
resets the mission's folder and throws away what is uncommitted there and in the lane
worktrees. So: commit between the two, look into every worktree first, and compare the
target branch before and after.
"""

import shlex
from pathlib import Path

from spec_kitty_client import (
    AcceptMission,
    HostError,
    MergeMission,
    MergeStrategy,
    Workspace,
)
from spec_kitty_orchestrator.journal import Event
from spec_kitty_orchestrator.lifecycle import Run, Trouble
from spec_kitty_orchestrator.workspace import Worktree

__all__ = ["accept", "merge", "merge_command"]


async def accept(run: Run) -> None:
    """Accept the mission and commit what the host wrote about it; once is enough."""
    if not run.history.accepted:
        accepted = await run.host.insist(AcceptMission(mission=run.host.mission))
        run.journal.write("accepted", at_host=accepted.accepted_at)
    await _commit_status(run)


async def merge(run: Run) -> None:
    """Merge the mission into its target branch.

    Hosts remove the lanes last: where they are gone after a merge was begun, it has taken
    effect, whatever became of the answer.

    Raises:
        Trouble: If something would be lost, or was.
    """
    root = Worktree(run.settings.repo_root)
    lanes = await root.lanes(run.host.mission)
    if run.history.merged:
        return
    if run.history.merging and not lanes:
        await _settle(run, root, run.history.merging)
        return
    await _refuse_dirty(lanes)
    await _commit_status(run)
    target = run.settings.target or await _target(run)
    before = await root.commit_of(target)
    expected = await _work_of(root, lanes, before)
    call = MergeMission(
        mission=run.host.mission,
        target=run.settings.target,
        strategy=run.settings.strategy,
        push=run.settings.push,
    )
    begun = run.journal.write("merging", target=target, before=before)
    try:
        await run.host.once(call)
    except HostError as e:
        if not lanes or await root.lanes(run.host.mission):
            where = f"{e} The target {target} was at {before[:12]}."
            raise Trouble(where, host=e.code is None) from e
    await _settle(run, root, begun, expected)


async def _settle(run: Run, root: Worktree, begun: Event, expected: set[str] | None = None) -> None:
    """Compare the target with what it was, and write down that the mission is merged.

    Args:
        run: The run.
        root: The primary checkout.
        begun: The event that says what the target was.
        expected: The files that the lanes changed; None where the lanes are gone.
    """
    target, before = begun["target"], begun["before"]
    after = await root.commit_of(target)
    if not await root.is_ancestor(before, after):
        raise Trouble(f"the merge took commits away from the target branch. {_undo(before)}")
    if expected is not None:
        await _compare(run, root, (before, after), expected)
    run.journal.write("merged", target=target, strategy=run.settings.strategy)


def _undo(before: str) -> str:
    return f"It was at {before}; `git log {before}` shows what was there."


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


async def _commit_status(run: Run) -> None:
    """Commit the mission's folder in the primary checkout, if the host left it changed."""
    folder = await _mission_folder(run)
    message = f"chore({run.host.mission}): record status"
    if await Worktree(run.settings.repo_root).commit_folder(folder, message):
        run.journal.write("status-committed", folder=str(folder))


async def _mission_folder(run: Run) -> Path:
    """Return the folder that holds ``tasks/WPnn-*.md``, whose path the host has told."""
    prompt = next((r.prompt for r in run.history.records.values() if r.prompt), None)
    if prompt is None:
        prompt = (await _any_workspace(run)).prompt_path
    return Path(prompt).parent.parent


async def _target(run: Run) -> str:
    known = next((r.target for r in run.history.records.values() if r.target), None)
    return known or (await _any_workspace(run)).lane_base_ref or "HEAD"


async def _any_workspace(run: Run) -> Workspace:
    """Ask about a work package that this journal knows nothing of; any will do."""
    return await run.host.workspace(next(iter(run.history.lanes)))


async def _refuse_dirty(lanes: dict[str, Path | None]) -> None:
    dirty = {path: await Worktree(path).dirty() for path in lanes.values() if path}
    if any(dirty.values()):
        named = "; ".join(f"{path}: {', '.join(f)}" for path, f in dirty.items() if f)
        reason = (
            f"a merge would throw away what is not committed in {named}. Commit it or remove it."
        )
        raise Trouble(reason)


async def _work_of(root: Worktree, lanes: dict[str, Path | None], target: str) -> set[str]:
    """Return the files that the lanes have changed since they left the target."""
    changed: set[str] = set()
    for lane in lanes:
        changed |= await root.changed(await root.fork_point(target, lane), lane)
    return changed


async def _compare(run: Run, root: Worktree, target: tuple[str, str], expected: set[str]) -> None:
    """Report a merge that changed files which no lane has touched."""
    before, after = target
    own = await _mission_folder(run)
    inside = str(own.relative_to(run.settings.repo_root)) + "/"
    strange = {f for f in await root.changed(before, after) - expected if not f.startswith(inside)}
    if strange:
        names = ", ".join(sorted(strange)[:10])
        raise Trouble(
            f"the merge changed files that no work package touched: {names}. {_undo(before)}"
        )
