"""Ending a run from another terminal, agents included."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
from attrs import define, field
from rich.console import Console

from spec_kitty_orchestrator.runners import local
from spec_kitty_orchestrator.state.events import AttemptStarted, AttemptStopped, RunAborted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History, recall
from spec_kitty_orchestrator.state.journal import Journal, read
from spec_kitty_orchestrator.state.lock import end_live_run, only_run
from spec_kitty_orchestrator.worktree import GitError, Worktree, git

__all__ = ["Aborted", "abort", "show"]

_LIMIT = 180.0  # seconds for a run to end: a host call may have to finish first


@define(kw_only=True)
class Aborted:
    """What an abort did."""

    run_ended: bool = False
    """A run was alive, and was ended."""
    agents_ended: list[str] = field(factory=list)
    """Folders of agents that a run which died had left running."""
    removed: list[str] = field(factory=list)
    """Worktrees that were removed."""
    left: dict[str, str] = field(factory=dict)
    """Worktrees that were not, with the reason."""


def abort(root: Path, *, cleanup_worktrees: bool) -> Aborted:
    """End the run that is alive, and agents that a dead one left.

    Raises:
        AnotherRun: If the run does not end.
    """
    places = StateFiles(root)
    done = Aborted(run_ended=end_live_run(places, _LIMIT))
    with only_run(places):
        for history in recall(read(places.journal)).values():
            if any(_left(history)):
                anyio.run(partial(_end_agents, places, history, done))
            if cleanup_worktrees:
                anyio.run(partial(_clean_up, root, history, done))
        _record(places, done)
    return done


def _record(places: StateFiles, done: Aborted) -> None:
    last = list(recall(read(places.journal)))[-1:]
    for mission in last:
        journal = Journal(places.journal, mission=mission, run="abort")
        journal.write(RunAborted(removed=tuple(done.removed), left=done.left))
        journal.close()


def _left(history: History) -> Iterator[AttemptStarted]:
    """Yield the agents of a mission that are alive."""
    for package in history.work_packages.values():
        if package.running and local.is_alive(Path(package.running.directory)):
            yield package.running


async def _end_agents(places: StateFiles, history: History, done: Aborted) -> None:
    journal = Journal(places.journal, mission=history.mission, run="abort")
    for attempt in _left(history):
        await local.stop(Path(attempt.directory))
        done.agents_ended.append(attempt.directory)
        wp, role, number = attempt.wp, attempt.role, attempt.number
        journal.write(AttemptStopped(wp=wp, role=role, number=number, reason="aborted"))
    journal.close()


async def _clean_up(root: Path, history: History, done: Aborted) -> None:
    """Remove the worktrees that a run of ours worked in, unless something would be lost."""
    ours = {wp.workspace for wp in history.work_packages.values() if wp.workspace}
    for workspace in sorted(ours):
        path = Path(workspace)
        if path == root or not await anyio.Path(path).is_dir():
            continue
        try:
            if files := await Worktree(path).dirty():
                done.left[workspace] = "holds uncommitted work: " + ", ".join(files)
            else:
                git(root, "worktree", "remove", workspace)  # refuses by itself as well
                done.removed.append(workspace)
        except GitError as e:
            done.left[workspace] = str(e)


def show(done: Aborted) -> None:
    """Print what an abort did."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print("The run has been ended." if done.run_ended else "No run was alive.")
    for directory in done.agents_ended:
        console.print(f"Ended the agent of {directory}")
    for workspace in done.removed:
        console.print(f"Removed {workspace}; its branch and commits are still there.")
    for workspace, why in done.left.items():
        console.print(f"Left {workspace}: {why}")
    console.print("`spec-kitty-orchestrator resume` goes on.")
