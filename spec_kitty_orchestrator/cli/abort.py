"""The command ``abort``: stop a run from another terminal, agents included."""

from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import anyio
from attrs import asdict, define, field
from cyclopts import App, Parameter
from rich.console import Console

from spec_kitty_orchestrator.cli.parameters import Json, Root, find_root, print_json, spinner
from spec_kitty_orchestrator.errors import (
    AnotherRun,
    ExitCode,
    StorageProblem,
    UsageProblem,
    explain_os_error,
)
from spec_kitty_orchestrator.git.calls import GitError, git
from spec_kitty_orchestrator.git.worktree import Worktree
from spec_kitty_orchestrator.runners import local
from spec_kitty_orchestrator.state.events import Event, RunAborted
from spec_kitty_orchestrator.state.files import StateFiles
from spec_kitty_orchestrator.state.history import History
from spec_kitty_orchestrator.state.journal import Journal
from spec_kitty_orchestrator.state.lock import end_live_run, only_run
from spec_kitty_orchestrator.state.recollection import (
    Recollection,
    attempt_folders,
    recollect,
    repair,
    stopped,
)

__all__ = ["Aborted", "abort", "abort_app", "print_aborted"]

_LIMIT = 10.0  # seconds for a run to end after its first SIGTERM
_AT_ONCE = 3.0  # seconds for a run to end after its second SIGTERM
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
    processes_ended: list[str] = field(factory=list)
    """Processes of agents whose folders were removed."""
    not_ended: list[str] = field(factory=list)
    """Processes of agents that could not be ended, with the reason."""
    removed: list[str] = field(factory=list)
    """Worktrees that were removed."""
    left: dict[str, str] = field(factory=dict)
    """Worktrees that were kept, with the reason."""
    not_recorded: str | None = None
    """Why the journal cannot be read or written, with what helps."""


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
    resumable = not done.not_recorded and bool(recollect(StateFiles(root)).histories())
    print_json(asdict(done)) if as_json else print_aborted(done, resumable=resumable)
    if done.not_recorded:
        msg = f"The abort could not be recorded. {done.not_recorded}"
        raise UsageProblem(msg)
    return ExitCode.DONE


def abort(root: Path, *, cleanup_worktrees: bool) -> Aborted:
    """Stop the run that is alive, and the agents that a dead run left.

    Raises:
        AnotherRun: If the run does not end.
    """
    places, done = StateFiles(root), Aborted()
    running = _running(_recollect(places, done).histories().values())
    done.run_ended = _end_run(places)
    with _alone(places, done):
        found = _recollect(places, done)
        histories = found.histories()
        folders = sorted({*running, *_with_processes(places, histories.values())})
        done.agents_ended += map(str, _end_agents(folders))
        done.not_ended += [str(left) for folder in folders for left in local.result(folder).left]
        _end_strays(root, done)
        if cleanup_worktrees:
            for history in histories.values():
                anyio.run(_clean_up, root, history, done)
        if not done.not_recorded:
            _record(found, done)
    return done


def _recollect(files: StateFiles, done: Aborted) -> Recollection:
    """Return what is known. Agents are found by their folders, whatever became of the journal."""
    try:
        return recollect(files)
    except OSError as e:
        done.not_recorded = explain_os_error(e)
        return Recollection(files=files)


@contextmanager
def _alone(files: StateFiles, done: Aborted) -> Generator[None]:
    """Hold the lock, unless it cannot be written: then no run can start either."""
    with ExitStack() as stack:
        try:
            stack.enter_context(only_run(files))
        except OSError as e:
            done.not_recorded = explain_os_error(e)
        yield


def _end_run(places: StateFiles) -> bool:
    """End the live run, and return whether there was one."""
    try:
        return end_live_run(places, _LIMIT)
    except AnotherRun:
        end_live_run(places, _AT_ONCE)
        return True


def _running(histories: Iterable[History]) -> set[Path]:
    """Return the folders of the attempts whose end is not recorded."""
    packages = [package for history in histories for package in history.work_packages.values()]
    return {Path(package.running.directory) for package in packages if package.running}


def _with_processes(places: StateFiles, histories: Iterable[History]) -> set[Path]:
    """Return the folders of the agents that have live processes, recorded or not."""
    folders = _running(histories)
    for history in histories:
        folders.update(attempt_folders(places.logs / history.mission))
    return {folder for folder in folders if local.has_processes(folder)}


def _end_agents(folders: Iterable[Path]) -> list[Path]:
    """End agents, all at the same time, and return the folders of those that were alive."""
    alive = [folder for folder in folders if local.has_processes(folder)]

    async def end() -> None:
        async with anyio.create_task_group() as tasks:
            for folder in alive:
                tasks.start_soon(local.stop, folder)

    anyio.run(end)
    return alive


def _end_strays(root: Path, done: Aborted) -> None:
    """End all other processes of this repository's agents; their folders were removed."""
    ended, left = local.end_strays(root)
    named = {process.pid for process in left}
    done.processes_ended += [f"{p} ({name})" for p, name in ended.items() if p not in named]
    done.not_ended += map(str, left)


def _record(found: Recollection, done: Aborted) -> None:
    try:
        repair(found)  # after the agents are ended: the disk may be full
        _write(found.files, list(found.histories()), done)
    except OSError as e:
        done.not_recorded = explain_os_error(e)
    except StorageProblem as e:
        done.not_recorded = str(e)


def _write(places: StateFiles, missions: list[str], done: Aborted) -> None:
    for mission in missions:
        ended = [Path(name) for name in done.agents_ended]
        facts: list[Event] = [
            stopped(folder, "aborted") for folder in ended if folder.parent.parent.name == mission
        ]
        if mission == missions[-1]:
            facts.append(RunAborted(removed=tuple(done.removed), left=done.left))
        if facts:
            copy = places.copy(mission)
            journal = Journal(places.journal, mission=mission, run="abort", copy=copy)
            journal.write_all(facts)
            journal.close()


async def _clean_up(root: Path, history: History, done: Aborted) -> None:
    """Remove the worktrees of recorded runs, except those with work that would be lost."""
    ours = {wp.workspace for wp in history.work_packages.values() if wp.workspace}
    for workspace in sorted(ours):
        path = Path(workspace)
        if path == root or not await anyio.Path(path).is_dir():
            continue
        try:
            if why := await Worktree(path, root).would_lose():
                done.left[workspace] = why
            else:
                git(root, "worktree", "remove", workspace)  # git refuses changed ones, too
                done.removed.append(workspace)
        except GitError as e:
            done.left[workspace] = str(e)


def print_aborted(done: Aborted, *, resumable: bool) -> None:
    """Print what an abort did, and how to continue if there is a run to continue."""
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print("The run was stopped." if done.run_ended else "No run is alive.")
    for directory in done.agents_ended:
        console.print(f"Stopped the agent of {directory}")
    for process in done.processes_ended:
        console.print(f"Ended process {process}, of an agent whose folder was removed")
    for process in done.not_ended:
        console.print(f"Could not end {process}")
    for workspace in done.removed:
        console.print(f"Removed {workspace}; its branch and commits are still there.")
    for workspace, why in done.left.items():
        console.print(f"Kept {workspace}: {why}")
    if resumable:
        console.print("Continue it with `spec-kitty-orchestrator resume`.")
