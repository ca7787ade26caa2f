"""The command ``abort``: stop a run from another terminal, agents included."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from attrs import asdict, define, field
from cyclopts import App, Parameter
from rich.console import Console

from spec_kitty_orchestrator.cli.parameters import Json, Root, find_root, print_json, spinner
from spec_kitty_orchestrator.errors import ExitCode
from spec_kitty_orchestrator.git.calls import GitError, git
from spec_kitty_orchestrator.git.worktree import Worktree
from spec_kitty_orchestrator.runners import local
from spec_kitty_orchestrator.state.events import AttemptStarted, AttemptStopped, RunAborted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History, recall
from spec_kitty_orchestrator.state.journal import Journal, read
from spec_kitty_orchestrator.state.lock import end_live_run, only_run

__all__ = ["Aborted", "abort", "abort_app", "print_aborted"]

_LIMIT = 180.0  # seconds for a run to end: a host call may have to finish first
_EXAMPLES = """\
Lanes, branches and commits stay as they are.

Examples:
  spec-kitty-orchestrator abort
  spec-kitty-orchestrator abort --cleanup-worktrees
"""

abort_app = App(name="abort", help_epilogue=_EXAMPLES)


@define(kw_only=True)
class Aborted:
    """The result of an abort."""

    run_ended: bool = False
    """Whether a run was alive and has been stopped."""
    agents_ended: list[str] = field(factory=list)
    """Folders of the agents that a dead run had left running."""
    removed: list[str] = field(factory=list)
    """Worktrees that were removed."""
    left: dict[str, str] = field(factory=dict)
    """Worktrees that were kept, with the reason."""


@abort_app.default
def abort_command(
    *,
    cleanup_worktrees: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Remove the clean worktrees of all recorded runs."
        ),
    ] = False,
    repo_root: Root = None,
    as_json: Json = False,
) -> int:
    """Stop the run that is alive, and its agents."""
    root = find_root(repo_root)
    with spinner(as_json)("Stopping the run and its agents"):
        done = abort(root, cleanup_worktrees=cleanup_worktrees)
    print_json(asdict(done)) if as_json else print_aborted(done, resumable=_is_resumable(root))
    return ExitCode.DONE


def _is_resumable(root: Path) -> bool:
    return bool(recall(read(StateFiles(root).journal)))


def abort(root: Path, *, cleanup_worktrees: bool) -> Aborted:
    """Stop the run that is alive, and the agents that a dead run left.

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
    """Remove the worktrees that runs worked in, unless something would be lost."""
    ours = {wp.workspace for wp in history.work_packages.values() if wp.workspace}
    for workspace in sorted(ours):
        path = Path(workspace)
        if path == root or not await anyio.Path(path).is_dir():
            continue
        try:
            if why := await Worktree(path, root).would_lose():
                done.left[workspace] = why
            else:
                git(root, "worktree", "remove", workspace)  # refuses by itself as well
                done.removed.append(workspace)
        except GitError as e:
            done.left[workspace] = str(e)


def print_aborted(done: Aborted, *, resumable: bool) -> None:
    """Print what an abort did, and how to continue if there is a run to continue."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print("The run was stopped." if done.run_ended else "No run is alive.")
    for directory in done.agents_ended:
        console.print(f"Stopped the agent of {directory}")
    for workspace in done.removed:
        console.print(f"Removed {workspace}; its branch and commits are still there.")
    for workspace, why in done.left.items():
        console.print(f"Kept {workspace}: {why}")
    if resumable:
        console.print("Continue it with `spec-kitty-orchestrator resume`.")
